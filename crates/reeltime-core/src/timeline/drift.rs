//! Two clocks are never equally fast: a source's sample count against arrival on the recording's clock.
//!
//! A packet's *delay* is its arrival less the place of its end, both from the first packet on. The network only
//! ever adds to it, so the least delay of a stretch of time is the truth about the clocks: its slope is the drift.

use super::{Counting, Layout, Stall};
use crate::log::PacketMeta;
use crate::time::Micros;

/// Below this a drift is left alone: 72 ms in an hour.
const LEAST_PPM: f64 = 20.0;
/// Above this it is no clock: the source sends another rate than it says. Crystals are within 300.
const MOST_PPM: f64 = 320.0;
/// Shorter tracks are left alone: their ends are too near for a slope.
const SHORTEST: Micros = Micros::from_secs(60);
/// How far the least delays may lie off a straight line, in microseconds; beyond, it is not the clocks.
const TOLERANCE: f64 = 25_000.0;
/// Stretches of time kept. When all are full, each becomes twice as long.
const BINS: usize = 128;
/// Parts that the track is looked at in.
const PARTS: usize = 8;

/// By how much a source's clock is slower than the recording's (positive) or faster (negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Samples of the source in which its clock loses or gains one sample.
    period: u32,
    /// The source's clock is slow: its samples last longer than it says.
    slow: bool,
}

impl Drift {
    /// From parts in a million, rounded to a whole number of samples for each one lost or gained (an error of at
    /// most ppm² · 10⁻⁶ / 2: 0.05 ppm at 300). `None` outside of what is corrected: 20 to 320 either way.
    pub fn from_ppm(ppm: f64) -> Option<Self> {
        let size = ppm.abs();
        (LEAST_PPM..=MOST_PPM)
            .contains(&size)
            .then(|| Self { period: (1e6 / size).round() as u32, slow: ppm > 0.0 })
    }

    /// In parts in a million.
    pub fn ppm(self) -> f64 {
        1e6 / f64::from(self.period) * if self.slow { 1.0 } else { -1.0 }
    }

    /// The most that a clock may be off after so long.
    pub(super) fn most_of(time: Micros) -> Micros {
        Micros((time.0 as f64 * MOST_PPM / 1e6) as u64)
    }

    /// Samples of the source, and how many samples of the recording's clock they last.
    pub(crate) const fn ratio(self) -> (u64, u64) {
        let period = self.period as u64;
        (period, if self.slow { period + 1 } else { period - 1 })
    }
}

/// The least delay of a stretch of time.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Microseconds since the first packet's arrival.
    arrival: i64,
    /// Counted samples from the first packet's first to the packet's end.
    end: i64,
    /// Microseconds.
    delay: f64,
}

/// Sees a track's arrival times and tells the drift of its clock. Takes constant memory.
#[derive(Clone, Debug)]
pub struct DriftMeter {
    rate: u32,
    counting: Counting,
    /// Arrival and count of the first packet.
    first: Option<(Micros, u64)>,
    /// Microseconds that one bin lasts.
    width: i64,
    /// As many as there is time so far, [`BINS`] at most.
    bins: Vec<Option<Point>>,
}

impl DriftMeter {
    /// Of a track of so many samples per second, counted in this way.
    pub fn new(rate: u32, counting: Counting) -> Self {
        Self { rate: rate.max(1), counting, first: None, width: 1_000_000, bins: Vec::new() }
    }

    /// The log's next packet, of `samples` samples per channel.
    pub fn packet(&mut self, meta: PacketMeta, samples: u64) {
        if self.counting == Counting::Samples || samples == 0 {
            return;
        }
        let (arrival, count) = *self.first.get_or_insert((meta.arrival, meta.timestamp));
        let arrival = i64::try_from(meta.arrival.0.saturating_sub(arrival.0)).unwrap_or(i64::MAX);
        let end = (meta.timestamp.wrapping_sub(count) as i64).saturating_add_unsigned(samples);
        let delay = arrival as f64 - end as f64 * 1e6 / f64::from(self.rate);
        while arrival / self.width >= BINS as i64 {
            self.double();
        }
        let bin = (arrival / self.width) as usize;
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, None);
        }
        keep_least(&mut self.bins[bin], Point { arrival, end, delay });
    }

    /// What the packets so far tell of the clock: `None` where nothing is to be corrected, since the track is short,
    /// its clock is good enough, it does not arrive in real time, or its delays do not lie on a line.
    pub fn drift(&self, layout: &Layout) -> Option<Drift> {
        if layout.counters.restarts > 0 { None } else { self.beside(&layout.stalls) }
    }

    /// The drift beside these stalls.
    pub(super) fn beside(&self, stalls: &[Stall]) -> Option<Drift> {
        let points = self.points(stalls);
        let span = points.last()?.arrival - points.first()?.arrival;
        if span < SHORTEST.0 as i64 {
            return None;
        }
        let parts: Vec<&[Point]> =
            points.chunk_by(|a, b| part(a, span) == part(b, span)).filter(|part| !part.is_empty()).collect();
        let slope = slope(parts.first()?, parts.last()?);
        is_line(&parts, slope).then(|| Drift::from_ppm(slope * 1e6)).flatten()
    }

    /// Twice as long bins.
    fn double(&mut self) {
        let least = |pair: &[Option<Point>]| {
            let mut least = pair[0];
            if let Some(second) = pair.get(1).copied().flatten() {
                keep_least(&mut least, second);
            }
            least
        };
        self.bins = self.bins.chunks(2).map(least).collect();
        self.width *= 2;
    }

    /// The least delays against the timeline: what stalls have inserted is no delay.
    fn points(&self, stalls: &[Stall]) -> Vec<Point> {
        let first = self.first.map_or(0, |(_, count)| count);
        let inserted = |end: i64| -> u64 {
            let end = first.saturating_add_signed(end);
            let before = |stall: &&Stall| self.counting == Counting::Arrival && stall.before < end;
            stalls.iter().filter(before).map(|stall| stall.samples).sum()
        };
        let straight = |point: &Point| Point {
            delay: point.delay - inserted(point.end) as f64 * 1e6 / f64::from(self.rate),
            ..*point
        };
        self.bins.iter().flatten().map(straight).collect()
    }
}

fn keep_least(bin: &mut Option<Point>, point: Point) {
    if bin.is_none_or(|least| point.delay < least.delay) {
        *bin = Some(point);
    }
}

/// Which part of a track, from its first point on, a point lies in.
const fn part(point: &Point, span: i64) -> i64 {
    let part = point.arrival * PARTS as i64 / (span + 1);
    if part < PARTS as i64 { part } else { PARTS as i64 - 1 }
}

/// The point of least delay, once `slope` is taken off.
fn least(part: &[Point], slope: f64) -> Option<&Point> {
    let rest = |point: &Point| point.delay - slope * point.arrival as f64;
    part.iter().min_by(|a, b| rest(a).total_cmp(&rest(b)))
}

/// From the least delay of the first part to that of the last. Which points those are depends on the slope, so it
/// is found in a few rounds.
fn slope(first: &[Point], last: &[Point]) -> f64 {
    (0..4).fold(0.0, |slope, _| match (least(first, slope), least(last, slope)) {
        (Some(a), Some(b)) if b.arrival > a.arrival => (b.delay - a.delay) / (b.arrival - a.arrival) as f64,
        _ => slope,
    })
}

fn is_line(parts: &[&[Point]], slope: f64) -> bool {
    let rest = |part: &&[Point]| least(part, slope).map(|point| point.delay - slope * point.arrival as f64);
    let rests: Vec<f64> = parts.iter().filter_map(rest).collect();
    rests.first().is_some_and(|first| rests.iter().all(|rest| (rest - first).abs() <= TOLERANCE))
}
