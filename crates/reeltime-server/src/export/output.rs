//! Where a recording goes: a file that gets its name once it is whole, also one of its own in a folder, or stdout; with
//! progress on stderr.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reeltime_core::keys::{ObjectKey, safe_name};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::client::progress::{Bar, Screen, percent};
use crate::client::size;

/// Where it goes.
#[derive(Debug)]
pub(super) enum Place {
    Stdout,
    /// In place of what may be there.
    File(PathBuf),
    /// Into a folder by this name, or with a number behind it where that is taken.
    Inside(PathBuf, ObjectKey),
}

impl Place {
    /// As it was named.
    pub(super) fn at(output: &Path) -> Self {
        if output == Path::new("-") { Self::Stdout } else { Self::File(output.to_owned()) }
    }

    /// In a folder, named by call and format.
    pub(super) fn inside(folder: &Path, call: &str, extension: &str) -> anyhow::Result<Self> {
        let name = ObjectKey::new(format!("{}.{extension}", safe_name(call)))?;
        Ok(Self::Inside(folder.to_owned(), name))
    }
}

/// Writes all of `body`, which is `length` bytes long where that is known.
pub(super) async fn write<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    length: Option<u64>,
    place: Place,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match place {
        Place::Stdout => {
            let mut progress = Progress::new("stdout", length);
            match copy(body, &mut tokio::io::stdout(), &mut progress).await {
                // A player that was closed has heard enough.
                Err(error) if is_closed_pipe(&error) => Ok(()),
                copied => copied,
            }
        }
        Place::File(output) => {
            let cannot = || format!("cannot write {}", output.display());
            let file = File::create(partial(&output)).await.with_context(cannot)?;
            fill(body, length, file, &output).await.with_context(cannot)
        }
        Place::Inside(folder, name) => {
            let cannot = || format!("cannot write {name} into {}", folder.display());
            let (file, output) = begin(&folder, &name).await.with_context(cannot)?;
            fill(body, length, file, &output).await.with_context(cannot)
        }
    }
}

/// A file in a folder for the first name that is free. Who has begun a name is the only one to take it: of two that run
/// at once, neither replaces what the other wrote.
async fn begin(folder: &Path, name: &ObjectKey) -> anyhow::Result<(File, PathBuf)> {
    for number in 1.. {
        let output = folder.join(name.unique(number)?.as_str());
        match File::create_new(partial(&output)).await {
            Ok(file) if output.symlink_metadata().is_err() => return Ok((file, output)),
            Ok(_) => tokio::fs::remove_file(partial(&output)).await?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("every number is taken")
}

/// It goes by its name only once it is whole.
async fn fill<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    length: Option<u64>,
    mut file: File,
    output: &Path,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let written = copy(body, &mut file, &mut Progress::new(&name, length)).await;
    if written.is_err() {
        tokio::fs::remove_file(partial(output)).await?;
        return written;
    }
    file.sync_all().await?;
    Ok(tokio::fs::rename(partial(output), output).await?)
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
    fn new(name: &str, length: Option<u64>) -> Self {
        Self { bar: Screen::new().bar(name, 0, length), begun: Instant::now(), bytes: 0, length }
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
