//! What the head of somebody else's WAV file says of the sound behind it, and that sound as 16 bit samples.

use super::super::g711;

/// `WAVE_FORMAT_EXTENSIBLE`: the real tag is in the sub-format.
const EXTENSIBLE: u16 = 0xfffe;
/// "To the end of the file", in the field of a size.
const OPEN: u32 = u32::MAX;

/// What the samples of a WAV file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// Linear, 8 bit, unsigned.
    U8,
    /// Linear, 16 bit, signed.
    S16,
    /// Linear, 24 bit, signed.
    S24,
    /// Linear, 32 bit, signed.
    S32,
    /// IEEE 754, 32 bit; full scale is 1.
    F32,
    /// IEEE 754, 64 bit; full scale is 1.
    F64,
    /// G.711 A-law.
    Alaw,
    /// G.711 μ-law.
    Mulaw,
}

impl Samples {
    /// Bytes of one sample of one channel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::Alaw | Self::Mulaw => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Of a format tag and its bits (RFC 2361, and the sub-formats of Microsoft's `ksmedia.h`).
    const fn of(tag: u16, bits: u16) -> Option<Self> {
        Some(match (tag, bits) {
            (1, 8) => Self::U8,
            (1, 16) => Self::S16,
            (1, 24) => Self::S24,
            (1, 32) => Self::S32,
            (3, 32) => Self::F32,
            (3, 64) => Self::F64,
            (6, 8) => Self::Alaw,
            (7, 8) => Self::Mulaw,
            _ => return None,
        })
    }

    /// Appends whole samples as 16 bit: the upper 16 of longer ones, floating point rounded and clipped.
    pub fn to_s16(self, bytes: &[u8], out: &mut Vec<i16>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|&byte| (i16::from(byte) - 128) << 8)),
            Self::Alaw => out.extend(bytes.iter().map(|&byte| g711::ALAW[usize::from(byte)])),
            Self::Mulaw => out.extend(bytes.iter().map(|&byte| g711::MULAW[usize::from(byte)])),
            Self::S16 => out.extend(bytes.as_chunks().0.iter().map(|&two| i16::from_le_bytes(two))),
            Self::S24 => {
                out.extend(bytes.as_chunks().0.iter().map(|&[_, low, high]| i16::from_le_bytes([low, high])))
            }
            Self::S32 => {
                out.extend(
                    bytes.as_chunks().0.iter().map(|&[_, _, low, high]| i16::from_le_bytes([low, high])),
                );
            }
            Self::F32 => {
                out.extend(
                    bytes.as_chunks().0.iter().map(|&four| clipped(f64::from(f32::from_le_bytes(four)))),
                );
            }
            Self::F64 => {
                out.extend(bytes.as_chunks().0.iter().map(|&eight| clipped(f64::from_le_bytes(eight))))
            }
        }
    }
}

/// Not a number is silence: a cast gives 0 for it, and the nearest there is for what is beyond.
fn clipped(sample: f64) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Where the sound of a WAV file is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its samples are.
    pub samples: Samples,
    /// Samples per second and channel.
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u16,
    /// Where it begins in the file, in bytes.
    pub start: usize,
    /// Its bytes; `None`: to the end of the file.
    pub bytes: Option<u64>,
}

/// Why a file is not read as WAV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWav {
    /// It does not begin as one.
    #[error("it does not begin with RIFF and WAVE")]
    Magic,
    /// No sound, or no description of it, within what was given of it.
    #[error("its head holds no `fmt ` and `data` chunk")]
    NoSound,
    /// Its samples are of another kind.
    #[error(
        "its samples are of a kind that is not read (format tag {tag}, {bits} bits): use 8 to 32 bit PCM, floating point or G.711"
    )]
    Samples {
        /// The format tag.
        tag: u16,
        /// Bits of one sample.
        bits: u16,
    },
}

/// Finds the sound, given the beginning of a file.
///
/// # Errors
/// [`NotWav`], with what it is instead.
pub fn find(head: &[u8]) -> Result<Found, NotWav> {
    let magic = head.get(..4).zip(head.get(8..12));
    if !magic.is_some_and(|(riff, kind)| matches!(riff, b"RIFF" | b"RF64") && kind == b"WAVE") {
        return Err(NotWav::Magic);
    }
    let (mut at, mut described, mut long) = (12_usize, None, None);
    loop {
        let id = head.get(at..at.saturating_add(4)).ok_or(NotWav::NoSound)?;
        let size = u32_at(head, at + 4).ok_or(NotWav::NoSound)?;
        let body = head.get(at + 8..).unwrap_or_default();
        match id {
            b"fmt " => described = Some(describe(body)?),
            b"ds64" => long = body.get(8..16).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes),
            b"data" => {
                let (samples, rate, channels) = described.ok_or(NotWav::NoSound)?;
                // A recorder that died left 0 there, or the size that says "to the end".
                let bytes = match size {
                    OPEN => long,
                    0 => None,
                    size => Some(u64::from(size)),
                };
                return Ok(Found { samples, rate, channels, start: at + 8, bytes });
            }
            _ => {}
        }
        // Chunks begin at even places.
        at = at.saturating_add(8).saturating_add(size as usize).saturating_add(size as usize % 2);
    }
}

/// Samples, rate and channels of a `fmt ` chunk.
fn describe(chunk: &[u8]) -> Result<(Samples, u32, u16), NotWav> {
    let two = |at: usize| Some(u16::from_le_bytes(chunk.get(at..at + 2)?.try_into().ok()?));
    let fields = || Some((two(0)?, two(2)?, u32_at(chunk, 4)?, two(12)?, two(14)?));
    let (tag, channels, rate, align, bits) = fields().ok_or(NotWav::NoSound)?;
    let tag = if tag == EXTENSIBLE { two(24).unwrap_or(tag) } else { tag };
    let samples = Samples::of(tag, bits)
        .filter(|samples| usize::from(align) == samples.bytes() * usize::from(channels));
    Ok((samples.ok_or(NotWav::Samples { tag, bits })?, rate, channels))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tag: u16, channels: u16, bits: u16, data: u32) -> Vec<u8> {
        let align = channels * bits / 8;
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        for field in [tag, channels] {
            file.extend(field.to_le_bytes());
        }
        file.extend(48_000_u32.to_le_bytes());
        file.extend((48_000 * u32::from(align)).to_le_bytes());
        for field in [align, bits] {
            file.extend(field.to_le_bytes());
        }
        file.extend(b"data");
        file.extend(data.to_le_bytes());
        file
    }

    #[test]
    fn sound_is_found_behind_chunks_of_odd_length() {
        let head = file(1, 2, 16, 400);
        let found = find(&head).unwrap();
        assert_eq!((found.samples, found.rate, found.channels), (Samples::S16, 48_000, 2));
        assert_eq!((found.start, found.bytes), (head.len(), Some(400)));
        assert_eq!(find(&file(3, 1, 32, OPEN)).unwrap().bytes, None);
        assert_eq!(find(&file(7, 1, 8, 0)).unwrap().bytes, None);
    }

    #[test]
    fn what_is_no_wav_is_told() {
        assert_eq!(find(b"OggS and more of it"), Err(NotWav::Magic));
        assert_eq!(find(b""), Err(NotWav::Magic));
        assert_eq!(find(&file(1, 1, 16, 4)[..40]), Err(NotWav::NoSound));
        assert_eq!(find(&file(2, 1, 4, 4)), Err(NotWav::Samples { tag: 2, bits: 4 }));
        let huge = b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff";
        assert_eq!(find(huge), Err(NotWav::NoSound));
    }

    #[test]
    fn every_kind_of_sample_becomes_16_bit() {
        let heard = |samples: Samples, bytes: &[u8]| {
            let mut out = Vec::new();
            samples.to_s16(bytes, &mut out);
            out
        };
        assert_eq!(heard(Samples::U8, &[0, 128, 255]), [-32_768, 0, 32_512]);
        assert_eq!(heard(Samples::S16, &[1, 2, 0, 0x80]), [0x201, -32_768]);
        assert_eq!(heard(Samples::S24, &[9, 1, 2, 0, 0, 0x80]), [0x201, -32_768]);
        assert_eq!(heard(Samples::S32, &[9, 9, 1, 2]), [0x201]);
        let floats: Vec<_> = [0.5_f32, -1.0, 2.0, f32::NAN].iter().flat_map(|f| f.to_le_bytes()).collect();
        assert_eq!(heard(Samples::F32, &floats), [16_384, -32_768, 32_767, 0]);
        assert_eq!(heard(Samples::F64, &0.25_f64.to_le_bytes()), [8_192]);
        assert_eq!(heard(Samples::Mulaw, &[0x80]), [32_124]);
        assert_eq!(heard(Samples::Alaw, &[0xD5]), [8]);
    }
}
