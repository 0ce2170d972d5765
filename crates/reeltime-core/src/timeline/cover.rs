//! What is placed and what is missing on the axis of counted positions.

use std::collections::VecDeque;

use super::Counters;
use crate::log::GapReason;
use crate::media::{Codec, Format};

/// Why a stretch of the timeline has no media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Gap(GapReason),
    Pause(Option<String>),
}

/// A stretch without media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub at: u64,
    pub samples: u64,
    pub why: Absent,
}

/// Appends `hole`, as part of the one before where it continues that.
pub(super) fn push_hole(holes: &mut Vec<Hole>, hole: Hole) {
    if hole.samples == 0 {
        return;
    }
    match holes.last_mut() {
        Some(last) if last.at + last.samples == hole.at && last.why == hole.why => {
            last.samples += hole.samples
        }
        _ => holes.push(hole),
    }
}

/// Where a packet's media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Counted position of the first sample used.
    pub at: u64,
    /// Samples at the packet's front that are there already.
    pub skip: u64,
    /// Samples used.
    pub samples: u64,
}

/// The end of what is placed: packets come in order and are fitted behind it.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub end: u64,
    pub counters: Counters,
    can_trim: bool,
}

impl Front {
    pub(super) fn new(format: Format) -> Self {
        Self { end: 0, counters: Counters::default(), can_trim: format.codec != Codec::Opus }
    }

    /// Fits `samples` samples that begin at `at`; `None` where they are there already.
    #[inline]
    pub(super) fn fit(&mut self, at: u64, samples: u64) -> Option<Fit> {
        let overlap = self.end.saturating_sub(at);
        let fit =
            if overlap == 0 { Fit { at, skip: 0, samples } } else { self.overlapping(samples, overlap)? };
        self.end = fit.at.saturating_add(fit.samples);
        self.counters.media_samples += fit.samples;
        Some(fit)
    }

    fn overlapping(&mut self, samples: u64, overlap: u64) -> Option<Fit> {
        let dropped = if self.can_trim { overlap >= samples } else { overlap >= samples.div_ceil(2) };
        if dropped {
            self.counters.duplicates += 1;
            return None;
        }
        let skip = if self.can_trim { overlap } else { 0 };
        self.counters.trimmed_samples += skip;
        Some(Fit { at: self.end, skip, samples: samples - skip })
    }
}

/// What is known to be missing before it is known how much comes: the ranges that events name.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    ranges: VecDeque<Hole>,
}

impl Known {
    /// Notes a range, for what lies at or behind `end`.
    pub(super) fn add(&mut self, hole: Hole, end: u64) {
        if hole.at.saturating_add(hole.samples) > end {
            let place = self.ranges.partition_point(|range| range.at <= hole.at);
            // A pause is told piece by piece: it stays one range.
            let before = place.checked_sub(1).and_then(|place| self.ranges.get_mut(place));
            match before {
                Some(range) if range.at.saturating_add(range.samples) == hole.at && range.why == hole.why => {
                    range.samples = range.samples.saturating_add(hole.samples);
                }
                _ => self.ranges.insert(place, hole),
            }
        }
    }

    /// Forgets what lies before `end`.
    pub(super) fn forget_before(&mut self, end: u64) {
        while self.ranges.front().is_some_and(|range| range.at.saturating_add(range.samples) <= end) {
            self.ranges.pop_front();
        }
    }

    /// Where the last range ends.
    pub(super) fn end(&self) -> Option<u64> {
        self.ranges.iter().map(|range| range.at.saturating_add(range.samples)).max()
    }

    /// The length of what is known from `from` on without a break.
    pub(super) fn reach(&self, from: u64) -> u64 {
        self.ranges.iter().fold(from, |reach, range| {
            let end = range.at.saturating_add(range.samples);
            if range.at <= reach { reach.max(end) } else { reach }
        })
    }

    /// Tells what is missing in `from..to`: what a range names, and `other` (`None`: not a gap) for the rest.
    /// Returns how many samples of it were paused.
    pub(super) fn explain(&self, from: u64, to: u64, other: Option<&Absent>, holes: &mut Vec<Hole>) -> u64 {
        let (mut at, mut paused) = (from, 0);
        let mut push = |from: u64, to: u64, why: Option<&Absent>| {
            let Some(why) = why.cloned() else { return };
            let samples = to.saturating_sub(from);
            paused += if matches!(why, Absent::Pause(_)) { samples } else { 0 };
            push_hole(holes, Hole { at: from, samples, why });
        };
        for range in &self.ranges {
            let end = range.at.saturating_add(range.samples).min(to);
            if end > at {
                let start = range.at.clamp(at, to);
                push(at, start, other);
                push(start, end, Some(&range.why));
                at = end;
            }
        }
        push(at, to, other);
        paused
    }
}
