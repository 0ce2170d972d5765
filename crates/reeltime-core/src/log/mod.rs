//! A track's log: the truth that everything else is made from.
//!
//! One append-only file. All integers are little-endian; CRC is CRC32C (Castagnoli).
//!
//! ```text
//! file   = header, header (the same bytes again), record*, [footer record, trailer]
//!
//! header          0        8         10         12       16      20      24
//!                 ┌────────┬─────────┬──────────┬────────┬───────┬───────┬──────────────┐
//!                 │ magic  │ version │ reserved │ length │ salt  │ crc   │ JSON         │
//!                 │REELLOG0│ u16 = 2 │ u16 = 0  │ u32    │ u32   │ u32   │ length bytes │
//!                 └────────┴─────────┴──────────┴────────┴───────┴───────┴──────────────┘
//!                 crc covers bytes 0..20 and the JSON
//!
//! record          0        4       8      9
//!                 ┌────────┬───────┬──────┬──────────────┐
//!                 │ length │ crc   │ kind │ body         │   length counts the body alone
//!                 │ u32    │ u32   │ u8   │ length bytes │
//!                 └────────┴───────┴──────┴──────────────┘
//!                 crc covers salt, the record's offset in the file (u64), length, kind and body:
//!                 a record is valid in its own file at its own place and nowhere else
//!
//! kind 1 packet   arrival u64, timestamp u64, payload
//! kind 2 packet   arrival u64, timestamp u64, sequence u64, payload
//! kind 3 event    arrival u64, JSON of an `Event`
//! kind 4 footer   JSON of a `Footer`
//! kind 5 beside   arrival u64, timestamp u64, at u64, bytes u32, crc u32 [, sequence u64]
//!                 a packet whose payload lies in the sound file, there at byte `at`, with this CRC
//!
//! trailer         footer's offset u64, magic "REELEND0"         the last 16 bytes of a closed log
//! ```
//!
//! The sound file is a WAV that any player opens: a head that says "to the end" (RIFF sizes 0xFFFFFFFF), then the
//! payload of the log's packets in their order. Payload that is samples (PCM, G.711) lies there, so that a track
//! without gaps need not be copied to become a recording; Opus packets lie in the log. The sound is written before the
//! record that speaks of it: bytes behind the last record's do not count, and a record whose bytes are not there, or are
//! others, is damage.
//!
//! - The header stands twice, so that no single damaged place loses the log.
//! - A closed log is recognised by its trailer and its footer's CRC, and trusted without being read.
//! - An open log ends where its last valid record ends. What follows is a torn tail and is cut by the reader:
//!   the file itself is never changed. Bytes that are not a record *between* valid records are damage: they are
//!   skipped, counted, and become a gap.
//! - A log is never appended to by another process than the one that created it. After a crash or a failed sync
//!   the track goes on in a file with the next number, whose header says up to which byte the one before counts.

mod encode;
mod header;
mod scan;

pub use encode::{Encoder, HeaderTooLong};
pub use header::{Continues, Counting, Event, Footer, GapReason, LogHeader, Purpose};
pub use scan::{Beside, Closed, HeaderError, Packet, Record, Scan, Scanner, read_closed, read_header};

/// First bytes of a log.
pub const MAGIC: &[u8; 8] = b"REELLOG0";
/// Last bytes of a closed log.
pub const END_MAGIC: &[u8; 8] = b"REELEND0";
/// The version this code writes, and the newest it reads.
pub const VERSION: u16 = 2;
/// Bytes of a record before its body.
pub const RECORD_HEAD: usize = 9;
/// The largest body of a record. Longer payloads are split by whoever appends.
pub const MAX_BODY: usize = 64 * 1024;
/// The largest payload of one packet.
pub const MAX_PAYLOAD: usize = MAX_BODY - 24;
/// Bytes of the trailer.
pub const TRAILER: usize = 16;
/// The longest header (one copy), JSON and all.
pub const MAX_HEADER: usize = 16 * 1024;

const HEADER_FIXED: usize = 24;

mod kind {
    pub(super) const PACKET: u8 = 1;
    pub(super) const SEQUENCED: u8 = 2;
    pub(super) const EVENT: u8 = 3;
    pub(super) const FOOTER: u8 = 4;
    pub(super) const BESIDE: u8 = 5;
}

/// When a packet arrived and where its source says that it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// When its last byte was read, on the recording's clock.
    pub arrival: crate::time::Micros,
    /// Media time in samples per channel at the track's rate (Opus: 48,000), unwrapped to 64 bits. For sources
    /// without timestamps: the count of samples before this packet.
    pub timestamp: u64,
    /// The source's packet number, unwrapped to 64 bits, where it has one.
    pub sequence: Option<u64>,
}

/// CRC of a record: bound to its file by `salt` and to its place by `offset`.
fn record_crc(salt: u32, offset: u64, kind_and_body: &[u8]) -> u32 {
    let mut place = [0_u8; 16];
    place[..4].copy_from_slice(&salt.to_le_bytes());
    place[4..12].copy_from_slice(&offset.to_le_bytes());
    // The body's length is below 2^32: MAX_BODY is checked by both sides.
    place[12..].copy_from_slice(&(kind_and_body.len() as u32 - 1).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), kind_and_body)
}
