//! What to do with the tracks that an earlier process left in the spool: snapshot → decide → act.
//!
//! - The recording is published already: release the logs (the crash came between the two).
//! - It was deleted: discard the logs.
//! - Otherwise it lives on: sessions that can be resumed wait `resume_window` for their clients, and once nobody
//!   feeds it, it is published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reeltime_core::id::RecordingId;
use reeltime_core::log::{Event, GapReason};
use reeltime_core::session::Session;
use reeltime_core::time::Micros;
use tracing::{error, info, warn};

use super::Recorder;
use super::clock::{Clock, RecordingClock};
use super::live::{LiveRecording, LiveSession};
use crate::blocking::blocking;
use crate::catalogue::CatalogueError;
use crate::error::Error;
use crate::spool::{RecoveredTrack, TrackLog, recover, settle_restored};

impl Recorder {
    /// Takes up everything that lies in the spool.
    pub(super) async fn resurrect(&self) -> Result<(), Error> {
        let disk = Arc::clone(self.inner().spool.disk());
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let found = blocking(move || {
            settle_restored(&*disk)?;
            recover(&*disk, threads)
        });
        let found = found.await.map_err(Error::Spool)?;
        for (track, cause) in &found.unreadable {
            error!(%track, error = %cause, "a log cannot be read; it is left as it is");
        }
        let mut recordings: BTreeMap<RecordingId, Vec<RecoveredTrack>> = BTreeMap::new();
        for track in found.tracks {
            recordings.entry(track.header.recording).or_default().push(track);
        }
        for (id, tracks) in recordings {
            self.take_up(id, tracks, false).await;
        }
        self.revive_segments().await?;
        // A recording whose log cannot be read is not one without a log.
        if !found.unreadable.is_empty() {
            self.inner().orphans.keep_staged();
        } else if let Err(error) = self.abandon_unlogged().await {
            warn!(%error, "cannot tidy the catalogue; trying again at the next start");
        }
        Ok(())
    }

    /// `lost`: they are another node's, written back from its bundles.
    pub(crate) async fn take_up(&self, id: RecordingId, tracks: Vec<RecoveredTrack>, lost: bool) {
        let Some(first) = tracks.first() else { return };
        let tenant = first.header.tenant.clone();
        for track in &tracks {
            self.inner().spool.adopt_bytes(track.bytes);
            report(track);
        }
        if self.inner().segment_sender.needs(id) {
            // Publishing releases the logs of one that is published, once they are cut.
            return self.revive(id, &tracks, lost).await;
        }
        match self.release_published(&tenant, id, &tracks).await {
            Ok(true) => {}
            Ok(false) => self.revive(id, &tracks, lost).await,
            Err(Error::Catalogue(error @ CatalogueError::TakenOver { .. })) => {
                warn!(%error, "its logs stay where they are: they may hold more than was taken over");
            }
            Err(error) => {
                // Publishing asks again, and gives up nothing that is published.
                error!(recording = %id, %error, "the catalogue cannot say whether this is published");
                self.revive(id, &tracks, lost).await;
            }
        }
    }

    /// Removes the logs of a recording that was published before the earlier process could; false where it was not.
    async fn release_published(
        &self,
        tenant: &str,
        id: RecordingId,
        tracks: &[RecoveredTrack],
    ) -> Result<bool, Error> {
        let Some(proof) = self.inner().catalogue.published(tenant, id).await? else { return Ok(false) };
        let told = self.published_tracks(tenant, id).await?;
        let mut released = Vec::new();
        for track in tracks {
            let id = track.header.track;
            if track.samples > 0 && !told.contains(&id) {
                warn!(track = %id, "a log is not part of what was published; it is kept, see `reeltime recover`");
            } else {
                released.push(id);
            }
        }
        let recorder = self.clone();
        let release = move || {
            for id in released {
                if let Err(error) = recorder.inner().spool.release(id, &proof) {
                    warn!(track = %id, %error, "cannot remove a published log; trying again at the next start");
                }
            }
            Ok::<_, Error>(true)
        };
        blocking(release).await
    }

    async fn revive(&self, id: RecordingId, tracks: &[RecoveredTrack], lost: bool) {
        let (now, utc) = (self.inner().clock.now(), Clock::utc());
        let Some(header) = tracks.first().map(|track| track.header.clone()) else { return };
        let last = tracks.iter().map(|track| track.last_arrival).max().unwrap_or_default();
        let clock = RecordingClock::go_on(header.epoch, last, now, utc);
        let (call, purpose) = (header.call.clone(), header.purpose);
        let recording = LiveRecording::new(id, header.tenant, call, purpose, header.epoch, Some(clock));
        let recording = Arc::new(recording);
        self.enter(&recording).await;
        let resumable = tracks.iter().any(RecoveredTrack::can_resume) && !recording.is_deleted();
        let segments = self.comes_in_segments(&recording).await.unwrap_or_else(|error| {
            error!(recording = %id, %error, "the catalogue cannot say whether segments come for this");
            false
        });
        for track in tracks {
            // Of segments nothing is missing: what was not shipped is logged again, from the store.
            let missing = if lost && !segments { self.missing(track) } else { 0 };
            self.revive_track(&recording, track, lost, missing).await;
        }
        if lost && !segments {
            // Before it can be published: the same segments are cut again, and those that are there already are left alone.
            self.follow_segments(&recording).await;
        }
        self.inner().registry.insert(&recording, resumable);
        // Before it can end for want of anybody who feeds it.
        if segments && let Err(error) = self.receive_again(&recording).await {
            error!(recording = %id, %error, "no segment can be taken for this");
        }
        recording.mark_empty(now);
    }

    /// `missing`: samples that the lost node had received, and nobody has.
    async fn revive_track(
        &self,
        recording: &Arc<LiveRecording>,
        track: &RecoveredTrack,
        lost: bool,
        missing: u64,
    ) {
        let log = self.inner().spool.resume(track);
        if lost {
            log.assume_shipped();
        }
        recording.add_track(Arc::clone(&log));
        if !track.can_resume() {
            if missing > 0 {
                mark_missing(&log, track.last_arrival, missing);
                log.close(track.last_arrival, "disconnected").await;
            }
            log.seal();
            return;
        }
        let header = &track.header;
        let core = Session::new(header.format, track.samples, track.paused, true);
        let now = self.inner().clock.now();
        let token = header.resume_token_sha256.clone();
        let session = LiveSession::new(header.session, Arc::clone(recording), log, token, core, now);
        session.disconnect(now);
        session.missing.store(missing, Ordering::Release);
        recording.session_opened();
        self.inner().registry.add_session(&Arc::new(session));
    }

    /// Samples of an open track that the lost node had received and not shipped. How many, nobody knows any more: what
    /// it would have shipped next, since otherwise it would have.
    fn missing(&self, track: &RecoveredTrack) -> u64 {
        let interval = Micros(self.inner().config.ship.interval.as_micros() as u64);
        if track.footer.is_some() { 0 } else { interval.to_samples(track.header.format.rate) }
    }
}

/// Says in the log that audio is missing at its end.
pub(super) fn mark_missing(log: &TrackLog, arrival: Micros, samples: u64) {
    let gap = Event::Gap { at: log.samples(), samples, reason: GapReason::Disconnected };
    log.event(arrival, &gap);
}

impl RecoveredTrack {
    /// Whether a client may come back to it.
    fn can_resume(&self) -> bool {
        self.footer.is_none() && self.header.resume_token_sha256.is_some()
    }
}

fn report(track: &RecoveredTrack) {
    let (id, recording) = (track.header.track, track.header.recording);
    let (samples, torn, damaged) = (track.samples, track.torn, track.damaged);
    if track.footer.is_some() {
        info!(track = %id, %recording, samples, "found a closed log");
    } else {
        warn!(track = %id, %recording, samples, torn, damaged, "found an open log: a process died while recording");
    }
    metrics::counter!("reeltime_recovered_tracks_total").increment(1);
    metrics::counter!("reeltime_recovered_torn_bytes_total").increment(torn);
    metrics::counter!("reeltime_recovered_damaged_bytes_total").increment(damaged);
}
