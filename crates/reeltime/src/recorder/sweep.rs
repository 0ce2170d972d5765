//! What time alone brings about: idle sessions, clients that did not come back, recordings nobody feeds, sockets
//! that went quiet.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reeltime_core::session::Verdict;

use super::bell;
use super::live::{Control, LiveRecording, LiveSession};
use super::{Inner, Recorder, orphans};

const BEAT: Duration = Duration::from_millis(250);
/// Each 20 s.
const PING_BEATS: u64 = 80;
/// Each second: space on the disk, and what has grown by a part.
const SPACE_BEATS: u64 = 4;
const ORPHAN_BEATS: u64 = (orphans::EVERY.as_millis() / BEAT.as_millis()) as u64;

pub(super) async fn run(recorder: Weak<Inner>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 1_u64.. {
        beat.tick().await;
        let Some(inner) = recorder.upgrade() else { return };
        let recorder = Recorder(inner);
        recorder.inner().quiet.sweep(recorder.inner().clock.now());
        recorder.inner().outlines.sweep(recorder.inner().clock.now());
        recorder.sweep_sessions(tick.is_multiple_of(PING_BEATS));
        recorder.end_recordings();
        if tick.is_multiple_of(ORPHAN_BEATS) || tick == 1 {
            let recorder = recorder.clone();
            tokio::spawn(async move { recorder.sweep_orphans().await });
        }
        if tick.is_multiple_of(SPACE_BEATS) {
            recorder.upload_growing();
            recorder.note_draining();
            tokio::task::spawn_blocking(move || recorder.inner().cache.yield_space());
        }
    }
}

impl Recorder {
    /// `ping`: this time those that were silent are asked for a sign of life.
    fn sweep_sessions(&self, ping: bool) {
        let now = self.inner().clock.now();
        for session in self.inner().registry.sessions() {
            if ping && now.since(session.presence().heard) >= BEAT * 8 {
                session.bell.ring(bell::PING);
            }
            match session.presence().verdict(now, self.inner().config.patience) {
                Verdict::Live => {}
                Verdict::Idle => session.ask(Control::Idle, None),
                Verdict::Gone => self.give_up(session),
            }
        }
    }

    /// The client did not come back in time; one that is just coming holds the session already. Closing a log waits
    /// for the disk, the sweep does not.
    fn give_up(&self, session: Arc<LiveSession>) {
        let Ok(core) = Arc::clone(&session.core).try_lock_owned() else { return };
        let now = self.inner().clock.now();
        if session.presence().verdict(now, self.inner().config.patience) != Verdict::Gone {
            return;
        }
        let recorder = self.clone();
        tokio::spawn(async move {
            recorder.end_session(&session, "disconnected").await;
            drop(core);
        });
    }

    /// Ends the recordings that nobody feeds, and has them published.
    pub(crate) fn end_recordings(&self) {
        let now = self.inner().clock.now();
        let linger = self.inner().config.call_linger;
        self.end_where(|recording| {
            let linger = if recording.call.is_some() { linger } else { Duration::ZERO };
            recording.end_if_empty(now, linger)
        });
    }

    /// Ends a call's recording without waiting for others to join, where nothing feeds it.
    pub(crate) fn end_call(&self, call: &LiveRecording) {
        let now = self.inner().clock.now();
        self.end_where(|recording| recording.id == call.id && recording.end_if_empty(now, Duration::ZERO));
    }

    fn end_where(&self, over: impl Fn(&LiveRecording) -> bool) {
        self.inner().registry.end_where(over).into_iter().for_each(|recording| self.hand_over(recording));
    }

    /// Ends a recording of no call, which nobody can join, where nothing feeds it any more.
    pub(crate) fn end_recording(&self, recording: &Arc<LiveRecording>) {
        if recording.call.is_none() && recording.end_if_empty(self.inner().clock.now(), Duration::ZERO) {
            self.hand_over(Arc::clone(recording));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reeltime_core::log::{Counting, Purpose};
    use reeltime_core::media::{Codec, Format};

    use super::*;
    use crate::catalogue::SqliteCatalogue;
    use crate::recorder::{Asked, RecorderConfig, SessionRequest};
    use crate::spool::FolderLock;
    use crate::store::FolderStore;

    #[tokio::test]
    async fn who_does_not_look_is_told_of_being_idle_once_and_again_after_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        let catalogue = SqliteCatalogue::open(folder.path().join("c.db")).await.unwrap();
        let store = FolderStore::open(folder.path().join("store")).await.unwrap();
        let mut config = RecorderConfig::new(folder.path());
        config.patience.idle = Duration::ZERO;
        let recorder = Recorder::open(config, lock, Arc::new(catalogue), Arc::new(store)).await.unwrap();
        let request = SessionRequest {
            tenant: "default".to_owned(),
            call: None,
            participant: None,
            format: Format { codec: Codec::S16le, rate: 8_000, channels: 1 },
            counting: Counting::Arrival,
            purpose: Purpose::Plain,
            speaks_v1: false,
        };
        let (mut ingest, _) = recorder.open_session(request).await.unwrap();
        for _ in 0..2 {
            (0..100).for_each(|_| recorder.sweep_sessions(false));
            assert_eq!(ingest.next_asked(), Some(Asked::Control(Control::Idle)));
            assert_eq!(ingest.next_asked(), None);
        }
    }
}
