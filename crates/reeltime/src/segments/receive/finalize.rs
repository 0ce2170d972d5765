//! The end of a recording of segments: what came out of turn is logged, what never came is told, and the recording is
//! published like any other. Every step may be done again, so a crash or an outage in the middle costs a second try.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reeltime_core::id::RecordingId;
use tracing::{info, warn};
use uuid::Uuid;

use super::incoming::Incoming;
use super::speakers::Turn;
use super::{Announcement, Gate, ReceiveError, Receiver, lock, new_segment};
use crate::blocking::blocking;
use crate::catalogue::{
    DEFAULT_TENANT, KeptSegment, Segment, SegmentRecording, SegmentState, SegmentsStatus,
};
use crate::error::Error;
use crate::recorder::{Clock, Inner, LiveRecording, Recorder};

/// How often it is looked for recordings that are to be finalized.
const BEAT: Duration = Duration::from_secs(60);
/// Rows that are written side by side: those that wait together share a sync.
const SIDE_BY_SIDE: usize = 64;

/// A segment as its client names it at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is.
    pub segment: Announcement,
    /// Where its client says that it lies: addresses, keys, paths.
    pub places: Vec<String>,
}

impl Recorder {
    /// Ends a recording of segments. Those that are named and never came, and those that were announced and never came,
    /// are marked as missing. To do so again changes nothing.
    ///
    /// # Errors
    /// [`ReceiveError::Foreign`], with nothing changed; [`ReceiveError::Unfinished`] where the store cannot say now what
    /// it has, or give back what came out of turn: it is tried again each minute, and whenever this is called.
    pub async fn finalize_segments(
        &self,
        tenant: &str,
        id: RecordingId,
        named: Vec<Named>,
    ) -> Result<(SegmentRecording, Vec<Segment>), ReceiveError> {
        if let Ok(receiver) = self.receiver(tenant, id) {
            // In a task of its own: the client may go away in the middle.
            let recorder = self.clone();
            let ending = tokio::spawn(async move { recorder.finalize(&receiver, named).await });
            ending.await.map_err(|_| Error::Spool(std::io::Error::other("finalizing died")))??;
        }
        let row = self.segments_of(tenant, id).await?.ok_or(ReceiveError::UnknownRecording)?;
        Ok((row, self.inner().catalogue.segments(tenant, id).await?))
    }

    async fn finalize(&self, receiver: &Receiver, named: Vec<Named>) -> Result<(), ReceiveError> {
        let mut gate = receiver.gate.write().await;
        let (tenant, id) = (&receiver.recording.tenant, receiver.recording.id);
        let catalogue = &self.inner().catalogue;
        // Somebody else may have done it while this one waited.
        let row = catalogue.segment_recording(tenant, id).await?;
        let Some(row) = row.filter(|row| row.status != SegmentsStatus::Finalized) else { return Ok(()) };
        self.announce_unknown(&row, tenant, named).await?;
        // From here on it is over, whatever becomes of the rest and of this process.
        catalogue.advance_segments(tenant, id, SegmentsStatus::Finalizing, Clock::utc()).await?;
        *gate = Gate::Shut;
        self.gather(receiver).await.map_err(|error| {
            if matches!(error, ReceiveError::StoreAway) { ReceiveError::Unfinished } else { error }
        })?;
        self.mark_absent(receiver).await?;
        let logs = lock(&receiver.speakers).logs();
        let now = self.inner().clock.now();
        let at = receiver.recording.clock().map_or(now, |clock| clock.at(now));
        for log in logs {
            log.close(at, "finalized").await;
        }
        catalogue.advance_segments(tenant, id, SegmentsStatus::Finalized, Clock::utc()).await?;
        self.release_segments(&receiver.recording);
        Ok(())
    }

    /// Enters what is named and was never announced.
    async fn announce_unknown(
        &self,
        row: &SegmentRecording,
        tenant: &str,
        named: Vec<Named>,
    ) -> Result<(), ReceiveError> {
        let id = row.recording;
        let known = Known::new(self.inner().catalogue.segments(tenant, id).await?);
        let mut unknown = Vec::new();
        for Named { segment, places } in named {
            if known.has(&segment, &places) {
                continue;
            }
            for place in &places {
                self.check_place(tenant, id, place).await?;
            }
            unknown.push(new_segment(row, segment)?);
        }
        let announced = stream::iter(unknown)
            .map(|new| async move { self.inner().catalogue.announce_segment(tenant, &new).await })
            .buffer_unordered(SIDE_BY_SIDE);
        announced.try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    /// What lies in another recording is not of this one.
    async fn check_place(&self, tenant: &str, id: RecordingId, place: &str) -> Result<(), ReceiveError> {
        let foreign = || Err(ReceiveError::Foreign { place: place.chars().take(200).collect() });
        if recording_in(place).is_some_and(|other| other != id) {
            return foreign();
        }
        match self.inner().catalogue.segment_key(tenant, key_in(place)).await? {
            Some(other) if other != id => foreign(),
            _ => Ok(()),
        }
    }

    /// Everything that takes the store.
    async fn gather(&self, receiver: &Receiver) -> Result<(), ReceiveError> {
        self.settle(receiver).await?;
        self.look_again(receiver).await?;
        self.log_late(receiver).await
    }

    /// Of what was announced, finds what is in the store all the same, and marks the rest as missing.
    async fn settle(&self, receiver: &Receiver) -> Result<(), ReceiveError> {
        let (tenant, id) = (&receiver.recording.tenant, receiver.recording.id);
        let catalogue = &self.inner().catalogue;
        let mut segments = catalogue.segments(tenant, id).await?;
        segments.retain(|segment| segment.state == SegmentState::Announced);
        let mut missing = Vec::new();
        for segment in segments {
            match self.find_object(tenant, &segment).await? {
                Ok(kept) => catalogue.keep_segment(tenant, &kept).await?,
                Err(reason) => missing.push((segment.id, reason)),
            }
        }
        Ok(catalogue.miss_segments(tenant, id, &missing).await?)
    }

    /// Where a sync has failed, what could not be read back is a gap in a log: it is not logged, though it was.
    async fn look_again(&self, receiver: &Receiver) -> Result<(), ReceiveError> {
        if !lock(&receiver.speakers).in_doubt() {
            return Ok(());
        }
        let logs = lock(&receiver.speakers).logs();
        for log in logs {
            log.flush().await;
        }
        let (recorder, recording) = (self.clone(), Arc::clone(&receiver.recording));
        let speakers = Arc::clone(&receiver.speakers);
        Ok(blocking(move || lock(&speakers).believe_files(&recorder, &recording)).await?)
    }

    /// Logs from the store what is not logged yet, in order.
    async fn log_late(&self, receiver: &Receiver) -> Result<(), ReceiveError> {
        let (tenant, id) = (&receiver.recording.tenant, receiver.recording.id);
        let catalogue = &self.inner().catalogue;
        let mut segments = catalogue.segments(tenant, id).await?;
        segments.retain(|segment| segment.state == SegmentState::Stored);
        segments.sort_by_key(|segment| (segment.starts_at, segment.number));
        for segment in segments {
            let mut incoming = Incoming::create(&self.inner().config.data_dir, u64::MAX).await?;
            incoming.fill(self.inner().store.get(&segment.key, None).await?).await?;
            match self.log_segment(receiver, &segment, &incoming, Turn::Late).await {
                Ok(logged) => {
                    let kept = KeptSegment {
                        id: segment.id,
                        key: segment.key,
                        size: incoming.size,
                        crc32c: Some(incoming.crc32c),
                        logged,
                    };
                    catalogue.keep_segment(tenant, &kept).await?;
                }
                Err(ReceiveError::Sound(error)) => {
                    warn!(recording = %id, key = %segment.key, %error, "a segment cannot be heard; it is kept as it came");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Who is named, and of whom nothing came, has a track all the same: a gap.
    async fn mark_absent(&self, receiver: &Receiver) -> Result<(), ReceiveError> {
        let (tenant, id) = (&receiver.recording.tenant, receiver.recording.id);
        let mut segments = self.inner().catalogue.segments(tenant, id).await?;
        segments.retain(|segment| segment.state == SegmentState::Missing);
        let mut speakers = lock(&receiver.speakers);
        let mut absent: HashMap<String, (u64, u64)> = HashMap::new();
        for segment in segments.into_iter().filter(|segment| !speakers.knows(&segment.participant)) {
            let (begin, end) = (receiver.at(segment.starts_at).0, receiver.at(segment.ends_at).0);
            let stretch = absent.entry(segment.participant).or_insert((begin, end));
            *stretch = (stretch.0.min(begin), stretch.1.max(end));
        }
        for (participant, (begin, end)) in absent {
            speakers.log_gap(self, &receiver.recording, &participant, begin..end);
        }
        Ok(())
    }

    /// No segment comes any more: the recording ends and is published.
    fn release_segments(&self, recording: &Arc<LiveRecording>) {
        let now = self.inner().clock.now();
        lock(&self.inner().segments.live).remove(&recording.id);
        recording.session_closed(now);
        if recording.end_if_empty(now, Duration::ZERO) {
            self.hand_over(Arc::clone(recording));
        }
    }

    /// Its owner deleted it.
    pub(crate) async fn give_up_segments(&self, recording: &Arc<LiveRecording>) {
        let receiver = lock(&self.inner().segments.live).get(&recording.id).cloned();
        let Some(receiver) = receiver else { return };
        *receiver.gate.write().await = Gate::Shut;
        let logs = lock(&receiver.speakers).logs();
        for log in logs {
            log.close(reeltime_core::time::Micros(0), "deleted").await;
        }
        self.release_segments(recording);
    }

    /// Finalizes what could not be, and what has been live for too long; what became of each.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn retry_segments(
        &self,
        tenant: &str,
    ) -> Result<Vec<(SegmentRecording, Result<(), ReceiveError>)>, ReceiveError> {
        let most = i64::try_from(self.inner().config.segments_auto_finalize.as_micros()).unwrap_or(i64::MAX);
        let mut tried = Vec::new();
        for row in self.open_segments(tenant).await? {
            let age = Clock::utc().0.saturating_sub(row.created_at.0);
            if row.status == SegmentsStatus::Live && age < most {
                continue;
            }
            let done = self.finalize_segments(tenant, row.recording, Vec::new()).await.map(drop);
            match &done {
                Ok(()) => info!(recording = %row.recording, "finalized: its client did not, or could not"),
                Err(error) => warn!(recording = %row.recording, %error, "cannot be finalized yet"),
            }
            tried.push((row, done));
        }
        Ok(tried)
    }
}

/// Until the recorder is gone.
pub(crate) async fn run(recorder: Weak<Inner>) {
    let Some(beat) =
        recorder.upgrade().map(|inner| inner.config.segments_auto_finalize.clamp(BEAT / 120, BEAT))
    else {
        return;
    };
    loop {
        tokio::time::sleep(beat).await;
        let Some(inner) = recorder.upgrade() else { return };
        if let Err(error) = Recorder::of(inner).retry_segments(DEFAULT_TENANT).await {
            warn!(%error, "cannot look for recordings that are to be finalized");
        }
    }
}

/// The segments that the catalogue has, by all that a client may know of them.
struct Known {
    ids: HashSet<Uuid>,
    keys: HashSet<String>,
    starts: HashSet<(String, u32, i64)>,
}

impl Known {
    fn new(segments: Vec<Segment>) -> Self {
        let ids = segments.iter().flat_map(|segment| [segment.id, segment.upload]).collect();
        let keys = segments.iter().map(|segment| segment.key.as_str().to_owned()).collect();
        let start = |segment: Segment| (segment.user_id, segment.segment_index, segment.starts_at.0);
        let starts = segments.into_iter().map(start).collect();
        Self { ids, keys, starts }
    }

    fn has(&self, segment: &Announcement, places: &[String]) -> bool {
        let start = (segment.user_id.clone(), segment.segment_index, segment.starts_at.0);
        let lies = |place: &String| {
            let id = place_path(place).rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok());
            self.keys.contains(key_in(place)) || id.is_some_and(|id| self.ids.contains(&id))
        };
        places.iter().any(lies) || self.starts.contains(&start)
    }
}

/// A place without scheme, host and query.
fn place_path(place: &str) -> &str {
    let path = place.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => path,
    }
}

/// The key that a place may be: of an address in a store, the part that looks like one of ours.
fn key_in(place: &str) -> &str {
    let path = place_path(place).trim_start_matches('/');
    path.find("recordings/").map_or(path, |at| &path[at..])
}

/// The recording that an address of ours leads to.
fn recording_in(place: &str) -> Option<RecordingId> {
    let (_, rest) = place_path(place).split_once("api/recordings/")?;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_understood_in_any_form() {
        let id: RecordingId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let ours = format!("http://h:1/api/recordings/{id}/segments/x?a=b");
        assert_eq!(recording_in(&ours), Some(id));
        assert_eq!(recording_in(&format!("/api/recordings/{id}/uploads/x")), Some(id));
        assert_eq!(recording_in("https://bucket.example/recordings/s/u/segment_000.wav"), None);
        let key = "recordings/s/u/segment_000.wav";
        for place in [key.to_owned(), format!("/{key}"), format!("https://b.example/prefix/{key}?X-Amz=1")] {
            assert_eq!(key_in(&place), key);
        }
        assert_eq!(key_in("/tmp/a.wav"), "tmp/a.wav");
    }
}
