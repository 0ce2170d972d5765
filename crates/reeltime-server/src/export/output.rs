//! Where a recording goes: a file that gets its name once it is whole, or stdout; with progress on stderr.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::client::progress::{Bar, Screen, percent};
use crate::client::size;

/// Writes all of `body`, which is `length` bytes long where that is known.
pub(super) async fn write<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    length: Option<u64>,
    output: &Path,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut progress = Progress::new(output, length);
    if output == Path::new("-") {
        return match copy(body, &mut tokio::io::stdout(), &mut progress).await {
            // A player that was closed has heard enough.
            Err(error) if is_closed_pipe(&error) => Ok(()),
            copied => copied,
        };
    }
    let cannot = || format!("cannot write {}", output.display());
    // Under its name only once it is whole.
    let partial = partial(output);
    let mut file = tokio::fs::File::create(&partial).await.with_context(cannot)?;
    let written = copy(body, &mut file, &mut progress).await.with_context(cannot);
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

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn copy<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    output: &mut (impl AsyncWrite + Unpin),
    progress: &mut Progress,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    while let Some(chunk) = body.next().await {
        let chunk = chunk.context("the recording broke off")?;
        output.write_all(&chunk).await?;
        progress.add(chunk.len());
    }
    output.flush().await?;
    progress.end();
    Ok(())
}

struct Progress {
    bar: Bar,
    begun: Instant,
    bytes: u64,
    length: Option<u64>,
}

impl Progress {
    fn new(output: &Path, length: Option<u64>) -> Self {
        let name = match output.file_name() {
            Some(name) if output != Path::new("-") => name.to_string_lossy().into_owned(),
            _ => "stdout".to_owned(),
        };
        Self { bar: Screen::new().bar(&name, 0, length), begun: Instant::now(), bytes: 0, length }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let speed = self.bytes as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        self.bar.set(self.bytes, || {
            let of = self.length.map_or(String::new(), |length| format!(" of {}", size(length)));
            format!("{}{of}{}, {}/s", size(self.bytes), percent(self.bytes, self.length), size(speed as u64))
        });
    }

    fn end(&self) {
        self.bar.end(&size(self.bytes));
    }
}
