//! A shard: one writer thread for many logs.
//!
//! Four times each `flush_interval` it looks at every log's block and writes those that hold most of what the interval
//! brings, or have waited for all of it: what comes in bursts is written soon after, the rest not more often than
//! needed. One write(2) a file. Each `sync_interval` it
//! hands the logs that gained bytes to the sync pool. A channel message for every block would cost as much as the
//! write, so the sweep needs none: messages are for what cannot wait (a full block, a flush, a sync, a close).
//!
//! A log whose write or sync failed is poisoned: it is never written or synced again. What was not yet synced is
//! read back and goes, with all that follows, into a file with the next number ([`Continues`]).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use reeltime_core::id::TrackId;
use reeltime_core::log::Continues;
use tokio::sync::oneshot;
use tracing::error;

use super::copy::{Copy, read_between};
use super::disk::DiskFile;
use super::pen::{Block, Pen};
use super::sync::{SyncJob, SyncPool};
use super::track::{Due, TrackLog, salt};
use super::{Listener, Shared, file_name, sound_name};

/// How much longer a disk is given after each sync that failed in a row: 6.4 s at most.
const FAILED_WAIT: Duration = Duration::from_millis(100);
const MOST_FAILED: u32 = 64;
/// Sweeps in each `flush_interval`.
const SWEEPS: u32 = 4;
/// Files removed one after the other; fewer than `reader::numbers_of` bridges.
const STALE_IN_A_ROW: usize = 8;

/// What a shard is told between its sweeps.
pub(super) enum Message {
    Register(Arc<TrackLog>, Option<Listener>),
    Full(TrackId),
    Flush(TrackId, oneshot::Sender<()>),
    /// Flush and sync; and forget the log where it is to be closed.
    Sync {
        track: TrackId,
        close: bool,
        done: oneshot::Sender<()>,
    },
    Synced(Vec<SyncDone>),
    /// They could not be synced by one call.
    SyncEach(Vec<SyncJob>),
    Forget(TrackId),
    Quit,
}

/// The end of one file's sync.
#[derive(Debug)]
pub(super) struct SyncDone {
    pub(super) track: TrackId,
    pub(super) number: u32,
    pub(super) mark: Mark,
    pub(super) result: io::Result<()>,
}

/// A point in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes of the file before it.
    pub(super) offset: u64,
    /// Bytes of the sound file before it.
    pub(super) sound: u64,
    /// Samples per channel of the session before it.
    pub(super) samples: u64,
    /// Bytes of payload that this process has appended before it.
    pub(super) payload: u64,
}

/// Sends to a shard; never blocks.
#[derive(Clone, Debug)]
pub(super) struct ShardHandle(pub(super) Sender<Message>);

impl ShardHandle {
    pub(super) fn send(&self, message: Message) {
        // The shard ends only with the spool.
        let _ = self.0.send(message);
    }
}

struct Entry {
    log: Arc<TrackLog>,
    number: u32,
    file: Option<Arc<dyn DiskFile>>,
    /// Beside it, where its payload is samples.
    sound: Option<Arc<dyn DiskFile>>,
    /// Hears the first sound file.
    listener: Option<Listener>,
    /// Its place among all files created by this process.
    created: u64,
    /// The block being written, or an empty one.
    spare: Block,
    /// Where the log reaches once `spare` is written.
    pending: Option<Mark>,
    written: Mark,
    synced: Mark,
    /// Where the file before this one stops to count, for the next header.
    before: Option<Continues>,
    /// Bytes of payload that were taken to be written.
    taken: u64,
    /// Bytes of payload that were counted as written: what is written again counts once.
    counted: u64,
    /// Since when something written waits for its sync.
    unsynced: Option<Instant>,
    dirty: bool,
    syncing: bool,
    failures: u32,
    /// Syncs that failed one after the other.
    failed_syncs: u32,
    /// Files that failed before anything in them was safe: of no use once their successor is synced.
    stale: Vec<u32>,
    retry_at: Option<Instant>,
    /// Who waits until all of it is synced.
    waiting: Vec<oneshot::Sender<()>>,
    closing: bool,
}

pub(super) struct Shard {
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    handle: ShardHandle,
    pool: SyncPool,
    lag: Arc<AtomicU64>,
    entries: HashMap<TrackId, Entry>,
}

impl Shard {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
        handle: ShardHandle,
        pool: SyncPool,
        lag: Arc<AtomicU64>,
    ) -> Self {
        Self { shared, inbox, handle, pool, lag, entries: HashMap::new() }
    }

    /// The thread's life.
    pub(super) fn run(mut self) {
        let (flush, sync) = (self.shared.config.flush_interval / SWEEPS, self.shared.config.sync_interval);
        let mut next_flush = Instant::now() + flush;
        let mut next_sync = Instant::now() + sync;
        loop {
            match self.inbox.recv_timeout(next_flush.saturating_duration_since(Instant::now())) {
                Ok(Message::Quit) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next_flush {
                self.sweep(now);
                next_flush = next_after(next_flush, flush, now);
            }
            if now >= next_sync {
                self.sync_dirty();
                next_sync = next_after(next_sync, sync, now);
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Register(log, listener) => {
                self.entries.insert(log.id(), Entry { listener, ..Entry::new(log) });
            }
            Message::Full(track) => self.flush_one(track),
            Message::Flush(track, done) => {
                self.flush_one(track);
                let _ = done.send(());
            }
            Message::Sync { track, close, done } => self.sync(track, close, done),
            Message::Synced(results) => results.into_iter().for_each(|done| self.synced(done)),
            Message::SyncEach(jobs) => self.pool.submit_each(jobs, &self.handle),
            Message::Forget(track) => drop(self.entries.remove(&track)),
            Message::Quit => {}
        }
    }

    fn flush_one(&mut self, track: TrackId) {
        if let Some(entry) = self.entries.get_mut(&track) {
            entry.flush(&self.shared, Instant::now(), Due::Now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.shared.watch_space();
        let due = Due::Worth { interval: self.shared.config.flush_interval, sweeps: SWEEPS };
        let mut lag = Duration::ZERO;
        for entry in self.entries.values_mut() {
            entry.flush(&self.shared, now, due);
            lag =
                lag.max(entry.unsynced.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)));
        }
        self.lag.store(lag.as_micros() as u64, Ordering::Relaxed);
        self.sync_awaited();
    }

    fn sync(&mut self, track: TrackId, close: bool, done: oneshot::Sender<()>) {
        let Some(entry) = self.entries.get_mut(&track) else {
            // Closed before: there is nothing left to wait for.
            let _ = done.send(());
            return;
        };
        entry.waiting.push(done);
        entry.closing |= close;
        // Twice, since a block may have been waiting before the one with the last records.
        entry.flush(&self.shared, Instant::now(), Due::Now);
        entry.flush(&self.shared, Instant::now(), Due::Now);
        self.go_on_waiting(track);
    }

    /// Syncs what is written of a log that somebody waits for; answers once that is all of it.
    fn go_on_waiting(&mut self, track: TrackId) {
        let Some(entry) = self.entries.get_mut(&track) else { return };
        if entry.waiting.is_empty() {
            return;
        }
        if let Some(job) = entry.sync_job() {
            self.pool.submit(vec![job], &self.handle);
        } else if entry.is_safe() {
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(());
            }
            if entry.closing {
                self.entries.remove(&track);
            }
        }
    }

    /// Syncs the logs whose last block has just been written and that cannot wait: somebody does, or the last sync
    /// failed.
    fn sync_awaited(&mut self) {
        let urgent = |entry: &&mut Entry| !entry.waiting.is_empty() || entry.failed_syncs > 0;
        let awaited = self.entries.values_mut().filter(urgent);
        let jobs: Vec<_> = awaited.filter_map(Entry::sync_job).collect();
        self.pool.submit_batches(jobs, &self.handle);
    }

    fn sync_dirty(&mut self) {
        let jobs: Vec<_> = self.entries.values_mut().filter_map(Entry::sync_job).collect();
        self.pool.submit_batches(jobs, &self.handle);
    }

    fn synced(&mut self, done: SyncDone) {
        let Some(entry) = self.entries.get_mut(&done.track) else { return };
        if done.number != entry.number {
            return;
        }
        entry.syncing = false;
        if let Err(error) = done.result {
            entry.poison(&self.shared, "sync", &error);
            entry.after_failed_sync(Instant::now());
            entry.flush(&self.shared, Instant::now(), Due::Now);
            return;
        }
        self.shared.totals.synced.fetch_add(done.mark.payload - entry.synced.payload, Ordering::Relaxed);
        entry.synced = done.mark;
        entry.unsynced = (entry.synced != entry.written).then(Instant::now);
        entry.failures = 0;
        entry.failed_syncs = 0;
        entry.remove_stale(&self.shared);
        entry.log.set_synced(done.number, done.mark);
        self.go_on_waiting(done.track);
    }
}

/// Keeps the beat, but does not try to catch up after a stall.
fn next_after(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now { next } else { now + interval }
}

impl Entry {
    fn new(log: Arc<TrackLog>) -> Self {
        let (number, before) = {
            let state = log.lock();
            (state.header.number, state.header.continues)
        };
        // Not the log's own count: it may have been appended to before it came here.
        let start = Mark { samples: before.map_or(0, |before| before.samples), ..Mark::default() };
        Self {
            log,
            number,
            file: None,
            sound: None,
            listener: None,
            created: 0,
            spare: Block::default(),
            pending: None,
            written: start,
            synced: start,
            before,
            taken: 0,
            counted: 0,
            unsynced: None,
            dirty: false,
            syncing: false,
            failures: 0,
            failed_syncs: 0,
            stale: Vec::new(),
            retry_at: None,
            waiting: Vec::new(),
            closing: false,
        }
    }

    /// Whether all that was appended is synced.
    fn is_safe(&self) -> bool {
        !self.syncing
            && self.pending.is_none()
            && self.synced == self.written
            && self.log.lock().block.is_empty()
    }

    /// The first failure is answered at once. Where the next file fails too, each attempt writes again all that is
    /// not safe: the disk is given time.
    fn after_failed_sync(&mut self, now: Instant) {
        self.failed_syncs = (self.failed_syncs + 1).min(MOST_FAILED);
        if self.failed_syncs > 1 {
            self.retry_at = Some(now + FAILED_WAIT * self.failed_syncs);
        }
    }

    fn remove_stale(&mut self, shared: &Shared) {
        // Not too many in a row: readers look for a track's files by their numbers.
        for number in self.stale.drain(..).take(STALE_IN_A_ROW) {
            // One that cannot be removed goes with the rest of the track.
            let _ = shared.disk.remove(&sound_name(self.log.id(), number));
            let _ = shared.disk.remove(&file_name(self.log.id(), number));
        }
    }

    /// Takes the log's block, if none is waiting, and writes it.
    fn flush(&mut self, shared: &Shared, now: Instant, due: Due) {
        if self.pending.is_none() {
            self.pending = self.log.take_block(&mut self.spare, due);
        }
        let Some(mark) = self.pending else { return };
        shared.totals.appended.fetch_add(mark.payload.saturating_sub(self.taken), Ordering::Release);
        self.taken = self.taken.max(mark.payload);
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match self.write(shared) {
            Ok(()) => self.block_written(shared, mark, now),
            Err(error) if is_full(&error) => self.starve(shared, now),
            Err(error) => {
                self.poison(shared, "write", &error);
                self.after_failed_write(shared, now);
            }
        }
    }

    /// The first failure is answered with the new file at once; where that fails too, the disk is given time.
    fn after_failed_write(&mut self, shared: &Shared, now: Instant) {
        if self.failures == 0 {
            self.failures = 1;
            self.flush(shared, now, Due::Now);
        } else {
            self.log.set_starved(true);
            self.back_off(now);
        }
    }

    fn write(&mut self, shared: &Shared) -> io::Result<()> {
        match self.try_write(shared) {
            Err(error) if is_full(&error) && shared.spend_reserve() => self.try_write(shared),
            result => result,
        }
    }

    fn try_write(&mut self, shared: &Shared) -> io::Result<()> {
        let track = self.log.id();
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = shared.disk.create(&file_name(track, self.number))?;
                self.created = shared.created.fetch_add(1, Ordering::Release) + 1;
                self.file.insert(file)
            }
        };
        // The sound first: no record speaks of what is not there.
        if !self.spare.sound.is_empty() {
            let sound = match &self.sound {
                Some(sound) => sound,
                None => {
                    let sound = shared.disk.create(&sound_name(track, self.number))?;
                    self.created = shared.created.fetch_add(1, Ordering::Release) + 1;
                    self.sound.insert(sound)
                }
            };
            sound.write_at(&self.spare.sound, self.written.sound)?;
        }
        file.write_at(&self.spare.log, self.written.offset)
    }

    fn block_written(&mut self, shared: &Shared, mark: Mark, now: Instant) {
        shared.bytes.fetch_add(self.spare.len() as u64, Ordering::Relaxed);
        shared.totals.written.fetch_add(mark.payload.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = self.counted.max(mark.payload);
        self.unsynced.get_or_insert(now);
        if let Some(listener) = &mut self.listener {
            listener(&self.spare.sound);
        }
        self.spare.clear();
        self.written = mark;
        self.pending = None;
        self.dirty = true;
        self.retry_at = None;
        self.log.set_starved(false);
    }

    /// No space: the same bytes go to the same place once there is some.
    fn starve(&mut self, shared: &Shared, now: Instant) {
        shared.note_full();
        self.log.set_starved(true);
        self.back_off(now);
    }

    fn back_off(&mut self, now: Instant) {
        self.failures = (self.failures + 1).min(2);
        self.retry_at = Some(now + Duration::from_millis(100 << self.failures));
    }

    /// Gives up the file. What is safe in it stays; the rest goes into the next one.
    fn poison(&mut self, shared: &Shared, what: &str, cause: &io::Error) {
        let name = file_name(self.log.id(), self.number);
        if self.file.is_none() {
            error!(file = %name, error = %cause, "cannot create a log file in the spool; trying again");
            if cause.kind() == io::ErrorKind::AlreadyExists {
                // An attempt that was said to have failed has left it.
                self.move_on(&Block::default());
            }
            return;
        }
        error!(file = %name, operation = what, error = %cause, "a spool file failed; going on in a new one");
        metrics::counter!("reeltime_spool_poisoned_logs_total").increment(1);
        let unsynced = self.read_back();
        self.move_on(&unsynced);
        shared.watch_space();
    }

    /// The bytes after the last sync that did reach the files.
    fn read_back(&self) -> Block {
        let (synced, written) = (self.synced, self.written);
        Block {
            log: read_between(self.file.as_deref(), synced.offset, written.offset),
            sound: read_between(self.sound.as_deref(), synced.sound, written.sound),
        }
    }

    /// Encodes anew, for the next file, what the old one does not safely hold.
    fn move_on(&mut self, unsynced: &Block) {
        if self.synced.offset > 0 {
            self.before = Some(Continues {
                number: self.number,
                valid_until: self.synced.offset,
                samples: self.synced.samples,
                given_up: None,
            });
        } else {
            self.stale.push(self.number);
        }
        let log = Arc::clone(&self.log);
        let mut state = log.lock();
        let old = salt(&state.header);
        state.header.number += 1;
        let given_up = state.given_up();
        state.header.continues = self.before.map(|before| Continues { given_up, ..before });
        let mut block = Block::default();
        let Some(mut pen) = Pen::create(&state.header, &mut block) else { return };
        let mut copy = Copy { salt: old, format: state.header.format, pen: &mut pen, out: &mut block };
        let lost = copy.records(self.synced, unsynced, self.written.samples);
        let unwritten = Block {
            log: [self.spare.log.as_slice(), state.block.log.as_slice()].concat(),
            sound: [self.spare.sound.as_slice(), state.block.sound.as_slice()].concat(),
        };
        copy.records(self.written, &unwritten, state.logged());
        if let Some(at) = lost {
            state.limit_acks(at);
            // It has counted what is now a gap; the files know better.
            state.forget_survey();
        }
        state.block.clear();
        state.earlier += self.written.offset + self.written.sound;
        state.pen = Some(pen);
        self.pending = Some(state.mark());
        self.number = state.header.number;
        self.spare = block;
        self.file = None;
        self.sound = None;
        self.listener = None;
        self.written = Mark { offset: 0, sound: 0, ..self.synced };
        self.synced = self.written;
        self.dirty = false;
        self.syncing = false;
    }

    fn sync_job(&mut self) -> Option<SyncJob> {
        if !self.dirty || self.syncing {
            return None;
        }
        let file = Arc::clone(self.file.as_ref()?);
        self.dirty = false;
        self.syncing = true;
        Some(SyncJob {
            track: self.log.id(),
            number: self.number,
            unnamed: (self.synced.offset == 0).then_some(self.created),
            mark: self.written,
            file,
            sound: self.sound.clone(),
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
