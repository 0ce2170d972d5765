//! The head of a WAV file, read in order, so that a pipe will do as well as a file.

use std::io::{self, Read};

use reeltime_core::media::{Codec, Format};

/// `WAVE_FORMAT_EXTENSIBLE`: the real tag is in the sub-format.
const EXTENSIBLE: u16 = 0xfffe;
/// "To the end of the file", in the field of a size.
const OPEN: u32 = u32::MAX;
/// The longest `fmt` chunk that makes sense, and the longest `ds64`.
const MOST_CHUNK: u32 = 4_096;

/// What a WAV file's head says of the audio behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wav {
    /// None where the samples are of a kind that is not recorded as it is.
    pub(super) format: Option<Format>,
    /// Where the audio begins, in bytes.
    pub(super) start: u64,
    /// Bytes of audio; None: up to the end of the file.
    pub(super) bytes: Option<u64>,
}

/// Reads a head up to its audio; `None` where it is no WAV, or one without audio.
///
/// # Errors
/// Where reading fails.
pub(super) fn read(input: &mut impl Read) -> io::Result<Option<Wav>> {
    match (Scan { input, at: 0, format: None, ds64: None }).run() {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read,
    }
}

struct Scan<'a, R> {
    input: &'a mut R,
    at: u64,
    /// Once `fmt` was seen; None inside: nothing that is recorded as it is.
    format: Option<Option<Format>>,
    ds64: Option<u64>,
}

impl<R: Read> Scan<'_, R> {
    fn run(mut self) -> io::Result<Option<Wav>> {
        let [a, b, c, d, _, _, _, _, kind @ ..] = self.take::<12>()?;
        let riff = [a, b, c, d];
        if !(riff == *b"RIFF" || riff == *b"RF64") || kind != *b"WAVE" {
            return Ok(None);
        }
        loop {
            let [i, j, k, l, size @ ..] = self.take::<8>()?;
            let size = u32::from_le_bytes(size);
            match &[i, j, k, l] {
                b"data" => return Ok(self.found(size)),
                b"fmt " if (16..=MOST_CHUNK).contains(&size) => {
                    let chunk = self.chunk(size)?;
                    self.format = Some(format(&chunk));
                }
                b"ds64" if (16..=MOST_CHUNK).contains(&size) => {
                    let chunk = self.chunk(size)?;
                    self.ds64 =
                        chunk.get(8..16).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes);
                }
                _ => self.skip(padded(size))?,
            }
        }
    }

    /// A recorder that died left 0, or the size that says "to the end": both are read to the end, as ffmpeg does.
    fn found(&self, size: u32) -> Option<Wav> {
        let bytes = match size {
            OPEN => self.ds64,
            0 => None,
            size => Some(u64::from(size)),
        };
        self.format.map(|format| Wav { format, start: self.at, bytes })
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn chunk(&mut self, size: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; padded(size) as usize];
        self.input.read_exact(&mut bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        self.at += skipped;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Chunks begin at even places.
fn padded(size: u32) -> u64 {
    u64::from(size) + u64::from(size % 2)
}

/// The format that a `fmt` chunk describes, where we record it as it is.
fn format(chunk: &[u8]) -> Option<Format> {
    let two = |at: usize| Some(u16::from_le_bytes(chunk.get(at..at + 2)?.try_into().ok()?));
    let rate = u32::from_le_bytes(chunk.get(4..8)?.try_into().ok()?);
    let (channels, align, bits) = (two(2)?, two(12)?, two(14)?);
    let tag = if two(0)? == EXTENSIBLE { two(24)? } else { two(0)? };
    let codec = match (tag, bits) {
        (1, 16) => Codec::S16le,
        (6, 8) => Codec::Alaw,
        (7, 8) => Codec::Mulaw,
        _ => return None,
    };
    let format = Format::new(codec, rate, u8::try_from(channels).ok()?).ok()?;
    (format.block_align() == Some(usize::from(align))).then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeltime_core::media::wav::{Coding, Head};

    fn chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        [&id[..], &size.to_le_bytes(), body].concat()
    }

    fn fmt(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let align = channels * bits / 8;
        let mut body = Vec::new();
        body.extend(tag.to_le_bytes());
        body.extend(channels.to_le_bytes());
        body.extend(rate.to_le_bytes());
        body.extend((rate * u32::from(align)).to_le_bytes());
        body.extend(align.to_le_bytes());
        body.extend(bits.to_le_bytes());
        chunk(b"fmt ", 16, &body)
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        [chunk(b"RIFF", u32::MAX, b"WAVE"), chunks.concat()].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Wav> {
        read(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn our_own_heads_are_read_back() {
        for (coding, codec) in
            [(Coding::S16le, Codec::S16le), (Coding::Alaw, Codec::Alaw), (Coding::Mulaw, Codec::Mulaw)]
        {
            for samples in [Some(1_000), None] {
                let bytes = Head { coding, rate: 8_000, channels: 2, samples }.to_bytes();
                let wav = parse(&bytes).unwrap();
                let format = Format::new(codec, 8_000, 2).unwrap();
                let length = samples.map(|samples| samples * format.block_align().unwrap() as u64);
                assert_eq!(wav, Wav { format: Some(format), start: bytes.len() as u64, bytes: length });
            }
        }
    }

    #[test]
    fn beyond_4_gib_the_size_is_in_ds64() {
        let samples = Some(3 << 31);
        let bytes = Head { coding: Coding::S16le, rate: 8_000, channels: 1, samples }.to_bytes();
        assert_eq!(parse(&bytes).unwrap().bytes, Some(6 << 31));
    }

    #[test]
    fn other_chunks_are_skipped_and_a_size_of_0_is_to_the_end() {
        let list = chunk(b"LIST", 3, b"abc\0");
        let bytes = file(&[list, fmt(1, 1, 16_000, 16), chunk(b"data", 0, b"")]);
        let wav = parse(&bytes).unwrap();
        assert_eq!((wav.start, wav.bytes), (bytes.len() as u64, None));
    }

    #[test]
    fn other_samples_are_a_wav_that_is_not_sent_as_it_is() {
        for fmt in [fmt(3, 1, 16_000, 32), fmt(1, 1, 16_000, 24), fmt(1, 9, 16_000, 16), fmt(1, 1, 400, 16)] {
            assert_eq!(parse(&file(&[fmt, chunk(b"data", 2, b"..")])).unwrap().format, None);
        }
    }

    #[test]
    fn what_is_cut_or_no_wav_is_none() {
        let whole = file(&[fmt(1, 1, 16_000, 16), chunk(b"data", 2, b"")]);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(b"OggS and what follows it"), None);
        assert_eq!(parse(&file(&[chunk(b"data", 2, b"..")])), None, "no fmt chunk");
        assert_eq!(parse(&file(&[chunk(b"fmt ", 1 << 30, b"..")])), None, "a chunk beyond the end");
    }
}
