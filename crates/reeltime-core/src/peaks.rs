//! Peaks: what a player draws a waveform from. For each *pixel*, which stands for some samples, and each channel
//! the least and the greatest of them, in the format of BBC audiowaveform, version 2:
//!
//! ```text
//! .dat, all little-endian
//!  0        4        8        12                 16       20         24
//! ┌────────┬────────┬────────┬──────────────────┬────────┬──────────┬───────────────────────────────┐
//! │ version│ flags  │ rate   │ samples per pixel│ length │ channels │ by pixel, by channel: min, max │
//! │ i32 = 2│ u32    │ i32    │ i32              │ u32    │ i32      │ i8, or i16 where bit 0 is 0    │
//! └────────┴────────┴────────┴──────────────────┴────────┴──────────┴───────────────────────────────┘
//! .json    the same fields by name, and all values as one list `data`
//! ```
//!
//! Source: `doc/DataFormat.md` of audiowaveform; peaks.js and wavesurfer.js read both.

use serde::Serialize;

mod file;

pub use file::{Drawer, Drawing, PeaksEncoder, PeaksFormat};

/// The version of the format.
const VERSION: i32 = 2;
/// Bytes before the values.
const HEAD: usize = 24;
/// Flag: values are of 8 bit.
const EIGHT_BIT: u32 = 1;

/// How exact values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// A sample divided by 256, truncated toward zero: half the size, and as much as a screen shows.
    Eight,
    /// Samples as they are.
    Sixteen,
}

/// Least and greatest values, by pixel and channel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Eight(Vec<i8>),
    Sixteen(Vec<i16>),
}

/// The peaks of some samples, made as they come. All that is kept are the values: two bytes a pixel and channel
/// with [`Bits::Eight`], 1 MB for ten hours at 8 kHz and 512 samples a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peaks {
    rate: u32,
    channels: usize,
    samples_per_pixel: u32,
    values: Values,
    /// Least and greatest of each channel in the pixel that is not full.
    open: Vec<(i16, i16)>,
    /// Samples per channel in it.
    filled: u32,
}

/// Why bytes are no peaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeaksError {
    /// Shorter than its head says, or than a head.
    #[error("the peaks are cut off")]
    Short,
    /// Another version of the format.
    #[error("peaks of version {0} are not read: use version 2")]
    Version(i32),
    /// A rate, a number of channels or of samples that cannot be.
    #[error("the peaks' head makes no sense")]
    Head,
}

impl Peaks {
    /// The largest rate, number of samples per pixel and length that the format can say.
    const MOST: u32 = i32::MAX as u32;

    /// Of so many samples per second and interleaved channels; numbers out of the format's range (zero, or above
    /// 2³¹ - 1) become the nearest that is in it.
    pub fn new(rate: u32, channels: u8, samples_per_pixel: u32, bits: Bits) -> Self {
        let values = match bits {
            Bits::Eight => Values::Eight(Vec::new()),
            Bits::Sixteen => Values::Sixteen(Vec::new()),
        };
        let channels = usize::from(channels.max(1));
        Self {
            rate: rate.clamp(1, Self::MOST),
            channels,
            samples_per_pixel: samples_per_pixel.clamp(1, Self::MOST),
            values,
            open: vec![NOTHING; channels],
            filled: 0,
        }
    }

    /// Samples per second and channel.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Channels.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per channel that a pixel stands for; the last may stand for fewer.
    pub const fn samples_per_pixel(&self) -> u32 {
        self.samples_per_pixel
    }

    /// How exact values are.
    pub const fn bits(&self) -> Bits {
        match self.values {
            Values::Eight(_) => Bits::Eight,
            Values::Sixteen(_) => Bits::Sixteen,
        }
    }

    /// Pixels, the one that is not full among them.
    pub const fn len(&self) -> usize {
        let values = match &self.values {
            Values::Eight(values) => values.len(),
            Values::Sixteen(values) => values.len(),
        };
        values / (2 * self.channels) + (self.filled > 0) as usize
    }

    /// Whether there is no pixel.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next interleaved samples: whole samples of all channels, any number of them.
    pub fn push(&mut self, samples: &[i16]) {
        let mut rest = samples;
        while rest.len() >= self.channels {
            let room = (self.samples_per_pixel - self.filled) as usize;
            let taken = room.min(rest.len() / self.channels);
            let (now, later) = rest.split_at(taken * self.channels);
            self.widen(now);
            self.filled += taken as u32;
            rest = later;
            if self.filled == self.samples_per_pixel {
                self.close();
            }
        }
    }

    /// Takes so many samples per channel of silence.
    pub fn silence(&mut self, samples: u64) {
        const ZEROS: [i16; 4_096] = [0; 4_096];
        let mut rest = samples.saturating_mul(self.channels as u64);
        let whole = ZEROS.len() / self.channels * self.channels;
        while rest > 0 {
            let now = rest.min(whole as u64);
            self.push(&ZEROS[..now as usize]);
            rest -= now;
        }
    }

    /// The least and the greatest value of a pixel's channel.
    pub fn get(&self, pixel: usize, channel: usize) -> Option<(i16, i16)> {
        if channel >= self.channels {
            return None;
        }
        let place = pixel.checked_mul(self.channels)?.checked_add(channel)?.checked_mul(2)?;
        let (least, greatest) = match &self.values {
            Values::Eight(values) => {
                (values.get(place).map(|&v| v.into()), values.get(place + 1).map(|&v| v.into()))
            }
            Values::Sixteen(values) => (values.get(place).copied(), values.get(place + 1).copied()),
        };
        let closed = least.zip(greatest);
        closed.or_else(|| {
            (self.filled > 0 && pixel + 1 == self.len()).then(|| self.reduced(self.open[channel]))
        })
    }

    /// The same with each `factor` pixels as one; the last may stand for fewer.
    #[must_use]
    pub fn coarser(&self, factor: u32) -> Self {
        let factor = factor.clamp(1, Self::MOST / self.samples_per_pixel);
        let channels = self.channels as u8;
        let mut merged = Self::new(self.rate, channels, self.samples_per_pixel * factor, self.bits());
        let step = factor as usize;
        for first in (0..self.len()).step_by(step) {
            let pixels = first..(first + step).min(self.len());
            for channel in 0..self.channels {
                let values = pixels.clone().filter_map(|pixel| self.get(pixel, channel));
                merged.append(values.fold(NOTHING, wider));
            }
        }
        merged
    }

    /// The nearest to so many samples per pixel that is not coarser: the next multiple below, or these as they are.
    #[must_use]
    pub fn at_zoom(&self, samples_per_pixel: u32) -> Self {
        self.coarser((samples_per_pixel / self.samples_per_pixel).max(1))
    }

    /// As a `.dat` file.
    pub fn to_dat(&self) -> Vec<u8> {
        let pixels = self.len() as u64;
        let mut out =
            file::head(self.bits(), self.rate, self.samples_per_pixel, pixels, self.channels).to_vec();
        match self.bits() {
            Bits::Eight => out.extend(self.all().map(|value| value as i8 as u8)),
            Bits::Sixteen => out.extend(self.all().flat_map(i16::to_le_bytes)),
        }
        out
    }

    /// As a `.json` file.
    pub fn to_json(&self) -> String {
        let bits = if self.bits() == Bits::Eight { 8 } else { 16 };
        let json = Json {
            version: VERSION,
            channels: self.channels,
            sample_rate: self.rate,
            samples_per_pixel: self.samples_per_pixel,
            bits,
            length: self.len(),
            data: self.all().collect(),
        };
        // Numbers and names alone: there is nothing in it that JSON cannot say.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// Reads a `.dat` file. More samples cannot be pushed into its last pixel: they begin a new one.
    ///
    /// # Errors
    /// See [`PeaksError`]. Bytes behind the last value are ignored.
    pub fn from_dat(bytes: &[u8]) -> Result<Self, PeaksError> {
        let (head, body) = bytes.split_at_checked(HEAD).ok_or(PeaksError::Short)?;
        let (fields, _) = head.as_chunks::<4>();
        let field = |index: usize| fields.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if field(0) != VERSION as u32 {
            return Err(PeaksError::Version(field(0) as i32));
        }
        let (flags, rate, samples_per_pixel) = (field(1), field(2), field(3));
        let channels = u8::try_from(field(5)).map_err(|_| PeaksError::Head)?;
        let fits = |value| (1..=Self::MOST).contains(&value);
        if channels == 0 || !fits(rate) || !fits(samples_per_pixel) {
            return Err(PeaksError::Head);
        }
        let count = u64::from(field(4)) * 2 * u64::from(channels);
        let count = usize::try_from(count).map_err(|_| PeaksError::Short)?;
        let bits = if flags & EIGHT_BIT == 0 { Bits::Sixteen } else { Bits::Eight };
        let values = match bits {
            Bits::Eight => {
                let body = body.get(..count).ok_or(PeaksError::Short)?;
                Values::Eight(body.iter().map(|&byte| byte as i8).collect())
            }
            Bits::Sixteen => {
                let (body, _) = body.as_chunks::<2>();
                let body = body.get(..count).ok_or(PeaksError::Short)?;
                Values::Sixteen(body.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect())
            }
        };
        Ok(Self { values, ..Self::new(rate, channels, samples_per_pixel, bits) })
    }

    /// All values in the format's order.
    fn all(&self) -> impl Iterator<Item = i16> + '_ {
        let place = |index: usize| self.get(index / self.channels, index % self.channels);
        (0..self.len() * self.channels).filter_map(place).flat_map(|(least, greatest)| [least, greatest])
    }

    /// Takes samples into the pixel that is not full.
    fn widen(&mut self, samples: &[i16]) {
        if let [open] = &mut *self.open {
            let least = samples.iter().fold(open.0, |least, &sample| least.min(sample));
            let greatest = samples.iter().fold(open.1, |greatest, &sample| greatest.max(sample));
            *open = (least, greatest);
            return;
        }
        for frame in samples.chunks_exact(self.channels) {
            self.open
                .iter_mut()
                .zip(frame)
                .for_each(|(open, &sample)| *open = wider(*open, (sample, sample)));
        }
    }

    fn close(&mut self) {
        for channel in 0..self.channels {
            let open = std::mem::replace(&mut self.open[channel], NOTHING);
            let value = self.reduced(open);
            self.append(value);
        }
        self.filled = 0;
    }

    fn append(&mut self, (least, greatest): (i16, i16)) {
        match &mut self.values {
            // Reduced already: within 8 bit.
            Values::Eight(values) => values.extend([least as i8, greatest as i8]),
            Values::Sixteen(values) => values.extend([least, greatest]),
        }
    }

    const fn reduced(&self, (least, greatest): (i16, i16)) -> (i16, i16) {
        match self.values {
            Values::Eight(_) => (least / 256, greatest / 256),
            Values::Sixteen(_) => (least, greatest),
        }
    }
}

/// What every sample widens.
const NOTHING: (i16, i16) = (i16::MAX, i16::MIN);

fn wider(a: (i16, i16), b: (i16, i16)) -> (i16, i16) {
    (a.0.min(b.0), a.1.max(b.1))
}

#[derive(Serialize)]
struct Json {
    version: i32,
    channels: usize,
    sample_rate: u32,
    samples_per_pixel: u32,
    bits: u8,
    length: usize,
    data: Vec<i16>,
}
