//! Stalls: time that passed at the recorder while the source counted nothing.
//!
//! A packet's *delay* is its arrival less the position where it ends, both from the first packet on, and less what is
//! known to be its source's clock (arrival is when a packet's last byte was read, so its end is what it is compared with: a sender of long packets is not
//! late by one packet). Time is inserted before packet *i* where the least delay of *i* and of all packets that
//! arrive within [`SETTLE`] after it exceeds what has been inserted by more than [`STALL`]; that least delay is
//! then what has been inserted. So a burst that makes the time up leaves no gap, and one that makes up half of it
//! leaves a gap of the other half. What has been inserted never shrinks.
//!
//! The least delay to come is kept without keeping delays. A packet is a candidate only where its delay exceeds
//! what its predecessor on the stack would insert by more than [`STALL`]; a later packet lowers or removes those
//! above it. Each candidate stands more than [`STALL`] above the one before, and within [`SETTLE`] a delay grows
//! by no more than that, so about 60 are the most that can wait.

use std::collections::VecDeque;

use super::cover::{Absent, Hole, push_hole};
use super::{SETTLE, STALL, Stall};
use crate::log::GapReason;
use crate::time::Micros;

/// What is known about the time before a packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// The client had been away and came back.
    pub reconnected: bool,
    /// Samples that passed while paused and were not counted.
    pub paused: u64,
    /// Why it was paused.
    pub reason: Option<String>,
}

#[derive(Clone, Debug)]
struct Candidate {
    at: u64,
    arrival: Micros,
    least: i64,
    before: Before,
}

/// What was inserted: by position, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Inserted {
    pub stalls: Vec<Stall>,
    /// Positions are counted ones; several may stand at one place, in order.
    pub holes: Vec<Hole>,
}

/// Finds stalls by hindsight, packet by packet.
#[derive(Clone, Debug)]
pub(super) struct Stalls {
    rate: u32,
    inserted: i64,
    waiting: VecDeque<Candidate>,
    done: Inserted,
}

impl Stalls {
    pub(super) const fn new(rate: u32) -> Self {
        let done = Inserted { stalls: Vec::new(), holes: Vec::new() };
        Self { rate, inserted: 0, waiting: VecDeque::new(), done }
    }

    /// A packet whose media begins at `at`, with its delay in samples. `before` is asked only where time may be inserted.
    #[inline]
    pub(super) fn packet(&mut self, at: u64, delay: i64, arrival: Micros, before: impl FnOnce() -> Before) {
        self.settle(arrival);
        self.lower(delay);
        if delay > self.level() + self.stall() {
            self.waiting.push_back(Candidate { at, arrival, least: delay, before: before() });
        }
    }

    /// Everything inserted, those that wait as if nothing more came.
    pub(super) fn finish(mut self) -> Inserted {
        while let Some(candidate) = self.waiting.pop_front() {
            self.insert(candidate);
        }
        self.done
    }

    fn stall(&self) -> i64 {
        signed(STALL.to_samples(self.rate))
    }

    /// What is inserted before the next packet, as far as is known.
    fn level(&self) -> i64 {
        self.waiting.back().map_or(self.inserted, |candidate| candidate.least)
    }

    /// Inserts for those whose time to be made up is over.
    fn settle(&mut self, now: Micros) {
        while self.waiting.front().is_some_and(|first| now.since(first.arrival) > SETTLE.since(Micros(0))) {
            if let Some(candidate) = self.waiting.pop_front() {
                self.insert(candidate);
            }
        }
    }

    /// Takes a packet's delay into account for those that wait.
    fn lower(&mut self, delay: i64) {
        while let Some(top) = self.waiting.back_mut() {
            if delay >= top.least {
                return;
            }
            top.least = delay;
            let below = self.waiting.iter().rev().nth(1).map_or(self.inserted, |candidate| candidate.least);
            if delay > below + self.stall() {
                return;
            }
            self.waiting.pop_back();
        }
    }

    fn insert(&mut self, candidate: Candidate) {
        let samples = (candidate.least - self.inserted).unsigned_abs();
        self.inserted = candidate.least;
        self.done.stalls.push(Stall { before: candidate.at, samples });
        let Before { reconnected, paused, reason } = candidate.before;
        let rest = samples.saturating_sub(paused);
        // A rest that would be no gap of its own is jitter of the pause.
        let paused = match paused {
            0 => 0,
            _ if signed(rest) <= self.stall() => samples,
            _ => samples - rest,
        };
        let gap = if reconnected { GapReason::Disconnected } else { GapReason::SilentSource };
        let at = candidate.at;
        push(&mut self.done.holes, Hole { at, samples: paused, why: Absent::Pause(reason) });
        push(&mut self.done.holes, Hole { at, samples: samples - paused, why: Absent::Gap(gap) });
    }
}

/// Unlike `push_hole` merges nothing: the positions are counted ones and take no room there.
fn push(holes: &mut Vec<Hole>, hole: Hole) {
    if hole.samples > 0 {
        holes.push(hole);
    }
}

/// Counted holes and inserted ones as one list of timeline positions.
pub(super) fn merge(counted: Vec<Hole>, inserted: &[Hole]) -> Vec<Hole> {
    let (mut all, mut shift, mut rest) =
        (Vec::with_capacity(counted.len() + inserted.len()), 0, inserted.iter().peekable());
    for hole in counted {
        while let Some(stall) = rest.next_if(|stall| stall.at <= hole.at) {
            push_hole(&mut all, Hole { at: stall.at + shift, ..stall.clone() });
            shift += stall.samples;
        }
        push_hole(&mut all, Hole { at: hole.at + shift, ..hole });
    }
    for stall in rest {
        push_hole(&mut all, Hole { at: stall.at + shift, ..stall.clone() });
        shift += stall.samples;
    }
    all
}

fn signed(samples: u64) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}
