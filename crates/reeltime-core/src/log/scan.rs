//! Bytes as records: reading a log, and recovering one.
//!
//! Recovery is this scan: from bytes to records plus a cut. It never fails and never reads past what it is
//! given; what is not a record is reported as damage (valid records follow) or as the tail (none does).

use super::{
    END_MAGIC, Event, Footer, HEADER_FIXED, LogHeader, MAGIC, MAX_BODY, MAX_HEADER, PacketMeta, RECORD_HEAD,
    TRAILER, VERSION, kind, record_crc,
};
use crate::time::Micros;

/// Why a file's header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer bytes than a header has: the process died before its first write reached the disk.
    #[error("too short for a log's header")]
    Short,
    /// Neither copy of the header is intact.
    #[error("neither copy of the header is intact")]
    Damaged,
    /// Written by a newer version of this program.
    #[error("log version {0} is newer than this program reads (up to {VERSION}): use the newer program")]
    Newer(u16),
}

/// Reads a log's header from its first bytes (`2 * MAX_HEADER` are always enough) and gives a scanner that
/// stands at the first record.
///
/// # Errors
/// See [`HeaderError`].
pub fn read_header(bytes: &[u8]) -> Result<(LogHeader, Scanner), HeaderError> {
    match header_at(bytes) {
        Ok((header, salt, length)) => Ok((header, Scanner::new(salt, 2 * length))),
        Err(HeaderError::Newer(version)) => Err(HeaderError::Newer(version)),
        Err(first) => {
            let reach = bytes.len().min(MAX_HEADER + MAGIC.len());
            let copy = (1..reach.saturating_sub(MAGIC.len() - 1)).find(|&at| bytes[at..].starts_with(MAGIC));
            let Some(at) = copy else { return Err(first) };
            let (header, salt, length) = header_at(&bytes[at..])?;
            // Both copies have one length, so the first began where the second lies its length further on.
            if length != at {
                return Err(HeaderError::Damaged);
            }
            Ok((header, Scanner::new(salt, 2 * length)))
        }
    }
}

fn header_at(bytes: &[u8]) -> Result<(LogHeader, u32, usize), HeaderError> {
    let fixed = bytes.get(..HEADER_FIXED).ok_or(HeaderError::Short)?;
    if &fixed[..8] != MAGIC {
        return Err(HeaderError::Damaged);
    }
    let length = u32_at(fixed, 12) as usize;
    if length > MAX_HEADER - HEADER_FIXED {
        return Err(HeaderError::Damaged);
    }
    let json = bytes.get(HEADER_FIXED..HEADER_FIXED + length).ok_or(HeaderError::Short)?;
    if crc32c::crc32c_append(crc32c::crc32c(&fixed[..20]), json) != u32_at(fixed, 20) {
        return Err(HeaderError::Damaged);
    }
    let version = u16::from_le_bytes([fixed[8], fixed[9]]);
    if version > VERSION {
        return Err(HeaderError::Newer(version));
    }
    let header = serde_json::from_slice(json).map_err(|_| HeaderError::Damaged)?;
    Ok((header, u32_at(fixed, 16), HEADER_FIXED + length))
}

/// A packet as it was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its times.
    pub meta: PacketMeta,
    /// Its bytes, as received.
    pub payload: &'a [u8],
}

/// A packet whose payload lies in the sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its times.
    pub meta: PacketMeta,
    /// Where its payload begins in the sound file.
    pub at: u64,
    /// Bytes of its payload, at most [`super::MAX_PAYLOAD`].
    pub bytes: u32,
    /// CRC32C of its payload.
    pub crc: u32,
}

impl Beside {
    /// The packet, where `payload` is what was written.
    pub fn with<'a>(&self, payload: &'a [u8]) -> Option<Packet<'a>> {
        let same = payload.len() == self.bytes as usize && crc32c::crc32c(payload) == self.crc;
        same.then_some(Packet { meta: self.meta, payload })
    }
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// Media.
    Packet(Packet<'a>),
    /// Media in the sound file.
    Beside(Beside),
    /// Something that happened, and when.
    Event(Micros, Event),
    /// The log was closed; nothing follows.
    Footer(Footer),
}

/// One step of a scan.
#[derive(Debug, PartialEq)]
pub enum Scan<'a> {
    /// A valid record.
    Record(Record<'a>),
    /// Call again with a window of at least so many bytes from [`Scanner::offset`], or with `eof`.
    More(usize),
    /// So many bytes before the next record are no record: damage inside the log.
    Damage(u64),
    /// The log ends here. So many bytes behind its last record are no record: a torn tail (0 for a clean end).
    End {
        /// Bytes of the tail that do not count.
        torn: u64,
    },
}

/// Walks over a log in windows of any size, in constant memory.
#[derive(Clone, Debug)]
pub struct Scanner {
    salt: u32,
    offset: u64,
    damaged_from: Option<u64>,
    /// Looking for the first record after [`Self::skip_to`]: what is passed over is no damage.
    seeking: bool,
    last_end: u64,
    closed: bool,
}

impl Scanner {
    const fn new(salt: u32, offset: usize) -> Self {
        Self::at(salt, offset as u64)
    }

    /// Stands at `offset` of the file whose header holds `salt`.
    pub const fn at(salt: u32, offset: u64) -> Self {
        Self { salt, offset, damaged_from: None, seeking: false, last_end: offset, closed: false }
    }

    /// Where the next window must begin, in bytes from the file's start.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the last valid record ended: the cut, once the scan has reached the end.
    pub const fn valid_until(&self) -> u64 {
        self.last_end
    }

    /// Goes on from `offset` instead, which need not be a record's start: the scan finds the next one. What
    /// lies between does not count as damage.
    pub const fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
        self.damaged_from = None;
        self.seeking = true;
    }

    /// The next step. `window` holds the file's bytes from [`Self::offset`]; `eof` says that the file ends
    /// where the window does.
    pub fn next<'a>(&mut self, window: &'a [u8], eof: bool) -> Scan<'a> {
        let mut at = 0;
        loop {
            let rest = &window[at..];
            if self.closed || (eof && rest.is_empty()) {
                return self.end(rest.len());
            }
            match self.record_at(rest) {
                At::Record { kind, length } => {
                    let damaged_from = self.damaged_from.take();
                    if let (Some(from), false) = (damaged_from, std::mem::take(&mut self.seeking)) {
                        return Scan::Damage(self.offset - from);
                    }
                    let body = &rest[RECORD_HEAD..length];
                    self.offset += length as u64;
                    self.last_end = self.offset;
                    let Some(record) = decode(kind, body) else {
                        // Intact, but of a kind or shape this version does not know: passed over.
                        at += length;
                        continue;
                    };
                    self.closed = matches!(record, Record::Footer(_));
                    if self.closed {
                        self.last_end += TRAILER as u64;
                    }
                    return Scan::Record(record);
                }
                At::Short(need) if !eof => return Scan::More(need),
                At::Short(_) | At::Nothing => {
                    self.damaged_from.get_or_insert(self.offset);
                    self.offset += 1;
                    at += 1;
                }
            }
        }
    }

    fn end<'a>(&mut self, rest: usize) -> Scan<'a> {
        let reached = self.offset + rest as u64;
        let torn = reached.saturating_sub(self.last_end);
        // A search that began in the middle (`skip_to`) and met nothing leaves the cut where it was.
        Scan::End { torn: if self.damaged_from.is_some() || self.closed { torn } else { 0 } }
    }

    fn record_at(&self, rest: &[u8]) -> At {
        let Some(head) = rest.get(..RECORD_HEAD) else { return At::Short(RECORD_HEAD) };
        let body = u32_at(head, 0) as usize;
        if body > MAX_BODY || !(kind::PACKET..=kind::BESIDE).contains(&head[8]) {
            return At::Nothing;
        }
        let length = RECORD_HEAD + body;
        let Some(record) = rest.get(..length) else { return At::Short(length) };
        if record_crc(self.salt, self.offset, &record[8..]) != u32_at(head, 4) {
            return At::Nothing;
        }
        At::Record { kind: head[8], length }
    }
}

enum At {
    Record { kind: u8, length: usize },
    Short(usize),
    Nothing,
}

fn decode(kind: u8, body: &[u8]) -> Option<Record<'_>> {
    match kind {
        kind::PACKET => {
            let meta = PacketMeta { arrival: micros_at(body)?, timestamp: u64_at(body, 8)?, sequence: None };
            Some(Record::Packet(Packet { meta, payload: &body[16..] }))
        }
        kind::SEQUENCED => {
            let sequence = Some(u64_at(body, 16)?);
            let meta = PacketMeta { arrival: micros_at(body)?, timestamp: u64_at(body, 8)?, sequence };
            Some(Record::Packet(Packet { meta, payload: &body[24..] }))
        }
        kind::EVENT => Some(Record::Event(micros_at(body)?, serde_json::from_slice(&body[8..]).ok()?)),
        kind::FOOTER => Some(Record::Footer(serde_json::from_slice(body).ok()?)),
        kind::BESIDE => beside(body).map(Record::Beside),
        _ => None,
    }
}

/// A closed log's footer and where its records end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What the footer says.
    pub footer: Footer,
    /// Where the footer's record begins: the end of the other records.
    pub records_end: u64,
}

/// Reads the end of a log: its footer, where it is closed. `tail` is the file's last bytes (4 KiB are always
/// enough) and `length` the file's size.
pub fn read_closed(scanner: &Scanner, tail: &[u8], length: u64) -> Option<Closed> {
    let trailer = tail.get(tail.len().checked_sub(TRAILER)?..)?;
    if &trailer[8..] != END_MAGIC {
        return None;
    }
    let at = u64_at(trailer, 0)?;
    let from_end = usize::try_from(length.checked_sub(at)?).ok()?;
    let record = tail.get(tail.len().checked_sub(from_end)?..tail.len() - TRAILER)?;
    // Exactly there: a footer further on would mean that the trailer is damaged.
    match Scanner::at(scanner.salt, at).next(record, true) {
        Scan::Record(Record::Footer(footer)) => Some(Closed { footer, records_end: at }),
        Scan::Record(_) | Scan::More(_) | Scan::Damage(_) | Scan::End { .. } => None,
    }
}

fn beside(body: &[u8]) -> Option<Beside> {
    let sequence = if body.len() > 32 { Some(u64_at(body, 32)?) } else { None };
    let meta = PacketMeta { arrival: micros_at(body)?, timestamp: u64_at(body, 8)?, sequence };
    let (at, sizes) = (u64_at(body, 16)?, body.get(24..32)?);
    let bytes = u32_at(sizes, 0);
    let fits = bytes as usize <= super::MAX_PAYLOAD && at.checked_add(bytes.into()).is_some();
    fits.then_some(Beside { meta, at, bytes, crc: u32_at(sizes, 4) })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn micros_at(bytes: &[u8]) -> Option<Micros> {
    u64_at(bytes, 0).map(Micros)
}
