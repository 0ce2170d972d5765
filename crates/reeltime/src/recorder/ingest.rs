//! One session's way in, whatever its transport: a WebSocket connection holds an [`Ingest`], and so does a caller
//! of the library.

use std::sync::Arc;
use std::time::Duration;

use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::{Counting, Event, LogHeader, MAX_PAYLOAD, PacketMeta, Purpose};
use reeltime_core::media::Format;
use reeltime_core::session::{Audio, Oddities, Oddity, Reply, Session, Verdict};
use reeltime_core::time::{Micros, UtcMicros};
use reeltime_core::wire::v1::{ClientMessage, ServerMessage, Token};
use sha2::{Digest, Sha256};
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedMutexGuard, oneshot, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::bell::{self, Bell};
use super::clock::Clock;
use super::live::{Asking, Control, Core, LiveRecording, LiveSession};
use super::{Recorder, Refusal};
use crate::catalogue::{RecordingState, StateChange};
use crate::spool::{Appended, LogClosed};

/// What a source asks for.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// Whose recording it will be.
    pub tenant: String,
    /// The call; without one the session gets a recording of its own.
    pub call: Option<String>,
    /// The party whose media it is; made up where absent.
    pub participant: Option<String>,
    /// Codec, rate, channels.
    pub format: Format,
    /// How packets are placed.
    pub counting: Counting,
    /// The façade it came by.
    pub purpose: Purpose,
    /// The client is known to speak `reeltime.v1`.
    pub speaks_v1: bool,
}

/// What a source is told about its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The session.
    pub session: SessionId,
    /// The recording its track belongs to.
    pub recording: RecordingId,
    /// Its track.
    pub track: TrackId,
    /// The secret that resumes it.
    pub resume_token: Token,
    /// Send on from this sample.
    pub resume_at: u64,
}

/// Why a session cannot be opened or resumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing new is taken now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The token opens no session, or one that is over.
    #[error(
        "the resume token is not valid: the session is over, or never was; connect without it to begin a new one"
    )]
    UnknownToken,
    /// The names of call and participant are too long.
    #[error("the names of call and participant are too long: keep each below 1,024 bytes")]
    NameTooLong,
    /// The disk does not take what the session has sent so far.
    #[error("the recorder's disk is not taking audio now: connect again in a moment, with the same token")]
    Stalled,
    /// A newer connection took over while this one waited.
    #[error("a newer connection has taken over this session")]
    TakenOver,
}

/// What became of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is logged, or thrown away in a pause.
    Counted,
    /// It was dropped; the warning to send, the first time.
    Dropped(Option<ServerMessage>),
}

/// How long a client that resumes waits until what it has sent is synced.
const SAFE_IN: Duration = Duration::from_secs(10);
/// How long one who asks for a pause or a stop waits until it holds.
const HOLDS_IN: Duration = Duration::from_secs(5);

/// What is asked of a session from outside its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A newer connection wants it.
    TakenOver,
    /// Its owner, or time, wants something of it.
    Control(Control),
    /// The recorder goes down.
    Leave,
    /// More is synced.
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

impl Recorder {
    /// Opens a new session.
    ///
    /// # Errors
    /// [`OpenError::Refused`] while nothing new is taken; [`OpenError::NameTooLong`].
    pub async fn open_session(&self, request: SessionRequest) -> Result<(Ingest, SessionInfo), OpenError> {
        self.admit()?;
        let name_fits = |name: &Option<String>| name.as_ref().is_none_or(|name| name.len() <= 1024);
        if !name_fits(&request.call) || !name_fits(&request.participant) {
            return Err(OpenError::NameTooLong);
        }
        let (recording, new) = self.join(&request);
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let live = self.begin_session(&recording, request, hash_token(&token));
        if new {
            self.enter(&recording).await;
        }
        let ingest = self.hold(live).await?;
        let info = ingest.info(Token(token));
        info!(session = %info.session, recording = %info.recording, "session opened");
        Ok((ingest, info))
    }

    /// Goes on with a session whose connection was lost; the newest connection wins.
    ///
    /// # Errors
    /// [`OpenError::UnknownToken`], [`OpenError::TakenOver`].
    pub async fn resume_session(
        &self,
        tenant: &str,
        token: &str,
    ) -> Result<(Ingest, SessionInfo), OpenError> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining.into());
        }
        let live =
            self.inner().registry.by_token(tenant, &hash_token(token)).ok_or(OpenError::UnknownToken)?;
        let mut ingest = self.hold(live).await?;
        // The client forgets what lies before the position it is told.
        let safe = tokio::time::timeout(SAFE_IN, ingest.live.log.sync()).await;
        if !matches!(safe, Ok(true)) {
            return Err(OpenError::Stalled);
        }
        ingest.core.session.reconnected();
        let at = ingest.core.session.position();
        if let Some(clock) = ingest.core.clock {
            ingest.live.log.event(clock.at(self.inner().clock.now()), &Event::Reconnected { at });
        }
        info!(session = %ingest.live.id, at, "session resumed");
        let info = ingest.info(Token(token.to_owned()));
        Ok((ingest, info))
    }

    fn join(&self, request: &SessionRequest) -> (Arc<LiveRecording>, bool) {
        self.inner().registry.join(&request.tenant, request.call.as_deref(), || {
            let id = RecordingId(Uuid::now_v7());
            let created = Clock::utc();
            LiveRecording::new(
                id,
                request.tenant.clone(),
                request.call.clone(),
                request.purpose,
                created,
                None,
            )
        })
    }

    fn begin_session(
        &self,
        recording: &Arc<LiveRecording>,
        request: SessionRequest,
        token_hash: String,
    ) -> Arc<LiveSession> {
        let (session, track) = (SessionId(Uuid::now_v7()), TrackId(Uuid::now_v7()));
        let header = LogHeader {
            tenant: request.tenant,
            recording: recording.id,
            call: request.call,
            session,
            track,
            participant: request.participant.unwrap_or_else(|| made_up_participant(session)),
            format: request.format,
            // Both are set when the first packet arrives.
            epoch: UtcMicros::default(),
            opened: Micros::default(),
            number: 0,
            continues: None,
            resume_token_sha256: request.speaks_v1.then(|| token_hash.clone()),
            counting: request.counting,
            purpose: request.purpose,
        };
        let log = self.inner().spool.create(header);
        recording.add_track(Arc::clone(&log));
        let core = Session::new(request.format, 0, false, request.speaks_v1);
        let now = self.inner().clock.now();
        let live = LiveSession::new(session, Arc::clone(recording), log, Some(token_hash), core, now);
        let live = Arc::new(live);
        self.inner().registry.add_session(&live);
        live
    }

    /// Takes the session's core from whoever holds it.
    async fn hold(&self, live: Arc<LiveSession>) -> Result<Ingest, OpenError> {
        let number = live.arrive();
        let core = Arc::clone(&live.core).lock_owned().await;
        if live.has_ended() || live.recording.is_deleted() {
            return Err(OpenError::UnknownToken);
        }
        // In this order: a newer one that comes after the look rings again.
        live.bell.reset();
        if !live.is_newest(number) {
            return Err(OpenError::TakenOver);
        }
        live.connect(self.inner().clock.now());
        Ok(Ingest { recorder: self.clone(), live, core, number, rung: bell::CONTROL, released: false })
    }

    /// Ends a session: its log is closed and synced, and its recording too where nothing else feeds it. Gives the
    /// session's last position. Ending twice is the same as once.
    pub(crate) async fn end_session(&self, live: &Arc<LiveSession>, reason: &'static str) -> u64 {
        // In a task of its own: whoever asked may go away, the session ends all the same.
        let (recorder, ended) = (self.clone(), Arc::clone(live));
        let first = live.end();
        let ending = tokio::spawn(async move { recorder.finish_session(&ended, first, reason).await });
        let _ = ending.await;
        live.log.samples()
    }

    async fn finish_session(&self, live: &LiveSession, first: bool, reason: &'static str) {
        let clock = live.recording.clock();
        let at = clock.map_or(Micros::default(), |clock| clock.at(self.inner().clock.now()));
        if !live.log.close(at, reason).await {
            warn!(session = %live.id, "the log could not be closed; it will be recovered at the next start");
        }
        if first {
            info!(session = %live.id, reason, samples = live.log.samples(), "session ended");
            self.inner().registry.remove_session(live);
            live.recording.session_closed(self.inner().clock.now());
            self.end_recording(&live.recording);
        }
    }

    /// Asks something of a session; returns once it holds, or after a moment.
    pub(crate) async fn control_session(&self, live: &Arc<LiveSession>, control: Control) {
        let (done, holds) = oneshot::channel();
        // Nobody is connected: apply it here. Otherwise the connection does.
        if let Ok(mut core) = Arc::clone(&live.core).try_lock_owned() {
            match control {
                Control::Stop | Control::Idle => {
                    self.end_session(live, control.reason()).await;
                    drop(core);
                    return;
                }
                Control::Pause | Control::Resume => {
                    core.apply(live, self.inner().clock.now(), control);
                    settle(live, Some(done));
                }
            }
        } else {
            live.ask(control, Some(done));
        }
        let _ = tokio::time::timeout(HOLDS_IN, holds).await;
    }
}

/// Tells who waits, once what was applied is synced.
fn settle(live: &LiveSession, done: Option<oneshot::Sender<()>>) {
    let Some(done) = done else { return };
    let log = Arc::clone(&live.log);
    tokio::spawn(async move {
        log.sync().await;
        let _ = done.send(());
    });
}

impl Core {
    fn apply(&mut self, live: &LiveSession, now: Micros, control: Control) {
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
    fn info(&self, resume_token: Token) -> SessionInfo {
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

fn made_up_participant(session: SessionId) -> String {
    let text = session.0.simple().to_string();
    format!("speaker-{}", &text[text.len() - 8..])
}

/// Tokens are random, so a plain hash is enough to keep them out of files.
pub(crate) fn hash_token(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
