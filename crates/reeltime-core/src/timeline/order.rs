//! Packets of a source with timestamps, put in order: by sequence number, else by timestamp.
//!
//! A packet whose turn it is goes on at once. Any other waits until what is before it has come, until
//! [`REORDER_PACKETS`] have arrived after it, or one that arrives more than [`REORDER_TIME`] after it. What comes
//! after its turn is late and dropped. The first packet always waits, so that the least timestamp begins the
//! track.
//!
//! Where the source's clock jumps (backward, or ahead of arrival, by more than [`CLOCK_JUMP`]; or against its own
//! sequence numbers), it has started anew: an *epoch* begins, ordered after the one before and placed by arrival.

use std::collections::VecDeque;

use super::{CLOCK_JUMP, REORDER_PACKETS, REORDER_TIME};
use crate::log::PacketMeta;
use crate::time::Micros;

/// So many late packets on end are no stragglers: the source's clock has been set back.
const LATE_RUN: u32 = 25;

/// Epoch, then sequence number or timestamp.
type Key = (u64, u64);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on at once, before any that waits.
    Now(Placed),
    /// It waits: see [`Order::hold`].
    Wait(Waiting),
    /// It was here already.
    Duplicate,
    /// It came after its turn.
    Late,
}

/// A packet in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Counted position, or `None` where it lies before the track's start.
    pub at: Option<u64>,
    pub samples: u64,
    pub arrival: Micros,
    pub follows: Follows,
}

/// What is known about the time between a packet and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// No sequence number is missing.
    Directly,
    /// Sequence numbers are missing.
    Missing,
    /// There are no sequence numbers, or the source's clock started anew.
    Unknown,
}

/// A packet out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    key: Key,
    /// Position from the first packet seen, which is 0.
    at: i64,
    samples: u64,
    arrival: Micros,
    sequenced: bool,
    /// How many packets had been seen, this one among them.
    index: u64,
}

/// The newest packet of an epoch and where the epoch's timestamps lie.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    number: u64,
    /// Timestamp of position 0; wraps.
    zero: u64,
    newest: PacketMeta,
    since: Micros,
}

/// The reorder window. `T` is what packets carry while they wait.
#[derive(Clone, Debug)]
pub(super) struct Order<T> {
    rate: u32,
    lead: u64,
    current: Option<Epoch>,
    previous: Option<Epoch>,
    held: VecDeque<(Waiting, T)>,
    /// The last keys that went on, to tell duplicates from late packets.
    gone: VecDeque<Key>,
    last: Option<Waiting>,
    /// Position of the first packet that went on.
    origin: i64,
    /// Where the newest media ends.
    reach: i64,
    seen: u64,
    late_run: u32,
    pub restarts: u64,
}

impl<T> Order<T> {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate,
            lead: 0,
            current: None,
            previous: None,
            held: VecDeque::new(),
            gone: VecDeque::new(),
            last: None,
            origin: 0,
            reach: 0,
            seen: 0,
            late_run: 0,
            restarts: 0,
        }
    }

    /// Where the first packet is placed: what is known to be missing before it.
    pub(super) const fn lead(&mut self, samples: u64) {
        self.lead = samples;
    }

    /// Decides about a packet. After it, [`Self::next`] gives those whose turn has come.
    pub(super) fn admit(&mut self, meta: &PacketMeta, samples: u64) -> Turn {
        self.seen += 1;
        let waiting = self.locate(meta, samples);
        let turn = self.turn(waiting);
        self.late_run = if turn == Turn::Late { self.late_run + 1 } else { 0 };
        if let Turn::Now(_) = turn {
            self.go(waiting);
        }
        turn
    }

    fn turn(&self, packet: Waiting) -> Turn {
        let place = self.held.partition_point(|(held, _)| held.key < packet.key);
        if self.held.get(place).is_some_and(|(held, _)| held.key == packet.key) {
            return Turn::Duplicate;
        }
        match self.last {
            Some(last) if packet.key <= last.key => {
                if self.gone.contains(&packet.key) {
                    Turn::Duplicate
                } else {
                    Turn::Late
                }
            }
            Some(last) if place == 0 && follows(&last, &packet) => Turn::Now(self.placed(&packet)),
            Some(_) | None => Turn::Wait(packet),
        }
    }

    /// Keeps a packet that waits.
    pub(super) fn hold(&mut self, packet: Waiting, carried: T) {
        let place = self.held.partition_point(|(held, _)| held.key < packet.key);
        self.held.insert(place, (packet, carried));
    }

    /// The next packet in order, if its turn has come, or any with `all`. `now` is the newest arrival.
    pub(super) fn next(&mut self, now: Micros, all: bool) -> Option<(Placed, T)> {
        let (first, _) = self.held.front()?;
        let in_turn = self.last.is_some_and(|last| follows(&last, first));
        if !(in_turn || all || self.any_due(now)) {
            return None;
        }
        let (packet, carried) = self.held.pop_front()?;
        if self.last.is_none() {
            self.origin = packet.at;
        }
        let placed = self.placed(&packet);
        self.go(packet);
        Some((placed, carried))
    }

    /// A packet that has waited long enough takes all before it along.
    fn any_due(&self, now: Micros) -> bool {
        self.held.iter().any(|(packet, _)| {
            self.seen - packet.index >= REORDER_PACKETS as u64
                || now.since(packet.arrival) > REORDER_TIME.since(Micros(0))
        })
    }

    fn placed(&self, packet: &Waiting) -> Placed {
        let at = u64::try_from(packet.at - self.origin).ok().map(|at| at + self.lead);
        let follows = match self.last {
            Some(last) if packet.sequenced && last.key.0 == packet.key.0 => {
                if follows(&last, packet) {
                    Follows::Directly
                } else {
                    Follows::Missing
                }
            }
            Some(_) | None => Follows::Unknown,
        };
        Placed { at, samples: packet.samples, arrival: packet.arrival, follows }
    }

    fn go(&mut self, packet: Waiting) {
        if self.gone.len() == REORDER_PACKETS {
            self.gone.pop_front();
        }
        self.gone.push_back(packet.key);
        self.last = Some(packet);
    }

    /// Finds the epoch of a packet and its position.
    fn locate(&mut self, meta: &PacketMeta, samples: u64) -> Waiting {
        let epoch = self.epoch(meta);
        let at = meta.timestamp.wrapping_sub(epoch.zero) as i64;
        self.reach = self.reach.max(at.saturating_add_unsigned(samples));
        Waiting {
            key: (epoch.number, meta.sequence.unwrap_or(meta.timestamp)),
            at,
            samples,
            arrival: meta.arrival,
            sequenced: meta.sequence.is_some(),
            index: self.seen,
        }
    }

    fn epoch(&mut self, meta: &PacketMeta) -> Epoch {
        let Some(mut current) = self.current else {
            return self.begin(0, meta.timestamp, meta);
        };
        if self.late_run < LATE_RUN && !self.jumped(&current, meta) {
            if newer(meta, &current.newest) {
                current.newest = *meta;
                self.current = Some(current);
            }
            return current;
        }
        let straggler = self.previous.filter(|previous| {
            self.late_run < LATE_RUN
                && meta.arrival.since(current.since) <= REORDER_TIME.since(Micros(0))
                && !self.jumped(previous, meta)
        });
        straggler.unwrap_or_else(|| self.restart(current, meta))
    }

    /// Begins an epoch where its first packet arrived, but not before the end of what has come.
    fn restart(&mut self, current: Epoch, meta: &PacketMeta) -> Epoch {
        let newest = current.newest;
        let passed = self.samples_between(newest.arrival, meta.arrival);
        let at = (newest.timestamp.wrapping_sub(current.zero) as i64).saturating_add(passed).max(self.reach);
        self.previous = Some(current);
        self.restarts += 1;
        self.late_run = 0;
        self.begin(current.number + 1, meta.timestamp.wrapping_sub(at as u64), meta)
    }

    const fn begin(&mut self, number: u64, zero: u64, meta: &PacketMeta) -> Epoch {
        let epoch = Epoch { number, zero, newest: *meta, since: meta.arrival };
        self.current = Some(epoch);
        epoch
    }

    /// Whether `meta` cannot be of the clock of `epoch`.
    fn jumped(&self, epoch: &Epoch, meta: &PacketMeta) -> bool {
        let step = meta.timestamp.wrapping_sub(epoch.newest.timestamp) as i64;
        let passed = self.samples_between(epoch.newest.arrival, meta.arrival);
        let limit = CLOCK_JUMP.to_samples(self.rate) as i64;
        if step < -limit || step.saturating_sub(passed) > limit {
            return true;
        }
        let (Some(newest), Some(this)) = (epoch.newest.sequence, meta.sequence) else { return false };
        let behind = this.saturating_add(REORDER_PACKETS as u64) < newest;
        (behind && step > 0) || (this > newest && step < -(REORDER_TIME.to_samples(self.rate) as i64))
    }

    fn samples_between(&self, from: Micros, to: Micros) -> i64 {
        Micros(to.0.saturating_sub(from.0)).to_samples(self.rate) as i64
    }
}

/// Whether no packet can lie between the two.
const fn follows(last: &Waiting, next: &Waiting) -> bool {
    let step = if next.sequenced { 1 } else { last.samples };
    last.key.0 == next.key.0 && next.key.1 == last.key.1.saturating_add(step)
}

fn newer(meta: &PacketMeta, than: &PacketMeta) -> bool {
    match (meta.sequence, than.sequence) {
        (Some(this), Some(that)) => this > that,
        _ => meta.timestamp > than.timestamp,
    }
}
