//! The first pass: from times and events to a [`Layout`].

use std::time::Duration;

use super::arrivals::Arrivals;
use super::cover::{Absent, Fit, Front, Hole, Known};
use super::order::{Follows, Order, Placed, Turn as Admitted};
use super::stall::{Before, Inserted, merge};
use super::{Counting, Gap, Layout, Mark, Pause, Turn};
use crate::log::{Event, GapReason, PacketMeta};
use crate::media::Format;
use crate::time::Micros;

/// Sees a track's packets and events in the log's order and knows its layout at any time.
#[derive(Clone, Debug)]
pub struct Survey {
    rate: u32,
    counting: Counting,
    front: Front,
    order: Order<()>,
    /// Of a source without timestamps.
    arrivals: Option<Arrivals>,
    known: Known,
    holes: Vec<Hole>,
    lead: u64,
    /// Arrival and counted position of the first packet.
    first: Option<(Micros, u64)>,
    /// When the first event that takes room on the timeline was logged.
    noted: Option<Micros>,
    pausing: Pausing,
    reconnected: bool,
    marks: Vec<Mark>,
    turns: Vec<Turn>,
}

/// Pauses, as far as they concern the time since the last packet.
#[derive(Clone, Debug, Default)]
struct Pausing {
    since: Option<Micros>,
    reason: Option<String>,
    /// Time spent paused since the last packet, without the pause that lasts.
    passed: u64,
}

impl Pausing {
    const fn begin(&mut self, now: Micros) {
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    fn end(&mut self, now: Micros) {
        if let Some(since) = self.since.take() {
            self.passed += now.0.saturating_sub(since.0);
        }
    }

    /// Time spent paused up to a packet that arrives now.
    fn until(&self, now: Micros) -> Micros {
        Micros(self.passed + self.since.map_or(0, |since| now.0.saturating_sub(since.0)))
    }

    fn packet(&mut self, now: Micros) {
        self.passed = 0;
        if let Some(since) = &mut self.since {
            *since = now;
        }
    }
}

impl Survey {
    /// Of a track of this format, counted in this way.
    pub fn new(format: Format, counting: Counting) -> Self {
        Self {
            rate: format.rate,
            counting,
            front: Front::new(format),
            order: Order::new(format.rate),
            arrivals: (counting == Counting::Arrival).then(|| Arrivals::new(format.rate)),
            known: Known::default(),
            holes: Vec::new(),
            lead: 0,
            first: None,
            noted: None,
            pausing: Pausing::default(),
            reconnected: false,
            marks: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// The next packet of the log, of `samples` samples per channel ([`Format::samples_in`] its payload; 0 where
    /// that is `None`: it is counted and placed nowhere).
    #[inline]
    pub fn packet(&mut self, meta: PacketMeta, samples: u64) {
        self.front.counters.packets += 1;
        if samples == 0 {
            return;
        }
        if self.first.is_none() {
            self.begin(&meta);
        }
        match self.counting {
            Counting::Timestamps => self.ordered(&meta, samples),
            Counting::Arrival | Counting::Samples => self.counted(&meta, samples),
        }
    }

    /// The next event of the log.
    pub fn event(&mut self, arrival: Micros, event: &Event) {
        match event {
            Event::Pause { reason, .. } => {
                self.pausing.begin(arrival);
                self.pausing.reason.clone_from(reason);
            }
            Event::Resume { .. } => self.pausing.end(arrival),
            Event::Mark { at, name } => self.marks.push(Mark { at: *at, name: name.clone() }),
            Event::Turn { at, data } => self.turns.push(Turn { at: *at, data: data.clone() }),
            Event::Gap { at, samples, reason } => {
                self.noted.get_or_insert(arrival);
                self.missing(*at, *samples, *reason);
            }
            Event::Reconnected { .. } => self.reconnected = true,
        }
    }

    /// Where everything is, as of now, for who follows it; costs as much as there are gaps, pauses, marks and turns.
    pub fn layout(&self) -> Layout {
        let mut survey = self.clone();
        let inserted = survey.arrivals.take().map(Arrivals::so_far);
        survey.with(inserted.unwrap_or_default())
    }

    /// Where everything is, once the track is over: with hindsight of all of it.
    pub fn finish(mut self) -> Layout {
        let inserted = self.arrivals.take().map(Arrivals::finish);
        self.with(inserted.unwrap_or_default())
    }

    fn with(mut self, inserted: Inserted) -> Layout {
        self.release(Micros(0), true);
        if let Some(end) = self.known.end() {
            self.fill_to(end);
        }
        let samples = self.front.end + inserted.stalls.iter().map(|stall| stall.samples).sum::<u64>();
        let mut layout = Layout {
            start: self
                .first
                .map_or(self.noted, |(arrival, at)| Some(arrival - at_rate(at, self.rate)))
                .unwrap_or_default(),
            samples,
            marks: self.marks,
            turns: self.turns,
            lead: self.lead,
            counters: self.front.counters,
            ..Layout::default()
        };
        let shifts = Shifts::new(&inserted.stalls);
        layout.marks.iter_mut().for_each(|mark| mark.at = shifts.apply(mark.at));
        layout.turns.iter_mut().for_each(|turn| turn.at = shifts.apply(turn.at));
        merge(self.holes, &inserted.holes).into_iter().for_each(|hole| layout.add(hole));
        layout.stalls = inserted.stalls;
        layout
    }

    /// The first packet that has media: what is known to be missing before it comes first.
    fn begin(&mut self, meta: &PacketMeta) {
        let at = match self.counting {
            Counting::Timestamps => self.known.reach(0),
            Counting::Arrival | Counting::Samples => meta.timestamp,
        };
        self.first = Some((meta.arrival, at));
        if self.counting == Counting::Timestamps {
            self.lead = at;
            self.order.lead(at);
        }
    }

    fn missing(&mut self, at: u64, samples: u64, reason: GapReason) {
        let why = match reason {
            GapReason::Paused => Absent::Pause(self.pausing.reason.clone()),
            GapReason::Loss
            | GapReason::Discarded
            | GapReason::Overflow
            | GapReason::Disconnected
            | GapReason::SilentSource => Absent::Gap(reason),
        };
        self.known.add(Hole { at, samples, why }, self.front.end);
    }

    /// A packet of a source that counts.
    #[inline]
    fn counted(&mut self, meta: &PacketMeta, samples: u64) {
        let before = self.front.end;
        let Some(fit) = self.front.fit(meta.timestamp, samples) else { return };
        let counted_pause = self.hole_before(before, fit, Some(&DISCARDED));
        self.known.forget_before(self.front.end);
        if let Some(arrivals) = &mut self.arrivals {
            let (pausing, reconnected, rate) = (&self.pausing, self.reconnected, self.rate);
            arrivals.packet(fit, meta.arrival, || Before {
                reconnected,
                paused: pausing.until(meta.arrival).to_samples(rate).saturating_sub(counted_pause),
                reason: pausing.reason.clone(),
            });
        }
        self.reconnected = false;
        self.pausing.packet(meta.arrival);
    }

    /// A packet of a source with timestamps.
    fn ordered(&mut self, meta: &PacketMeta, samples: u64) {
        match self.order.admit(meta, samples) {
            Admitted::Now(placed) => self.place(placed),
            Admitted::Wait(waiting) => self.order.hold(waiting, ()),
            Admitted::Duplicate => self.front.counters.duplicates += 1,
            Admitted::Late => self.front.counters.late += 1,
        }
        self.front.counters.restarts = self.order.restarts;
        self.release(meta.arrival, false);
    }

    fn release(&mut self, now: Micros, all: bool) {
        while let Some((placed, ())) = self.order.next(now, all) {
            self.place(placed);
        }
    }

    fn place(&mut self, placed: Placed) {
        let Some(at) = placed.at else {
            self.front.counters.late += 1;
            return;
        };
        let before = self.front.end;
        let Some(fit) = self.front.fit(at, placed.samples) else { return };
        if fit.at > before {
            let other = self.absent(placed);
            self.hole_before(before, fit, other.as_ref());
        }
        self.known.forget_before(self.front.end);
        self.reconnected = false;
        self.pausing.packet(placed.arrival);
    }

    /// Why a source with timestamps has no media right before `placed`, where no event says it.
    fn absent(&self, placed: Placed) -> Option<Absent> {
        if self.pausing.until(placed.arrival) > Micros(0) {
            return Some(Absent::Pause(self.pausing.reason.clone()));
        }
        match placed.follows {
            Follows::Directly => None,
            Follows::Missing => Some(Absent::Gap(GapReason::Loss)),
            Follows::Unknown if self.reconnected => Some(Absent::Gap(GapReason::Disconnected)),
            Follows::Unknown => Some(Absent::Gap(GapReason::SilentSource)),
        }
    }

    /// Explains what is missing between `end`, the end of what was placed, and a packet's media. Returns how
    /// many samples of it were paused.
    #[inline]
    fn hole_before(&mut self, end: u64, fit: Fit, other: Option<&Absent>) -> u64 {
        if fit.at > end { self.known.explain(end, fit.at, other, &mut self.holes) } else { 0 }
    }

    /// What events say is missing after the last packet.
    fn fill_to(&mut self, end: u64) {
        if end > self.front.end {
            self.known.explain(self.front.end, end, Some(&DISCARDED), &mut self.holes);
            self.front.end = end;
        }
    }
}

/// Missing from the log, and nobody said why: the log was damaged.
const DISCARDED: Absent = Absent::Gap(GapReason::Discarded);

/// How long `samples` last.
fn at_rate(samples: u64, rate: u32) -> Duration {
    Micros::from_samples(samples, rate).since(Micros(0))
}

impl Layout {
    fn add(&mut self, hole: Hole) {
        let Hole { at, samples, why } = hole;
        match why {
            Absent::Gap(reason) => self.gaps.push(Gap { at, samples, reason }),
            Absent::Pause(reason) => self.pauses.push(Pause { at, samples, reason }),
        }
    }
}

/// From counted positions to timeline positions.
struct Shifts(Vec<(u64, u64)>);

impl Shifts {
    fn new(stalls: &[super::Stall]) -> Self {
        let mut shift = 0;
        Self(
            stalls
                .iter()
                .map(|stall| {
                    (stall.before, {
                        shift += stall.samples;
                        shift
                    })
                })
                .collect(),
        )
    }

    /// A moment at the very position of a stall lies before it: it was named before the source went on.
    fn apply(&self, at: u64) -> u64 {
        let stalls = self.0.partition_point(|&(before, _)| before < at);
        at.saturating_add(stalls.checked_sub(1).map_or(0, |last| self.0[last].1))
    }
}
