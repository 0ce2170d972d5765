//! Peaks as files of any length, in constant memory: made from samples as they come, and drawn at a coarser zoom.

use super::{Bits, EIGHT_BIT, HEAD, NOTHING, Peaks, VERSION, Values, wider};
use crate::codec::{EncodeError, Encoder, Spec};
use crate::render::scale;

/// Makes a `.dat` file of 16 bit values out of samples: peaks are one more format that sound can be had in.
///
/// Its head says how many pixels there will be where [`Spec::samples`] is known, else none until the end.
#[derive(Debug)]
pub struct PeaksEncoder {
    peaks: Peaks,
    gain: f32,
    expected: u64,
    pixels: u64,
}

impl PeaksEncoder {
    /// Of samples as `spec` says, this many per pixel and channel, as loud as they are with this linear gain.
    pub fn new(spec: &Spec, samples_per_pixel: u32, gain: f32) -> Self {
        let peaks = Peaks::new(spec.rate, spec.channels, samples_per_pixel, Bits::Sixteen);
        let expected = spec.samples.unwrap_or(0).div_ceil(peaks.samples_per_pixel.into());
        Self { peaks, gain, expected, pixels: 0 }
    }

    fn head_of(&self, pixels: u64) -> [u8; HEAD] {
        let Peaks { rate, samples_per_pixel, channels, .. } = self.peaks;
        head(Bits::Sixteen, rate, samples_per_pixel, pixels, channels)
    }

    /// Appends the pixels that are full. The least of louder samples is the louder least, and so with the greatest.
    fn give(&mut self, out: &mut Vec<u8>) {
        let Values::Sixteen(values) = &mut self.peaks.values else { return };
        self.pixels += (values.len() / (2 * self.peaks.channels)) as u64;
        match self.gain {
            1.0 => out.extend(values.drain(..).flat_map(i16::to_le_bytes)),
            gain => out.extend(values.drain(..).flat_map(|value| scale(value, gain).to_le_bytes())),
        }
    }
}

impl Encoder for PeaksEncoder {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend(self.head_of(self.expected));
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.peaks.push(samples);
        self.give(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.peaks.filled > 0 {
            self.peaks.close();
        }
        self.give(out);
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        (self.pixels != self.expected).then(|| self.head_of(self.pixels).to_vec())
    }
}

/// How peaks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeaksFormat {
    /// Binary.
    Dat,
    /// Text.
    Json,
}

impl PeaksFormat {
    /// The media type of the file.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Dat => "application/octet-stream",
            Self::Json => "application/json",
        }
    }

    /// The name in the API, which is the file name's ending as well.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dat => "dat",
            Self::Json => "json",
        }
    }
}

/// What is drawn from a file of a [`PeaksEncoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// Samples per second and channel.
    pub rate: u32,
    /// Channels.
    pub channels: u8,
    /// Samples per pixel of the file.
    pub samples_per_pixel: u32,
    /// Pixels of the file that are drawn, from its first.
    pub pixels: u64,
    /// Pixels that become one; the last may be made of fewer.
    pub factor: u32,
    /// How exact values are.
    pub bits: Bits,
    /// How they are written.
    pub format: PeaksFormat,
}

impl Drawing {
    /// Bytes of the file before its first value.
    pub const HEAD: u64 = HEAD as u64;

    /// Pixels that come out.
    pub fn len(&self) -> u64 {
        self.pixels.div_ceil(self.factor.max(1).into())
    }

    /// Whether none does.
    pub const fn is_empty(&self) -> bool {
        self.pixels == 0
    }

    /// Bytes of a pixel in the file.
    pub fn pixel_bytes(&self) -> usize {
        4 * usize::from(self.channels.max(1))
    }

    /// Bytes that come out, where that is known beforehand: of text it is not.
    pub fn bytes(&self) -> Option<u64> {
        let value = if self.bits == Bits::Eight { 1 } else { 2 };
        let pixel = 2 * value * u64::from(self.channels.max(1));
        (self.format == PeaksFormat::Dat).then(|| Self::HEAD + self.len() * pixel)
    }
}

/// Draws: the file's values in, the drawn file's bytes out, in steps of any size.
#[derive(Debug)]
pub struct Drawer {
    drawing: Drawing,
    /// Least and greatest of each channel in the pixel that is not full.
    open: Vec<(i16, i16)>,
    /// Pixels of the file in it.
    filled: u32,
    /// Values have been written.
    begun: bool,
}

impl Drawer {
    /// Begins; appends the drawn file's head.
    pub fn new(drawing: Drawing, out: &mut Vec<u8>) -> Self {
        let channels = usize::from(drawing.channels.max(1));
        let samples_per_pixel = drawing.samples_per_pixel.saturating_mul(drawing.factor.max(1));
        let length = drawing.len();
        match drawing.format {
            PeaksFormat::Dat => {
                out.extend(head(drawing.bits, drawing.rate, samples_per_pixel, length, channels));
            }
            PeaksFormat::Json => {
                let bits = if drawing.bits == Bits::Eight { 8 } else { 16 };
                let text = format!(
                    r#"{{"version":{VERSION},"channels":{channels},"sample_rate":{},"samples_per_pixel":{samples_per_pixel},"bits":{bits},"length":{length},"data":["#,
                    drawing.rate
                );
                out.extend(text.as_bytes());
            }
        }
        Self { drawing, open: vec![NOTHING; channels], filled: 0, begun: false }
    }

    /// Takes whole pixels of the file.
    pub fn push(&mut self, values: &[u8], out: &mut Vec<u8>) {
        let (values, _) = values.as_chunks::<4>();
        for pixel in values.chunks_exact(self.open.len()) {
            for (open, &[a, b, c, d]) in self.open.iter_mut().zip(pixel) {
                *open = wider(*open, (i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])));
            }
            self.filled += 1;
            if self.filled >= self.drawing.factor {
                self.close(out);
            }
        }
    }

    /// No more come: appends what was held back, and the end.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.filled > 0 {
            self.close(out);
        }
        if self.drawing.format == PeaksFormat::Json {
            out.extend(b"]}");
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        for channel in 0..self.open.len() {
            let (least, greatest) = std::mem::replace(&mut self.open[channel], NOTHING);
            self.value(least, out);
            self.value(greatest, out);
        }
        self.filled = 0;
    }

    fn value(&mut self, value: i16, out: &mut Vec<u8>) {
        let value = if self.drawing.bits == Bits::Eight { value / 256 } else { value };
        match (self.drawing.format, self.drawing.bits) {
            (PeaksFormat::Dat, Bits::Eight) => out.push(value as i8 as u8),
            (PeaksFormat::Dat, Bits::Sixteen) => out.extend(value.to_le_bytes()),
            (PeaksFormat::Json, _) => {
                if std::mem::replace(&mut self.begun, true) {
                    out.push(b',');
                }
                out.extend(value.to_string().as_bytes());
            }
        }
    }
}

/// The first bytes of a `.dat` file.
pub(super) fn head(
    bits: Bits,
    rate: u32,
    samples_per_pixel: u32,
    pixels: u64,
    channels: usize,
) -> [u8; HEAD] {
    let flags = if bits == Bits::Eight { EIGHT_BIT } else { 0 };
    let length = u32::try_from(pixels).unwrap_or(u32::MAX);
    let fields = [VERSION as u32, flags, rate, samples_per_pixel, length, channels as u32];
    let mut head = [0; HEAD];
    let (places, _) = head.as_chunks_mut::<4>();
    places.iter_mut().zip(fields).for_each(|(place, field)| *place = field.to_le_bytes());
    head
}
