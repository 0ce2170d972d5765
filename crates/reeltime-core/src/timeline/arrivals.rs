//! A source without timestamps against the recorder's clock: what of its lateness is its own clock, and what are
//! stalls.
//!
//! A clock is late little by little, a stall all at once. So stalls are looked for twice: in the delays as they are, and
//! in what is left of them without the clock's [`Pace`]. Where the whole track then shows a [drift](DriftMeter), which
//! a mix corrects, the second is right; else the first, so that lateness that nobody corrects stays within a stall.
//!
//! The pace is told minute by minute, by the least delay of each, beginning with that of the first. What it rises or
//! falls from one minute that has packets to the next that has is the clock's where that is no more than 320 parts in a
//! million of the time between, and [`SLACK`] for the network; else the clock is taken to go on as on average before.

use super::cover::Fit;
use super::stall::{Before, Inserted, Stalls};
use super::{Drift, DriftMeter, SETTLE};
use crate::log::{Counting, PacketMeta};
use crate::time::Micros;

/// By how much the least delay of a minute may be off.
pub(super) const SLACK: Micros = Micros::from_millis(25);

/// Finds what time is to be inserted, packet by packet.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    rate: u32,
    /// The first packet's arrival less its end, in samples.
    base: Option<i64>,
    as_they_are: Stalls,
    pace: Pace,
    without_pace: Stalls,
    meter: DriftMeter,
}

impl Arrivals {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate,
            base: None,
            as_they_are: Stalls::new(rate),
            pace: Pace::new(rate),
            without_pace: Stalls::new(rate),
            meter: DriftMeter::new(rate, Counting::Arrival),
        }
    }

    /// A packet that was placed. `before` is asked only where time may be inserted.
    #[inline]
    pub(super) fn packet(&mut self, fit: Fit, arrival: Micros, before: impl Fn() -> Before) {
        let end = fit.at.saturating_add(fit.samples);
        let delay = signed(arrival.to_samples(self.rate)) - signed(end);
        let delay = delay - *self.base.get_or_insert(delay);
        self.as_they_are.packet(fit.at, delay, arrival, &before);
        let late = self.pace.packet(arrival, delay);
        self.without_pace.packet(fit.at, delay - late, arrival, &before);
        self.meter.packet(PacketMeta { arrival, timestamp: fit.at, sequence: None }, fit.samples);
    }

    /// Of a track that goes on: who follows it is to hear it within a stall of its time.
    pub(super) fn so_far(self) -> Inserted {
        self.as_they_are.finish()
    }

    /// Of a track that is over.
    pub(super) fn finish(self) -> Inserted {
        let inserted = self.without_pace.finish();
        match self.meter.beside(&inserted.stalls) {
            Some(_) => inserted,
            None => self.as_they_are.finish(),
        }
    }
}

/// How far a source's clock alone has brought it behind, or before, its count.
#[derive(Clone, Debug)]
struct Pace {
    rate: u32,
    first: Option<Micros>,
    /// The minute that lasts: its number, and its least delay.
    minute: Option<(u64, i64)>,
    /// The one before that had packets.
    before: Option<(u64, i64)>,
    /// In samples: up to the end of that one, and of the first.
    late: i64,
    origin: i64,
}

impl Pace {
    const fn new(rate: u32) -> Self {
        Self { rate, first: None, minute: None, before: None, late: 0, origin: 0 }
    }

    /// A packet arrives with this delay: how much of it is the clock's, in samples.
    fn packet(&mut self, arrival: Micros, delay: i64) -> i64 {
        let passed = arrival.0.saturating_sub(self.first.get_or_insert(arrival).0);
        let number = passed / SETTLE.0;
        match &mut self.minute {
            Some((last, least)) if number <= *last => *least = delay.min(*least),
            minute => {
                let over = minute.replace((number, delay));
                over.into_iter().for_each(|minute| self.rise_to(minute));
            }
        }
        self.late
    }

    fn rise_to(&mut self, (number, least): (u64, i64)) {
        let Some((since, before)) = self.before.replace((number, least)) else {
            (self.late, self.origin) = (least, least);
            return;
        };
        let (rise, minutes) = (least - before, number - since);
        let most = Drift::most_of(Micros(SETTLE.0 * minutes)).0 + SLACK.0;
        self.late += match rise.unsigned_abs() <= Micros(most).to_samples(self.rate) {
            true => rise,
            false => (self.late - self.origin) * signed(minutes) / signed(since.max(1)),
        };
    }
}

fn signed(samples: u64) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}
