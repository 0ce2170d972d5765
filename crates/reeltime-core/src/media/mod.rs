//! Codecs and their framing, and containers as bytes out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod container;
pub mod flac;
pub mod g711;
pub mod mp3;
pub mod mp4;
pub mod ogg;
pub mod opus;
pub mod vorbis;
pub mod wav;
pub mod webm;

pub use container::{Container, UnknownContainer};

/// How a track's payload is coded. What arrives is logged as it is; nothing is ever transcoded on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Linear PCM, 16 bit, signed, little-endian, channels interleaved.
    S16le,
    /// G.711 μ-law (ITU-T G.711), one byte a sample.
    Mulaw,
    /// G.711 A-law (ITU-T G.711), one byte a sample.
    Alaw,
    /// Opus (RFC 6716), one packet a payload; its timebase is always 48,000 a second.
    Opus,
}

impl Codec {
    /// Every codec, in the order they are documented.
    pub const ALL: [Self; 4] = [Self::S16le, Self::Mulaw, Self::Alaw, Self::Opus];

    /// The name used on the wire and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S16le => "s16le",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
            Self::Opus => "opus",
        }
    }

    /// Bytes of one sample of one channel; `None` for Opus, whose packets have no fixed size.
    pub const fn bytes_per_sample(self) -> Option<usize> {
        match self {
            Self::S16le => Some(2),
            Self::Mulaw | Self::Alaw => Some(1),
            Self::Opus => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;
    fn from_str(s: &str) -> Result<Self, UnknownCodec> {
        Self::ALL.into_iter().find(|codec| codec.name() == s).ok_or(UnknownCodec)
    }
}

/// The codec's name is not one we record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec: use s16le, mulaw, alaw or opus")]
pub struct UnknownCodec;

/// What a track carries: codec, samples per second and channel, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// How the payload is coded.
    pub codec: Codec,
    /// Samples per second and channel; 48,000 for Opus.
    pub rate: u32,
    /// Interleaved channels, 1 to 8 (Opus: 1 or 2).
    pub channels: u8,
}

impl Format {
    /// The lowest rate accepted.
    pub const MIN_RATE: u32 = 8_000;
    /// The highest rate accepted.
    pub const MAX_RATE: u32 = 192_000;
    /// The most channels accepted.
    pub const MAX_CHANNELS: u8 = 8;

    /// Checks the ranges above; for Opus the rate must be 48,000 and the channels 1 or 2.
    pub fn new(codec: Codec, rate: u32, channels: u8) -> Result<Self, InvalidFormat> {
        let rate_fits = match codec {
            Codec::Opus => rate == opus::RATE,
            Codec::S16le | Codec::Mulaw | Codec::Alaw => (Self::MIN_RATE..=Self::MAX_RATE).contains(&rate),
        };
        if !rate_fits {
            return Err(InvalidFormat::Rate { codec, rate });
        }
        let most = if codec == Codec::Opus { 2 } else { Self::MAX_CHANNELS };
        if channels == 0 || channels > most {
            return Err(InvalidFormat::Channels { codec, channels, most });
        }
        Ok(Self { codec, rate, channels })
    }

    /// Bytes of one sample of all channels; `None` for Opus.
    pub fn block_align(self) -> Option<usize> {
        self.codec.bytes_per_sample().map(|bytes| bytes * usize::from(self.channels))
    }

    /// Samples per channel in one payload, or `None` where it is malformed: empty, not a whole number of
    /// samples, or an Opus packet that RFC 6716 §3.4 does not allow.
    pub fn samples_in(self, payload: &[u8]) -> Option<u64> {
        match self.block_align() {
            Some(align) if !payload.is_empty() && payload.len().is_multiple_of(align) => {
                Some((payload.len() / align) as u64)
            }
            Some(_) => None,
            None => opus::packet_samples(payload).map(u64::from),
        }
    }
}

/// A rate or a number of channels that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFormat {
    /// Samples per second out of range.
    #[error("rate {rate} does not fit codec {codec}: use 8000 to 192000, and 48000 for opus")]
    Rate {
        /// The codec asked for.
        codec: Codec,
        /// The rate asked for.
        rate: u32,
    },
    /// Channels out of range.
    #[error("{channels} channels do not fit codec {codec}: use 1 to {most}")]
    Channels {
        /// The codec asked for.
        codec: Codec,
        /// The channels asked for.
        channels: u8,
        /// The most that this codec takes.
        most: u8,
    },
}
