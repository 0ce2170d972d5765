//! Which recordings and sessions are live, found by id, call and token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeltime_core::id::{RecordingId, SessionId};

use super::live::{LiveRecording, LiveSession};
use crate::catalogue::RecordingState;

/// Bytes of a log beyond its payload, for each second of 50 packets.
const RECORD_BYTES_PER_SECOND: u64 = 50 * 26;
/// The most bytes a second of Opus takes that we plan with (RFC 6716 §2.1.1: up to 510 kbit/s; speech takes 3,000).
const OPUS_BYTES_PER_SECOND: u64 = 8_000;

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Maps>);

#[derive(Debug, Default)]
struct Maps {
    recordings: HashMap<RecordingId, Arc<LiveRecording>>,
    calls: HashMap<(String, String), RecordingId>,
    sessions: HashMap<SessionId, Arc<LiveSession>>,
    tokens: HashMap<String, SessionId>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live recording of the call, or the one that `make` gives, with a session counted in. `true`: it is new.
    pub(crate) fn join(
        &self,
        tenant: &str,
        call: Option<&str>,
        make: impl FnOnce() -> LiveRecording,
    ) -> (Arc<LiveRecording>, bool) {
        let mut maps = self.lock();
        let key = call.map(|call| (tenant.to_owned(), call.to_owned()));
        if let Some(recording) =
            key.as_ref().and_then(|key| maps.calls.get(key)).and_then(|id| maps.recordings.get(id))
            && !recording.is_deleted()
        {
            recording.session_opened();
            return (Arc::clone(recording), false);
        }
        let recording = Arc::new(make());
        recording.session_opened();
        maps.insert(&recording, key);
        (recording, true)
    }

    /// Adds a recording that an earlier process began; its call goes on with it where `joinable`, unless it goes on
    /// with another already.
    pub(crate) fn insert(&self, recording: &Arc<LiveRecording>, joinable: bool) {
        let key = recording.call.clone().filter(|_| joinable).map(|call| (recording.tenant.clone(), call));
        let mut maps = self.lock();
        let key = key.filter(|key| !maps.calls.contains_key(key));
        maps.insert(recording, key);
    }

    /// All that are not published.
    pub(crate) fn recordings(&self) -> Vec<Arc<LiveRecording>> {
        self.lock().recordings.values().cloned().collect()
    }

    pub(crate) fn add_session(&self, session: &Arc<LiveSession>) {
        let mut maps = self.lock();
        if let Some(hash) = &session.token_hash {
            maps.tokens.insert(hash.clone(), session.id);
        }
        maps.sessions.insert(session.id, Arc::clone(session));
    }

    pub(crate) fn remove_session(&self, session: &LiveSession) {
        let mut maps = self.lock();
        maps.sessions.remove(&session.id);
        if let Some(hash) = &session.token_hash {
            maps.tokens.remove(hash);
        }
    }

    pub(crate) fn by_token(&self, tenant: &str, hash: &str) -> Option<Arc<LiveSession>> {
        let maps = self.lock();
        let session = maps.tokens.get(hash).and_then(|id| maps.sessions.get(id))?;
        (session.recording.tenant == tenant).then(|| Arc::clone(session))
    }

    /// Ends every recording for which `over` says so, and takes it off its call, in one step: no session can
    /// join in between.
    pub(crate) fn end_where(&self, over: impl Fn(&LiveRecording) -> bool) -> Vec<Arc<LiveRecording>> {
        let mut maps = self.lock();
        let ended: Vec<_> = maps.recordings.values().filter(|recording| over(recording)).cloned().collect();
        maps.calls.retain(|_, id| !ended.iter().any(|recording| recording.id == *id));
        ended
    }

    /// Its owner deleted it: its call's next session begins another.
    pub(crate) fn delete(&self, recording: &LiveRecording) {
        let mut maps = self.lock();
        recording.delete();
        maps.calls.retain(|_, id| *id != recording.id);
    }

    pub(crate) fn remove_recording(&self, id: RecordingId) {
        self.lock().recordings.remove(&id);
    }

    pub(crate) fn is_live(&self, id: RecordingId) -> bool {
        self.lock().recordings.contains_key(&id)
    }

    pub(crate) fn recording(&self, tenant: &str, id: RecordingId) -> Option<Arc<LiveRecording>> {
        self.lock().recordings.get(&id).filter(|recording| recording.tenant == tenant).cloned()
    }

    /// Live recordings with this text in a participant's name; ASCII letters of either case.
    pub(crate) fn with_participant(&self, tenant: &str, text: &str) -> Vec<RecordingId> {
        let text = text.to_ascii_lowercase();
        let named = |recording: &LiveRecording| {
            recording.participants().iter().any(|name| name.to_ascii_lowercase().contains(&text))
        };
        let recordings: Vec<_> = self.lock().recordings.values().cloned().collect();
        let of_tenant = recordings.iter().filter(|recording| recording.tenant == tenant);
        of_tenant.filter(|recording| named(recording)).map(|recording| recording.id).collect()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<LiveSession>> {
        self.lock().sessions.values().cloned().collect()
    }

    pub(crate) fn sessions_of(&self, tenant: &str, id: RecordingId) -> Vec<Arc<LiveSession>> {
        let maps = self.lock();
        let of =
            |session: &&Arc<LiveSession>| session.recording.id == id && session.recording.tenant == tenant;
        maps.sessions.values().filter(of).cloned().collect()
    }

    pub(crate) fn has_connected_sessions(&self) -> bool {
        self.lock().sessions.values().any(|session| session.presence().lost.is_none())
    }

    pub(crate) fn has_ending(&self) -> bool {
        self.lock().recordings.values().any(|recording| recording.state() == RecordingState::Ending)
    }

    /// Recordings, sessions, and the bytes a second that the sessions log at most.
    pub(crate) fn figures(&self) -> (usize, usize, u64) {
        let maps = self.lock();
        let rate = |session: &Arc<LiveSession>| {
            let format = session.log.header().format;
            let media = format.block_align().map(|align| align as u64 * u64::from(format.rate));
            media.unwrap_or(OPUS_BYTES_PER_SECOND) + RECORD_BYTES_PER_SECOND
        };
        (maps.recordings.len(), maps.sessions.len(), maps.sessions.values().map(rate).sum())
    }
}

impl Maps {
    fn insert(&mut self, recording: &Arc<LiveRecording>, call: Option<(String, String)>) {
        if let Some(key) = call {
            self.calls.insert(key, recording.id);
        }
        self.recordings.insert(recording.id, Arc::clone(recording));
    }
}
