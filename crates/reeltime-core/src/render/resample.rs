//! From one rate to another, and from a source's clock to the recording's, without moving anything: the delay of
//! each filter is taken off, so that a click stays where it was.
//!
//! Both converters take units of a fixed size. The one between rates keeps nothing but the unit before, so that it
//! gives the same samples wherever it is begun.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Indexing, Resampler, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use super::plan::MixError;
use crate::timeline::Drift;

/// The shortest unit at the lower of two rates, in samples: the longer, the nearer its filter comes to half the
/// rate, and the later it answers (20 ms at 16 kHz).
const UNIT: usize = 320;
/// Samples that a correction of the clock takes at once.
const STRETCH_UNIT: usize = 1_024;
/// Length of its filter.
const STRETCH_TAPS: usize = 128;

/// Samples of some channels, each on its own, of which the first are taken off as they are used.
pub(super) struct Planar {
    channels: Vec<Vec<f32>>,
    head: usize,
    /// From here on everything is zero.
    loud_end: usize,
}

impl Planar {
    pub(super) fn new(channels: usize) -> Self {
        Self { channels: vec![Vec::new(); channels], head: 0, loud_end: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.end() - self.head
    }

    fn end(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Whether the next `samples` are all zero.
    pub(super) const fn is_silent(&self) -> bool {
        self.loud_end <= self.head
    }

    /// The next `samples` of each channel.
    pub(super) fn front(&self, samples: usize) -> impl Iterator<Item = &[f32]> {
        self.channels.iter().map(move |channel| &channel[self.head..self.head + samples])
    }

    pub(super) fn take(&mut self, samples: usize) {
        self.head += samples;
        if self.head * 2 >= self.end() {
            self.channels.iter_mut().for_each(|channel| drop(channel.drain(..self.head)));
            self.loud_end = self.loud_end.saturating_sub(self.head);
            self.head = 0;
        }
    }

    /// Appends silence to each channel.
    pub(super) fn silence(&mut self, samples: usize) {
        let end = self.end() + samples;
        self.channels.iter_mut().for_each(|channel| channel.resize(end, 0.0));
    }

    /// Interleaved samples in: each channel for itself, or all as one that is their mean.
    pub(super) fn interleaved(&mut self, samples: &[i16], channels: usize) {
        let begin = self.end();
        let lanes = self.channels.len();
        self.silence(samples.len() / channels);
        self.loud_end = self.end();
        for (lane, into) in self.channels.iter_mut().enumerate() {
            let frames = samples.chunks_exact(channels).zip(&mut into[begin..]);
            if lanes == channels {
                frames.for_each(|(frame, into)| *into = f32::from(frame[lane]));
            } else {
                frames.for_each(|(frame, into)| *into = mean(frame));
            }
        }
    }

    pub(super) fn held(&self) -> usize {
        self.channels.iter().map(Vec::capacity).sum()
    }
}

/// One sample for all channels.
fn mean(frame: &[i16]) -> f32 {
    frame.iter().map(|&sample| f32::from(sample)).sum::<f32>() / frame.len() as f32
}

/// A converter with its state.
struct Unit<R> {
    inner: R,
    /// Samples that it takes at once.
    input: usize,
    /// What of its output is still to be left out.
    delay: usize,
    /// The unit before was silent, so nothing of it rings.
    quiet: bool,
}

impl<R: Resampler<f32>> Unit<R> {
    const fn new(inner: R, input: usize, delay: usize) -> Self {
        Self { inner, input, delay, quiet: true }
    }

    /// Takes a unit and appends what it gives. Nothing is computed for silence after silence.
    fn process(&mut self, from: &mut Planar, to: &mut Planar) -> Result<(), MixError> {
        let silent = from.is_silent();
        let idle = std::mem::replace(&mut self.quiet, silent) && silent;
        let (channels, output, end) = (from.channels.len(), self.inner.output_frames_next(), to.end());
        let mut place = Indexing::new().input_offset(from.head).output_offset(end);
        if idle {
            place = place.active_channels_mask(vec![false; channels]);
        }
        let input = SequentialSliceOfVecs::new(&from.channels, channels, from.end()).map_err(failed)?;
        to.silence(output);
        if !idle {
            to.loud_end = to.end();
        }
        let mut room =
            SequentialSliceOfVecs::new_mut(&mut to.channels, channels, end + output).map_err(failed)?;
        self.inner.process_into_buffer(&input, &mut room, Some(&place)).map_err(failed)?;
        from.take(self.input);
        let delay = self.delay.min(to.len());
        to.take(delay);
        self.delay -= delay;
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> MixError {
    MixError::Resample(error.to_string())
}

/// From one rate to another.
pub(super) struct RateConverter {
    unit: Unit<Fft<f32>>,
    output: usize,
}

impl RateConverter {
    /// Begins so that the first sample given is sample `at` of the output; and the sample of the input that it
    /// has to be fed from.
    pub(super) fn new(from: u32, to: u32, channels: usize, at: u64) -> Result<(Self, u64), MixError> {
        let (small_from, small_to) = shortened(from, to);
        // An even number of periods, so that half a unit, the filter's delay, is whole on both sides.
        let periods = UNIT.div_ceil(small_from.min(small_to)).next_multiple_of(2);
        let (input, output) = (periods * small_from, periods * small_to);
        let inner = Fft::new_custom(
            from as usize,
            to as usize,
            input,
            1,
            channels,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(failed)?;
        let delayed = at + output as u64 / 2;
        // The unit before rings into the first one.
        let first = (delayed / output as u64).saturating_sub(1);
        let delay = (delayed - first * output as u64) as usize;
        Ok((Self { unit: Unit::new(inner, input, delay), output }, first * input as u64))
    }

    /// Samples that it takes at once.
    pub(super) const fn input(&self) -> usize {
        self.unit.input
    }

    /// For how many samples of its output it may be heard after the last that it was fed.
    pub(super) const fn ring(&self) -> u64 {
        2 * self.output as u64
    }

    pub(super) fn process(&mut self, from: &mut Planar, to: &mut Planar) -> Result<(), MixError> {
        self.unit.process(from, to)
    }
}

/// The ratio of two rates in lowest terms.
fn shortened(from: u32, to: u32) -> (usize, usize) {
    let (mut a, mut b) = (from.max(1), to.max(1));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    ((from.max(1) / a) as usize, (to.max(1) / a) as usize)
}

/// From a source's clock to the recording's, at the same rate.
pub(super) struct ClockConverter(Unit<Async<f32>>);

impl ClockConverter {
    /// As [`RateConverter::new`]. It begins where the two clocks show whole samples together.
    pub(super) fn new(drift: Drift, channels: usize, at: u64) -> Result<(Self, u64), MixError> {
        let (period, lasts) = drift.ratio();
        let parameters = SincInterpolationParameters::new(STRETCH_TAPS, WindowFunction::BlackmanHarris2)
            .oversampling_factor(512)
            .interpolation(SincInterpolationType::Linear);
        let ratio = lasts as f64 / period as f64;
        let inner = Async::new_sinc(ratio, 1.0, &parameters, STRETCH_UNIT, channels, FixedAsync::Input)
            .map_err(failed)?;
        let whole = at.saturating_sub(STRETCH_TAPS as u64) / lasts;
        // A click shows that it answers one sample before the middle of its filter.
        let delay = STRETCH_TAPS / 2 - 1 + (at - whole * lasts) as usize;
        Ok((Self(Unit::new(inner, STRETCH_UNIT, delay)), whole * period))
    }

    /// Samples that it takes at once.
    pub(super) const fn input(&self) -> usize {
        self.0.input
    }

    pub(super) fn process(&mut self, from: &mut Planar, to: &mut Planar) -> Result<(), MixError> {
        self.0.process(from, to)
    }
}
