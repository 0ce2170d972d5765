//! Sessions: opened, resumed, asked for something, ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::{Counting, LogHeader, Purpose};
use reeltime_core::media::Format;
use reeltime_core::session::Session;
use reeltime_core::time::{Micros, UtcMicros};
use reeltime_core::wire::v1::Token;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use super::clock::Clock;
use super::ingest::Ingest;
use super::live::{Control, LiveRecording, LiveSession};
use super::sketch::Sketch;
use super::{Recorder, Refusal};

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

/// How long a client that resumes waits until what it has sent is synced.
const SAFE_IN: Duration = Duration::from_secs(10);
/// How long one who asks for a pause or a stop waits until it holds.
const HOLDS_IN: Duration = Duration::from_secs(5);

impl Recorder {
    /// Opens a new session.
    ///
    /// # Errors
    /// [`OpenError::Refused`] while nothing new is taken; [`OpenError::NameTooLong`].
    pub async fn open_session(&self, request: SessionRequest) -> Result<(Ingest, SessionInfo), OpenError> {
        self.admit()?;
        if ![&request.call, &request.participant].into_iter().flatten().all(|name| name_fits(name)) {
            return Err(OpenError::NameTooLong);
        }
        let (recording, new) = self.join(&request.tenant, request.call.as_deref(), request.purpose);
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let live = self.begin_session(&recording, request, hash_token(&token));
        if new {
            self.follow_segments(&recording).await;
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
        let at = ingest.reconnect(SAFE_IN).await.ok_or(OpenError::Stalled)?;
        info!(session = %ingest.session_id(), at, "session resumed");
        let info = ingest.info(Token(token.to_owned()));
        Ok((ingest, info))
    }

    /// Keeps a call's recording going, with sessions or without, for as long as the result lives.
    ///
    /// # Errors
    /// As [`Self::open_session`].
    pub(crate) async fn keep_call(&self, tenant: &str, call: &str) -> Result<KeptCall, OpenError> {
        self.admit()?;
        if !name_fits(call) {
            return Err(OpenError::NameTooLong);
        }
        let (recording, new) = self.join(tenant, Some(call), Purpose::Plain);
        let kept = KeptCall { recorder: self.clone(), recording };
        if new {
            self.follow_segments(&kept.recording).await;
            self.enter(&kept.recording).await;
        }
        Ok(kept)
    }

    fn join(&self, tenant: &str, call: Option<&str>, purpose: Purpose) -> (Arc<LiveRecording>, bool) {
        self.inner().registry.join(tenant, call, || {
            let (id, call) = (RecordingId(Uuid::now_v7()), call.map(str::to_owned));
            LiveRecording::new(id, tenant.to_owned(), call, purpose, Clock::utc(), None)
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
        let sketch = self.sketch(&header);
        let log = self.inner().spool.create_heard(header, sketch.as_ref().map(Sketch::listener));
        recording.add_track(Arc::clone(&log));
        if let Some(sketch) = sketch {
            recording.add_sketch(track, sketch);
        }
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
        live.missing.store(0, Ordering::Release);
        Ok(Ingest::hold(self.clone(), live, core, number))
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
        let missing = live.missing.swap(0, Ordering::AcqRel);
        if missing > 0 {
            super::resurrect::mark_missing(&live.log, at, missing);
        }
        if !live.log.close(at, reason).await {
            warn!(session = %live.id, "the log could not be closed; it will be recovered at the next start");
        }
        if first {
            let samples = live.log.samples();
            info!(session = %live.id, reason, samples, "session ended");
            live.span.end().record("reason", reason).record("samples", samples as i64);
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

/// A call that is kept going.
#[derive(Debug)]
pub(crate) struct KeptCall {
    recorder: Recorder,
    pub(crate) recording: Arc<LiveRecording>,
}

impl KeptCall {
    /// Ends the call's recording at once, unless others feed it.
    pub(crate) fn end(self) {
        let (recorder, recording) = (self.recorder.clone(), Arc::clone(&self.recording));
        drop(self);
        recorder.end_call(&recording);
    }
}

impl Drop for KeptCall {
    fn drop(&mut self) {
        self.recording.session_closed(self.recorder.inner().clock.now());
    }
}

/// Tells who waits, once what was applied is synced.
pub(super) fn settle(live: &LiveSession, done: Option<oneshot::Sender<()>>) {
    let Some(done) = done else { return };
    let log = Arc::clone(&live.log);
    tokio::spawn(async move {
        log.sync().await;
        let _ = done.send(());
    });
}

const fn name_fits(name: &str) -> bool {
    name.len() <= 1024
}

fn made_up_participant(session: SessionId) -> String {
    let text = session.0.simple().to_string();
    format!("speaker-{}", &text[text.len() - 8..])
}

/// Tokens are random, so a plain hash is enough to keep them out of files.
pub(crate) fn hash_token(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
