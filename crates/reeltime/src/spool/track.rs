//! The appending side of one track's log.
//!
//! An append encodes its record into the active block under a short lock and returns. The shard's writer thread
//! swaps the active block for an empty one and writes it: two blocks in all. Where both are full, the disk is
//! slower than the source: the appender waits (its socket is then not read), unless the disk refuses bytes
//! altogether, in which case what arrives is counted as an `overflow` gap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reeltime_core::bundle::Kind;
use reeltime_core::id::TrackId;
use reeltime_core::log::{Encoder, Event, GapReason, LogHeader, PacketMeta};
use reeltime_core::render::{Drift, DriftMeter};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Survey};
use tokio::sync::{Notify, oneshot, watch};

use super::pen::{Block, Pen};
use super::reach::{Extent, Reached, Shippable};
use super::shard::{Mark, Message, ShardHandle};

/// The block is handed to the writer before its next sweep once it holds this much.
const FLUSH_AT: usize = 32 * 1024;
/// A block holds no more than this, but for one record that is larger by itself, and for events.
const BLOCK_CAP: usize = 64 * 1024;
/// Beyond this, names and turns are left out: a client that sends nothing else must not fill the memory.
const EVENTS_CAP: usize = 1 << 20;

/// A track's log while it is being written. Shared by its session, its shard and its readers.
pub struct TrackLog {
    id: TrackId,
    state: Mutex<State>,
    room: Notify,
    synced: watch::Sender<u64>,
    on_synced: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// What of it is synced and in the store, file by file.
    reached: Mutex<Reached>,
    shipped: watch::Sender<u64>,
    on_shipped: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Bytes of its files that are in the store.
    shipped_bytes: AtomicU64,
    shard: ShardHandle,
}

impl std::fmt::Debug for TrackLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackLog")
            .field("id", &self.id)
            .field("synced", &*self.synced.borrow())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// Of the file being written.
    pub(super) header: LogHeader,
    /// Exists once something was appended: a log without records is never created.
    pub(super) pen: Option<Pen>,
    pub(super) block: Block,
    /// Samples per channel behind everything appended.
    pub(super) samples: u64,
    /// The disk refuses bytes: do not wait, count.
    pub(super) starved: bool,
    /// What was given up since: position and samples.
    dropped: Option<(u64, u64)>,
    /// Nothing from here on is ever acknowledged: audio at this position was given up.
    ack_limit: u64,
    asked: bool,
    ended: bool,
    /// Bytes of payload appended by this process.
    payload: u64,
    /// Bytes of the track's files before the one being written.
    pub(super) earlier: u64,
    /// Samples per channel behind what was taken to be written.
    taken: u64,
    /// How often the writer has left the block that waits.
    beats: u32,
    /// `None` for a track that was taken over from an earlier process: its past is in the files.
    survey: Option<Survey>,
    /// How its clock runs, as long as its timeline is known.
    drift: DriftMeter,
}

/// Whether a block that waits is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// Where it holds most of what `flush_interval` brings, or has waited so many sweeps.
    Worth {
        interval: Duration,
        sweeps: u32,
    },
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log's block.
    Logged,
    /// The disk takes nothing: it is given up, counted, and will stand in the log as an `overflow` gap.
    Dropped,
}

/// The log was closed; nothing more can be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the track's log is closed")]
pub struct LogClosed;

enum Room {
    Done(Appended),
    Wait,
}

impl TrackLog {
    pub(super) fn new(
        header: LogHeader,
        (samples, safe): (u64, u64),
        survey: Option<Survey>,
        files: Vec<Extent>,
        shard: ShardHandle,
    ) -> Self {
        let drift = DriftMeter::new(header.format.rate, header.counting);
        let state = State {
            header,
            pen: None,
            block: Block::default(),
            samples,
            starved: false,
            dropped: None,
            ack_limit: if safe < samples { safe } else { u64::MAX },
            asked: false,
            ended: false,
            payload: 0,
            earlier: 0,
            taken: samples,
            beats: 0,
            survey,
            drift,
        };
        let id = state.header.track;
        let synced = watch::Sender::new(safe);
        Self {
            id,
            state: Mutex::new(state),
            room: Notify::new(),
            synced,
            on_synced: OnceLock::new(),
            reached: Mutex::new(Reached::new(files)),
            shipped: watch::Sender::new(0),
            on_shipped: OnceLock::new(),
            shipped_bytes: AtomicU64::new(0),
            shard,
        }
    }

    /// The track.
    pub const fn id(&self) -> TrackId {
        self.id
    }

    /// A copy of the header of the file being written.
    pub fn header(&self) -> LogHeader {
        self.lock().header.clone()
    }

    /// Labels the recording's clock; heeded until the first append, since it stands in the log's header.
    pub fn start_clock(&self, epoch: reeltime_core::time::UtcMicros, opened: Micros) {
        let mut state = self.lock();
        if state.pen.is_none() {
            state.header.epoch = epoch;
            state.header.opened = opened;
        }
    }

    /// Samples per channel behind everything appended: the position that comes next.
    pub fn samples(&self) -> u64 {
        self.lock().samples
    }

    /// Bytes of the track's files in the spool, with what is still to be written to them.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.lock();
        let mark = state.mark();
        state.earlier + mark.offset + mark.sound
    }

    /// Whether it takes nothing more.
    pub fn is_closed(&self) -> bool {
        self.lock().ended
    }

    /// Whether anything was ever appended.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.pen.is_none() && state.header.number == 0
    }

    /// Follows how many samples are safe on the disk. Everything before the value is synced.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    /// Whether this process has logged all of it, and knows its timeline.
    pub fn is_ours(&self) -> bool {
        self.lock().survey.is_some()
    }

    /// The timeline as of now, with hindsight once the log is closed; `None` where only the files know all of it.
    pub fn layout(&self) -> Option<Layout> {
        let state = self.lock();
        let survey = state.survey.as_ref()?;
        Some(if state.ended { survey.clone().finish() } else { survey.layout() })
    }

    /// By how much the track's clock is off, in parts in a million; `Some(None)`: not by so much that it matters. `None`
    /// where only the files know.
    pub fn drift_ppm(&self) -> Option<Option<f64>> {
        let state = self.lock();
        let layout = state.survey.as_ref()?.layout();
        Some(state.drift.drift(&layout).map(Drift::ppm))
    }

    /// Bytes of the sound file, where the log is closed, that is its first and only one, and all of it was written by
    /// this process, which has seen its timeline.
    pub(super) fn sound_written(&self) -> Option<u64> {
        let state = self.lock();
        let alone = state.ended && state.header.number == 0 && state.survey.is_some();
        let written = state.pen.as_ref().map_or(0, |pen| pen.reached().sound);
        (alone && written > 0).then_some(written)
    }

    /// Appends a packet of `samples` samples per channel, waiting while both blocks are full.
    ///
    /// Cancel safe: a dropped future has appended nothing.
    ///
    /// # Errors
    /// [`LogClosed`] after [`Self::close`].
    pub async fn append(
        &self,
        meta: PacketMeta,
        samples: u64,
        payload: &[u8],
    ) -> Result<Appended, LogClosed> {
        if let Room::Done(appended) = self.try_append(meta, samples, payload)? {
            return Ok(appended);
        }
        loop {
            // Before the next try, so that room made in between is not missed.
            let room = self.room.notified();
            if let Room::Done(appended) = self.try_append(meta, samples, payload)? {
                return Ok(appended);
            }
            room.await;
        }
    }

    /// [`Self::append`] for a thread of its own.
    ///
    /// # Errors
    /// [`LogClosed`] after [`Self::close`].
    pub fn append_blocking(
        self: &Arc<Self>,
        meta: PacketMeta,
        samples: u64,
        payload: &[u8],
    ) -> Result<Appended, LogClosed> {
        loop {
            if let Room::Done(appended) = self.try_append(meta, samples, payload)? {
                return Ok(appended);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The timeline in memory is not to be trusted: only the files know it.
    pub(crate) fn forget_survey(&self) {
        self.lock().forget_survey();
    }

    /// Appends an event without waiting. One that is too long for a record is left out, and so are marks and turns
    /// while a megabyte waits for the disk.
    pub fn event(&self, arrival: Micros, event: &Event) {
        let mut state = self.lock();
        let label = matches!(event, Event::Mark { .. } | Event::Turn { .. });
        if state.ended || (label && state.block.len() > EVENTS_CAP) {
            return;
        }
        if let Event::Gap { at, samples, .. } = event {
            state.samples = state.samples.max(at + samples);
        }
        state.settle_dropped(arrival);
        state.log_event(arrival, event);
        if state.block.len() >= FLUSH_AT {
            self.ask(&mut state);
        }
    }

    fn try_append(&self, meta: PacketMeta, samples: u64, payload: &[u8]) -> Result<Room, LogClosed> {
        let mut state = self.lock();
        if state.ended {
            return Err(LogClosed);
        }
        if !state.has_room(payload.len()) {
            if !state.starved {
                self.ask(&mut state);
                return Ok(Room::Wait);
            }
            state.give_up(meta.timestamp, samples);
            return Ok(Room::Done(Appended::Dropped));
        }
        state.settle_dropped(meta.arrival);
        state.log_packet(meta, samples, payload);
        if state.block.len() >= FLUSH_AT {
            self.ask(&mut state);
        }
        Ok(Room::Done(Appended::Logged))
    }

    fn ask(&self, state: &mut State) {
        if !state.asked {
            state.asked = true;
            self.shard.send(Message::Full(self.id));
        }
    }

    /// Flushes what was appended so far and tells how far the log's current file reaches.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.shard.send(Message::Flush(self.id, done));
        // The shard is gone only when the spool is: then nothing can be flushed.
        let _ = flushed.await;
    }

    /// Closes the log: footer written and synced. True once that is so; false where the disk did not take it.
    /// Closing twice is the same as once; a log without records has nothing to close.
    pub async fn close(&self, at: Micros, reason: &str) -> bool {
        {
            let mut state = self.lock();
            if !state.ended {
                state.settle_dropped(at);
                state.ended = true;
                state.log_footer(at, reason);
            }
        }
        self.room.notify_waiters();
        self.ask_sync(true).await
    }

    /// Takes nothing more; what lies in the files is all there is. For a track taken over from an earlier process.
    pub(crate) fn seal(&self) {
        self.lock().ended = true;
        self.shard.send(Message::Forget(self.id));
    }

    /// Flushes and syncs what was appended so far. False where the spool is going down.
    pub async fn sync(&self) -> bool {
        self.ask_sync(false).await
    }

    async fn ask_sync(&self, close: bool) -> bool {
        let (done, synced) = oneshot::channel();
        self.shard.send(Message::Sync { track: self.id, close, done });
        synced.await.is_ok()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the active block in exchange for the empty `spare`, where `due` says so; gives how far the log reaches
    /// with it.
    pub(super) fn take_block(&self, spare: &mut Block, due: Due) -> Option<Mark> {
        let mut state = self.lock();
        if state.block.is_empty() || !state.is_due(due) {
            return None;
        }
        state.asked = false;
        state.beats = 0;
        state.taken = state.samples;
        std::mem::swap(&mut state.block, spare);
        let mark = state.mark();
        drop(state);
        self.room.notify_waiters();
        Some(mark)
    }

    /// The disk refuses bytes, or takes them again.
    pub(super) fn set_starved(&self, starved: bool) {
        let mut state = self.lock();
        if state.starved != starved {
            state.starved = starved;
            drop(state);
            self.room.notify_waiters();
        }
    }

    /// The file `number` is synced up to `mark`.
    pub(super) fn set_synced(&self, number: u32, mark: Mark) {
        let samples = mark.samples.min(self.lock().ack_limit);
        let Mark { offset: log, sound, payload, .. } = mark;
        self.reached().synced(Extent { number, log, sound, samples, payload }, Instant::now());
        advance(&self.synced, &self.on_synced, samples);
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is synced and not yet in the store: `most` bytes at most.
    pub(crate) fn to_ship(&self, most: u64) -> Option<Shippable> {
        self.reached().next(most)
    }

    /// Since when the oldest that is synced and not in the store has been so; `None` where nothing is.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.reached().waits_since()
    }

    /// What [`Self::to_ship`] gave is in the store: its bytes, and so all that was synced at `then`, where that is said.
    /// `count` is told the bytes of payload that this adds, before anybody else learns of it.
    pub(crate) fn set_shipped(&self, to: Extent, bytes: u64, then: Option<Instant>, count: impl FnOnce(u64)) {
        let before = {
            let mut reached = self.reached();
            let before = reached.shipped().payload;
            reached.ship(to, then);
            before
        };
        self.shipped_bytes.fetch_add(bytes, Ordering::Relaxed);
        count(to.payload.saturating_sub(before));
        advance(&self.shipped, &self.on_shipped, to.samples);
    }

    /// Bundles that are there already hold, of each of its files, so many bytes from the beginning.
    pub(crate) fn skip_shipped(&self, held: impl Fn(u32, Kind) -> u64) {
        let samples = {
            let mut reached = self.reached();
            reached.skip(held);
            reached.shipped().samples
        };
        advance(&self.shipped, &self.on_shipped, samples);
    }

    /// Another node's bundles, which stay for as long as they are needed, hold all that is synced of it by now.
    pub(crate) fn assume_shipped(&self) {
        if let Some(to) = self.reached().ship_all() {
            advance(&self.shipped, &self.on_shipped, to.samples);
        }
    }

    /// What was shipped of it is no longer to be counted on: it is shipped again, from its first byte.
    pub(crate) fn ship_again(&self) {
        self.reached().start_over();
    }

    /// It is published: all of it that is safe is in the store.
    pub(crate) fn note_published(&self) {
        advance(&self.shipped, &self.on_shipped, *self.synced.borrow());
    }

    /// Follows how many samples are in the store. Everything before the value is.
    pub fn shipped(&self) -> watch::Receiver<u64> {
        self.shipped.subscribe()
    }

    /// Bytes of its files that are in the store, and that the recorder has put there.
    pub fn shipped_bytes(&self) -> u64 {
        self.shipped_bytes.load(Ordering::Relaxed)
    }

    /// Has `tell` called whenever more is in the store; the first one given stays.
    pub(crate) fn on_shipped(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_shipped.set(Box::new(tell));
    }

    /// Has `tell` called whenever more is synced; the first one given stays.
    pub(crate) fn on_synced(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_synced.set(Box::new(tell));
    }
}

/// Says that `samples` are reached, and tells who follows.
fn advance(reached: &watch::Sender<u64>, tell: &OnceLock<Box<dyn Fn() + Send + Sync>>, samples: u64) {
    let further = reached.send_if_modified(|reached| {
        let further = samples > *reached;
        *reached = samples.max(*reached);
        further
    });
    if further && let Some(tell) = tell.get() {
        tell();
    }
}

impl State {
    pub(super) fn forget_survey(&mut self) {
        self.survey = None;
    }

    /// Audio at position `at` is lost: nothing from there on is acknowledged any more.
    pub(super) fn limit_acks(&mut self, at: u64) {
        self.ack_limit = self.ack_limit.min(at);
    }

    /// Where acknowledgements end, if they do.
    pub(super) fn given_up(&self) -> Option<u64> {
        (self.ack_limit < u64::MAX).then_some(self.ack_limit)
    }

    /// Samples per channel behind everything that stands in the log: what was given up last does not yet.
    pub(super) fn logged(&self) -> u64 {
        self.dropped.map_or(self.samples, |(at, _)| at)
    }

    /// How far everything appended reaches.
    pub(super) fn mark(&self) -> Mark {
        let (samples, payload) = (self.logged(), self.payload);
        self.pen.as_ref().map_or_else(Mark::default, |pen| Mark { samples, payload, ..pen.reached() })
    }

    /// Counts a sweep that leaves the block.
    fn is_due(&mut self, due: Due) -> bool {
        let Due::Worth { interval, sweeps } = due else { return true };
        let worth = Micros(interval.as_micros() as u64 * 3 / 4).to_samples(self.header.format.rate);
        self.beats += 1;
        self.beats >= sweeps || self.samples - self.taken >= worth
    }

    const fn has_room(&self, payload: usize) -> bool {
        self.block.is_empty() || self.block.len() + Encoder::packet_size(payload) <= BLOCK_CAP
    }

    /// Puts the header into the block before anything else.
    fn begin(&mut self) {
        if self.pen.is_none() {
            self.pen = Pen::create(&self.header, &mut self.block);
        }
    }

    fn log_packet(&mut self, meta: PacketMeta, samples: u64, payload: &[u8]) {
        self.begin();
        if let Some(pen) = self.pen.as_mut() {
            pen.packet(meta, payload, &mut self.block);
        }
        self.payload += payload.len() as u64;
        self.samples = self.samples.max(meta.timestamp + samples);
        if let Some(survey) = self.survey.as_mut() {
            survey.packet(meta, samples);
            self.drift.packet(meta, samples);
        }
    }

    fn log_event(&mut self, arrival: Micros, event: &Event) {
        self.begin();
        if let Some(pen) = self.pen.as_mut() {
            pen.event(arrival, event, &mut self.block);
        }
        if let Some(survey) = self.survey.as_mut() {
            survey.event(arrival, event);
        }
    }

    fn log_footer(&mut self, at: Micros, reason: &str) {
        let samples = self.samples;
        if let Some(pen) = self.pen.as_mut() {
            pen.footer(samples, at, reason, &mut self.block);
        }
    }

    fn give_up(&mut self, at: u64, samples: u64) {
        let (_, dropped) = self.dropped.get_or_insert((at, 0));
        *dropped += samples;
        self.limit_acks(at);
        self.samples = self.samples.max(at + samples);
    }

    fn settle_dropped(&mut self, arrival: Micros) {
        if let Some((at, samples)) = self.dropped.take() {
            self.log_event(arrival, &Event::Gap { at, samples, reason: GapReason::Overflow });
        }
    }
}

/// Any number that differs from file to file will do: a record of another file must not pass for one of this.
pub(super) fn salt(header: &LogHeader) -> u32 {
    crc32c::crc32c_append(header.number, header.track.0.as_bytes())
}
