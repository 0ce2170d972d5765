//! Codecs whose samples stand alone. What was lost of them is silence: a recording of PCM is bit for bit what
//! arrived, and nothing else.

use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::media::Format;

pub(super) struct Pcm {
    format: Format,
    /// The sample that a byte stands for: G.711. Without it 16 bit linear, little-endian.
    table: Option<&'static [i16; 256]>,
}

impl Pcm {
    pub(super) const fn new(format: Format, table: Option<&'static [i16; 256]>) -> Self {
        Self { format, table }
    }
}

impl Decoder for Pcm {
    fn rate(&self) -> u32 {
        self.format.rate
    }

    fn channels(&self) -> u8 {
        self.format.channels
    }

    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        let Format { codec, channels, .. } = self.format;
        let samples = self.format.samples_in(payload).ok_or_else(|| {
            let bytes = payload.len();
            DecodeError(format!("{bytes} bytes are not whole samples of {channels} channels of {codec}"))
        })?;
        match self.table {
            Some(table) => out.extend(payload.iter().map(|&byte| table[usize::from(byte)])),
            None => out.extend(payload.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample))),
        }
        Ok(samples)
    }

    fn conceal(&mut self, samples: u64, _: Option<&[u8]>, out: &mut Vec<i16>) {
        out.resize(out.len() + samples as usize * usize::from(self.format.channels), 0);
    }

    fn reset(&mut self) {}
}
