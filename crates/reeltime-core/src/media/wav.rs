//! The head of a WAV file as bytes. It is never behind its file: sizes are exact, or 0xFFFFFFFF while the file
//! grows, which readers take for "to the end". Exact sizes past 4 GiB make it RF64 (EBU Tech 3306).
//!
//! ```text
//! RIFF|RF64  size  WAVE
//!   ds64 28  riff u64, data u64, samples u64, 0 u32       RF64 only; `JUNK` where there is room for it
//!   fmt  16  (18 for G.711, with an empty extension)
//!   fact  4  samples per channel                          G.711 only
//!   data size, then the audio, then a zero where its size is odd
//!   …                                                     tags and moments, where there are some
//! ```

mod encoder;
pub mod read;

use super::{Codec, Format};

pub use encoder::Wav;

/// What the samples of a WAV file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Linear PCM, 16 bit, signed, little-endian: format 1.
    S16le,
    /// A-law: format 6.
    Alaw,
    /// μ-law: format 7.
    Mulaw,
}

impl Coding {
    /// Bytes of one sample of one channel.
    pub const fn bytes_per_sample(self) -> u64 {
        match self {
            Self::S16le => 2,
            Self::Alaw | Self::Mulaw => 1,
        }
    }

    const fn format_tag(self) -> u16 {
        match self {
            Self::S16le => 1,
            Self::Alaw => 6,
            Self::Mulaw => 7,
        }
    }
}

/// What a WAV file's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the samples are.
    pub coding: Coding,
    /// Samples per second and channel.
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u8,
    /// Samples per channel in the file, or `None` while it grows.
    pub samples: Option<u64>,
}

/// The size that says "to the end of the file".
const OPEN: u32 = u32::MAX;

impl Head {
    /// Of a file that holds a track as received; `None` where its payload is no samples.
    pub const fn of(format: Format, samples: Option<u64>) -> Option<Self> {
        let coding = match format.codec {
            Codec::S16le => Coding::S16le,
            Codec::Alaw => Coding::Alaw,
            Codec::Mulaw => Coding::Mulaw,
            Codec::Opus => return None,
        };
        Some(Self { coding, rate: format.rate, channels: format.channels, samples })
    }

    /// Bytes of one sample of all channels.
    pub const fn block_align(&self) -> u64 {
        self.coding.bytes_per_sample() * self.channels as u64
    }

    /// Bytes of audio behind the head, where they are known.
    pub const fn data_len(&self) -> Option<u64> {
        match self.samples {
            Some(samples) => Some(samples.saturating_mul(self.block_align())),
            None => None,
        }
    }

    /// The zero bytes that follow the audio: one where its size is known and odd.
    pub const fn padding(&self) -> u64 {
        match self.data_len() {
            Some(data) => data % 2,
            None => 0,
        }
    }

    /// Bytes of the whole file (head, audio and padding), where they are known.
    pub fn file_len(&self) -> Option<u64> {
        Some(self.to_bytes().len() as u64 + self.data_len()? + self.padding())
    }

    /// The head's bytes: 44 for PCM below 4 GiB.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with(&[], 0, false)
    }

    /// The head's bytes with whole chunks of others before the audio, and so many bytes of such behind it; with `room`,
    /// as many bytes whatever the sizes are.
    fn with(&self, before: &[u8], behind: u64, room: bool) -> Vec<u8> {
        let format = [&self.format(), before].concat();
        let room = if room { Room::Kept } else { Room::None };
        let Some(data) = self.data_len() else { return assemble(*b"RIFF", OPEN, room, &format, OPEN) };
        let kept = if room == Room::Kept { DS64_CHUNK } else { 0 };
        let riff = 4 + kept + format.len() as u64 + 8 + data + self.padding() + behind;
        match (u32::try_from(riff), u32::try_from(data)) {
            // The largest value of all means "open", so it cannot be a size.
            (Ok(riff), Ok(data)) if riff < OPEN => assemble(*b"RIFF", riff, room, &format, data),
            _ => {
                let sizes = [riff - kept + DS64_CHUNK, data, self.samples.unwrap_or_default()];
                assemble(*b"RF64", OPEN, Room::Sizes(sizes), &format, OPEN)
            }
        }
    }

    /// The chunks `fmt` and, for G.711, `fact`.
    fn format(&self) -> Vec<u8> {
        let plain = self.coding == Coding::S16le;
        let align = self.block_align() as u16;
        let mut out = Vec::with_capacity(38);
        out.extend_from_slice(b"fmt ");
        out.extend_from_slice(&(if plain { 16_u32 } else { 18 }).to_le_bytes());
        out.extend_from_slice(&self.coding.format_tag().to_le_bytes());
        out.extend_from_slice(&u16::from(self.channels).to_le_bytes());
        out.extend_from_slice(&self.rate.to_le_bytes());
        out.extend_from_slice(&self.rate.saturating_mul(u32::from(align)).to_le_bytes());
        out.extend_from_slice(&align.to_le_bytes());
        out.extend_from_slice(&(self.coding.bytes_per_sample() as u16 * 8).to_le_bytes());
        if !plain {
            let samples = self.samples.and_then(|samples| u32::try_from(samples).ok()).unwrap_or(OPEN);
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(b"fact\x04\0\0\0");
            out.extend_from_slice(&samples.to_le_bytes());
        }
        out
    }
}

/// Bytes of the `ds64` chunk, its own head included.
const DS64_CHUNK: u64 = 36;

/// What stands between `WAVE` and `fmt`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    None,
    /// `JUNK`, which can become sizes.
    Kept,
    /// `ds64`: the sizes of the file, of the audio, and the samples.
    Sizes([u64; 3]),
}

fn assemble(tag: [u8; 4], riff: u32, room: Room, format: &[u8], data: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(60 + format.len());
    out.extend_from_slice(&tag);
    out.extend_from_slice(&riff.to_le_bytes());
    out.extend_from_slice(b"WAVE");
    match room {
        Room::None => {}
        Room::Kept => {
            out.extend_from_slice(b"JUNK\x1c\0\0\0");
            out.extend_from_slice(&[0; 28]);
        }
        Room::Sizes(sizes) => {
            out.extend_from_slice(b"ds64\x1c\0\0\0");
            sizes.iter().for_each(|size| out.extend_from_slice(&size.to_le_bytes()));
            out.extend_from_slice(&[0; 4]);
        }
    }
    out.extend_from_slice(format);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(samples: Option<u64>) -> Head {
        Head { coding: Coding::S16le, rate: 16_000, channels: 1, samples }
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn two_seconds_of_16_khz_mono_are_64044_bytes() {
        let head = pcm(Some(32_000));
        assert_eq!(head.file_len(), Some(64_044));
        let expected =
            b"RIFF\x24\xfa\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\xfa\0\0";
        assert_eq!(head.to_bytes(), expected);
    }

    #[test]
    fn a_file_that_grows_says_so_in_the_same_44_bytes() {
        let bytes = pcm(None).to_bytes();
        assert_eq!((bytes.len(), u32_at(&bytes, 4), u32_at(&bytes, 40)), (44, OPEN, OPEN));
        assert_eq!(pcm(None).file_len(), None);
    }

    #[test]
    fn g711_has_an_extension_and_its_sample_count() {
        for (coding, tag) in [(Coding::Mulaw, 7), (Coding::Alaw, 6)] {
            let head = Head { coding, rate: 8_000, channels: 1, samples: Some(3) };
            let bytes = head.to_bytes();
            assert_eq!(bytes.len(), 58);
            assert_eq!(&bytes[16..24], [18, 0, 0, 0, tag, 0, 1, 0]);
            assert_eq!(&bytes[32..50], b"\x01\0\x08\0\0\0fact\x04\0\0\0\x03\0\0\0");
            assert_eq!((head.padding(), head.file_len()), (1, Some(62)));
            assert_eq!(u32_at(&bytes, 4), 54, "the padding counts in RIFF, not in data");
            assert_eq!(u32_at(&bytes, 54), 3);
        }
    }

    #[test]
    fn past_4_gib_it_is_rf64() {
        let most = (u64::from(u32::MAX) - 1 - 36) / 2;
        assert_eq!(&pcm(Some(most)).to_bytes()[..4], b"RIFF");
        let head = pcm(Some(most + 1));
        let bytes = head.to_bytes();
        assert_eq!(&bytes[..4], b"RF64");
        assert_eq!((bytes.len(), u32_at(&bytes, 4), u32_at(&bytes, 76)), (80, OPEN, OPEN));
        assert_eq!(u64_at(&bytes, 20), head.file_len().unwrap() - 8);
        assert_eq!(u64_at(&bytes, 28), (most + 1) * 2);
        assert_eq!(u64_at(&bytes, 36), most + 1);
    }
}
