//! FLAC (RFC 9639), block by block in constant memory: fixed predictors, which are fast and cost a few percent of
//! size, and nothing that needs the file's end but the numbers in its head.
//!
//! ```text
//! fLaC
//!   STREAMINFO      sizes of blocks and frames, rate, channels, samples in all (0: unknown), MD5 (0: unknown)
//!   VORBIS_COMMENT  tags
//! frame, frame, …   of 4,096 samples each, the last one shorter
//! ```

use md5::{Digest, Md5};

use super::vorbis;
use crate::codec::{EncodeError, Encoder, Spec};
use bits::{Bits, crc8, crc16};

mod bits;
mod predict;

/// Samples per channel of every frame but the last.
const BLOCK: usize = 4_096;
/// The largest sample count that STREAMINFO can hold; 0 means unknown.
const MAX_SAMPLES: u64 = (1 << 36) - 1;
/// The most channels that a frame can hold.
pub const MAX_CHANNELS: u8 = 8;

/// Writes a FLAC file.
pub struct Flac {
    spec: Spec,
    /// Interleaved samples that do not fill a block yet.
    block: Vec<i16>,
    frames: u32,
    samples: u64,
    /// Bytes of the smallest and the largest frame.
    sizes: Option<(u32, u32)>,
    digest: Md5,
    finished: bool,
    writer: FrameWriter,
}

impl Flac {
    /// A file of `spec`, whose channels are 1 to [`MAX_CHANNELS`] and whose rate is below 2²⁰.
    pub fn new(spec: &Spec) -> Self {
        Self {
            block: Vec::with_capacity(BLOCK * usize::from(spec.channels)),
            writer: FrameWriter::new(spec.rate, usize::from(spec.channels)),
            spec: spec.clone(),
            frames: 0,
            samples: 0,
            sizes: None,
            digest: Md5::new(),
            finished: false,
        }
    }

    fn head_bytes(&self) -> Vec<u8> {
        let samples = if self.finished { self.samples } else { self.spec.samples.unwrap_or(0) };
        let mut out = b"fLaC\0\0\0\x22".to_vec();
        out.extend_from_slice(&[BLOCK as u16; 2].map(u16::to_be_bytes).concat());
        let (least, most) = self.sizes.filter(|_| self.finished).unwrap_or((0, 0));
        out.extend_from_slice(&least.to_be_bytes()[1..]);
        out.extend_from_slice(&most.to_be_bytes()[1..]);
        let counted = if samples > MAX_SAMPLES { 0 } else { samples };
        let sound = u64::from(self.spec.rate) << 44 | u64::from(self.spec.channels - 1) << 41 | 15 << 36;
        out.extend_from_slice(&(sound | counted).to_be_bytes());
        let md5 = if self.finished { self.digest.clone().finalize().into() } else { [0; 16] };
        out.extend_from_slice(&md5);
        let comments = vorbis::comments(&self.spec.tags, self.spec.rate);
        let length = (comments.len() as u32).to_be_bytes();
        out.extend_from_slice(&[0x84, length[1], length[2], length[3]]); // the last block, VORBIS_COMMENT
        out.extend_from_slice(&comments);
        out
    }

    /// Writes a frame of these interleaved samples.
    fn frame(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        digest(&mut self.digest, samples);
        let size = self.writer.frame(samples, self.frames, out) as u32;
        let (least, most) = self.sizes.unwrap_or((size, size));
        self.sizes = Some((least.min(size), most.max(size)));
        self.frames += 1;
        self.samples += (samples.len() / usize::from(self.spec.channels)) as u64;
    }
}

/// The sum is over the samples as they were: interleaved, little-endian (RFC 9639 §8.2).
fn digest(md5: &mut Md5, samples: &[i16]) {
    let mut bytes = [0; 2_048];
    for part in samples.chunks(bytes.len() / 2) {
        bytes.as_chunks_mut().0.iter_mut().zip(part).for_each(|(to, sample)| *to = sample.to_le_bytes());
        md5.update(&bytes[..part.len() * 2]);
    }
}

impl Encoder for Flac {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head_bytes());
    }

    fn push(&mut self, mut samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let size = BLOCK * usize::from(self.spec.channels);
        while self.block.len() + samples.len() >= size {
            let (now, later) = samples.split_at(size - self.block.len());
            let mut block = std::mem::take(&mut self.block);
            block.extend_from_slice(now);
            self.frame(&block, out);
            block.clear();
            self.block = block;
            samples = later;
        }
        self.block.extend_from_slice(samples);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            self.frame(&block, out);
        }
        self.finished = true;
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        self.finished.then(|| self.head_bytes())
    }
}

/// How the channels of a frame are coded (RFC 9639 §9.1.3).
#[derive(Clone, Copy)]
enum Pairing {
    Independent,
    LeftSide,
    SideRight,
    MidSide,
}

/// Makes frames; holds nothing but memory to work in.
struct FrameWriter {
    rate: u32,
    /// A plane per channel; for stereo also the middle and the side.
    planes: Vec<Vec<i32>>,
    channels: usize,
    residual: Vec<u32>,
    bits: Bits,
}

const MID: usize = 2;
const SIDE: usize = 3;

impl FrameWriter {
    fn new(rate: u32, channels: usize) -> Self {
        let planes = if channels == 2 { 4 } else { channels };
        let planes = vec![Vec::with_capacity(BLOCK); planes];
        Self { rate, planes, channels, residual: Vec::with_capacity(BLOCK), bits: Bits::default() }
    }

    /// Appends a frame; its bytes.
    fn frame(&mut self, samples: &[i16], number: u32, out: &mut Vec<u8>) -> usize {
        self.split(samples);
        let length = samples.len() / self.channels;
        self.bits.clear();
        if self.channels == 2 {
            let orders = [0, 1, MID, SIDE].map(|plane| predict::best_order(&self.planes[plane]));
            let (pairing, planes) = pair(orders.map(|(_, bits)| bits));
            self.head(pairing, length, number);
            planes.iter().for_each(|&plane| self.subframe(plane, orders[plane].0));
        } else {
            self.head(Pairing::Independent, length, number);
            (0..self.channels)
                .for_each(|plane| self.subframe(plane, predict::best_order(&self.planes[plane]).0));
        }
        self.bits.align();
        let bytes = self.bits.bytes();
        out.extend_from_slice(bytes);
        out.extend_from_slice(&crc16(bytes).to_be_bytes());
        bytes.len() + 2
    }

    fn split(&mut self, samples: &[i16]) {
        self.planes.iter_mut().for_each(Vec::clear);
        if let [left, right, mid, side] = self.planes.as_mut_slice()
            && self.channels == 2
        {
            let pairs = samples.as_chunks().0.iter().map(|&[l, r]| (i32::from(l), i32::from(r)));
            left.extend(pairs.clone().map(|(l, _)| l));
            right.extend(pairs.clone().map(|(_, r)| r));
            mid.extend(pairs.clone().map(|(l, r)| (l + r) >> 1));
            return side.extend(pairs.map(|(l, r)| l - r));
        }
        for (channel, plane) in self.planes.iter_mut().enumerate() {
            plane.extend(samples[channel..].iter().step_by(self.channels).map(|&sample| i32::from(sample)));
        }
    }

    fn subframe(&mut self, plane: usize, order: usize) {
        let width = if self.channels == 2 && plane == SIDE { 17 } else { 16 };
        predict::subframe(&self.planes[plane], width, order, &mut self.residual, &mut self.bits);
    }

    /// The frame's head with its sum (RFC 9639 §9.1).
    fn head(&mut self, pairing: Pairing, length: usize, number: u32) {
        let channels = match pairing {
            Pairing::Independent => self.channels as u32 - 1,
            Pairing::LeftSide => 8,
            Pairing::SideRight => 9,
            Pairing::MidSide => 10,
        };
        let (rate, rate_bits) = rate_code(self.rate);
        let size = if length == BLOCK { 12 } else { 7 };
        self.bits.put(0xFFF8, 16);
        self.bits.put(size << 4 | rate, 8);
        self.bits.put(channels << 4 | 4 << 1, 8); // samples of 16 bit
        put_number(&mut self.bits, number);
        if length != BLOCK {
            self.bits.put(length as u32 - 1, 16);
        }
        rate_bits.into_iter().for_each(|(value, count)| self.bits.put(value, count));
        self.bits.align();
        let sum = crc8(self.bits.bytes());
        self.bits.put(sum.into(), 8);
    }
}

/// The pairing that takes the fewest bits, from those of the left, right, middle and side, and its planes.
fn pair([left, right, mid, side]: [u64; 4]) -> (Pairing, [usize; 2]) {
    let choices = [
        (left + right, Pairing::Independent, [0, 1]),
        (left + side, Pairing::LeftSide, [0, SIDE]),
        (side + right, Pairing::SideRight, [SIDE, 1]),
        (mid + side, Pairing::MidSide, [MID, SIDE]),
    ];
    let best = choices.into_iter().min_by_key(|&(bits, ..)| bits);
    best.map_or((Pairing::Independent, [0, 1]), |(_, pairing, planes)| (pairing, planes))
}

/// The code of a rate and, where it has none of its own, the bits that follow (RFC 9639 §9.1.2).
fn rate_code(rate: u32) -> (u32, Option<(u32, u32)>) {
    const KNOWN: [u32; 11] =
        [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
    if let Some(index) = KNOWN.iter().position(|&known| known == rate) {
        return (index as u32 + 1, None);
    }
    match rate {
        _ if rate.is_multiple_of(1_000) && rate < 256_000 => (12, Some((rate / 1_000, 8))),
        _ if rate < 1 << 16 => (13, Some((rate, 16))),
        _ if rate.is_multiple_of(10) && rate / 10 < 1 << 16 => (14, Some((rate / 10, 16))),
        _ => (0, None), // as in STREAMINFO
    }
}

/// A number of up to 31 bits in the form of UTF-8 (RFC 9639 §9.1.5).
fn put_number(bits: &mut Bits, number: u32) {
    if number < 0x80 {
        return bits.put(number, 8);
    }
    let follow = (1..6).find(|follow| number < 1 << (5 * follow + 6)).unwrap_or(5);
    let mark = 0xFF_u32 << (7 - follow) & 0xFF;
    bits.put(mark | number >> (6 * follow), 8);
    (0..follow).rev().for_each(|index| bits.put(0x80 | number >> (6 * index) & 0x3F, 8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_like_characters() {
        for number in [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x1_0000, 0x10_FFFF] {
            let Some(character) = char::from_u32(number) else { continue };
            let mut bits = Bits::default();
            put_number(&mut bits, number);
            bits.align();
            assert_eq!(bits.bytes(), character.to_string().as_bytes());
        }
        let mut bits = Bits::default();
        put_number(&mut bits, 0x7FFF_FFFF);
        bits.align();
        assert_eq!(bits.bytes(), [0xFD, 0xBF, 0xBF, 0xBF, 0xBF, 0xBF]);
    }

    #[test]
    fn an_open_file_knows_no_length_and_a_closed_one_its_sum() {
        let spec = Spec { rate: 16_000, channels: 1, ..Spec::default() };
        let (mut flac, mut out) = (Flac::new(&spec), Vec::new());
        flac.start(&mut out);
        assert_eq!(out.len(), 8 + 34 + 4 + 16);
        assert_eq!((&out[18..26], &out[26..42]), (&[3, 0xE8, 0, 0xF0, 0, 0, 0, 0][..], &[0; 16][..]));
        assert_eq!(flac.head(), None);
        flac.finish(&mut out).unwrap();
        let head = flac.head().unwrap();
        assert_eq!(head[26..30], [0xD4, 0x1D, 0x8C, 0xD9], "the MD5 of nothing");
    }
}
