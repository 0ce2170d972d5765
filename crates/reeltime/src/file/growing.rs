//! A WAV file that grows: the queue between whoever has audio and the threads that write it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeltime_core::media::Container;
use reeltime_core::time::UtcMicros;
use tracing::{error, warn};

use super::error::FileError;
use super::writer::Writer;
use super::{place, seal};
use crate::recorder::Clock;

/// The most bytes that wait to be written, a file: 8 s at 16 kHz, 2.7 s at 48 kHz. Ordinarily it is 200 ms.
const QUEUE: usize = 256 * 1024;
/// From here the writer is told to hurry.
const HURRY: usize = QUEUE / 2;

/// A closed recording on the local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFileInfo {
    /// Where it lies.
    pub path: PathBuf,
    /// When it was created.
    pub started_at: UtcMicros,
    /// When it was closed.
    pub ended_at: UtcMicros,
    /// What it is.
    pub format: Container,
}

/// A file from its creation to its close. Dropped, it is closed as well as can be.
pub(super) struct GrowingWav {
    pub(super) file: Arc<OpenFile>,
    writer: Arc<Writer>,
    started_at: UtcMicros,
    closed: Option<Result<LocalFileInfo, FileError>>,
}

impl GrowingWav {
    /// Makes the file, from a stem that is safe as a name.
    pub(super) fn create(directory: &Path, stem: &str, rate: u32) -> Result<Self, FileError> {
        if rate == 0 {
            return Err(FileError::ZeroRate);
        }
        let failed = |source| FileError::create(directory, source);
        let (file, path) = place::create(directory, stem, &seal::head(rate, None)).map_err(failed)?;
        let device = file.metadata().map_err(failed)?.dev();
        let writer = Writer::of(device).map_err(failed)?;
        let file = Arc::new(OpenFile::new(file, path, rate));
        writer.add(&file);
        Ok(Self { file, writer, started_at: Clock::utc(), closed: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn rate(&self) -> u32 {
        self.file.rate
    }

    pub(super) fn check_open(&self) -> Result<(), FileError> {
        match self.closed {
            Some(_) => Err(FileError::Closed { path: self.path().to_owned() }),
            None => Ok(()),
        }
    }

    /// Queues samples. A full queue is waited for, at most `patience` at a time; returns how many samples found no
    /// room even so.
    pub(super) fn append(
        &self,
        samples: impl Iterator<Item = i16>,
        patience: Duration,
    ) -> Result<usize, FileError> {
        self.check_open()?;
        let mut samples = samples.peekable();
        loop {
            let Some(mut queue) = self.room(patience)? else { return Ok(samples.count()) };
            let room = (QUEUE - queue.bytes.len()) / 2;
            queue.bytes.extend(samples.by_ref().take(room).flat_map(i16::to_le_bytes));
            let hurry = queue.bytes.len() >= HURRY;
            drop(queue);
            if hurry {
                self.writer.hurry();
            }
            if samples.peek().is_none() {
                return Ok(0);
            }
        }
    }

    /// The queue with room in it; `None` where it stays full.
    fn room(&self, patience: Duration) -> Result<Option<MutexGuard<'_, Queue>>, FileError> {
        let mut queue = self.file.lock();
        if queue.is_full() {
            self.writer.hurry();
            let waited = self.file.room.wait_timeout_while(queue, patience, |queue| queue.is_full());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match &queue.failed {
            Some(source) => Err(self.file.write_error(source)),
            None => Ok(Some(queue).filter(|queue| !queue.is_full())),
        }
    }

    /// Writes what is queued and the exact sizes, and syncs. The second time it only says the same again.
    pub(super) fn close(&mut self) -> Result<LocalFileInfo, FileError> {
        if let Some(closed) = &self.closed {
            return closed.clone();
        }
        self.writer.remove(&self.file);
        let closed = self.file.finish().map(|()| LocalFileInfo {
            path: self.path().to_owned(),
            started_at: self.started_at,
            ended_at: Clock::utc(),
            format: Container::Wav,
        });
        self.closed.insert(closed).clone()
    }
}

impl Drop for GrowingWav {
    fn drop(&mut self) {
        if self.closed.is_none()
            && let Err(error) = self.close()
        {
            warn!(%error, "a recording was dropped and could not be closed");
        }
    }
}

impl std::fmt::Debug for GrowingWav {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrowingWav")
            .field("path", &self.path())
            .field("rate", &self.rate())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// What the threads see of a file.
pub(super) struct OpenFile {
    file: File,
    path: PathBuf,
    rate: u32,
    queue: Mutex<Queue>,
    /// Told whenever the queue was emptied.
    room: Condvar,
    /// Held from taking bytes out of the queue until they are written, so that they stay in order.
    pub(super) turn: Mutex<()>,
    unsynced: AtomicBool,
    /// Its name is not yet known to be durable.
    unnamed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Why nothing is written any more.
    failed: Option<Arc<io::Error>>,
}

impl Queue {
    const fn is_full(&self) -> bool {
        self.failed.is_none() && self.bytes.len() >= QUEUE
    }
}

impl OpenFile {
    fn new(file: File, path: PathBuf, rate: u32) -> Self {
        Self {
            file,
            path,
            rate,
            queue: Mutex::default(),
            room: Condvar::new(),
            turn: Mutex::default(),
            unsynced: AtomicBool::new(true),
            unnamed: AtomicBool::new(true),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is queued, by way of `block`.
    pub(super) fn flush(&self, block: &mut Vec<u8>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        block.clear();
        block.append(&mut self.lock().bytes);
        if block.is_empty() {
            return;
        }
        self.room.notify_all();
        match (&self.file).write_all(block) {
            Ok(()) => self.unsynced.store(true, Ordering::Release),
            Err(error) => self.fail(error),
        }
    }

    /// Makes what is written durable.
    pub(super) fn sync(&self) {
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.file.sync_data().and_then(|()| self.sync_name()) {
            self.fail(error);
        }
    }

    fn sync_name(&self) -> io::Result<()> {
        if !self.unnamed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        place::sync_name(&self.path)
    }

    /// Ends the file. Also one that the disk refused: what is in it gets its sizes.
    fn finish(&self) -> Result<(), FileError> {
        self.flush(&mut Vec::new());
        let sealed = seal::seal(&self.file, &self.path, self.rate).and_then(|_| place::sync_name(&self.path));
        place::unlock(&self.file);
        if let Some(source) = &self.lock().failed {
            return Err(self.write_error(source));
        }
        sealed.map_err(|source| FileError::finish(&self.path, source))
    }

    /// A write or sync that failed is never tried again: what the disk holds is no longer known.
    fn fail(&self, cause: io::Error) {
        error!(path = %self.path.display(), error = %cause, "nothing more is recorded");
        let mut queue = self.lock();
        queue.failed.get_or_insert(Arc::new(cause));
        queue.bytes = Vec::new();
        drop(queue);
        self.room.notify_all();
    }

    fn write_error(&self, source: &Arc<io::Error>) -> FileError {
        FileError::Write { path: self.path.clone(), source: Arc::clone(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_no_more_than_its_bound_and_nothing_of_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut wav = GrowingWav::create(folder.path(), "a", 16_000).unwrap();
        let file = Arc::clone(&wav.file);
        let hung = file.turn.lock().unwrap();
        let left = wav.append((0..200_000).map(|n| n as i16), Duration::ZERO).unwrap();
        assert_eq!(left, 200_000 - QUEUE / 2);
        assert_eq!(wav.append([7].into_iter(), Duration::ZERO).unwrap(), 1);
        assert_eq!(std::fs::metadata(wav.path()).unwrap().len(), 44, "the disk takes nothing");
        drop(hung);
        assert_eq!(wav.append([-1].into_iter(), Duration::MAX).unwrap(), 0, "it waits until there is room");
        let audio = std::fs::read(wav.close().unwrap().path).unwrap().split_off(44);
        let expected = (0..QUEUE as u32 / 2).map(|n| n as i16).chain([-1]).flat_map(i16::to_le_bytes);
        assert!(audio == expected.collect::<Vec<u8>>());
    }

    #[test]
    fn a_write_that_fails_is_returned_by_every_later_call() {
        let folder = tempfile::tempdir().unwrap();
        let mut wav = GrowingWav::create(folder.path(), "a", 16_000).unwrap();
        wav.append([1].into_iter(), Duration::MAX).unwrap();
        wav.file.fail(io::Error::other("the cable was pulled"));
        let append = wav.append([2].into_iter(), Duration::MAX).unwrap_err();
        for error in [append, wav.close().unwrap_err(), wav.close().unwrap_err()] {
            assert!(matches!(&error, FileError::Write { path, .. } if path.ends_with("a.wav")), "{error}");
            assert!(error.to_string().contains("the cable was pulled"), "{error}");
        }
    }
}
