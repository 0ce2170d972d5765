//! Bundles: ranges of many logs' files in one object, the remote copy that survives the machine.
//!
//! ```text
//! magic, version │ range bytes … │ index │ length of the index, its CRC32C, magic
//! ```
//!
//! The ranges lie one behind the other, as they lie in the spool. The index tells of each which bytes of which file of
//! which recording they are, and their CRC32C: an altered byte costs its range and no other. It stands at the end, so
//! that who wants to know what a bundle holds reads its tail alone. All numbers are little endian.
//!
//! ```text
//! index:     version u16 │ recordings u32 │ { id 16, tenant: length u16, text } … │ ranges u32 │ range …
//! range:     recording u32 (its place above) │ track 16 │ number u32 │ kind u8 │ offset u64 │ length u32 │ CRC32C u32
//! ```

use std::collections::HashMap;

use uuid::Uuid;

use crate::id::{NodeId, RecordingId, TrackId};
use crate::keys::{KeyError, ObjectKey};

/// The version this code writes.
pub const VERSION: u16 = 1;
/// Bytes of ranges that a bundle holds at most.
pub const MOST: usize = 8 << 20;
/// What all bundles' keys begin with.
pub const PREFIX: &str = "_reeltime/bundles/";

const MAGIC: &[u8; 8] = b"RTBUNDLE";
const END_MAGIC: &[u8; 8] = b"RTBINDEX";
/// Magic, version, and six bytes that are 0.
const HEAD: usize = 16;
/// Length of the index, its CRC32C, magic.
pub const TRAILER: usize = 16;
const RANGE: usize = 41;
/// Bytes of the largest index that is read: some hundred thousand ranges.
const MAX_INDEX: usize = 16 << 20;

/// Which of the two files of a track's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The log.
    Log,
    /// The sound beside it.
    Sound,
}

/// A file of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File {
    /// The track.
    pub track: TrackId,
    /// Its number in the track's chain.
    pub number: u32,
    /// Which of the two.
    pub kind: Kind,
}

/// A recording of which a bundle holds something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Whose it is.
    pub tenant: String,
    /// The recording.
    pub recording: RecordingId,
}

/// Bytes of a file, and where they lie in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The recording's place in [`Index::owners`].
    pub owner: u32,
    /// The file.
    pub file: File,
    /// Bytes of the file before it.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// The CRC32C of its bytes.
    pub crc32c: u32,
    /// Bytes of the bundle before it.
    pub at: usize,
}

impl Range {
    /// Where it ends in its file.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length as u64)
    }
}

/// Why a bundle, or a range of it, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It does not end as a bundle does: it was cut short, or is something else.
    #[error("it does not end as a bundle does: it was cut short, or is something else")]
    NoEnd,
    /// More of its end is needed to read the index.
    #[error("its index takes the last {need} bytes")]
    Tail {
        /// Bytes at its end that are needed.
        need: usize,
    },
    /// It was made by a later version.
    #[error("it is of version {version}, made by a later version of this program: use that one")]
    Version {
        /// The version it names.
        version: u16,
    },
    /// Its index was altered.
    #[error("its index was altered: nothing in it can be told apart")]
    Index,
    /// Bytes between its head and its index are missing or too many.
    #[error("it has {size} bytes where its index tells of {told}")]
    Size {
        /// Bytes it should have.
        told: u64,
        /// Bytes it has.
        size: u64,
    },
    /// A range was altered.
    #[error("{length} bytes of track {track} from {offset} on were altered")]
    Range {
        /// The track.
        track: TrackId,
        /// Where the range begins in its file.
        offset: u64,
        /// Its bytes.
        length: u32,
    },
}

/// Puts ranges into a bundle.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    owners: Vec<Owner>,
    places: HashMap<RecordingId, u32>,
    ranges: Vec<Range>,
}

impl Default for Writer {
    fn default() -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.resize(HEAD, 0);
        Self { bytes, owners: Vec::new(), places: HashMap::new(), ranges: Vec::new() }
    }
}

impl Writer {
    /// Bytes of ranges so far.
    pub const fn len(&self) -> usize {
        self.bytes.len() - HEAD
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range: at most [`MOST`] bytes. Nothing is added where there are none.
    pub fn add(&mut self, owner: &Owner, file: File, offset: u64, bytes: &[u8]) {
        let Ok(length) = u32::try_from(bytes.len()) else { return };
        if length == 0 {
            return;
        }
        let next = self.owners.len() as u32;
        let place = *self.places.entry(owner.recording).or_insert(next);
        if place == next {
            self.owners.push(owner.clone());
        }
        let crc32c = crc32c::crc32c(bytes);
        self.ranges.push(Range { owner: place, file, offset, length, crc32c, at: self.bytes.len() });
        self.bytes.extend_from_slice(bytes);
    }

    /// The whole bundle, and its index.
    pub fn finish(mut self) -> (Vec<u8>, Index) {
        let index = Index { owners: self.owners, ranges: self.ranges };
        let encoded = index.encode();
        self.bytes.extend_from_slice(&encoded);
        self.bytes.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&crc32c::crc32c(&encoded).to_le_bytes());
        self.bytes.extend_from_slice(END_MAGIC);
        (self.bytes, index)
    }
}

/// What a bundle holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The recordings.
    pub owners: Vec<Owner>,
    /// The ranges, in their order.
    pub ranges: Vec<Range>,
}

impl Index {
    fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_le_bytes().to_vec();
        out.extend_from_slice(&(self.owners.len() as u32).to_le_bytes());
        for owner in &self.owners {
            out.extend_from_slice(owner.recording.0.as_bytes());
            // Tenants' names are far below this.
            let tenant = &owner.tenant.as_bytes()[..owner.tenant.len().min(usize::from(u16::MAX))];
            out.extend_from_slice(&(tenant.len() as u16).to_le_bytes());
            out.extend_from_slice(tenant);
        }
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for range in &self.ranges {
            out.extend_from_slice(&range.owner.to_le_bytes());
            out.extend_from_slice(range.file.track.0.as_bytes());
            out.extend_from_slice(&range.file.number.to_le_bytes());
            out.push(u8::from(range.file.kind == Kind::Sound));
            out.extend_from_slice(&range.offset.to_le_bytes());
            out.extend_from_slice(&range.length.to_le_bytes());
            out.extend_from_slice(&range.crc32c.to_le_bytes());
        }
        out
    }

    /// Reads the index of a bundle of `size` bytes from its last ones, `tail`.
    ///
    /// # Errors
    /// [`BundleError::Tail`] where more of its end is needed; any other says why it cannot be read at all.
    pub fn read(tail: &[u8], size: u64) -> Result<Self, BundleError> {
        let whole = size > TRAILER as u64;
        let short = if whole { BundleError::Tail { need: TRAILER } } else { BundleError::NoEnd };
        let (rest, trailer) = tail.split_last_chunk::<TRAILER>().ok_or(short)?;
        let mut fields = Fields(trailer);
        let (length, crc) = (fields.u32()? as usize, fields.u32()?);
        if fields.0 != END_MAGIC || length > MAX_INDEX || ((HEAD + length + TRAILER) as u64) > size {
            return Err(BundleError::NoEnd);
        }
        let start = rest.len().checked_sub(length).ok_or(BundleError::Tail { need: length + TRAILER })?;
        let encoded = &rest[start..];
        if crc32c::crc32c(encoded) != crc {
            return Err(BundleError::Index);
        }
        let index = Self::decode(encoded)?;
        let told = index.ranges.last().map_or(HEAD, |range| range.at + range.length as usize);
        let told = (told + length + TRAILER) as u64;
        if told == size { Ok(index) } else { Err(BundleError::Size { told, size }) }
    }

    fn decode(encoded: &[u8]) -> Result<Self, BundleError> {
        let mut fields = Fields(encoded);
        let version = fields.u16()?;
        if version != VERSION {
            return Err(BundleError::Version { version });
        }
        let mut index = Self::default();
        for _ in 0..fields.u32()? {
            let recording = RecordingId(fields.uuid()?);
            let length = usize::from(fields.u16()?);
            let tenant = std::str::from_utf8(fields.take(length)?).map_err(|_| BundleError::Index)?;
            index.owners.push(Owner { tenant: tenant.to_owned(), recording });
        }
        let count = fields.u32()? as usize;
        if fields.0.len() != count.saturating_mul(RANGE) {
            return Err(BundleError::Index);
        }
        let mut at = HEAD;
        for _ in 0..count {
            let range = fields.range(at)?;
            at = at.checked_add(range.length as usize).ok_or(BundleError::Index)?;
            if range.owner as usize >= index.owners.len()
                || range.offset.checked_add(range.length.into()).is_none()
            {
                return Err(BundleError::Index);
            }
            index.ranges.push(range);
        }
        Ok(index)
    }

    /// The recording that a range belongs to.
    pub fn owner(&self, range: &Range) -> Option<&Owner> {
        self.owners.get(range.owner as usize)
    }

    /// The bytes of one of its ranges, out of the whole `bundle`.
    ///
    /// # Errors
    /// [`BundleError::Range`] where they are not those that were put in.
    pub fn bytes<'a>(&self, range: &Range, bundle: &'a [u8]) -> Result<&'a [u8], BundleError> {
        let bytes = bundle.get(range.at..).and_then(|rest| rest.get(..range.length as usize));
        let intact = bytes.filter(|bytes| crc32c::crc32c(bytes) == range.crc32c);
        let Range { file, offset, length, .. } = *range;
        intact.ok_or(BundleError::Range { track: file.track, offset, length })
    }
}

/// Reads fields, one behind the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BundleError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BundleError::Index)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BundleError::Index)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, BundleError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BundleError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, BundleError> {
        self.array().map(u64::from_le_bytes)
    }

    fn uuid(&mut self) -> Result<Uuid, BundleError> {
        self.array().map(Uuid::from_bytes)
    }

    fn range(&mut self, at: usize) -> Result<Range, BundleError> {
        Ok(Range {
            owner: self.u32()?,
            file: File {
                track: TrackId(self.uuid()?),
                number: self.u32()?,
                kind: match self.array()? {
                    [0] => Kind::Log,
                    [1] => Kind::Sound,
                    _ => return Err(BundleError::Index),
                },
            },
            offset: self.u64()?,
            length: self.u32()?,
            crc32c: self.u32()?,
            at,
        })
    }
}

/// Where the bundles of a node lie.
pub fn prefix(node: NodeId) -> String {
    format!("{PREFIX}{node}/")
}

/// Which bundle of which node: they sort as they were made, as text too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The process's epoch.
    pub epoch: u64,
    /// Counted from 1 in each epoch.
    pub number: u64,
}

impl Name {
    /// Its key.
    ///
    /// # Errors
    /// Never, but that keys are checked.
    pub fn key(self, node: NodeId) -> Result<ObjectKey, KeyError> {
        ObjectKey::new(format!("{}{:010}/{:010}", prefix(node), self.epoch, self.number))
    }

    /// The node and name that a key tells; `None` for what is no bundle's.
    pub fn parse(key: &str) -> Option<(NodeId, Self)> {
        let (node, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
        let (epoch, number) = rest.split_once('/')?;
        let digits =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        Some((node.parse().ok()?, Self { epoch: digits(epoch)?, number: digits(number)? }))
    }
}
