//! What is being recorded now: recordings, and the sessions that feed them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::Purpose;
use reeltime_core::session::{Presence, Session};
use reeltime_core::time::{Micros, UtcMicros};
use tokio::sync::{mpsc, oneshot, watch};

use super::bell::{self, Bell};
use super::clock::RecordingClock;
use super::growing::Growing;
use super::sketch::Sketch;
use crate::catalogue::RecordingState;
use crate::spans::{self, Lasting};
use crate::spool::TrackLog;

/// A recording that is not yet published.
#[derive(Debug)]
pub(crate) struct LiveRecording {
    pub(crate) id: RecordingId,
    pub(crate) tenant: String,
    /// The call as its source named it.
    pub(crate) call: Option<String>,
    pub(crate) purpose: Purpose,
    pub(crate) created: UtcMicros,
    /// Held while its files are made, and while they are removed.
    pub(crate) files: tokio::sync::Mutex<()>,
    /// What of its files is uploaded while they grow; held while that is done.
    pub(crate) growing: Arc<tokio::sync::Mutex<Growing>>,
    pub(crate) span: Lasting,
    over: watch::Sender<bool>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Option<RecordingClock>,
    tracks: Vec<Arc<TrackLog>>,
    sketches: HashMap<TrackId, Sketch>,
    open_sessions: usize,
    /// Process time since which no session is open.
    empty_since: Option<Micros>,
    state: RecordingState,
    /// Its owner deleted it: nothing of it is to be published.
    deleted: bool,
    /// The catalogue has it.
    entered: bool,
    /// Another node has taken it over and finishes it.
    anothers: bool,
}

impl LiveRecording {
    pub(crate) fn new(
        id: RecordingId,
        tenant: String,
        call: Option<String>,
        purpose: Purpose,
        created: UtcMicros,
        clock: Option<RecordingClock>,
    ) -> Self {
        let state = if clock.is_some() { RecordingState::Active } else { RecordingState::Starting };
        let inner = Inner {
            clock,
            tracks: Vec::new(),
            sketches: HashMap::new(),
            open_sessions: 0,
            empty_since: None,
            state,
            deleted: false,
            entered: false,
            anothers: false,
        };
        let files = tokio::sync::Mutex::new(());
        let growing = Arc::default();
        let span = spans::recording(id, &tenant, call.as_deref());
        let over = watch::Sender::new(false);
        Self { id, tenant, call, purpose, created, files, growing, span, over, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name under which its call is listed: the source's, or the recording's own id.
    pub(crate) fn call_name(&self) -> String {
        self.call.clone().unwrap_or_else(|| self.id.to_string())
    }

    /// The recording's clock, which begins with the first call of this. `true` where this was it.
    pub(crate) fn clock_from(&self, now: Micros, utc: UtcMicros) -> (RecordingClock, bool) {
        let mut inner = self.lock();
        let first = inner.clock.is_none();
        if first {
            inner.state = RecordingState::Active;
        }
        (*inner.clock.get_or_insert_with(|| RecordingClock::begin(now, utc)), first)
    }

    /// The recording's clock, once it runs.
    pub(crate) fn clock(&self) -> Option<RecordingClock> {
        self.lock().clock
    }

    pub(crate) fn add_track(&self, log: Arc<TrackLog>) {
        self.lock().tracks.push(log);
    }

    /// The peaks that are made of a track meanwhile.
    /// Lets go of the files that were made while it was recorded: it waits, for how long nobody knows.
    pub(crate) fn stop_growing(&self) {
        if let Ok(mut growing) = self.growing.try_lock() {
            return growing.stop();
        }
        // A request that began while it was live has the store's silence to wait for.
        let growing = Arc::clone(&self.growing);
        tokio::spawn(async move { growing.lock().await.stop() });
    }

    pub(crate) fn add_sketch(&self, track: TrackId, sketch: Sketch) {
        self.lock().sketches.insert(track, sketch);
    }

    pub(crate) fn take_sketch(&self, track: TrackId) -> Option<Sketch> {
        self.lock().sketches.remove(&track)
    }

    pub(crate) fn tracks(&self) -> Vec<Arc<TrackLog>> {
        self.lock().tracks.clone()
    }

    /// Bytes of its logs in the spool.
    pub(crate) fn bytes(&self) -> u64 {
        self.tracks().iter().map(|log| log.bytes()).sum()
    }

    /// Of these, how many were shipped.
    pub(crate) fn shipped_bytes(&self) -> u64 {
        self.tracks().iter().map(|log| log.shipped_bytes()).sum()
    }

    /// The participants' names, in order, each once.
    pub(crate) fn participants(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.tracks().iter().map(|log| log.header().participant).collect();
        names.into_iter().collect()
    }

    pub(crate) fn session_opened(&self) {
        let mut inner = self.lock();
        inner.open_sessions += 1;
        inner.empty_since = None;
    }

    /// Counts a session out; what is left.
    pub(crate) fn session_closed(&self, now: Micros) {
        let mut inner = self.lock();
        inner.open_sessions = inner.open_sessions.saturating_sub(1);
        if inner.open_sessions == 0 {
            inner.empty_since = Some(now);
        }
    }

    /// Nobody feeds it from `now` on, unless a session opens.
    pub(crate) fn mark_empty(&self, now: Micros) {
        let mut inner = self.lock();
        if inner.open_sessions == 0 {
            inner.empty_since.get_or_insert(now);
        }
    }

    /// Ends it where it has been without a session for `linger`; true for the one caller that did.
    pub(crate) fn end_if_empty(&self, now: Micros, linger: std::time::Duration) -> bool {
        let mut inner = self.lock();
        let over = inner.empty_since.is_some_and(|since| now.since(since) >= linger);
        let live = !matches!(inner.state, RecordingState::Ending);
        if over && live {
            inner.state = RecordingState::Ending;
            self.over.send_replace(true);
        }
        over && live
    }

    /// Follows whether it is over: nothing more will be recorded.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    pub(crate) fn state(&self) -> RecordingState {
        self.lock().state
    }

    /// Whether this process began it, has entered it, and has not failed to publish it: nobody else knows more of it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_entered() && self.tracks().iter().all(|log| log.is_ours())
    }

    pub(crate) fn note_entered(&self) {
        self.lock().entered = true;
    }

    /// To be entered again, if it is there already.
    pub(crate) fn doubt_entered(&self) {
        self.lock().entered = false;
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.lock().entered
    }

    /// What comes from here on stays in the spool: another node publishes what it has of it.
    pub(crate) fn leave_to_another(&self) {
        self.lock().anothers = true;
    }

    pub(crate) fn is_anothers(&self) -> bool {
        self.lock().anothers
    }

    pub(crate) fn delete(&self) {
        self.lock().deleted = true;
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.lock().deleted
    }
}

/// What a recording's owner asks of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Record nothing until further notice.
    Pause,
    /// Record again.
    Resume,
    /// End.
    Stop,
    /// End, if nothing was heard for too long.
    Idle,
}

impl Control {
    /// Why a session ended by this, in a word.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Stop => "stopped",
            Self::Idle => "idle",
        }
    }
}

/// A control on its way, and who waits until it holds.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) control: Control,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// A session: connected, or waiting for its client to come back.
#[derive(Debug)]
pub(crate) struct LiveSession {
    pub(crate) id: SessionId,
    pub(crate) recording: Arc<LiveRecording>,
    pub(crate) log: Arc<TrackLog>,
    pub(crate) token_hash: Option<String>,
    /// Held by the connection for as long as it lives.
    pub(crate) core: Arc<tokio::sync::Mutex<Core>>,
    control: mpsc::UnboundedSender<Asking>,
    /// Counts connections: a newer one takes over.
    connections: AtomicU64,
    pub(crate) bell: Arc<Bell>,
    heard: AtomicU64,
    lost: AtomicU64,
    ended: AtomicBool,
    /// It was asked to end since it is idle, and has not looked yet.
    idle_asked: AtomicBool,
    /// Samples that the node from which it was taken over had received and not shipped, as far as anybody can know; 0
    /// once its client is back.
    pub(crate) missing: AtomicU64,
    pub(crate) span: Lasting,
}

/// What the connection alone may touch.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) session: Session,
    pub(crate) control: mpsc::UnboundedReceiver<Asking>,
    /// The recording's clock, once this session has begun to log.
    pub(crate) clock: Option<RecordingClock>,
}

const CONNECTED: u64 = u64::MAX;

impl LiveSession {
    pub(crate) fn new(
        id: SessionId,
        recording: Arc<LiveRecording>,
        log: Arc<TrackLog>,
        token_hash: Option<String>,
        session: Session,
        now: Micros,
    ) -> Self {
        let (control, inbox) = mpsc::unbounded_channel();
        let clock = recording.clock().filter(|_| !log.is_empty());
        let span = spans::session(&recording, &log.header());
        let core = Core { session, control: inbox, clock };
        // Nobody holds it yet: one whose opening is given up half way ends like one that was lost.
        let lost = AtomicU64::new(now.0);
        Self {
            id,
            recording,
            log,
            token_hash,
            core: Arc::new(tokio::sync::Mutex::new(core)),
            control,
            connections: AtomicU64::new(0),
            bell: Arc::default(),
            heard: AtomicU64::new(now.0),
            lost,
            ended: AtomicBool::new(false),
            idle_asked: AtomicBool::new(false),
            missing: AtomicU64::new(0),
            span,
        }
    }

    /// Counts a connection in; its number.
    pub(crate) fn arrive(&self) -> u64 {
        let number = self.connections.fetch_add(1, Ordering::AcqRel) + 1;
        self.bell.ring(bell::TAKEOVER);
        number
    }

    /// Whether no newer connection has come.
    pub(crate) fn is_newest(&self, number: u64) -> bool {
        self.connections.load(Ordering::Acquire) == number
    }

    /// Hands a control to the connection; that it is idle once, however long it does not look.
    pub(crate) fn ask(&self, control: Control, done: Option<oneshot::Sender<()>>) {
        if control == Control::Idle && self.idle_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.control.send(Asking { control, done });
        self.bell.ring(bell::CONTROL);
    }

    /// It has looked: it may be asked again.
    pub(crate) fn heed_idle(&self) {
        self.idle_asked.store(false, Ordering::Release);
    }

    pub(crate) fn presence(&self) -> Presence {
        let lost = self.lost.load(Ordering::Relaxed);
        Presence {
            heard: Micros(self.heard.load(Ordering::Relaxed)),
            lost: (lost != CONNECTED).then_some(Micros(lost)),
        }
    }

    pub(crate) fn hear(&self, now: Micros) {
        self.heard.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn connect(&self, now: Micros) {
        self.hear(now);
        self.lost.store(CONNECTED, Ordering::Relaxed);
    }

    pub(crate) fn disconnect(&self, now: Micros) {
        self.lost.store(now.0, Ordering::Relaxed);
    }

    /// True for the one caller that ends it.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
