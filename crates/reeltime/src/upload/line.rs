//! Who is next: jobs in the order in which they came, for a few workers, with one view of whether there is any sense in
//! trying. Time and chance are arguments.
//!
//! - A job that fails by its own fault rests, longer each time, and keeps no other waiting.
//! - A failure that concerns all (the store is away) stops all. From then on one at a time is tried, each time another,
//!   with growing waits between; the first that succeeds lets all go on, from the oldest.
//! - What waits costs two entries in a map, and no task.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Retry;

/// As often may a job be the one that stops all before it has to rest like any other that fails.
const PATIENCE: u32 = 3;
/// So many refusals in a row, of whatever jobs, concern all.
const REFUSALS: u32 = 8;

/// Whom a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Everybody: the store or the catalogue is away.
    Away,
    /// The store said no, and will until somebody changes something.
    Refused,
    /// This job alone.
    Own,
}

#[derive(Debug)]
struct Waiting<T> {
    job: T,
    failures: u32,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    bytes: u64,
}

/// A time in which nothing gets through.
#[derive(Debug)]
struct Outage {
    since: Instant,
    failures: u32,
    /// The next that is tried, at the earliest; `None` while one is.
    probe_at: Option<Instant>,
    /// Who was tried last.
    last: u64,
}

/// A job, with its turn.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    pub(crate) job: T,
    number: u64,
    failures: u32,
    probe: bool,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Next<T> {
    Turn(Turn<T>),
    /// Until then, or until something happens.
    Wait(Option<Instant>),
}

/// What waits, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Jobs that are not done, those that are being worked on among them.
    pub(crate) jobs: usize,
    /// What they weigh.
    pub(crate) bytes: u64,
    /// How long the oldest has been here.
    pub(crate) oldest: Option<Duration>,
    /// How long nothing has got through.
    pub(crate) outage: Option<Duration>,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Line<T> {
    retry: Retry,
    next: u64,
    entries: BTreeMap<u64, Entry>,
    bytes: u64,
    ready: BTreeMap<u64, Waiting<T>>,
    resting: BTreeMap<(Instant, u64), Waiting<T>>,
    outage: Option<Outage>,
    refusals: u32,
}

impl<T> Line<T> {
    pub(crate) const fn new(retry: Retry) -> Self {
        Self {
            retry,
            next: 0,
            entries: BTreeMap::new(),
            bytes: 0,
            ready: BTreeMap::new(),
            resting: BTreeMap::new(),
            outage: None,
            refusals: 0,
        }
    }

    /// Takes a job in; `bytes` is what it weighs.
    pub(crate) fn push(&mut self, job: T, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.entries.insert(self.next, Entry { since: now, bytes });
        self.ready.insert(self.next, Waiting { job, failures: 0 });
        self.next += 1;
    }

    /// Whether whoever comes now has to wait for the end of an outage.
    pub(crate) fn is_away(&self) -> bool {
        self.outage.is_some()
    }

    /// All that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &T> {
        self.ready.values().chain(self.resting.values()).map(|waiting| &waiting.job)
    }

    /// The next turn there is. Whoever gets one says what became of it.
    pub(crate) fn take(&mut self, now: Instant) -> Next<T> {
        self.wake(now);
        let due = self.resting.keys().next().map(|(due, _)| *due);
        let (number, probe) = match &mut self.outage {
            None => (self.ready.keys().next().copied(), false),
            Some(Outage { probe_at: None, .. }) => return Next::Wait(None),
            Some(Outage { probe_at: Some(at), .. }) if now < *at => return Next::Wait(Some(*at)),
            Some(outage) => {
                let after = self.ready.range(outage.last + 1..).next().or(self.ready.iter().next());
                let number = after.map(|(number, _)| *number);
                if let Some(number) = number {
                    (outage.last, outage.probe_at) = (number, None);
                }
                (number, true)
            }
        };
        let taken = number.and_then(|number| Some((number, self.ready.remove(&number)?)));
        match taken {
            Some((number, Waiting { job, failures })) => Next::Turn(Turn { job, number, failures, probe }),
            None => Next::Wait(due),
        }
    }

    /// It is done. Where that ends an outage: how long it was.
    pub(crate) fn succeeded(&mut self, number: u64, now: Instant) -> Option<Duration> {
        if let Some(entry) = self.entries.remove(&number) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
        self.refusals = 0;
        self.outage.take().map(|outage| now.saturating_duration_since(outage.since))
    }

    /// It is to be tried again. True where an outage begins with this.
    pub(crate) fn failed(&mut self, turn: Turn<T>, failure: Failure, now: Instant, chance: f64) -> bool {
        self.refusals = if failure == Failure::Refused { self.refusals + 1 } else { self.refusals };
        let for_all = failure == Failure::Away || self.refusals >= REFUSALS;
        let begins = for_all && self.outage.is_none();
        if for_all {
            self.extend_outage(&turn, now, chance);
        } else if let Some(outage) = self.outage.as_mut().filter(|_| turn.probe) {
            // It says nothing of the others.
            outage.probe_at = Some(now);
        }
        self.put_back(turn, failure, now, chance);
        begins
    }

    fn extend_outage(&mut self, turn: &Turn<T>, now: Instant, chance: f64) {
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            failures: 0,
            probe_at: Some(now),
            last: turn.number,
        });
        if turn.probe || outage.failures == 0 {
            outage.failures += 1;
            outage.probe_at = Some(now + self.retry.wait(outage.failures, chance));
        }
    }

    fn put_back(&mut self, turn: Turn<T>, failure: Failure, now: Instant, chance: f64) {
        let Turn { job, number, mut failures, probe } = turn;
        // Who was tried to see whether the store is back has not failed itself.
        if !(probe && failure == Failure::Away) {
            failures += 1;
        }
        let rest = match failure {
            Failure::Away if failures <= PATIENCE => None,
            Failure::Refused => Some(self.retry.refused),
            Failure::Away | Failure::Own => Some(self.retry.wait(failures, chance)),
        };
        match rest {
            None => drop(self.ready.insert(number, Waiting { job, failures })),
            Some(rest) => drop(self.resting.insert((now + rest, number), Waiting { job, failures })),
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(first) = self.resting.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, number), waiting) = first.remove_entry();
            self.ready.insert(number, waiting);
        }
    }

    pub(crate) fn figures(&self, now: Instant) -> Figures {
        let since = |since: Instant| now.saturating_duration_since(since);
        Figures {
            jobs: self.entries.len(),
            bytes: self.bytes,
            oldest: self.entries.values().next().map(|entry| since(entry.since)),
            outage: self.outage.as_ref().map(|outage| since(outage.since)),
        }
    }
}

impl<T> Turn<T> {
    /// The place in the line, for [`Line::succeeded`].
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long an attempt takes.
    const WORK: Duration = Duration::from_millis(10);

    /// A few workers on a line, in simulated time.
    struct Workers {
        line: Line<u32>,
        start: Instant,
        now: Instant,
        busy: Vec<(Instant, Turn<u32>)>,
        attempts: Vec<(Duration, u32)>,
        done: Vec<u32>,
    }

    impl Workers {
        fn with(jobs: u32) -> Self {
            let now = Instant::now();
            let mut line = Line::new(Retry::default());
            (0..jobs).for_each(|job| line.push(job, 10, now));
            Self { line, start: now, now, busy: Vec::new(), attempts: Vec::new(), done: Vec::new() }
        }

        /// Four at a time, until all is done or `until` has passed. `fate`: what becomes of an attempt that ends then.
        fn run(&mut self, until: Duration, fate: impl Fn(u32, Duration) -> Option<Failure>) {
            while self.now < self.start + until && self.line.figures(self.now).jobs > 0 {
                let mut next = None;
                while self.busy.len() < 4 {
                    match self.line.take(self.now) {
                        Next::Turn(turn) => {
                            self.attempts.push((self.now - self.start, turn.job));
                            self.busy.push((self.now + WORK, turn));
                        }
                        Next::Wait(at) => {
                            next = at;
                            break;
                        }
                    }
                }
                let ends = self.busy.iter().map(|(end, _)| *end);
                self.now = ends.chain(next).min().expect("something is always going to happen");
                while let Some(at) = self.busy.iter().position(|(end, _)| *end <= self.now) {
                    let (_, turn) = self.busy.remove(at);
                    match fate(turn.job, self.now - self.start) {
                        None => {
                            self.done.push(turn.job);
                            self.line.succeeded(turn.number(), self.now);
                        }
                        Some(failure) => drop(self.line.failed(turn, failure, self.now, 0.7)),
                    }
                }
            }
        }

        fn attempts_within(&self, seconds: std::ops::Range<u64>) -> usize {
            let within = |at: &Duration| (seconds.start..seconds.end).contains(&at.as_secs());
            self.attempts.iter().filter(|(at, _)| within(at)).count()
        }
    }

    #[test]
    fn an_outage_of_minutes_costs_few_attempts_and_all_go_on_in_order() {
        let mut workers = Workers::with(1_000);
        let back = Duration::from_secs(600);
        workers.run(Duration::from_secs(700), |_, at| (at < back).then_some(Failure::Away));
        let during = workers.attempts_within(0..600);
        assert!((20..60).contains(&during), "{during} attempts while the store was away");
        assert_eq!(workers.attempts.len() - during, 1_000, "once each after it");
        // All but the one that found the store back.
        let found = workers.done.remove(0);
        let rest: Vec<u32> = (0..1_000).filter(|job| *job != found).collect();
        assert_eq!(workers.done, rest);
        assert_eq!(workers.line.figures(workers.now), Figures::default());
    }

    #[test]
    fn during_an_outage_one_is_tried_at_a_time_and_each_time_another() {
        let mut workers = Workers::with(10_000);
        workers.run(Duration::from_secs(300), |_, _| Some(Failure::Away));
        let probes: Vec<u32> = workers.attempts.iter().skip(4).map(|(_, job)| *job).collect();
        assert_eq!(probes, (1..=probes.len() as u32).collect::<Vec<_>>());
        let waits = workers.attempts.windows(2).skip(4).map(|pair| pair[1].0 - pair[0].0);
        assert!(waits.clone().all(|wait| wait > WORK) && waits.max() > Some(Duration::from_secs(20)));
        let figures = workers.line.figures(workers.now);
        assert_eq!((figures.jobs, figures.bytes), (10_000, 100_000));
        assert!(figures.outage > Some(Duration::from_secs(299)) && figures.oldest > figures.outage);
    }

    #[test]
    fn one_that_is_refused_is_looked_at_each_minute_and_stops_no_other() {
        let mut workers = Workers::with(100);
        let mended = Duration::from_secs(200);
        workers
            .run(Duration::from_secs(400), |job, at| (job == 7 && at < mended).then_some(Failure::Refused));
        assert_eq!((workers.done.len(), workers.done.last()), (100, Some(&7)));
        let looks: Vec<u64> =
            workers.attempts.iter().filter(|(_, job)| *job == 7).map(|(at, _)| at.as_secs()).collect();
        assert_eq!(looks, [0, 60, 120, 180, 240]);
        assert_eq!(workers.attempts_within(1..400), 4);
    }

    #[test]
    fn a_store_that_refuses_all_is_not_asked_for_each() {
        let mut workers = Workers::with(5_000);
        let mended = Duration::from_secs(600);
        workers.run(Duration::from_secs(900), |_, at| (at < mended).then_some(Failure::Refused));
        let during = workers.attempts_within(0..600);
        assert!(during < 100, "{during} attempts");
        assert_eq!(workers.done.len(), 5_000);
    }

    #[test]
    fn one_that_fails_by_itself_rests_longer_each_time_and_stops_no_other() {
        for failure in [Failure::Own, Failure::Away] {
            let mut workers = Workers::with(1_000);
            workers.run(Duration::from_secs(300), |job, _| (job < 2).then_some(failure));
            assert_eq!(workers.done, (2..1_000).collect::<Vec<_>>(), "{failure:?}");
            let done_at = workers.attempts.iter().filter(|(_, job)| *job == 999).map(|(at, _)| *at).max();
            assert!(done_at < Some(Duration::from_secs(10)), "{failure:?}: {done_at:?}");
            let attempts = workers.attempts.len() - 998;
            assert!(attempts < 80, "{failure:?}: {attempts} attempts at two that cannot succeed");
        }
    }

    #[test]
    fn what_comes_during_an_outage_waits_with_the_others() {
        let mut workers = Workers::with(2);
        let back = Duration::from_secs(100);
        workers.run(Duration::from_secs(50), |_, at| (at < back).then_some(Failure::Away));
        workers.line.push(2, 10, workers.now);
        workers.run(Duration::from_secs(200), |_, at| (at < back).then_some(Failure::Away));
        let mut done = workers.done.clone();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2]);
        assert!(workers.attempts.len() < 40, "{:?}", workers.attempts);
    }
}
