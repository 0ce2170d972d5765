//! What has been recorded and is not in the store yet, and how the store is.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Readiness, Recorder};
use crate::store::Health;

/// Over how long the rate of draining is taken.
const WINDOW: Duration = Duration::from_secs(60);

/// Recordings that have ended and are not published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// How many.
    pub recordings: usize,
    /// Bytes of their logs.
    pub bytes: u64,
    /// How long ago the oldest of them ended, or was found by this process.
    pub oldest: Option<Duration>,
    /// For how long none could be published; `None` where they can.
    pub outage: Option<Duration>,
    /// Bytes a second published, over the last minute.
    pub bytes_per_second: f64,
}

/// The store, and what waits for it.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// Where it lies: a URL without anything secret.
    pub place: String,
    /// Whether it lies elsewhere.
    pub remote: bool,
    /// How it is.
    pub health: Health,
    /// What waits for it.
    pub backlog: Backlog,
    /// The room there is for more.
    pub readiness: Readiness,
}

impl Readiness {
    /// Bytes that the spool can still take.
    pub const fn room(&self) -> u64 {
        let usage = &self.usage;
        let allowed = if usage.budget == 0 { u64::MAX } else { usage.budget.saturating_sub(usage.bytes) };
        if usage.free < allowed { usage.free } else { allowed }
    }

    /// For how many hours the live sessions can be recorded while the store is away; `None` where none is live.
    pub fn hours(&self) -> Option<f64> {
        let per_hour = self.bytes_per_second as f64 * 3_600.0;
        (self.bytes_per_second > 0).then_some(self.room() as f64 / per_hour)
    }
}

impl Recorder {
    /// The store, and what waits for it. Nothing is asked of it.
    pub fn store_status(&self) -> StoreStatus {
        StoreStatus {
            place: self.inner().store.place(),
            remote: self.inner().store.is_remote(),
            health: self.store_health(),
            backlog: self.backlog(),
            readiness: self.readiness(),
        }
    }

    /// How the store is. Nothing is asked of it.
    pub fn store_health(&self) -> Health {
        self.inner().watched.health()
    }

    /// What waits for the store.
    pub fn backlog(&self) -> Backlog {
        let figures = self.inner().publishing.figures();
        Backlog {
            recordings: figures.jobs,
            bytes: figures.bytes,
            oldest: figures.oldest,
            outage: figures.outage,
            bytes_per_second: self.inner().draining_rate.rate(),
        }
    }

    /// Takes note of how much was published by now.
    pub(super) fn note_draining(&self) {
        let total = self.inner().published.load(Ordering::Acquire);
        self.inner().draining_rate.note(total, Instant::now());
    }
}

/// How fast a total grows.
#[derive(Debug, Default)]
pub(crate) struct Rate(Mutex<VecDeque<(Instant, u64)>>);

impl Rate {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, total: u64, now: Instant) {
        let mut notes = self.lock();
        notes.push_back((now, total));
        while notes.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            notes.pop_front();
        }
    }

    fn rate(&self) -> f64 {
        let notes = self.lock();
        let (Some((from, before)), Some((to, after))) = (notes.front(), notes.back()) else { return 0.0 };
        let seconds = to.saturating_duration_since(*from).as_secs_f64();
        if seconds > 0.0 { after.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (rate, start) = (Rate::default(), Instant::now());
        assert!(rate.rate() < 1e-9);
        for second in 0..=300_u64 {
            let total = if second <= 200 { second * 1_000 } else { 200_000 };
            rate.note(total, start + Duration::from_secs(second));
            let expected = if second <= 200 { 1_000 } else { 1_000 * 260_u64.saturating_sub(second) / 60 };
            let found = rate.rate().round() as u64;
            assert!(second == 0 || found.abs_diff(expected) <= 1, "second {second}: {found} for {expected}");
        }
        assert_eq!(rate.lock().len(), 61);
    }
}
