//! Files that are made while something else is: samples go into an encoder, and its bytes to whoever keeps them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use reeltime_codec::{Error as CodecError, encoder};
use reeltime_core::codec::{Encoder, Spec};
use reeltime_core::media::{Codec, Container, Format, g711};

/// Bytes are handed over so many at a time: of peaks, those of 8 s at 16 kHz.
const PIECE: usize = 2_048;
/// Samples that are looked at together.
const STEP: usize = 512;

/// An encoder with the bit rate that is nearest to the one asked for: what is possible depends on the sound.
///
/// # Errors
/// Where its library is missing, or it does not take the rate or the channels.
pub(crate) fn nearest(container: Container, spec: &Spec) -> Result<Box<dyn Encoder>, CodecError> {
    match (encoder(container, spec), spec.bitrate) {
        (Err(CodecError::Bitrate { possible, .. }), Some(asked)) => {
            let bitrate = Some(asked.clamp(*possible.start(), *possible.end()));
            encoder(container, &Spec { bitrate, ..spec.clone() })
        }
        (made, _) => made,
    }
}

/// Whether sound as `of` can be had in this format here.
///
/// # Errors
/// With what is missing, and what to do.
pub(crate) fn check(format: Container, of: Format, bitrate: Option<u32>) -> Result<(), CodecError> {
    let spec = Spec { rate: of.rate, channels: of.channels, bitrate, ..Spec::default() };
    nearest(format, &spec).map(|_| ())
}

/// What takes a file while it is made.
pub(crate) trait Made: Send {
    /// The next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// All of it has been made; these bytes belong at its beginning instead of what came there.
    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()>;
}

impl Made for File {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        head.map_or(Ok(()), |head| self.write_all_at(&head, 0))
    }
}

impl<M: Made + ?Sized> Made for Box<M> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).bytes(bytes)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        (**self).complete(head)
    }
}

/// A file that an encoder makes of samples as they come.
pub(crate) struct Encoding<M> {
    encoder: Box<dyn Encoder>,
    out: Vec<u8>,
    made: M,
}

impl<M: Made> Encoding<M> {
    /// Begins the file.
    pub(crate) fn begin(mut encoder: Box<dyn Encoder>, made: M) -> Self {
        let mut out = Vec::new();
        encoder.start(&mut out);
        Self { encoder, out, made }
    }

    /// Takes the next samples; the channels alternate.
    ///
    /// # Errors
    /// Where the encoder fails, or whoever takes the file.
    pub(crate) fn push(&mut self, samples: &[i16]) -> io::Result<()> {
        self.encoder.push(samples, &mut self.out).map_err(io::Error::other)?;
        if self.out.len() < PIECE { Ok(()) } else { self.hand_over() }
    }

    /// No more come: gives the rest, and the head as it is now known.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) fn finish(mut self) -> io::Result<M> {
        self.encoder.finish(&mut self.out).map_err(io::Error::other)?;
        self.hand_over()?;
        self.made.complete(self.encoder.head())?;
        Ok(self.made)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.made.bytes(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

/// The samples in a WAV file, whose bytes come in pieces of any length.
#[derive(Debug)]
pub(crate) struct WavSamples {
    /// Those of a byte each; without, two bytes are one.
    table: Option<&'static [i16; 256]>,
    /// Bytes of its head still to come.
    head: usize,
    half: Option<u8>,
}

impl WavSamples {
    /// Of a file whose head has `head` bytes.
    pub(crate) const fn new(codec: Codec, head: usize) -> Self {
        let table = match codec {
            Codec::S16le | Codec::Opus => None,
            Codec::Mulaw => Some(&g711::MULAW),
            Codec::Alaw => Some(&g711::ALAW),
        };
        Self { table, head, half: None }
    }

    /// Gives the samples in the file's next bytes, some at a time.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn each(
        &mut self,
        wav: &[u8],
        mut take: impl FnMut(&[i16]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut sound = &wav[self.head.min(wav.len())..];
        self.head -= wav.len() - sound.len();
        let mut samples = [0; STEP];
        if let Some(table) = self.table {
            return sound.chunks(STEP).try_for_each(|some| {
                samples.iter_mut().zip(some).for_each(|(sample, &one)| *sample = table[usize::from(one)]);
                take(&samples[..some.len()])
            });
        }
        if let (Some(low), [high, rest @ ..]) = (self.half, sound) {
            take(&[i16::from_le_bytes([low, *high])])?;
            (self.half, sound) = (None, rest);
        }
        let (pairs, odd) = sound.as_chunks::<2>();
        self.half = odd.first().copied().or(self.half);
        pairs.chunks(STEP).try_for_each(|some| {
            samples.iter_mut().zip(some).for_each(|(sample, &two)| *sample = i16::from_le_bytes(two));
            take(&samples[..some.len()])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        rate: 16_000,
        channels: 1,
        samples: None,
        bitrate: None,
        tags: reeltime_core::codec::Tags {
            title: None,
            artists: Vec::new(),
            date: None,
            comment: None,
            chapters: Vec::new(),
        },
    };

    #[test]
    fn whatever_pieces_come_the_file_is_the_same() {
        let wav: Vec<u8> = (0..40_044_u32).map(|byte| (byte.wrapping_mul(byte) >> 7) as u8).collect();
        let made = |step: usize| {
            let mut encoding =
                Encoding::begin(nearest(Container::Flac, &SPEC).unwrap(), tempfile::tempfile().unwrap());
            let mut samples = WavSamples::new(Codec::S16le, 44);
            wav.chunks(step).for_each(|piece| samples.each(piece, |samples| encoding.push(samples)).unwrap());
            let file = encoding.finish().unwrap();
            let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let whole = made(wav.len());
        assert_eq!(&whole[..4], b"fLaC");
        for step in [1, 7, 44, 1_001] {
            assert!(made(step) == whole, "in steps of {step}");
        }
    }

    #[test]
    fn a_bit_rate_that_is_not_possible_becomes_the_nearest() {
        for container in [Container::Ogg, Container::Webm, Container::Mp4] {
            for bitrate in [1, 8_000, 128_000, 320_000, u32::MAX] {
                let spec = Spec { bitrate: Some(bitrate), ..SPEC };
                assert!(nearest(container, &spec).is_ok(), "{container} at {bitrate}");
            }
        }
        let rate = Spec { rate: 15_999, ..SPEC };
        assert!(matches!(nearest(Container::Ogg, &rate), Err(CodecError::Rate { .. })));
    }
}
