//! What stands around MPEG layer III audio (ISO 11172-3, 13818-3): an ID3 tag, and an information frame that tells
//! players the length and which samples at both ends are not part of the sound.
//!
//! ```text
//! ID3v2.4       tags and chapters
//! frame         of silence, in which "Info" stands: frames, bytes, delay, padding
//! frame, …      the audio, at a constant bit rate
//! ```
//!
//! The frame has the form that LAME gave it, which is what players know.

use crate::codec::Tags;

pub mod id3;

/// Samples by which decoders delay what they give.
pub const DECODER_DELAY: u32 = 529;

/// A rate that layer III knows: its version, and its place among the three of that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    hertz: u32,
    /// As in a frame's head: 3 for MPEG-1, 2 for MPEG-2, 0 for MPEG-2.5.
    version: u8,
    index: u8,
}

impl Rate {
    /// Every rate, samples per second, from the lowest.
    pub const ALL: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    /// Of so many samples a second, where layer III knows it.
    pub fn new(hertz: u32) -> Option<Self> {
        const INDEX: [u8; 3] = [2, 0, 1];
        let place = Self::ALL.iter().position(|&known| known == hertz)?;
        Some(Self { hertz, version: [0, 2, 3][place / 3], index: INDEX[place % 3] })
    }

    /// Samples per channel of a frame.
    pub const fn frame_samples(self) -> u32 {
        if self.version == 3 { 1_152 } else { 576 }
    }

    /// Bits per second that a constant bit rate can be, from the lowest. LAME does not go past 64,000 below 16 kHz.
    pub fn bitrates(self) -> Vec<u32> {
        const MPEG1: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        let all: &[u32] = match self.version {
            3 => &MPEG1,
            2 => &MPEG2,
            _ => &MPEG2[..8],
        };
        all.iter().map(|kilobits| kilobits * 1_000).collect()
    }
}

const MPEG2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// What the information frame tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Bits per second of the audio.
    pub bitrate: u32,
    /// Frames of audio and their bytes, once they are known.
    pub audio: Option<Audio>,
    /// Samples at the beginning that the encoder added.
    pub delay: u16,
    /// Samples at the end that the encoder added.
    pub padding: u16,
}

/// The audio as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Frames, the information frame not counted.
    pub frames: u32,
    /// Bytes of those frames.
    pub bytes: u32,
    /// The sum over those bytes ([`crc16`]).
    pub crc: u16,
}

/// The most bytes of what is told, from `Info` to its check sum.
const TOLD: usize = 156;

/// The information frame. `encoder` names the one that made the audio: players trust delay and padding only of
/// those that they know, such as `LAME3.100`.
pub fn info_frame(rate: Rate, channels: u8, encoder: &str, info: Info) -> Vec<u8> {
    let mono = channels == 1;
    let side = match (rate.version, mono) {
        (3, false) => 32,
        (3, true) | (_, false) => 17,
        (_, true) => 9,
    };
    let mut out = frame_of(rate, mono, info.bitrate, 4 + side + TOLD);
    let place = 4 + side;
    let told = told(encoder, info, out.len());
    let end = place + told.len();
    out[place..end].copy_from_slice(&told);
    let sum = crc16(0, &out[..end]);
    out[end..end + 2].copy_from_slice(&sum.to_be_bytes());
    out
}

/// A frame of zeros at this bit rate, or at the lowest that has room for `least` bytes.
fn frame_of(rate: Rate, mono: bool, bitrate: u32, least: usize) -> Vec<u8> {
    let size = |bitrate: u32| (rate.frame_samples() / 8 * bitrate / rate.hertz) as usize;
    let bitrates = rate.bitrates();
    let fits = |&known: &u32| known >= bitrate && size(known) >= least;
    let index = bitrates.iter().position(fits).unwrap_or(bitrates.len() - 1);
    let mode = if mono { 3 << 6 } else { 1 << 6 };
    let mut out = vec![0; size(bitrates[index]).max(least)];
    out[0] = 0xFF;
    out[1] = 0xE0 | rate.version << 3 | 0b011; // layer III, no check sum
    out[2] = (index as u8 + 1) << 4 | rate.index << 2;
    out[3] = mode;
    out
}

/// What is told, without its check sum; `own` is the information frame's size.
fn told(encoder: &str, info: Info, own: usize) -> Vec<u8> {
    let mut out = b"Info".to_vec();
    let audio = info.audio.unwrap_or_default();
    let bytes = if info.audio.is_some() { audio.bytes.saturating_add(own as u32) } else { 0 };
    let flags: u32 = if info.audio.is_some() { 0b1111 } else { 0b1100 };
    out.extend_from_slice(&flags.to_be_bytes());
    // Fields that the flags leave out are not there, so the rest moves up.
    if info.audio.is_some() {
        out.extend_from_slice(&audio.frames.to_be_bytes());
        out.extend_from_slice(&bytes.to_be_bytes());
    }
    out.extend((0..100_u32).map(|percent| (percent * 256 / 100) as u8));
    out.extend_from_slice(&[0; 4]); // quality
    out.extend(encoder.bytes().chain(std::iter::repeat(b' ')).take(9));
    out.push(1); // constant bit rate
    out.extend_from_slice(&[0; 10]); // low pass, peak, gains, flags
    out.push((info.bitrate / 1_000).min(255) as u8);
    let (delay, padding) = (u32::from(info.delay), u32::from(info.padding));
    out.extend_from_slice(&(delay << 12 | padding & 0xFFF).to_be_bytes()[1..]);
    out.extend_from_slice(&[0; 4]); // misc, gain, preset
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(&audio.crc.to_be_bytes());
    out
}

/// CRC-16 with the polynomial 0x8005, reflected, carried on from `crc`: the sum that the information frame holds
/// of itself and of the audio.
pub fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, &byte| crc >> 8 ^ CRC16[usize::from(crc as u8 ^ byte)])
}

static CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u16, 0);
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xA001 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The file's head: the tag, where there is anything to tell, then the information frame. `samples` of sound, where their
/// number is known.
pub fn head(
    rate: Rate,
    channels: u8,
    tags: &Tags,
    samples: Option<u64>,
    encoder: &str,
    info: Info,
) -> Vec<u8> {
    let mut out = id3::tag(tags, rate.hertz, samples);
    out.extend(info_frame(rate, channels, encoder, info));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_has_its_published_check_value() {
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(crc16(crc16(0, b"1234"), b"56789"), 0xBB3D);
    }

    #[test]
    fn every_rate_has_an_information_frame_of_its_own_size() {
        for hertz in Rate::ALL {
            for channels in [1, 2] {
                let rate = Rate::new(hertz).unwrap();
                let open = Info { bitrate: 32_000, delay: 576, ..Info::default() };
                let audio = Some(Audio { frames: 7, bytes: 999, crc: 1 });
                let frames = [open, Info { audio, padding: 1_000, ..open }]
                    .map(|info| info_frame(rate, channels, "LAME3.100", info));
                assert_eq!(frames[0].len(), frames[1].len());
                let head = &frames[0][..4];
                let bitrate = rate.bitrates()[usize::from(head[2] >> 4) - 1];
                assert_eq!(frames[0].len() as u32, rate.frame_samples() / 8 * bitrate / hertz, "{hertz}");
            }
        }
        assert_eq!(Rate::new(44_101), None);
    }
}
