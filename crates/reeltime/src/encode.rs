//! A WAV file's samples to a file of another format: for those who are promised one when their session ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use reeltime_codec::{Error as CodecError, encoder};
use reeltime_core::codec::{Encoder, Spec};
use reeltime_core::media::{Container, Format};

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

/// A file that is made of the bytes of a WAV file with 16 bit samples, as they come.
pub(crate) struct Encoding {
    encoder: Box<dyn Encoder>,
    file: File,
    /// Bytes of the WAV's head still to come.
    head: usize,
    /// Half a sample, and the next bytes.
    rest: Vec<u8>,
    samples: Vec<i16>,
    out: Vec<u8>,
}

impl Encoding {
    /// Begins the file; the WAV's head has `head` bytes.
    pub(crate) fn begin(mut encoder: Box<dyn Encoder>, head: usize, file: File) -> Self {
        let mut out = Vec::new();
        encoder.start(&mut out);
        Self { encoder, file, head, rest: Vec::new(), samples: Vec::new(), out }
    }

    /// Takes the WAV's next bytes.
    ///
    /// # Errors
    /// Where the encoder fails, or the disk.
    pub(crate) fn push(&mut self, wav: &[u8]) -> io::Result<()> {
        let head = self.head.min(wav.len());
        self.head -= head;
        self.rest.extend_from_slice(&wav[head..]);
        let (samples, odd) = self.rest.as_chunks::<2>();
        self.samples.clear();
        self.samples.extend(samples.iter().map(|&sample| i16::from_le_bytes(sample)));
        let whole = self.rest.len() - odd.len();
        self.rest.drain(..whole);
        self.encoder.push(&self.samples, &mut self.out).map_err(io::Error::other)?;
        self.write()
    }

    /// No more come: writes the rest, and the head as it is now known.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.encoder.finish(&mut self.out).map_err(io::Error::other)?;
        self.write()?;
        if let Some(head) = self.encoder.head() {
            self.file.write_all_at(&head, 0)?;
        }
        Ok(self.file)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.out)?;
        self.out.clear();
        Ok(())
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
                Encoding::begin(nearest(Container::Flac, &SPEC).unwrap(), 44, tempfile::tempfile().unwrap());
            wav.chunks(step).for_each(|piece| encoding.push(piece).unwrap());
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
