//! AAC in MP4 (ISO 14496-12, -14), in two ways at once: while it grows it is a row of fragments, which plays to the
//! cut; once complete, one box around all fragments and a table at the tail make it a plain file.
//!
//! ```text
//! growing                     complete
//! ftyp                        ftyp
//! free  16 bytes of room      mdat  up to the tail
//! moov  without samples         …
//! moof, mdat  two seconds       …
//! moof, mdat  two seconds       …
//!                             moov  with every sample's size, length and start exact
//! ```

use crate::codec::Tags;
use boxes::plain;

mod boxes;
mod moov;
mod udta;

/// What an AAC stream is.
#[derive(Clone, Debug)]
pub struct Track {
    /// Samples per second and channel, at most 65,535.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Bits per second.
    pub bitrate: u32,
    /// The `AudioSpecificConfig` (ISO 14496-3 §1.6.2.1).
    pub config: Vec<u8>,
    /// Samples per channel of a packet.
    pub packet_samples: u32,
    /// Samples per channel at the beginning that the encoder added.
    pub priming: u32,
    /// Samples per channel, where they are known beforehand.
    pub samples: Option<u64>,
    /// What the file says of itself; chapters are counted at `rate`.
    pub tags: Tags,
}

/// Seconds of a fragment, at least.
const FRAGMENT_SECONDS: u32 = 2;
/// The most packets that the table at the tail lists, at two bytes of memory each until then: 37 hours at 16 kHz.
/// What is longer stays a row of fragments.
const MAX_LISTED: usize = 1 << 21;

/// Writes one file. Memory holds a fragment, and two bytes a packet for the table.
pub struct Muxer {
    track: Track,
    /// Packets of a fragment.
    per_fragment: usize,
    /// Bytes so far.
    position: u64,
    fragment: Vec<u8>,
    /// Sizes of the packets in the fragment.
    pending: Vec<u16>,
    fragments: u32,
    packets: u64,
    /// Sizes of all packets, or `None` where they are too many.
    sizes: Option<Vec<u16>>,
    most: usize,
    /// Bytes before the tail, and samples per channel, once the file is complete.
    end: Option<(u64, u64)>,
}

impl Muxer {
    /// A file of `track`.
    pub fn new(track: Track) -> Self {
        Self::listing(track, MAX_LISTED)
    }

    fn listing(track: Track, most: usize) -> Self {
        let per_fragment = (FRAGMENT_SECONDS * track.rate).div_ceil(track.packet_samples.max(1)) as usize;
        Self {
            track,
            per_fragment: per_fragment.max(1),
            position: 0,
            fragment: Vec::new(),
            pending: Vec::new(),
            fragments: 0,
            packets: 0,
            sizes: Some(Vec::new()),
            most,
            end: None,
        }
    }

    /// Appends everything before the first fragment.
    pub fn head(&mut self, out: &mut Vec<u8>) {
        let head = self.head_bytes();
        self.position = head.len() as u64;
        out.extend(head);
    }

    /// Appends a packet; fragments are written when they are full.
    pub fn packet(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        // A packet of two channels has at most 1,536 bytes (ISO 14496-3 §4.5.3.2).
        let size = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        self.fragment.extend_from_slice(&packet[..usize::from(size)]);
        self.pending.push(size);
        self.packets += 1;
        if self.pending.len() == self.per_fragment {
            self.flush(out);
        }
    }

    /// Ends the file, which plays `samples` samples per channel.
    pub fn finish(&mut self, samples: u64, out: &mut Vec<u8>) {
        self.flush(out);
        self.end = Some((self.position, samples));
        if let Some(sizes) = &self.sizes {
            let table = moov::Table { sizes, per_chunk: self.per_fragment, first: self.first_fragment() };
            let tail = moov::complete(&self.track, samples, &table);
            self.position += tail.len() as u64;
            out.extend(tail);
        }
    }

    /// After [`Self::finish`]: the bytes of [`Self::head`] as they are now.
    pub fn final_head(&self) -> Option<Vec<u8>> {
        self.end.map(|_| self.head_bytes())
    }

    fn head_bytes(&self) -> Vec<u8> {
        let mut out = plain(b"ftyp", &[b"isom\0\0\x02\0isomiso5iso6mp41M4A "]);
        let whole = self.end.filter(|_| self.sizes.is_some());
        out.extend(match whole {
            Some((end, _)) => wide_mdat(end - out.len() as u64),
            None => plain(b"free", &[&[0; 8]]),
        });
        // Inside of the `mdat` it need not change.
        let samples = self.end.filter(|_| whole.is_none()).map(|(_, samples)| samples);
        out.extend(moov::growing(&self.track, samples.or(self.track.samples)));
        out
    }

    fn first_fragment(&self) -> u64 {
        self.head_bytes().len() as u64
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.pending.is_empty() {
            return;
        }
        self.fragments += 1;
        let begin = (self.packets - self.pending.len() as u64) * u64::from(self.track.packet_samples);
        let fragment = moov::fragment(self.fragments, begin, &self.pending);
        let media = plain(b"mdat", &[&self.fragment]);
        self.position += (fragment.len() + media.len()) as u64;
        out.extend(fragment);
        out.extend(media);
        self.list();
        self.pending.clear();
        self.fragment.clear();
    }

    fn list(&mut self) {
        if let Some(sizes) = &mut self.sizes {
            sizes.extend_from_slice(&self.pending);
            if sizes.len() > self.most {
                self.sizes = None;
            }
        }
    }
}

/// The head of an `mdat` with a size of 64 bits, in the 16 bytes that were kept for it.
fn wide_mdat(size: u64) -> Vec<u8> {
    [b"\0\0\0\x01mdat".as_slice(), &size.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> Track {
        Track {
            rate: 16_000,
            channels: 1,
            bitrate: 64_000,
            config: vec![0x14, 0x08],
            packet_samples: 1_024,
            priming: 1_024,
            samples: None,
            tags: Tags::default(),
        }
    }

    /// The boxes of a file: name, place of the content, content.
    fn boxes(mut bytes: &[u8]) -> Vec<(String, usize, &[u8])> {
        let (whole, mut found) = (bytes.len(), Vec::new());
        while !bytes.is_empty() {
            let number = |range: std::ops::Range<usize>| {
                bytes[range].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
            };
            let (size, head) = if number(0..4) == 1 { (number(8..16), 16) } else { (number(0..4), 8) };
            let name = String::from_utf8_lossy(&bytes[4..8]).into_owned();
            found.push((name, whole - bytes.len() + head, &bytes[head..size]));
            bytes = &bytes[size..];
        }
        found
    }

    fn write(muxer: &mut Muxer, packets: u8) -> Vec<u8> {
        let mut out = Vec::new();
        muxer.head(&mut out);
        (0..packets).for_each(|index| muxer.packet(&vec![index; usize::from(index) + 1], &mut out));
        muxer.finish(u64::from(packets) * 1_024 - 1_500, &mut out);
        out
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        boxes(bytes).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn fragments_become_one_file_around_all_of_them() {
        let mut muxer = Muxer::new(track());
        let mut out = write(&mut muxer, 70);
        let open = ["ftyp", "free", "moov", "moof", "mdat", "moof", "mdat", "moof", "mdat", "moov"];
        assert_eq!(names(&out), open);
        let head = muxer.final_head().unwrap();
        out[..head.len()].copy_from_slice(&head);
        assert_eq!(names(&out), ["ftyp", "mdat", "moov"]);
    }

    #[test]
    fn the_table_finds_every_chunk() {
        let mut muxer = Muxer::new(track());
        let out = write(&mut muxer, 70);
        let chunks: Vec<_> =
            boxes(&out).iter().filter(|(name, ..)| name == "mdat").map(|chunk| chunk.1).collect();
        let place = out.windows(4).rposition(|name| name == b"co64").unwrap() + 12;
        let listed: Vec<_> = out[place..]
            .as_chunks()
            .0
            .iter()
            .take(3)
            .map(|&offset| u64::from_be_bytes(offset) as usize)
            .collect();
        assert_eq!(listed, chunks);
        assert_eq!((out[chunks[1]], out[chunks[2]]), (32, 64), "32 packets of 64 ms each");
    }

    #[test]
    fn what_is_too_long_to_list_stays_in_fragments_and_says_its_length() {
        let mut muxer = Muxer::listing(track(), 40);
        let out = write(&mut muxer, 70);
        assert_eq!(names(&out).last().unwrap(), "mdat");
        let head = muxer.final_head().unwrap();
        assert_eq!(names(&head), ["ftyp", "free", "moov"]);
        assert!(out.starts_with(&head[..60]) && head != out[..head.len()]);
        let place = head.windows(4).position(|name| name == b"mehd").unwrap() + 8;
        assert_eq!(head[place..place + 8], (70_u64 * 1_024 - 1_500).to_be_bytes());
    }
}
