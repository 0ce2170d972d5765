//! Codecs whose samples stand alone. What was lost of them is silence: a recording of PCM is bit for bit what
//! arrived, and nothing else.

use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::media::Format;

/// 16 bit linear, little-endian.
pub(super) struct Linear {
    format: Format,
}

impl Linear {
    pub(super) const fn new(format: Format) -> Self {
        Self { format }
    }
}

impl Decoder for Linear {
    fn rate(&self) -> u32 {
        self.format.rate
    }

    fn channels(&self) -> u8 {
        self.format.channels
    }

    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        let samples = whole(self.format, payload)?;
        out.extend(payload.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)));
        Ok(samples)
    }

    fn conceal(&mut self, samples: u64, _: Option<&[u8]>, out: &mut Vec<i16>) {
        silence(samples, self.format, out);
    }

    fn reset(&mut self) {}
}

/// A byte a sample: G.711.
pub(super) struct Table {
    format: Format,
    samples: &'static [i16; 256],
}

impl Table {
    pub(super) const fn new(format: Format, samples: &'static [i16; 256]) -> Self {
        Self { format, samples }
    }
}

impl Decoder for Table {
    fn rate(&self) -> u32 {
        self.format.rate
    }

    fn channels(&self) -> u8 {
        self.format.channels
    }

    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        let samples = whole(self.format, payload)?;
        out.extend(payload.iter().map(|&byte| self.samples[usize::from(byte)]));
        Ok(samples)
    }

    fn conceal(&mut self, samples: u64, _: Option<&[u8]>, out: &mut Vec<i16>) {
        silence(samples, self.format, out);
    }

    fn reset(&mut self) {}
}

/// Samples per channel of a payload of whole samples.
fn whole(format: Format, payload: &[u8]) -> Result<u64, DecodeError> {
    format.samples_in(payload).ok_or_else(|| {
        DecodeError(format!(
            "{} bytes are not whole samples of {} channels of {}",
            payload.len(),
            format.channels,
            format.codec
        ))
    })
}

fn silence(samples: u64, format: Format, out: &mut Vec<i16>) {
    out.resize(out.len() + samples as usize * usize::from(format.channels), 0);
}
