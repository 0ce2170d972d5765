//! What happens to a recording, told as it happens to whoever watches.

use std::sync::Arc;
use std::time::Duration;

use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::log::Purpose;
use reeltime_core::timeline::Layout;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;

use super::live::LiveRecording;
use super::view::{RecordingView, TrackView};
use super::{Recorder, Refusal};
use crate::catalogue::RecordingState;
use crate::error::Error;
use crate::render::gapless;

/// How often a recording is looked at.
const BEAT: Duration = Duration::from_millis(500);
/// Events that wait for a slow reader.
const AHEAD: usize = 16;
/// Watchers at a time.
pub(super) const MOST: usize = 100;

/// Something that happened to a recording. Times are seconds on the recording's clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RecordingEvent {
    /// It is in this state now; the last event is one of a final state.
    State {
        /// The state.
        state: RecordingState,
        /// Why, where there is something to say.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Its length so far.
        duration_seconds: f64,
    },
    /// A track has joined, or has ended.
    Track {
        /// The track.
        id: TrackId,
        /// Whose media it is.
        participant: String,
        /// `s16le`, `mulaw`, `alaw` or `opus`.
        codec: String,
        /// Samples per second and channel.
        rate: u32,
        /// Channels.
        channels: u8,
        /// Where it begins.
        start_seconds: f64,
        /// Nothing more will come.
        ended: bool,
    },
    /// It is longer, or more of it is safe.
    Progress {
        /// Its length so far.
        duration_seconds: f64,
        /// How far the track that is least safe is on the disk: what was acknowledged. Ended tracks do not count.
        synced_seconds: f64,
    },
    /// Media is missing. One that grows is told again, with the same start.
    Gap {
        /// The track.
        track_id: TrackId,
        /// Where it begins.
        start_seconds: f64,
        /// How long it is, so far.
        duration_seconds: f64,
        /// Why.
        reason: Value,
    },
    /// Something was deliberately not recorded. One that grows is told again, with the same start.
    Pause {
        /// The track.
        track_id: TrackId,
        /// Where it begins.
        start_seconds: f64,
        /// How long it is, so far.
        duration_seconds: f64,
        /// Why, in the words of who paused.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A moment was named.
    Mark {
        /// The track.
        track_id: TrackId,
        /// When.
        at_seconds: f64,
        /// Its name.
        name: String,
    },
}

impl RecordingEvent {
    /// What kind of event it is, in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::Track { .. } => "track",
            Self::Progress { .. } => "progress",
            Self::Gap { .. } => "gap",
            Self::Pause { .. } => "pause",
            Self::Mark { .. } => "mark",
        }
    }
}

/// Why a recording cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The tenant has no such recording.
    #[error("Recording not found")]
    NotFound,
    /// As many watch as may.
    #[error("too many watch already: try again in a moment")]
    TooMany,
    /// The recorder is going down.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The catalogue cannot be read.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Recorder {
    /// Watches a recording: first how it is, then what happens, to its final state. The events end early where the
    /// recorder goes down. Of one that is complete there is its final state alone.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn watch(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<mpsc::Receiver<RecordingEvent>, WatchError> {
        if self.is_leaving() {
            return Err(Refusal::Draining.into());
        }
        let place = Arc::clone(&self.inner().watchers).try_acquire_owned();
        let place = place.map_err(|_| WatchError::TooMany)?;
        let (sender, events) = mpsc::channel(AHEAD);
        if self.live(tenant, id).is_some() {
            tokio::spawn(self.clone().tell(tenant.to_owned(), id, sender, place));
            return Ok(events);
        }
        let view = self.recording(tenant, id).await?.ok_or(WatchError::NotFound)?;
        // The queue has room for it.
        let _ = sender.try_send(state_of(&view));
        Ok(events)
    }

    async fn tell(
        self,
        tenant: String,
        id: RecordingId,
        sender: mpsc::Sender<RecordingEvent>,
        _place: OwnedSemaphorePermit,
    ) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = sender.closed() => return,
            }
            if self.is_leaving() {
                return;
            }
            let (events, last) = match self.live(&tenant, id) {
                Some(live) => (told.compare(&Look::at(&live)), false),
                None => (told.end(self.recording(&tenant, id).await.ok().flatten()), true),
            };
            for event in events {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
    }
}

fn state_of(view: &RecordingView) -> RecordingEvent {
    RecordingEvent::State {
        state: view.state,
        reason: view.reason.clone(),
        duration_seconds: view.duration_seconds,
    }
}

/// A recording as it is.
struct Look {
    state: RecordingState,
    tracks: Vec<(TrackView, Standing)>,
}

/// How a track stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Standing {
    ended: bool,
    synced: u64,
}

impl Look {
    /// Costs what the lists of gaps, pauses and marks do; nothing is written or read for it.
    fn at(live: &LiveRecording) -> Self {
        let seen = |log: Arc<crate::spool::TrackLog>| {
            let standing = Standing { ended: log.is_closed(), synced: *log.synced().borrow() };
            // Of a track from an earlier process only its count is at hand; the rest is told at the end.
            let counted = Layout { samples: log.samples(), ..Layout::default() };
            let (header, layout) = (log.header(), log.layout().unwrap_or(counted));
            let layout = if live.purpose == Purpose::Plain { layout } else { gapless(&layout) };
            let track = TrackView {
                id: log.id(),
                participant: header.participant,
                session_id: header.session,
                codec: header.format.codec.to_string(),
                rate: header.format.rate,
                channels: header.format.channels,
                start_seconds: layout.start.0 as f64 / 1e6,
                samples: layout.samples,
                gaps: layout.gaps,
                pauses: layout.pauses,
                marks: layout.marks,
            };
            (track, standing)
        };
        let tracks = live.tracks().into_iter().filter(|log| !log.is_empty()).map(seen).collect();
        Self { state: live.state(), tracks }
    }
}

/// What a watcher knows.
#[derive(Default)]
struct Told {
    state: Option<RecordingState>,
    tracks: Vec<(TrackView, Standing)>,
    progress: Option<(f64, f64)>,
}

impl Told {
    /// What is new.
    fn compare(&mut self, now: &Look) -> Vec<RecordingEvent> {
        let duration = now.tracks.iter().map(|(track, _)| seconds(track, track.samples)).fold(0.0, f64::max);
        let mut events = Vec::new();
        if self.state.replace(now.state) != Some(now.state) {
            events.push(RecordingEvent::State { state: now.state, reason: None, duration_seconds: duration });
        }
        self.tracks(&now.tracks, &mut events);
        let open = now.tracks.iter().filter(|(_, standing)| !standing.ended);
        let synced = open.map(|(track, standing)| seconds(track, standing.synced)).fold(duration, f64::min);
        if !now.tracks.is_empty() && self.progress.replace((duration, synced)) != Some((duration, synced)) {
            events.push(RecordingEvent::Progress { duration_seconds: duration, synced_seconds: synced });
        }
        events
    }

    /// What is still to be told of a recording that is over; its state comes last.
    fn end(&mut self, view: Option<RecordingView>) -> Vec<RecordingEvent> {
        let Some(mut view) = view else {
            let reason = Some("the recording was deleted, or nothing was recorded".to_owned());
            let state = RecordingState::Aborted;
            return vec![RecordingEvent::State { state, reason, duration_seconds: 0.0 }];
        };
        let ended = |track: TrackView| {
            let standing = Standing { ended: true, synced: track.samples };
            (track, standing)
        };
        let tracks: Vec<_> = view.tracks.take().into_iter().flatten().map(ended).collect();
        let mut events = Vec::new();
        self.tracks(&tracks, &mut events);
        events.push(state_of(&view));
        events
    }

    fn tracks(&mut self, now: &[(TrackView, Standing)], events: &mut Vec<RecordingEvent>) {
        for (track, standing) in now {
            let known = self.tracks.iter().position(|(known, _)| known.id == track.id);
            let before = known.map(|at| &self.tracks[at]);
            if before.is_none_or(|(_, before)| before.ended != standing.ended) {
                events.push(joined_or_ended(track, standing.ended));
            }
            happened(before.map(|(track, _)| track), track, events);
            match known {
                Some(at) => self.tracks[at] = (track.clone(), *standing),
                None => self.tracks.push((track.clone(), *standing)),
            }
        }
    }
}

fn joined_or_ended(track: &TrackView, ended: bool) -> RecordingEvent {
    RecordingEvent::Track {
        id: track.id,
        participant: track.participant.clone(),
        codec: track.codec.clone(),
        rate: track.rate,
        channels: track.channels,
        start_seconds: track.start_seconds,
        ended,
    }
}

/// The gaps, pauses and marks that were not there before, or are longer.
fn happened(before: Option<&TrackView>, now: &TrackView, events: &mut Vec<RecordingEvent>) {
    let track_id = now.id;
    let lasting = |samples: u64| samples as f64 / f64::from(now.rate.max(1));
    for gap in new_ones(before.map(|track| &*track.gaps), &now.gaps) {
        events.push(RecordingEvent::Gap {
            track_id,
            start_seconds: seconds(now, gap.at),
            duration_seconds: lasting(gap.samples),
            reason: serde_json::to_value(gap.reason).unwrap_or_default(),
        });
    }
    for pause in new_ones(before.map(|track| &*track.pauses), &now.pauses) {
        events.push(RecordingEvent::Pause {
            track_id,
            start_seconds: seconds(now, pause.at),
            duration_seconds: lasting(pause.samples),
            reason: pause.reason.clone(),
        });
    }
    for mark in new_ones(before.map(|track| &*track.marks), &now.marks) {
        events.push(RecordingEvent::Mark {
            track_id,
            at_seconds: seconds(now, mark.at),
            name: mark.name.clone(),
        });
    }
}

/// Behind what both begin with: a list grows at its end, where its last may still change.
fn new_ones<'a, T: PartialEq>(before: Option<&[T]>, now: &'a [T]) -> &'a [T] {
    let same = before.unwrap_or_default().iter().zip(now).take_while(|(before, now)| before == now).count();
    &now[same..]
}

/// A position of a track on the recording's clock.
fn seconds(track: &TrackView, at: u64) -> f64 {
    track.start_seconds + at as f64 / f64::from(track.rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeltime_core::id::SessionId;
    use reeltime_core::log::GapReason;
    use reeltime_core::timeline::{Gap, Mark};
    use uuid::Uuid;

    fn track(number: u128, samples: u64) -> TrackView {
        TrackView {
            id: TrackId(Uuid::from_u128(number)),
            participant: format!("p{number}"),
            session_id: SessionId(Uuid::from_u128(number)),
            codec: "s16le".to_owned(),
            rate: 1_000,
            channels: 1,
            start_seconds: number as f64,
            samples,
            gaps: Vec::new(),
            pauses: Vec::new(),
            marks: Vec::new(),
        }
    }

    fn look(tracks: Vec<TrackView>, ended: bool, synced: u64) -> Look {
        let tracks = tracks.into_iter().map(|track| (track, Standing { ended, synced })).collect();
        Look { state: RecordingState::Active, tracks }
    }

    fn told(events: &[RecordingEvent]) -> String {
        let one =
            |event: &RecordingEvent| format!("{} {}", event.name(), serde_json::to_string(event).unwrap());
        events.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_thing_is_told_once_and_what_grows_again() {
        let mut known = Told::default();
        let first = known.compare(&look(vec![track(1, 2_000)], false, 1_500));
        let expected = r#"state {"state":"active","duration_seconds":3.0}
track {"id":"00000000-0000-0000-0000-000000000001","participant":"p1","codec":"s16le","rate":1000,"channels":1,"start_seconds":1.0,"ended":false}
progress {"duration_seconds":3.0,"synced_seconds":2.5}"#;
        assert_eq!(told(&first), expected);
        assert!(known.compare(&look(vec![track(1, 2_000)], false, 1_500)).is_empty());
        let mut marked = track(1, 2_000);
        marked.marks.push(Mark { at: 500, name: "here".to_owned() });
        marked.gaps.push(Gap { at: 100, samples: 50, reason: GapReason::Loss });
        let names = |events: Vec<RecordingEvent>| events.iter().map(RecordingEvent::name).collect::<Vec<_>>();
        assert_eq!(names(known.compare(&look(vec![marked.clone()], false, 1_500))), ["gap", "mark"]);
        marked.gaps[0].samples = 60;
        let longer = known.compare(&look(vec![marked.clone()], false, 1_500));
        let expected = r#"gap {"track_id":"00000000-0000-0000-0000-000000000001","start_seconds":1.1,"duration_seconds":0.06,"reason":"loss"}"#;
        assert_eq!(told(&longer), expected);
        let more = look(vec![marked, track(2, 10)], true, 2_000);
        assert_eq!(names(known.compare(&more)), ["track", "track", "progress"]);
    }

    #[test]
    fn what_is_gone_is_told_to_be() {
        let events = Told::default().end(None);
        assert!(matches!(events[..], [RecordingEvent::State { state: RecordingState::Aborted, .. }]));
    }
}
