//! What can go wrong with files, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a recording cannot be made, written or closed.
///
/// An error of the disk stays: every later call returns it again. So it can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A sample rate of 0.
    #[error("a sample rate of 0 Hz cannot be recorded: pass the rate of the samples, for example 16000")]
    ZeroRate,
    /// Samples of another rate than the file's.
    #[error(
        "{path} is recorded at {recorded} Hz and cannot take samples at {given} Hz: resample them, or create another recorder"
    )]
    RateChanged {
        /// The file.
        path: PathBuf,
        /// Its rate, in samples per second.
        recorded: u32,
        /// The rate of the samples.
        given: u32,
    },
    /// The recording was closed before.
    #[error("the recording {path} is closed: create another recorder to go on")]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// No file can be made there.
    #[error(
        "cannot create a recording in {directory}: {source}; choose another folder, or give this user the right to write there"
    )]
    Create {
        /// The folder.
        directory: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The disk did not take the audio. What it took before is in the file and stays readable; nothing more is
    /// recorded.
    #[error("cannot write {path}: {source}; it holds what was written before, and nothing more is recorded")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// All audio is in the file and plays, but its exact sizes could not be written.
    #[error("cannot finish {path}: {source}; its audio is complete and plays, `repair` finishes it later")]
    Finish {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A folder, or a file in it, cannot be looked at.
    #[error("cannot look for recordings to repair at {path}: {source}")]
    Look {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl FileError {
    pub(super) fn create(directory: &Path, source: io::Error) -> Self {
        Self::Create { directory: directory.to_owned(), source: Arc::new(source) }
    }

    pub(super) fn finish(path: &Path, source: io::Error) -> Self {
        Self::Finish { path: path.to_owned(), source: Arc::new(source) }
    }

    pub(super) fn look(path: &Path, source: io::Error) -> Self {
        Self::Look { path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Why the transcribe recorder cannot start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscribeError {
    /// A setting has a value that it cannot have.
    #[error("{name}={value:?} {expected}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it, and an example of what is not.
        expected: &'static str,
    },
    /// The format that is asked for cannot be made here.
    #[error("BACKEND_RECORD_FORMAT is not possible: {0}")]
    Format(#[from] reeltime_codec::Error),
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}
