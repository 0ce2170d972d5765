//! What a crash left open, finished at the next start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tracing::{info, warn};

use super::error::FileError;
use super::{place, seal};

/// A file that was found open.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a file that was found open.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It has its exact sizes now.
    Finished {
        /// Samples per second.
        sample_rate: u32,
        /// Samples in it.
        samples: u64,
    },
    /// It is being recorded, by this process or another: it was left alone.
    InUse,
    /// It could not be finished; it still plays.
    Failed(FileError),
}

/// Finishes the files in `directory` that a crash left open. Call it at the start; it is also safe at any other time,
/// since a file that is being recorded is locked.
///
/// It looks at `*.wav` in that folder alone, follows no links, and touches only files whose head is, to the byte, the
/// one this library writes while a file is open. A folder that is not there holds nothing to repair. What is finished
/// already is not in the answer, which is sorted by path.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let directory = folder.path();
/// for repair in reeltime::file::repair(directory)? {
///     eprintln!("{}: {:?}", repair.path.display(), repair.outcome);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FileError::Look`] where the folder cannot be read.
pub fn repair(directory: impl AsRef<Path>) -> Result<Vec<Repair>, FileError> {
    let directory = place::folder(directory.as_ref());
    let paths = candidates(directory).map_err(|source| FileError::look(directory, source))?;
    let found = paths.into_iter().filter_map(|path| {
        let outcome = examine(&path).unwrap_or_else(|source| Some(failed(&path, source)))?;
        Some(Repair { path, outcome })
    });
    Ok(found.collect())
}

/// Every file that could be ours, by path.
fn candidates(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wav") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn failed(path: &Path, source: io::Error) -> Outcome {
    let error = FileError::finish(path, source);
    warn!(%error, "cannot repair a recording");
    Outcome::Failed(error)
}

/// Finishes one file where it is open; `None` where there is nothing to do.
fn examine(path: &Path) -> io::Result<Option<Outcome>> {
    // A file that is not ours, or that we may not even read, is none of our business.
    let is_open = open(path, false).is_ok_and(|file| open_rate(&file).is_some());
    if !is_open {
        return Ok(None);
    }
    let file = open(path, true)?;
    if !place::lock(&file)? {
        return Ok(Some(Outcome::InUse));
    }
    // Its recorder may have closed it just before the lock was ours.
    let Some(sample_rate) = open_rate(&file) else { return Ok(None) };
    let samples = seal::seal(&file, path, sample_rate)?;
    info!(path = %path.display(), samples, sample_rate, "finished a recording that a crash had left open");
    Ok(Some(Outcome::Finished { sample_rate, samples }))
}

/// Without following a link, and without waiting for the other end of a pipe.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    OpenOptions::new().read(true).write(write).custom_flags(flags as i32).open(path)
}

/// The sample rate of a regular file with an open head.
fn open_rate(file: &File) -> Option<u32> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = [0; seal::HEAD as usize];
    file.read_exact_at(&mut head, 0).ok()?;
    let rate = u32::from_le_bytes(*head[24..].first_chunk()?);
    (rate > 0 && head[..] == seal::head(rate, None)[..]).then_some(rate)
}
