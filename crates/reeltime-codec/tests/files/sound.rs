//! Sounds to encode, and what is left of them.

use std::f64::consts::TAU;

/// Numbers that repeat (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

/// Tones that come and go, another in each channel, so that no part of it is like another.
pub(crate) fn melody(rate: u32, channels: u8, samples: usize) -> Vec<i16> {
    let value = |index: usize, channel: u8| {
        let time = index as f64 / f64::from(rate);
        let pitch = 300.0 + 170.0 * f64::from(channel) + 150.0 * (TAU * 0.7 * time).sin();
        let loudness = 0.35 + 0.25 * (TAU * (1.3 + 0.4 * f64::from(channel)) * time).sin();
        let tone = (TAU * 300.0 * time + pitch / 50.0 * (TAU * 1.7 * time).sin()).sin();
        let third = (TAU * (730.0 + 90.0 * f64::from(channel)) * time).sin() * 0.4;
        ((tone + third) * loudness * 14_000.0) as i16
    };
    (0..samples).flat_map(|index| (0..channels).map(move |channel| value(index, channel))).collect()
}

/// Silence with clicks at these samples, in every channel.
pub(crate) fn clicks(channels: u8, samples: usize, at: &[usize]) -> Vec<i16> {
    let mut sound = vec![0; samples * usize::from(channels)];
    for &place in at {
        let begin = place * usize::from(channels);
        sound[begin..begin + usize::from(channels)].fill(30_000);
    }
    sound
}

/// White noise at full scale.
pub(crate) fn noise(samples: usize, seed: u64) -> Vec<i16> {
    let mut chance = Chance::new(seed);
    (0..samples).map(|_| chance.below(1 << 16) as u16 as i16).collect()
}

/// One channel of interleaved samples.
pub(crate) fn channel(sound: &[i16], channels: u8, index: usize) -> Vec<i16> {
    sound[index.min(sound.len())..].iter().copied().step_by(usize::from(channels)).collect()
}

/// How far `heard` lies behind `sent`, in samples, where they are most alike, and how alike they are then (1: the
/// same but for loudness).
pub(crate) fn lag(sent: &[i16], heard: &[i16], most: i64) -> (i64, f64) {
    let alike = (-most..=most).map(|lag| (lag, likeness(sent, heard, lag)));
    alike.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

fn likeness(sent: &[i16], heard: &[i16], lag: i64) -> f64 {
    let (sent, heard) = if lag >= 0 {
        (sent, &heard[(lag as usize).min(heard.len())..])
    } else {
        (&sent[(-lag as usize).min(sent.len())..], heard)
    };
    let pairs = sent.iter().zip(heard).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let sums = pairs.fold((0.0, 0.0, 0.0), |(ab, aa, bb), (a, b)| (ab + a * b, aa + a * a, bb + b * b));
    sums.0 / (sums.1 * sums.2).sqrt().max(1.0)
}

/// Root of the mean square, in decibels below full scale.
pub(crate) fn level(sound: &[i16]) -> f64 {
    let sum: f64 = sound.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    10.0 * (sum / sound.len().max(1) as f64 / 32_768_f64.powi(2)).max(1e-10).log10()
}

/// Where the loudest sample of a range lies.
pub(crate) fn loudest(sound: &[i16], range: std::ops::Range<usize>) -> usize {
    let begin = range.start;
    let sound = &sound[begin..range.end.min(sound.len())];
    begin + (0..sound.len()).max_by_key(|&index| sound[index].unsigned_abs()).unwrap()
}
