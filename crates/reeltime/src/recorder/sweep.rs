//! What time alone brings about: idle sessions, clients that did not come back, recordings nobody feeds, sockets
//! that went quiet.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reeltime_core::session::Verdict;

use super::live::{Asking, Control, LiveSession};
use super::{Inner, Recorder};

const BEAT: Duration = Duration::from_millis(250);

pub(super) async fn run(recorder: Weak<Inner>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let Some(inner) = recorder.upgrade() else { return };
        let recorder = Recorder(inner);
        recorder.inner().quiet.sweep(recorder.inner().clock.now());
        recorder.sweep_sessions();
        recorder.end_recordings();
    }
}

impl Recorder {
    fn sweep_sessions(&self) {
        let now = self.inner().clock.now();
        for session in self.inner().registry.sessions() {
            match session.presence().verdict(now, self.inner().config.patience) {
                Verdict::Live => {}
                Verdict::Idle => {
                    let _ = session.control.send(Asking { control: Control::Idle, done: None });
                }
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
        let over = |recording: &super::live::LiveRecording| {
            let linger = if recording.call.is_some() { linger } else { Duration::ZERO };
            recording.end_if_empty(now, linger)
        };
        for recording in self.inner().registry.end_where(over) {
            let recorder = self.clone();
            tokio::spawn(async move { recorder.publish(recording).await });
        }
    }
}
