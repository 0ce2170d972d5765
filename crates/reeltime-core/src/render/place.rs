//! Where tracks and pauses lie in a mix, in its own samples.

use std::ops::Range;

use crate::time::Micros;
use crate::timeline::{Drift, Layout};

/// From a track's timeline to the mix's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The track's samples per second.
    pub from: u32,
    /// The mix's.
    pub to: u32,
    pub drift: Option<Drift>,
    /// Sample of the mix at which the track begins; negative where that is before the mix's first.
    pub at: i64,
}

impl Place {
    pub(super) fn new(from: u32, to: u32, drift: Option<Drift>, start: Micros, origin: Micros) -> Self {
        let at = scaled(start.0.abs_diff(origin.0), 1_000_000, u64::from(to)) as i64;
        Self { from, to, drift, at: if start < origin { -at } else { at } }
    }

    /// How long `samples` of the track are in the mix.
    pub(super) fn length(&self, samples: u64) -> u64 {
        let (source, lasts) = self.drift.map_or((1, 1), Drift::ratio);
        scaled(scaled(samples, source, lasts), u64::from(self.from), u64::from(self.to))
    }

    /// Where sample `at` of the track lies in the mix; at 0 where that is before its first.
    pub(super) fn place(&self, at: u64) -> u64 {
        u64::try_from(self.at.saturating_add_unsigned(self.length(at))).unwrap_or(0)
    }

    /// Where in the mix a track of this layout lies.
    pub(super) fn extent(&self, layout: &Layout) -> Range<u64> {
        self.place(0)..self.place(layout.samples)
    }
}

/// `samples` · `to` / `from`, rounded half up.
pub(super) const fn scaled(samples: u64, from: u64, to: u64) -> u64 {
    let from = from as u128;
    ((2 * samples as u128 * to as u128 + from) / (2 * from)) as u64
}

/// The stretches in which every track that is there is paused, and one is: in order and apart.
pub(super) fn all_paused<'a>(tracks: impl Iterator<Item = (Place, &'a Layout)> + Clone) -> Vec<Range<u64>> {
    let paused = |(place, layout): (Place, &'a Layout)| -> Vec<Range<u64>> {
        let range = |at: u64, samples: u64| place.place(at)..place.place(at.saturating_add(samples));
        layout.pauses.iter().map(|pause| range(pause.at, pause.samples)).collect()
    };
    let heard = |(place, layout): (Place, &'a Layout)| {
        without(&[place.extent(layout)], &union(paused((place, layout))))
    };
    let all = union(tracks.clone().flat_map(paused).collect());
    without(&all, &union(tracks.flat_map(heard).collect()))
}

/// In order and apart.
fn union(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// `ranges` without `others`; both in order and apart.
fn without(ranges: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut first = 0;
    for range in ranges {
        while others.get(first).is_some_and(|other| other.end <= range.start) {
            first += 1;
        }
        let mut at = range.start;
        for other in others[first..].iter().take_while(|other| other.start < range.end) {
            if other.start > at {
                left.push(at..other.start);
            }
            at = at.max(other.end);
        }
        if at < range.end {
            left.push(at..range.end);
        }
    }
    left
}

/// Samples left out of a mix.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts(Vec<Range<u64>>);

impl Cuts {
    pub(super) const fn new(ranges: Vec<Range<u64>>) -> Self {
        Self(ranges)
    }

    /// Samples left in the first `end`.
    pub(super) fn left(&self, end: u64) -> u64 {
        let cut = |range: &Range<u64>| range.end.min(end).saturating_sub(range.start);
        end - self.0.iter().map(cut).sum::<u64>()
    }

    /// Where the sample lies that is number `index` of those left.
    pub(super) fn position(&self, index: u64) -> u64 {
        let mut at = index;
        for range in &self.0 {
            if range.start > at {
                break;
            }
            at += range.end - range.start;
        }
        at
    }

    /// What is left of `range`.
    pub(super) fn keep(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let first = self.0.partition_point(|cut| cut.end <= range.start);
        without(&[range], &self.0[first..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_rounded_half_up_and_never_overflows() {
        assert_eq!(scaled(3, 2, 1), 2);
        assert_eq!(scaled(5, 16_000, 48_000), 15);
        assert_eq!(scaled(44_101, 44_100, 16_000), 16_000);
        assert_eq!(scaled(u64::MAX / 8, 8_000, 48_000), (u64::MAX / 8) * 6);
    }

    #[test]
    fn what_is_left_can_be_counted_and_found_again() {
        let cuts = Cuts::new(vec![10..20, 30..40]);
        assert_eq!([5, 10, 15, 20, 35, 50].map(|end| cuts.left(end)), [5, 10, 10, 10, 20, 30]);
        assert_eq!([0, 9, 10, 19, 20, 29].map(|index| cuts.position(index)), [0, 9, 20, 29, 40, 49]);
        assert_eq!(cuts.keep(5..45), [5..10, 20..30, 40..45]);
        assert_eq!(cuts.keep(12..18), []);
    }
}
