//! One session's way in, whatever its transport: a WebSocket connection holds an [`Ingest`], and so does a caller
//! of the library.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeltime_core::id::SessionId;
use reeltime_core::log::{Event, MAX_PAYLOAD, PacketMeta};
use reeltime_core::media::Format;
use reeltime_core::session::{Audio, Oddities, Oddity, Reply, Verdict};
use reeltime_core::time::{Micros, UtcMicros};
use reeltime_core::wire::v1::{ClientMessage, ServerMessage, Token};
use tokio::sync::{OwnedMutexGuard, watch};
use tracing::{debug, info, warn};

use super::Recorder;
use super::bell::{self, Bell};
use super::clock::Clock;
use super::live::{Asking, Control, Core, LiveRecording, LiveSession};
use super::sessions::{SessionInfo, settle};
use crate::catalogue::{RecordingState, StateChange};
use crate::spool::{Appended, LogClosed};

/// What became of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is logged, or thrown away in a pause.
    Counted,
    /// It was dropped; the warning to send, the first time.
    Dropped(Option<ServerMessage>),
}

/// What is asked of a session from outside its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A newer connection wants it.
    TakenOver,
    /// Its owner, or time, wants something of it.
    Control(Control),
    /// The recorder goes down.
    Leave,
    /// More is synced, or in the store.
    Synced,
    /// Nothing was heard for a while: the client should be asked for a sign of life.
    Ping,
}

/// A session held by its connection. Dropping it is losing the connection.
#[derive(Debug)]
pub struct Ingest {
    recorder: Recorder,
    live: Arc<LiveSession>,
    core: OwnedMutexGuard<Core>,
    number: u64,
    /// What the bell was rung for and was not told yet.
    rung: u8,
    released: bool,
}

impl Core {
    pub(super) fn apply(&mut self, live: &LiveSession, now: Micros, control: Control) {
        let reply = match control {
            Control::Pause => self.session.pause(Some("by request".to_owned())),
            Control::Resume => self.session.resume(),
            Control::Stop | Control::Idle => Reply::Nothing,
        };
        if let Reply::Log(events) = reply {
            self.log(live, now, &events);
        }
    }

    fn log(&mut self, live: &LiveSession, now: Micros, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        // Before the first packet there is no clock to place an event on, except where a pause is the first.
        let clock = *self.clock.get_or_insert_with(|| start_clock(live, now));
        for event in events {
            live.log.event(clock.at(now), event);
        }
    }
}

/// The recording's clock, begun where this is its first packet.
fn start_clock(live: &LiveSession, now: Micros) -> super::clock::RecordingClock {
    let (clock, _) = live.recording.clock_from(now, Clock::utc());
    live.log.start_clock(clock.epoch, clock.at(now));
    clock
}

impl Ingest {
    /// A session that is held; `number` is its connection's.
    pub(super) const fn hold(
        recorder: Recorder,
        live: Arc<LiveSession>,
        core: OwnedMutexGuard<Core>,
        number: u64,
    ) -> Self {
        // A control may have come while nobody held it.
        Self { recorder, live, core, number, rung: bell::CONTROL, released: false }
    }

    /// The client is back; the position it may send on from, once all before it is synced. None where the disk
    /// does not take it in time.
    pub(super) async fn reconnect(&mut self, patience: Duration) -> Option<u64> {
        // The client forgets what lies before the position it is told.
        let safe = tokio::time::timeout(patience, self.live.log.sync()).await;
        if !matches!(safe, Ok(true)) {
            return None;
        }
        self.core.session.reconnected();
        let at = self.core.session.position();
        if let Some(clock) = self.core.clock {
            self.live.log.event(clock.at(self.recorder.inner().clock.now()), &Event::Reconnected { at });
        }
        Some(at)
    }

    pub(super) fn info(&self, resume_token: Token) -> SessionInfo {
        SessionInfo {
            session: self.live.id,
            recording: self.live.recording.id,
            track: self.live.log.id(),
            resume_token,
            resume_at: self.core.session.position(),
        }
    }

    /// The session.
    pub fn session_id(&self) -> SessionId {
        self.live.id
    }

    /// The next sample's position: all that was taken so far.
    pub fn position(&self) -> u64 {
        self.core.session.position()
    }

    /// Whether the client has sent nothing yet.
    pub fn is_untouched(&self) -> bool {
        self.core.session.is_untouched()
    }

    /// What was dropped.
    pub fn oddities(&self) -> Oddities {
        self.core.session.oddities()
    }

    /// Codec, rate and channels.
    pub fn format(&self) -> Format {
        self.core.session.format()
    }

    /// Says everything before this position is synced: what a client that resumes may start from.
    pub fn safe(&self) -> u64 {
        *self.live.log.synced().borrow()
    }

    /// Follows the position before which everything is synced to the disk.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.live.log.synced()
    }

    /// Follows the position before which everything is in the store.
    pub fn shipped(&self) -> watch::Receiver<u64> {
        self.live.log.shipped()
    }

    /// Takes one binary message that has just arrived. Waits only while the disk is slower than the source.
    ///
    /// Not cancel safe: part of a long message may have been taken.
    ///
    /// # Errors
    /// [`LogClosed`] where the session has ended.
    pub async fn audio(&mut self, message: &[u8]) -> Result<Taken, LogClosed> {
        let now = self.hear();
        self.audio_at(now, message).await
    }

    /// The client is there; the time.
    pub(crate) fn hear(&self) -> Micros {
        let now = self.recorder.inner().clock.now();
        self.live.hear(now);
        now
    }

    /// [`Self::audio`], for a message that arrived at `now`.
    pub(crate) async fn audio_at(&mut self, now: Micros, message: &[u8]) -> Result<Taken, LogClosed> {
        if message.len() <= MAX_PAYLOAD {
            return self.piece(now, message).await;
        }
        let mut first_warning = None;
        let mut dropped = false;
        for piece in self.core.session.pieces(message) {
            // All pieces count, whatever became of the ones before.
            if let Taken::Dropped(warning) = self.piece(now, piece).await? {
                dropped = true;
                first_warning = first_warning.or(warning);
            }
        }
        Ok(if dropped { Taken::Dropped(first_warning) } else { Taken::Counted })
    }

    async fn piece(&mut self, now: Micros, payload: &[u8]) -> Result<Taken, LogClosed> {
        self.recorder.inner().received.fetch_add(payload.len() as u64, Ordering::Relaxed);
        match self.core.session.audio(payload) {
            Audio::Record { timestamp, samples } => self.append(now, timestamp, samples, payload).await,
            Audio::Paused => {
                let event = self.core.session.paused_so_far();
                self.core.log(&self.live, now, event.as_slice());
                Ok(Taken::Counted)
            }
            Audio::Malformed => {
                metrics::counter!("reeltime_dropped_frames_total").increment(1);
                let warning = self.core.session.warning(Oddity::Frame);
                let (session, bytes) = (self.live.id, payload.len());
                match &warning {
                    Some(_) => {
                        warn!(%session, bytes, "a malformed frame was dropped; further ones are only counted")
                    }
                    None => debug!(%session, bytes, "a malformed frame was dropped"),
                }
                Ok(Taken::Dropped(warning))
            }
        }
    }

    async fn append(
        &mut self,
        now: Micros,
        timestamp: u64,
        samples: u64,
        payload: &[u8],
    ) -> Result<Taken, LogClosed> {
        let clock = match self.core.clock {
            Some(clock) => clock,
            None => self.begin(now),
        };
        let meta = PacketMeta { arrival: clock.at(now), timestamp, sequence: None };
        match self.live.log.append(meta, samples, payload).await? {
            Appended::Logged => Ok(Taken::Counted),
            Appended::Dropped => {
                metrics::counter!("reeltime_overflow_samples_total").increment(samples);
                Ok(Taken::Dropped(self.core.session.warning(Oddity::Overflow)))
            }
        }
    }

    /// The first packet: the recording's clock runs from here, if no other track has begun it.
    fn begin(&mut self, now: Micros) -> super::clock::RecordingClock {
        let starting = self.live.recording.state() == RecordingState::Starting;
        let clock = start_clock(&self.live, now);
        self.core.clock = Some(clock);
        if starting {
            self.recorder.note_active(&self.live.recording, clock.epoch);
        }
        clock
    }

    /// Takes one text message; the warning to send, if any. `true`: it was a stop.
    pub fn text(&mut self, message: ClientMessage) -> (Option<ServerMessage>, bool) {
        let now = self.hear();
        match self.core.session.text(message) {
            Reply::Log(events) => {
                self.core.log(&self.live, now, &events);
                (None, false)
            }
            Reply::Nothing => (None, false),
            Reply::Ignored(oddity) => (self.core.session.warning(oddity), false),
            Reply::Stop => (None, true),
        }
    }

    /// A sign of life that is no message (a pong): counts while the session is paused.
    pub fn alive(&self) {
        if self.core.session.is_paused() {
            self.live.hear(self.recorder.inner().clock.now());
        }
    }

    /// Waits for what is asked of this session from outside; a pause is applied here.
    ///
    /// Cancel safe.
    pub async fn asked(&mut self) -> Asked {
        loop {
            if let Some(asked) = self.next_asked() {
                return asked;
            }
            let live = Arc::clone(&self.live);
            self.rung |= std::future::poll_fn(|cx| live.bell.poll(cx)).await;
        }
    }

    /// What rings for this session.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.live.bell)
    }

    /// Notes what the bell was rung for.
    pub(crate) const fn heed(&mut self, reasons: u8) {
        self.rung |= reasons;
    }

    /// The next thing that was asked, if any.
    pub(crate) fn next_asked(&mut self) -> Option<Asked> {
        self.rung |= self.live.bell.take();
        if self.recorder.is_leaving() {
            self.rung |= bell::LEAVE;
        }
        loop {
            let reason = self.rung & self.rung.wrapping_neg();
            self.rung &= !reason;
            match reason {
                bell::TAKEOVER if !self.live.is_newest(self.number) => return Some(Asked::TakenOver),
                bell::CONTROL => {
                    let Ok(asking) = self.core.control.try_recv() else { continue };
                    // There may be more.
                    self.rung |= bell::CONTROL;
                    if let Some(control) = self.apply(asking) {
                        return Some(Asked::Control(control));
                    }
                }
                bell::LEAVE => return Some(Asked::Leave),
                bell::SYNCED => return Some(Asked::Synced),
                bell::PING => return Some(Asked::Ping),
                0 => return None,
                _ => {}
            }
        }
    }

    /// Applies a control; none where it has become pointless.
    fn apply(&mut self, Asking { control, done }: Asking) -> Option<Control> {
        let now = self.recorder.inner().clock.now();
        if control == Control::Idle {
            self.live.heed_idle();
        }
        // It may have spoken since the sweep looked.
        let idle = self.live.presence().verdict(now, self.recorder.inner().config.patience) == Verdict::Idle;
        if control == Control::Idle && !idle {
            return None;
        }
        self.core.apply(&self.live, now, control);
        settle(&self.live, done);
        Some(control)
    }

    /// Has the bell rung whenever more is synced.
    pub(crate) fn follow_synced(&self) {
        let bell = self.bell();
        self.live.log.on_synced(move || bell.ring(bell::SYNCED));
    }

    /// Has the bell rung whenever more is in the store.
    pub(crate) fn follow_shipped(&self) {
        let bell = self.bell();
        self.live.log.on_shipped(move || bell.ring(bell::SYNCED));
    }

    /// Ends the session; gives its last position once all of it is synced.
    pub async fn stop(mut self, reason: &'static str) -> u64 {
        let now = self.recorder.inner().clock.now();
        if let Some(event) = self.core.session.paused_so_far() {
            self.core.log(&self.live, now, &[event]);
        }
        self.released = true;
        // Nobody can take it over meanwhile: its core is held until it has ended.
        self.recorder.end_session(&self.live, reason).await
    }

    /// The connection is gone; `code` is its close code, where there was one. The session ends, or waits for its
    /// client to come back.
    pub async fn lost(mut self, code: Option<u16>) {
        if self.core.session.waits_after(code) {
            self.detach();
        } else {
            self.stop("closed").await;
        }
    }

    /// Leaves at a drain: everything is flushed and synced, and the session can be resumed after the next start.
    /// A session whose client does not know how is ended. Gives the position that is safe.
    pub async fn leave(mut self) -> u64 {
        // Its token is in the log's header only where the client showed early that it knows what it is for.
        if self.live.log.header().resume_token_sha256.is_none() {
            return self.stop("drain").await;
        }
        let now = self.recorder.inner().clock.now();
        if let Some(event) = self.core.session.paused_so_far() {
            self.core.log(&self.live, now, &[event]);
        }
        self.live.log.sync().await;
        let safe = *self.live.log.synced().borrow();
        self.detach();
        safe
    }

    fn detach(&mut self) {
        self.released = true;
        // A newer connection that waits for this one says that it is there once it holds the session.
        self.live.disconnect(self.recorder.inner().clock.now());
        info!(session = %self.live.id, position = self.core.session.position(), "connection lost");
    }
}

impl Drop for Ingest {
    /// A task that was cancelled or panicked: as a lost connection, but nothing can be awaited here.
    fn drop(&mut self) {
        if !self.released {
            self.detach();
        }
    }
}

impl Recorder {
    /// Says in the catalogue that media arrives; nobody waits for it.
    fn note_active(&self, recording: &LiveRecording, at: UtcMicros) {
        let (recorder, tenant, id) = (self.clone(), recording.tenant.clone(), recording.id);
        tokio::spawn(async move {
            let change = StateChange { state: RecordingState::Active, at, reason: None };
            if let Err(error) = recorder.inner().catalogue.change_state(&tenant, id, &change).await {
                debug!(recording = %id, %error, "the catalogue will learn later that this recording is active");
            }
        });
    }
}
