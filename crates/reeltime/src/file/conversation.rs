//! The recorder of one call.

use std::path::Path;
use std::time::Duration;

use reeltime_core::keys::safe_name;

use super::error::FileError;
use super::growing::{GrowingWav, LocalFileInfo};

/// Records one call's mixed audio, 16 bit mono, into one WAV file. For use from one thread or task.
///
/// The file plays at any instant, also while it is recorded and after a crash; see [the module](super) for what a
/// crash costs. Dropped without [`close`](Self::close), it is closed as well as can be, and an error is only logged.
///
/// ```
/// use reeltime::file::ConversationRecorder;
///
/// # let folder = tempfile::tempdir()?;
/// # let directory = folder.path();
/// let mut recorder = ConversationRecorder::create(directory, "session-123", 16_000)?;
/// recorder.write_samples(&[0; 32_000], 16_000)?;
/// let info = recorder.close()?;
/// assert_eq!(info.path, directory.join("session-123.wav"));
/// assert_eq!(std::fs::metadata(&info.path)?.len(), 64_044);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConversationRecorder {
    wav: GrowingWav,
}

impl ConversationRecorder {
    /// Creates `{base_name}.wav` in `directory`, which is made where it is missing. A name that is taken gets a
    /// number: nothing is overwritten. `base_name` may be any text; what is not safe in a file's name is escaped
    /// (see [`safe_name`]). `sample_rate` is in samples per second.
    ///
    /// # Errors
    /// [`FileError::ZeroRate`], [`FileError::Create`].
    pub fn create(directory: impl AsRef<Path>, base_name: &str, sample_rate: u32) -> Result<Self, FileError> {
        Ok(Self { wav: GrowingWav::create(directory.as_ref(), &safe_name(base_name), sample_rate)? })
    }

    /// Appends samples. They are copied into a queue of 256 KiB at most; only where the disk is so slow that the
    /// queue is full, this waits for it.
    ///
    /// # Errors
    /// [`FileError::Closed`], [`FileError::ZeroRate`], [`FileError::RateChanged`]; [`FileError::Write`] where the disk
    /// has refused something since the last call.
    pub fn write_samples(&mut self, samples: &[i16], sample_rate: u32) -> Result<(), FileError> {
        self.wav.check_open()?;
        self.check_rate(sample_rate)?;
        self.wav.append(samples.iter().copied(), Duration::MAX).map(|_| ())
    }

    /// Writes what is queued, then the exact sizes, and syncs the file: this waits for the disk, so call it in
    /// `spawn_blocking` from async code. A file of more than 4 GiB is copied once, since the head that tells its size
    /// is longer. The second time it returns the same again.
    ///
    /// # Errors
    /// [`FileError::Write`], [`FileError::Finish`]. Either way what is in the file stays, and plays.
    pub fn close(&mut self) -> Result<LocalFileInfo, FileError> {
        self.wav.close()
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        self.wav.path()
    }

    fn check_rate(&self, given: u32) -> Result<(), FileError> {
        match given {
            0 => Err(FileError::ZeroRate),
            rate if rate == self.wav.rate() => Ok(()),
            given => {
                Err(FileError::RateChanged { path: self.path().to_owned(), recorded: self.wav.rate(), given })
            }
        }
    }
}
