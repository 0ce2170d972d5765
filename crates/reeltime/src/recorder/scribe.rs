//! Files that grow a little now and then, beside what is recorded: whoever makes them never waits for their disk, and none
//! of them is open in between.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tracing::debug;

use super::Inner;
use super::part::Part;
use crate::blocking::blocking;
use crate::encode::Made;
use crate::spare::Spare;

/// Bytes that wait for the disk at most, of all files together: where it is slower than that, they are given up.
const MOST: usize = 4 << 20;

/// Takes what is to be written.
#[derive(Debug)]
pub(super) struct Scribe {
    lines: UnboundedSender<Line>,
    waiting: Arc<AtomicUsize>,
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Lines {
    lines: UnboundedReceiver<Line>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Line {
    sheet: Arc<Sheet>,
    bytes: Vec<u8>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    head: Option<Vec<u8>>,
    done: oneshot::Sender<Part>,
}

/// A file of which there is nothing, something, or nothing any more.
#[derive(Debug)]
struct Sheet(Mutex<State>);

#[derive(Debug)]
enum State {
    Blank(PathBuf),
    Begun(Part),
    Lost,
}

/// A file on its way to the disk; dropped before it is complete, it goes.
#[derive(Debug)]
pub(super) struct Written {
    sheet: Arc<Sheet>,
    lines: UnboundedSender<Line>,
    waiting: Arc<AtomicUsize>,
    /// Gets the file when all of it is there.
    done: Option<oneshot::Receiver<Part>>,
}

impl Scribe {
    pub(super) fn new() -> (Self, Lines) {
        let (sender, receiver) = unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        (Self { lines: sender, waiting: Arc::clone(&waiting) }, Lines { lines: receiver, waiting })
    }

    /// Begins a file, which will be at this place.
    pub(super) fn begin(&self, place: PathBuf) -> Written {
        let sheet = Arc::new(Sheet(Mutex::new(State::Blank(place))));
        Written { sheet, lines: self.lines.clone(), waiting: Arc::clone(&self.waiting), done: None }
    }
}

impl Written {
    /// The file, once it was complete and is written; `None` where it could not be.
    pub(super) async fn done(self) -> Option<Part> {
        self.done?.await.ok()
    }

    fn send(&self, bytes: &[u8], end: Option<End>) -> io::Result<()> {
        if self.waiting.load(Ordering::Relaxed) + bytes.len() > MOST {
            return Err(io::Error::other("their disk is too slow"));
        }
        self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        let line = Line { sheet: Arc::clone(&self.sheet), bytes: bytes.to_vec(), end };
        self.lines.send(line).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Made for Written {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(bytes, None)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        let (done, receiver) = oneshot::channel();
        self.done = Some(receiver);
        self.send(&[], Some(End { head, done }))
    }
}

/// Writes what comes, as long as there is a recorder. What fails costs its own file and no other.
pub(super) async fn run(mut from: Lines, recorder: Weak<Inner>) {
    while let Some(line) = from.lines.recv().await {
        let Some(inner) = recorder.upgrade() else { return };
        let bytes = line.bytes.len();
        if let Err(error) = blocking(move || line.write(inner.cache.spare())).await {
            debug!(%error, "a file is given up that was made beside what is recorded");
        }
        from.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Line {
    fn write(self, spare: &Spare) -> io::Result<()> {
        let mut state = self.sheet.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = match std::mem::replace(&mut *state, State::Lost) {
            State::Lost => return Ok(()),
            State::Blank(place) => create(place, spare.clone(), &self.bytes)?,
            State::Begun(part) => append(part, spare, &self.bytes)?,
        };
        match self.end {
            None => *state = State::Begun(part),
            Some(end) => end.give(part)?,
        }
        Ok(())
    }
}

fn create(place: PathBuf, spare: Spare, bytes: &[u8]) -> io::Result<Part> {
    let (part, mut writer) = Part::create(place, spare)?;
    writer.bytes(bytes)?;
    Ok(part)
}

fn append(part: Part, spare: &Spare, bytes: &[u8]) -> io::Result<Part> {
    spare.check()?;
    OpenOptions::new().append(true).open(part.path())?.write_all(bytes)?;
    Ok(part)
}

impl End {
    fn give(self, part: Part) -> io::Result<()> {
        OpenOptions::new().write(true).open(part.path())?.complete(self.head)?;
        // Where nobody waits any more, it goes.
        let _ = self.done.send(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::recorder::cache::Cache;

    fn write_all(lines: &mut Lines, cache: &Cache) {
        while let Ok(line) = lines.lines.try_recv() {
            let _ = line.write(cache.spare());
        }
    }

    fn files_in(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn what_was_written_in_pieces_is_whole_with_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1_000, 0);
        let (scribe, mut lines) = Scribe::new();
        let (mut one, mut other) = (scribe.begin(cache.part()), scribe.begin(cache.part()));
        one.bytes(b"????").unwrap();
        other.bytes(b"of another").unwrap();
        write_all(&mut lines, &cache);
        one.bytes(b" and more").unwrap();
        one.complete(Some(b"head".to_vec())).unwrap();
        drop(other);
        write_all(&mut lines, &cache);
        let part = one.done().now_or_never().flatten().unwrap();
        assert_eq!(std::fs::read(part.path()).unwrap(), b"head and more");
        assert_eq!(files_in(folder.path()), 1, "the other one is gone");
    }

    #[test]
    fn a_disk_without_room_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1_000, u64::MAX);
        let (scribe, mut lines) = Scribe::new();
        let mut written = scribe.begin(cache.part());
        written.bytes(b"????").unwrap();
        written.complete(None).unwrap();
        write_all(&mut lines, &cache);
        assert!(written.done().now_or_never().flatten().is_none());
        assert_eq!(files_in(folder.path()), 0);
    }

    #[test]
    fn who_outruns_the_disk_is_told() {
        let (scribe, _lines) = Scribe::new();
        let mut written = scribe.begin(PathBuf::from("never"));
        let piece = vec![0; MOST / 4];
        assert_eq!((0..9).take_while(|_| written.bytes(&piece).is_ok()).count(), 4);
    }
}
