//! Work that may wait for a disk or cost time, on a thread that may. A thread that receives waits for nothing but its
//! sockets.

use std::io;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

use crate::error::Error;
use crate::recorder::MediaError;
use crate::segments::receive::ReceiveError;

/// The work broke off: it panicked, or the runtime goes down.
#[derive(Debug, thiserror::Error)]
#[error("the work on a thread that may block broke off: {0}")]
pub(crate) struct BrokenOff(#[from] JoinError);

impl From<BrokenOff> for io::Error {
    fn from(error: BrokenOff) -> Self {
        Self::other(error)
    }
}

impl From<BrokenOff> for Error {
    fn from(error: BrokenOff) -> Self {
        Self::Spool(error.into())
    }
}

impl From<BrokenOff> for ReceiveError {
    fn from(error: BrokenOff) -> Self {
        Self::Failed(error.into())
    }
}

impl From<BrokenOff> for MediaError {
    fn from(error: BrokenOff) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs `work` on a thread that may block, and waits for it.
///
/// # Errors
/// Those of `work`, or that it [broke off](BrokenOff).
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<BrokenOff> + Send + 'static,
{
    spawn_blocking(work).await.map_err(BrokenOff)?
}

/// Removes a file that may be gone already, from wherever it is let go of.
pub(crate) fn remove(file: PathBuf) {
    let work = move || {
        let _ = std::fs::remove_file(file);
    };
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}
