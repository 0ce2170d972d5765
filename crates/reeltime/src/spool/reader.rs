//! Reading a track's log back: its files in order, in windows, each record once.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use reeltime_core::id::TrackId;
use reeltime_core::log::{
    Beside, HeaderError, LogHeader, MAX_HEADER, Packet, Record, Scan, Scanner, read_header,
};

use super::disk::{Disk, DiskFile};
use super::{file_name, sound_name};

/// Bytes of a file that are read at once.
const WINDOW: usize = 128 * 1024;

/// The files that together are a track's log.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
}

#[derive(Clone)]
pub(super) struct Link {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    /// Beside it, where there is one.
    pub(super) sound: Option<Arc<dyn DiskFile>>,
    pub(super) header: LogHeader,
    pub(super) scanner: Scanner,
    /// Bytes of the file that count; all of them where absent.
    pub(super) until: Option<u64>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("number", &self.number)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Why a track's log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No file of it has an intact header.
    #[error("track {track} has no readable log: {source}")]
    Header {
        /// The track.
        track: TrackId,
        /// What its newest file shows.
        source: HeaderError,
    },
    /// A file cannot be read.
    #[error("cannot read the log of track {track}: {source}")]
    Io {
        /// The track.
        track: TrackId,
        /// What the system said.
        source: io::Error,
    },
}

/// One step of reading a track.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record; a packet comes with its payload, wherever that lies.
    Record(Record<'a>),
    /// So many bytes are no record. `tail`: at the end of a file, where a write was torn.
    Damage {
        /// Bytes that are lost.
        bytes: u64,
        /// They were the file's last.
        tail: bool,
    },
}

impl Chain {
    /// Opens the files of `track` with the given numbers (ascending). A file whose header is not intact holds
    /// nothing that was ever acknowledged, and is passed over.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn open(disk: &dyn Disk, track: TrackId, numbers: &[u32]) -> Result<Self, ChainError> {
        let failed = |source| ChainError::Io { track, source };
        let mut links: Vec<Link> = Vec::new();
        let mut unreadable = HeaderError::Short;
        let mut follow: Option<(u32, u64)> = None;
        for &number in numbers.iter().rev() {
            if follow.is_some_and(|(wanted, _)| wanted != number) {
                continue;
            }
            let file = disk.open(&file_name(track, number)).map_err(failed)?;
            let (header, scanner) = match header_of(&*file).map_err(failed)? {
                Ok(read) => read,
                Err(error) => {
                    unreadable = error;
                    continue;
                }
            };
            let until = follow.map(|(_, until)| until);
            follow = header.continues.map(|before| (before.number, before.valid_until));
            let done = follow.is_none();
            let sound = match disk.open(&sound_name(track, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened.map_err(failed)?),
            };
            links.push(Link { number, file, sound, header, scanner, until });
            if done {
                break;
            }
        }
        links.reverse();
        if links.is_empty() {
            return Err(ChainError::Header { track, source: unreadable });
        }
        Ok(Self { links })
    }

    /// Finds the track's files by itself and opens them.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn find(disk: &dyn Disk, track: TrackId) -> Result<Self, ChainError> {
        let numbers = numbers_of(disk, track).map_err(|source| ChainError::Io { track, source })?;
        Self::open(disk, track, &numbers)
    }

    /// The header of the newest file.
    pub fn header(&self) -> &LogHeader {
        &self.links[self.links.len() - 1].header
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn last(&self) -> &Link {
        &self.links[self.links.len() - 1]
    }
}

/// The most files of a track in a row whose names a crash may have lost: only such that failed one after the other.
const LOST_IN_A_ROW: u32 = 16;

/// The numbers of a track's files that exist. They are given one after the other, so there is no need to list the
/// folder; some may be missing where a crash came between.
pub(super) fn numbers_of(disk: &dyn Disk, track: TrackId) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut missing = 0;
    for number in 0.. {
        match disk.open(&file_name(track, number)) {
            Ok(_) => {
                numbers.push(number);
                missing = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing += 1,
            Err(error) => return Err(error),
        }
        if missing > LOST_IN_A_ROW {
            break;
        }
    }
    Ok(numbers)
}

fn header_of(file: &dyn DiskFile) -> io::Result<Result<(LogHeader, Scanner), HeaderError>> {
    let mut bytes = vec![0; 4096];
    let mut filled = fill(file, &mut bytes, 0)?;
    let mut header = read_header(&bytes[..filled]);
    if header.is_err() && filled == bytes.len() {
        bytes.resize(2 * MAX_HEADER, 0);
        filled = fill(file, &mut bytes, 0)?;
        header = read_header(&bytes[..filled]);
    }
    Ok(header)
}

/// Reads until `buffer` is full or the file ends.
pub(super) fn fill(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a track from its first record to its last, as the files are now; `visit` may end it early.
///
/// # Errors
/// Where a file cannot be read.
pub fn read_chain(chain: &Chain, visit: impl FnMut(Item<'_>) -> ControlFlow<()>) -> io::Result<()> {
    read_on(chain, &mut Cursor::default(), Reach::Whole, visit)
}

/// How far a track was read.
#[derive(Debug, Default)]
pub struct Cursor {
    number: u32,
    scanner: Option<Scanner>,
    windows: Windows,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To where the files end now.
    Whole,
    /// After the last whole record: more will be appended, so nothing is said of what follows it.
    Growing,
}

/// Reads on in a track from where `cursor` stands; `visit` may end it early, and the next call goes on behind what
/// it saw.
///
/// # Errors
/// Where a file cannot be read.
pub fn read_on(
    chain: &Chain,
    cursor: &mut Cursor,
    reach: Reach,
    mut visit: impl FnMut(Item<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let first = cursor.number;
    for link in chain.links.iter().filter(|link| link.number >= first) {
        if link.number > cursor.number || cursor.scanner.is_none() {
            cursor.number = link.number;
            cursor.scanner = Some(link.scanner.clone());
            cursor.windows.clear();
        }
        let Some(scanner) = cursor.scanner.as_mut() else { continue };
        let end = match (link.until, reach) {
            (Some(until), _) => End::At(until),
            (None, Reach::Whole) => End::File,
            (None, Reach::Growing) => End::Open,
        };
        if read_from(scanner, link, end, &mut cursor.windows, &mut visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Where to stop in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Where it ends now.
    File,
    /// At this byte.
    At(u64),
    /// It is still written: after its last whole record.
    Open,
}

/// Bytes of a file, from where its scanner stands.
#[derive(Debug, Default)]
pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn pass(&mut self, bytes: u64) {
        self.start = self.end.min(self.start.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)));
    }

    /// Reads more of the file, whose byte `offset` is the window's first, but none from `limit` on. Gives how
    /// much that was.
    fn fill(&mut self, file: &dyn DiskFile, offset: u64, need: usize, limit: u64) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.resize(self.buffer.len().max(need).max(WINDOW), 0);
        let at = offset + self.end as u64;
        let left = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let room = self.buffer.len().min(self.end.saturating_add(left));
        let read = fill(file, &mut self.buffer[self.end..room], at)?;
        self.end += read;
        Ok(read)
    }
}

/// What is read of a log and of the sound beside it.
#[derive(Debug, Default)]
pub(super) struct Windows {
    log: Window,
    sound: Sound,
}

impl Windows {
    fn clear(&mut self) {
        self.log.clear();
        self.sound = Sound { buffer: std::mem::take(&mut self.sound.buffer), ..Sound::default() };
    }
}

/// Bytes of a sound file, wherever they were wanted last.
#[derive(Debug, Default)]
struct Sound {
    buffer: Vec<u8>,
    at: u64,
    filled: usize,
}

impl Sound {
    /// The packet with its payload, or nothing where the file does not hold it.
    fn packet<'a>(
        &'a mut self,
        file: Option<&dyn DiskFile>,
        beside: &Beside,
    ) -> io::Result<Option<Packet<'a>>> {
        let Some(file) = file else { return Ok(None) };
        let wanted = beside.bytes as usize;
        if self.start(beside.at, wanted).is_none() {
            self.buffer.resize(WINDOW, 0);
            self.at = beside.at;
            // What lies further on may be what a failed sync left, which cannot be read and does not count.
            self.filled = fill(file, &mut self.buffer, beside.at)
                .or_else(|_| fill(file, &mut self.buffer[..wanted], beside.at))?;
        }
        let start = self.start(beside.at, wanted);
        Ok(start.and_then(|start| beside.with(&self.buffer[start..start + wanted])))
    }

    /// Where in the buffer the wanted bytes begin, if all of them are there.
    fn start(&self, at: u64, wanted: usize) -> Option<usize> {
        let start = usize::try_from(at.checked_sub(self.at)?).ok()?;
        (start.checked_add(wanted)? <= self.filled).then_some(start)
    }
}

/// Reads one file from where `scanner` stands.
pub(super) fn read_from(
    scanner: &mut Scanner,
    link: &Link,
    end: End,
    windows: &mut Windows,
    visit: &mut impl FnMut(Item<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let (file, Windows { log: window, sound }) = (&*link.file, windows);
    // The file's size is fixed now, so that a live log has an end.
    let size = file.size()?;
    let limit = if let End::At(until) = end { until.min(size) } else { size };
    loop {
        let before = scanner.offset();
        let eof = end != End::Open && before + window.bytes().len() as u64 >= limit;
        let item = match scanner.next(window.bytes(), eof) {
            Scan::Record(Record::Beside(beside)) => match sound.packet(link.sound.as_deref(), &beside)? {
                Some(packet) => Item::Record(Record::Packet(packet)),
                None => Item::Damage { bytes: beside.bytes.into(), tail: false },
            },
            Scan::Record(record) => Item::Record(record),
            Scan::Damage(bytes) => Item::Damage { bytes, tail: false },
            Scan::End { torn: 0 } => return Ok(ControlFlow::Continue(())),
            Scan::End { torn } => return Ok(visit(Item::Damage { bytes: torn, tail: true })),
            Scan::More(need) => {
                window.pass(scanner.offset() - before);
                if window.fill(file, scanner.offset(), need, limit)? == 0 {
                    // A live log goes on later; one that is shorter than it was ends here.
                    return Ok(ControlFlow::Continue(()));
                }
                continue;
            }
        };
        let flow = visit(item);
        window.pass(scanner.offset() - before);
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}
