//! The second pass: packets and their payload, in timeline order.

use super::cover::Front;
use super::order::{Order, Turn};
use super::{Counting, Layout};
use crate::log::PacketMeta;
use crate::media::Format;
use crate::time::Micros;

/// Takes a track's timeline from its start to its end.
pub trait Sink {
    /// Media: `samples` samples per channel of payload as received, trimmed where it overlaps what came before.
    fn audio(&mut self, payload: &[u8], samples: u64);
    /// No media for `samples` samples per channel: a gap, a pause or the codec's own silence. May be hours.
    fn silence(&mut self, samples: u64);
}

/// Places a track's packets by the layout that a survey of the same packets gave.
#[derive(Clone, Debug)]
pub struct Placer {
    format: Format,
    counting: Counting,
    front: Front,
    order: Order<Vec<u8>>,
    /// Counted position of each stall, and all that is inserted up to it.
    stalls: Vec<(u64, u64)>,
    next_stall: usize,
    shift: u64,
    /// The timeline's end so far.
    position: u64,
    /// Where the layout ends: packets seen and samples per channel.
    packets: u64,
    samples: u64,
    lead: u64,
    steady: bool,
}

impl Placer {
    /// Of a track of this format, counted in this way. The packets must be pushed from the track's first on, in
    /// the log's order; those that the layout has not seen are ignored.
    pub fn new(format: Format, counting: Counting, layout: &Layout) -> Self {
        let mut order = Order::new(format.rate);
        order.lead(layout.lead);
        let mut placer = Self {
            format,
            counting,
            front: Front::new(format),
            order,
            stalls: Vec::new(),
            next_stall: 0,
            shift: 0,
            position: 0,
            packets: 0,
            samples: 0,
            lead: layout.lead,
            steady: true,
        };
        placer.extend(layout);
        placer
    }

    /// Goes on with a later layout of the same track, to follow a session that is live. What a burst has made up
    /// since then stays where it was put: the timeline is then ahead until the next gap takes it back.
    pub fn extend(&mut self, layout: &Layout) {
        let mut total = 0;
        let stalls = layout.stalls.iter().map(|stall| {
            total += stall.samples;
            (stall.before, total)
        });
        let before = std::mem::replace(&mut self.stalls, stalls.collect());
        let given = self.next_stall;
        self.next_stall = self.stalls.partition_point(|&(before, _)| before < self.front.end);
        self.shift = self.next_stall.checked_sub(1).map_or(0, |last| self.stalls[last].1);
        self.steady &= before[..given] == self.stalls[..self.next_stall] && layout.lead == self.lead;
        self.packets = layout.counters.packets;
        self.samples = layout.samples;
    }

    /// Whether no later layout placed anything otherwise that was given before.
    pub const fn is_steady(&self) -> bool {
        self.steady
    }

    /// Samples per channel given so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next packet of the log.
    #[inline]
    pub fn packet(&mut self, meta: PacketMeta, payload: &[u8], sink: &mut impl Sink) {
        if self.front.counters.packets >= self.packets {
            return;
        }
        self.front.counters.packets += 1;
        let Some(samples) = self.format.samples_in(payload) else { return };
        match self.counting {
            Counting::Timestamps => self.ordered(&meta, payload, samples, sink),
            Counting::Arrival | Counting::Samples => self.place(meta.timestamp, payload, samples, sink),
        }
    }

    /// No more packets come: gives those that still waited, and what is missing at the end.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        self.release(Micros(0), true, sink);
        self.silence_to(self.samples, sink);
    }

    fn ordered(&mut self, meta: &PacketMeta, payload: &[u8], samples: u64, sink: &mut impl Sink) {
        match self.order.admit(meta, samples) {
            Turn::Now(placed) => {
                if let Some(at) = placed.at {
                    self.place(at, payload, samples, sink);
                }
            }
            Turn::Wait(waiting) => self.order.hold(waiting, payload.to_vec()),
            Turn::Duplicate | Turn::Late => {}
        }
        self.release(meta.arrival, false, sink);
    }

    fn release(&mut self, now: Micros, all: bool, sink: &mut impl Sink) {
        while let Some((placed, payload)) = self.order.next(now, all) {
            if let Some(at) = placed.at {
                self.place(at, &payload, placed.samples, sink);
            }
        }
    }

    #[inline]
    fn place(&mut self, at: u64, payload: &[u8], samples: u64, sink: &mut impl Sink) {
        let Some(fit) = self.front.fit(at, samples) else { return };
        while let Some(&(before, total)) = self.stalls.get(self.next_stall) {
            if before > fit.at {
                break;
            }
            self.shift = total;
            self.next_stall += 1;
        }
        self.silence_to(fit.at.saturating_add(self.shift), sink);
        let skip = fit.skip as usize * self.format.block_align().unwrap_or(0);
        sink.audio(payload.get(skip..).unwrap_or_default(), fit.samples);
        self.position = self.position.saturating_add(fit.samples);
    }

    fn silence_to(&mut self, position: u64, sink: &mut impl Sink) {
        if position > self.position {
            sink.silence(position - self.position);
            self.position = position;
        }
    }
}
