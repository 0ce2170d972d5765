//! Which stretches of a speaker's time are logged already.

use std::collections::BTreeMap;
use std::ops::Range;

use reeltime_core::time::Micros;

/// Disjoint stretches on the recording's clock, in microseconds. Grows with the silences between them alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Cover(BTreeMap<u64, u64>);

impl Cover {
    /// Adds a stretch.
    pub(super) fn insert(&mut self, stretch: Range<u64>) {
        let Range { mut start, mut end } = stretch;
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..=end).next_back().filter(|&(_, &to)| to >= start) {
            start = start.min(from);
            end = end.max(to);
            self.0.remove(&from);
        }
        self.0.insert(start, end);
    }

    /// What of a stretch is in none of those added, in order.
    pub(super) fn missing(&self, stretch: Range<u64>) -> Vec<Range<u64>> {
        let mut at = stretch.start;
        let mut missing = Vec::new();
        let first = self.0.range(..=at).next_back().map_or(at, |(&from, _)| from);
        for (&from, &to) in self.0.range(first..stretch.end.max(first)) {
            if from > at {
                missing.push(at..from);
            }
            at = at.max(to);
        }
        if at < stretch.end {
            missing.push(at..stretch.end);
        }
        missing
    }

    /// Whether all of a stretch is in those added.
    pub(super) fn holds(&self, stretch: Range<u64>) -> bool {
        self.missing(stretch).is_empty()
    }
}

/// The samples of a stretch: those that begin within it.
pub(super) fn samples_of(stretch: &Range<u64>, rate: u32) -> Range<u64> {
    first_from(stretch.start, rate)..first_from(stretch.end, rate)
}

/// The stretch that samples take.
pub(super) const fn stretch_of(samples: &Range<u64>, rate: u32) -> Range<u64> {
    Micros::from_samples(samples.start, rate).0..Micros::from_samples(samples.end, rate).0
}

/// The first sample that begins at `micros` or later; of a time that was made of a sample, that very one.
fn first_from(micros: u64, rate: u32) -> u64 {
    u64::try_from((u128::from(micros) * u128::from(rate)).div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_or_touches_becomes_one() {
        let mut cover = Cover::default();
        for stretch in [10..20, 40..50, 20..25, 45..60, 5..12, 30..30] {
            cover.insert(stretch);
        }
        assert_eq!(cover.0, BTreeMap::from([(5, 25), (40, 60)]));
        cover.insert(0..100);
        assert_eq!(cover.0, BTreeMap::from([(0, 100)]));
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]
    fn what_is_missing_is_told_piece_by_piece() {
        let mut cover = Cover::default();
        assert_eq!(cover.missing(3..9), [3..9]);
        cover.insert(10..20);
        cover.insert(30..40);
        assert_eq!(cover.missing(0..50), [0..10, 20..30, 40..50]);
        assert_eq!(cover.missing(15..35), [20..30]);
        assert_eq!(cover.missing(40..45), [40..45]);
        assert!(cover.holds(12..20) && cover.holds(7..7) && !cover.holds(19..21));
    }

    #[test]
    fn samples_survive_the_way_over_microseconds() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000] {
            for first in [0, 1, 3, 44_099, 1_234_567, 4_147_200_001] {
                assert_eq!(samples_of(&stretch_of(&(first..first + 7), rate), rate), first..first + 7);
            }
        }
    }

    /// Against a set of microseconds.
    #[test]
    fn it_agrees_with_a_naive_model() {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut chance = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            let (mut cover, mut model) = (Cover::default(), [false; 64]);
            for _ in 0..12 {
                let (a, b) = (chance.u64(0..64), chance.u64(0..64));
                let stretch = a.min(b)..a.max(b);
                let told: Vec<u64> = cover.missing(stretch.clone()).into_iter().flatten().collect();
                let known: Vec<u64> = stretch.clone().filter(|&at| !model[at as usize]).collect();
                assert_eq!(told, known);
                cover.insert(stretch.clone());
                stretch.for_each(|at| model[at as usize] = true);
            }
        }
    }
}
