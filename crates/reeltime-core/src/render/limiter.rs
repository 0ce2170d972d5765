//! Keeps a mix within 16 bits without a sound of its own: a peak limiter that sees what comes.
//!
//! The gain that a sample needs is held from one look-ahead before it, smoothed over that time, and let go slowly
//! after it. While nothing is too loud the gain is exactly 1 and samples pass bit for bit.
//!
//! Gains are integers in units of 2⁻²⁴ and let go in finite time. So the result depends neither on how the samples
//! are cut into blocks nor on anything further back than [`MEMORY`].

use std::collections::VecDeque;

use crate::time::Micros;

/// How far it sees.
const LOOK_AHEAD: Micros = Micros::from_millis(5);
/// The time in which it lets go of all but 1/e of what it holds.
const RELEASE: Micros = Micros::from_millis(50);
/// What lies further back than this has no influence: the whole release (ln 2²⁴ times [`RELEASE`] and less than
/// that again) and the look-ahead.
pub(super) const MEMORY: Micros = Micros::from_millis(1_000);

const ONE: u32 = 1 << 24;
const MAX: f32 = i16::MAX as f32;
const MIN: f32 = i16::MIN as f32;

/// One gain for all channels.
pub(super) struct Limiter {
    ahead: usize,
    /// How much of what it holds it lets go of with each sample, in units of 2⁻²⁴.
    release: u64,
    /// Samples seen.
    seen: u64,
    /// Gains needed within the look-ahead that no later one is below: by time, rising.
    needed: VecDeque<(u64, u32)>,
    gain: u32,
    /// The last gains, as many as the look-ahead and one, and their sum: what is smoothed over.
    recent: VecDeque<u32>,
    sum: u64,
}

impl Limiter {
    pub(super) fn new(rate: u32) -> Self {
        let ahead = LOOK_AHEAD.to_samples(rate).max(1) as usize;
        let recent = VecDeque::from(vec![ONE; ahead + 1]);
        Self {
            ahead,
            release: (u64::from(ONE) / RELEASE.to_samples(rate).max(1)).max(1),
            seen: 0,
            needed: VecDeque::new(),
            gain: ONE,
            sum: recent.len() as u64 * u64::from(ONE),
            recent,
        }
    }

    /// Samples by which what comes out lags behind what is seen.
    pub(super) const fn ahead(&self) -> usize {
        self.ahead
    }

    /// Each channel holds the last [`Self::ahead`] samples of before, then `new` ones. Limits as many from the
    /// front as are new. Samples are in units of 16 bit samples.
    pub(super) fn process(&mut self, channels: &mut [Vec<f32>], new: usize) {
        let at_rest = self.needed.is_empty() && self.sum == self.recent.len() as u64 * u64::from(ONE);
        if at_rest && channels.iter().all(|channel| in_range(&channel[self.ahead..self.ahead + new])) {
            self.seen += new as u64;
            return;
        }
        for index in 0..new {
            self.see(channels, self.ahead + index);
            let gain = self.next();
            channels.iter_mut().for_each(|channel| channel[index] *= gain);
        }
    }

    /// Notes the gain that a sample needs, where it needs one.
    fn see(&mut self, channels: &[Vec<f32>], index: usize) {
        let over = channels.iter().map(|channel| channel[index]).filter(|&sample| !in_range(&[sample]));
        let peak = over.fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
        if peak > 0.0 {
            let gain = (f64::from(MAX) / f64::from(peak) * f64::from(ONE)) as u32;
            while self.needed.back().is_some_and(|&(_, later)| later >= gain) {
                self.needed.pop_back();
            }
            self.needed.push_back((self.seen, gain));
        }
        self.seen += 1;
    }

    /// The gain of the sample that is one look-ahead back.
    fn next(&mut self) -> f32 {
        let now = self.seen - 1;
        while self.needed.front().is_some_and(|&(at, _)| at + (self.ahead as u64) < now) {
            self.needed.pop_front();
        }
        let held = u64::from(ONE - self.gain);
        let step = ((held * self.release) >> 24) + 1;
        let released = (u64::from(self.gain) + step).min(u64::from(ONE)) as u32;
        self.gain = self.needed.front().map_or(released, |&(_, needed)| released.min(needed));
        let oldest = self.recent.pop_front().unwrap_or(ONE);
        self.recent.push_back(self.gain);
        self.sum = self.sum + u64::from(self.gain) - u64::from(oldest);
        (self.sum as f64 / (self.recent.len() as f64 * f64::from(ONE))) as f32
    }
}

fn in_range(samples: &[f32]) -> bool {
    samples.iter().fold(true, |fits, sample| fits & (MIN..=MAX).contains(sample))
}

/// To 16 bit, rounded half to even. What is out of range becomes the nearest that is in it.
pub(super) fn to_i16(sample: f32) -> i16 {
    /// 1.5 · 2²³: where a float's last bit is worth 1, so that adding it rounds.
    const ROUND: f32 = 12_582_912.0;
    (sample.clamp(MIN, MAX) + ROUND).to_bits() as i16
}
