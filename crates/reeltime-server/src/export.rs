//! `reeltime export`: a recording as a file, straight from the data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use reeltime::recorder::{Recorder, Selection};
use reeltime::store::ByteStream;
use reeltime_core::id::RecordingId;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::cli;
use crate::exit::Usage;
use crate::security::TENANT;
use crate::settings::Settings;
use crate::{logging, open};

/// Writes one recording.
pub(crate) fn run(command: cli::Export) -> anyhow::Result<()> {
    let id: RecordingId = command.recording.parse().map_err(|error| Usage(format!("RECORDING: {error}")))?;
    let selection = Selection {
        format: command
            .format
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|error| Usage(format!("{error}")))?,
        participant: command.participant,
        ..Selection::default()
    };
    let settings = Settings::load(&command.settings.layers())?;
    logging::start(&settings.log);
    if !settings.recording.data_dir.exists() {
        bail!("there is no data folder {}; name it with --data-dir", settings.recording.data_dir.display());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let recorder = open::recorder(&settings, open::config(&settings.recording)).await?;
        let written = export(&recorder, id, &selection, &command.output).await;
        recorder.drain(Duration::ZERO).await;
        written
    })
}

async fn export(
    recorder: &Recorder,
    id: RecordingId,
    selection: &Selection,
    output: &Path,
) -> anyhow::Result<()> {
    let media = recorder.media(TENANT, id, selection).await.with_context(|| format!("recording {id}"))?;
    let body = media.read(None).await?;
    if output == Path::new("-") {
        return copy(body, &mut tokio::io::stdout()).await;
    }
    let cannot = || format!("cannot write {}", output.display());
    // Under its name only once it is whole.
    let partial = partial(output);
    let mut file = tokio::fs::File::create(&partial).await.with_context(cannot)?;
    let written = copy(body, &mut file).await.with_context(cannot);
    if written.is_err() {
        tokio::fs::remove_file(&partial).await.with_context(cannot)?;
        return written;
    }
    file.sync_all().await.with_context(cannot)?;
    tokio::fs::rename(&partial, output).await.with_context(cannot)
}

fn partial(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

async fn copy(mut body: ByteStream, output: &mut (impl AsyncWrite + Unpin)) -> anyhow::Result<()> {
    while let Some(chunk) = body.next().await {
        output.write_all(&chunk?).await?;
    }
    Ok(output.flush().await?)
}
