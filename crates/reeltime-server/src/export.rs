//! `reeltime export`: a recording as a file, straight from the data folder or from a running server.

mod format;
mod output;
mod remote;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reeltime::recorder::{Recorder, Selection};
use reeltime_core::id::RecordingId;
use reeltime_core::media::Container;

use crate::cli::SettingFlags;
use crate::client::Key;
use crate::client::http::Client;
use crate::exit::Usage;
use crate::security::TENANT;
use crate::settings::Settings;
use crate::{logging, open};
use output::Place;

/// `reeltime export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The recording's id
    recording: String,
    /// The file to write, or a folder for one named by call and format; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The file format; by default what the file's name says, else what fits the recording
    #[arg(long, value_name = "wav|flac|ogg|mp3|webm|mp4")]
    format: Option<String>,
    /// Only this participant
    #[arg(long, value_name = "IDENTITY")]
    participant: Option<String>,
    /// Only this track, by its id: for a participant with several
    #[arg(long, value_name = "ID")]
    track: Option<String>,
    /// From a running server, as http://host:port
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    key: Key,
    /// Who is heard where: mono, stereo (a speaker a side) or tracks (a channel each)
    #[arg(long, value_name = "mono|stereo|tracks")]
    layout: Option<String>,
    /// Every speaker at this loudness, in LUFS, for example -16
    #[arg(long, value_name = "LUFS", allow_hyphen_values = true)]
    loudness: Option<String>,
    /// What stands where recording was paused
    #[arg(long, value_name = "silence|skip")]
    pauses: Option<String>,
    /// Bits a second of a format that loses something, for example 64k
    #[arg(long, value_name = "RATE")]
    bitrate: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Writes one recording.
pub(crate) fn run(command: Export) -> anyhow::Result<()> {
    let id: RecordingId = command.recording.parse().map_err(|error| Usage(format!("RECORDING: {error}")))?;
    let format = format::choose(&command.output, command.format.as_deref())?;
    if let Some(to) = &command.to {
        let client = Client::new(to.parse()?, command.key.clone())?;
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(remote::export(&client, id, &command.query(format), &command.output));
    }
    let selection = command.selection(format)?;
    let settings = Settings::load(&command.settings.layers())?;
    logging::start(&settings.log, None);
    if !settings.recording.data_dir.exists() {
        bail!(
            "there is no data folder {}; name it with --data-dir, or a server with --to",
            settings.recording.data_dir.display()
        );
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let lock = open::folder_to_read(&settings.recording.data_dir)?;
        let recorder = open::recorder(&settings, lock, open::config(&settings.recording)).await?;
        let written = local(&recorder, id, &selection, &command.output).await;
        recorder.drain(Duration::ZERO).await;
        written
    })
}

impl Export {
    /// What of it, from the data folder.
    fn selection(&self, format: Option<Container>) -> Result<Selection, Usage> {
        crate::api::selection(&self.query(format)).map_err(|problem| Usage(problem.detail().to_owned()))
    }

    /// What of it, as a server is asked.
    fn query(&self, format: Option<Container>) -> Vec<(&'static str, &str)> {
        let fields = [
            ("format", format.map(Container::name)),
            ("participant", self.participant.as_deref()),
            ("track", self.track.as_deref()),
            ("layout", self.layout.as_deref()),
            ("loudness", self.loudness.as_deref()),
            ("pauses", self.pauses.as_deref()),
            ("bitrate", self.bitrate.as_deref()),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

async fn local(
    recorder: &Recorder,
    id: RecordingId,
    selection: &Selection,
    output: &std::path::Path,
) -> anyhow::Result<()> {
    let media = recorder.media(TENANT, id, selection).await.with_context(|| format!("recording {id}"))?;
    let place = match output.is_dir() {
        true => Place::inside(output, &call(recorder, id).await?, media.extension)?,
        false => Place::at(output),
    };
    output::write(media.read(None).await?, media.len, place).await
}

async fn call(recorder: &Recorder, id: RecordingId) -> anyhow::Result<String> {
    let recording = recorder.recording(TENANT, id).await?;
    Ok(recording.context("it was deleted just now")?.call_id)
}
