//! Opus in `WebM` (RFC 9559): plays to the cut while it grows, and has length, seeking and exact ends once its head
//! is set right.
//!
//! ```text
//! EBML
//! Segment                size unknown, then known
//!   SeekHead, Void       where the other parts are; Cues only at the end
//!   Info                 duration, or room for it
//!   Tracks               one of Opus, with its encoder's delay
//!   Chapters, Tags       where there are some
//!   Cluster, Cluster, …  two seconds each
//!   Cues                 where the clusters are
//! ```

use super::opus;
use crate::codec::Tags;
use cues::Cues;
use ebml::{element, id, number, parent, signed, void, wide, wide_size};

mod cues;
mod ebml;
mod meta;

/// Samples at 48 kHz after which a cluster is closed: two seconds.
const CLUSTER_SAMPLES: u64 = 2 * opus::RATE as u64;
/// What a decoder should hear before the place that is sought: 80 ms, in nanoseconds (RFC 7845 §4.6).
const SEEK_PRE_ROLL: u64 = 80_000_000;
/// Bytes kept for the element `SeekHead`, which has up to five entries of 21 bytes.
const SEEK_ROOM: usize = 128;

/// What an Opus stream is.
#[derive(Clone, Debug)]
pub struct Stream {
    /// 1 or 2.
    pub channels: u8,
    /// The delay of its encoder, in samples at 48 kHz.
    pub pre_skip: u16,
    /// Samples per second of what was encoded.
    pub rate: u32,
    /// Samples per channel at 48 kHz, delay not counted, where they are known beforehand.
    pub samples: Option<u64>,
    /// What the file says of itself; chapters are counted at `rate`.
    pub tags: Tags,
}

/// Writes one file. Memory holds a cluster and a bounded list of where clusters are.
pub struct Muxer {
    stream: Stream,
    /// Bytes of the segment's content so far.
    position: u64,
    cluster: Vec<u8>,
    cluster_start: u64,
    /// The newest packet and where it begins: held back, since the last one says what of it is not played.
    held: Option<(Vec<u8>, u64)>,
    samples: u64,
    cues: Cues,
    /// Where the cues are, and the samples per channel, once the file is complete.
    end: Option<(u64, u64)>,
}

impl Muxer {
    /// A file of `stream`.
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            position: 0,
            cluster: Vec::new(),
            cluster_start: 0,
            held: None,
            samples: 0,
            cues: Cues::new(),
            end: None,
        }
    }

    /// Appends everything before the first cluster.
    pub fn head(&mut self, out: &mut Vec<u8>) {
        let (before, content) = self.head_bytes();
        self.position = content.len() as u64;
        out.extend(before);
        out.extend(content);
    }

    /// After [`Self::finish_at`]: the same bytes as they are now.
    pub fn final_head(&self) -> Option<Vec<u8>> {
        self.end.map(|_| {
            let (before, content) = self.head_bytes();
            [before, content].concat()
        })
    }

    /// Appends a packet of `samples` samples per channel at 48 kHz; clusters are written when they are full.
    pub fn packet(&mut self, packet: &[u8], samples: u64, out: &mut Vec<u8>) {
        let before = self.held.replace((packet.to_vec(), self.samples));
        self.samples += samples;
        if let Some((packet, at)) = before {
            self.block(at, out, |relative| element(id::SIMPLE_BLOCK, &block(relative, 0x80, &packet)));
        }
    }

    /// Ends the file after `end` samples per channel at 48 kHz, delay counted, which lie in its last packet.
    pub fn finish_at(&mut self, end: u64, out: &mut Vec<u8>) {
        if let Some((packet, at)) = self.held.take() {
            let beyond = nanoseconds(self.samples.saturating_sub(end), opus::RATE);
            self.block(at, out, |relative| {
                let block = element(id::BLOCK, &block(relative, 0, &packet));
                parent(id::BLOCK_GROUP, &[block, signed(id::DISCARD_PADDING, beyond as i64)])
            });
        }
        self.flush(out);
        let cues = self.cues.to_bytes();
        out.extend_from_slice(&cues);
        self.end = Some((self.position, end.saturating_sub(self.stream.pre_skip.into())));
        self.position += cues.len() as u64;
    }

    /// Adds a block at a place, which it is told relative to its cluster, in milliseconds.
    fn block(&mut self, at: u64, out: &mut Vec<u8>, write: impl FnOnce(i16) -> Vec<u8>) {
        if at - self.cluster_start >= CLUSTER_SAMPLES {
            self.flush(out);
        }
        if self.cluster.is_empty() {
            self.cluster_start = at;
            self.cluster = number(id::TIMESTAMP, milliseconds(at));
        }
        let relative = milliseconds(at) - milliseconds(self.cluster_start);
        self.cluster.extend(write(relative as i16));
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.cluster.is_empty() {
            self.cues.add(milliseconds(self.cluster_start), self.position);
            let cluster = element(id::CLUSTER, &self.cluster);
            self.position += cluster.len() as u64;
            out.extend(cluster);
            self.cluster.clear();
        }
    }

    /// What is before the segment's content, and its content up to the first cluster.
    fn head_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let mut before = meta::ebml_head();
        before.extend(ebml::id_bytes(id::SEGMENT));
        before.extend(wide_size(self.end.map(|_| self.position)));
        let samples = self.end.map(|(_, samples)| samples).or(self.stream.samples);
        let parts = [
            (id::INFO, meta::info(&self.stream, samples)),
            (id::TRACKS, meta::tracks(&self.stream)),
            (id::CHAPTERS, meta::chapters(&self.stream)),
            (id::TAGS, meta::tags(&self.stream.tags)),
        ];
        let mut content = self.seek_head(&parts);
        parts.into_iter().for_each(|(_, part)| content.extend(part));
        (before, content)
    }

    fn seek_head(&self, parts: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut at = SEEK_ROOM as u64;
        let mut entries = Vec::new();
        for (id, part) in parts.iter().filter(|(_, part)| !part.is_empty()) {
            entries.push(seek(*id, at));
            at += part.len() as u64;
        }
        entries.extend(self.end.map(|(cues, _)| seek(id::CUES, cues)));
        let mut out = parent(id::SEEK_HEAD, &entries);
        out.extend(void(SEEK_ROOM - out.len()));
        out
    }
}

fn seek(part: u32, at: u64) -> Vec<u8> {
    parent(id::SEEK, &[element(id::SEEK_ID, &ebml::id_bytes(part)), wide(id::SEEK_POSITION, at)])
}

/// A block of track 1 (RFC 9559 §10).
fn block(relative: i16, flags: u8, packet: &[u8]) -> Vec<u8> {
    let [high, low] = relative.to_be_bytes();
    [&[0x81, high, low, flags], packet].concat()
}

const fn milliseconds(samples: u64) -> u64 {
    samples / (opus::RATE as u64 / 1_000)
}

/// Samples as nanoseconds, to the nearest.
fn nanoseconds(samples: u64, rate: u32) -> u64 {
    let rate = u128::from(rate.max(1));
    ((u128::from(samples) * 1_000_000_000 + rate / 2) / rate) as u64
}
