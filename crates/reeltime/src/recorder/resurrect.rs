//! What to do with the tracks that an earlier process left in the spool: snapshot → decide → act.
//!
//! - The recording is published already: release the logs (the crash came between the two).
//! - It was deleted: discard the logs.
//! - Otherwise it lives on: sessions that can be resumed wait `resume_window` for their clients, and once nobody
//!   feeds it, it is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeltime_core::id::RecordingId;
use reeltime_core::session::Session;
use tracing::{error, info, warn};

use super::Recorder;
use super::clock::{Clock, RecordingClock};
use super::live::{LiveRecording, LiveSession};
use crate::blocking::blocking;
use crate::error::Error;
use crate::spool::{RecoveredTrack, recover};

impl Recorder {
    /// Takes up everything that lies in the spool.
    pub(super) async fn resurrect(&self) -> Result<(), Error> {
        let disk = Arc::clone(self.inner().spool.disk());
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let found = blocking(move || recover(&*disk, threads)).await.map_err(Error::Spool)?;
        for (track, cause) in &found.unreadable {
            error!(%track, error = %cause, "a log cannot be read; it is left as it is");
        }
        let mut recordings: BTreeMap<RecordingId, Vec<RecoveredTrack>> = BTreeMap::new();
        for track in found.tracks {
            recordings.entry(track.header.recording).or_default().push(track);
        }
        for (id, tracks) in recordings {
            self.take_up(id, tracks).await;
        }
        // A recording whose log cannot be read is not one without a log.
        if found.unreadable.is_empty() {
            self.abandon_starting().await;
        }
        Ok(())
    }

    async fn take_up(&self, id: RecordingId, tracks: Vec<RecoveredTrack>) {
        let Some(first) = tracks.first() else { return };
        let tenant = first.header.tenant.clone();
        for track in &tracks {
            self.inner().spool.adopt_bytes(track.bytes);
            report(track);
        }
        match self.release_published(&tenant, id, &tracks).await {
            Ok(true) => {}
            Ok(false) => self.revive(id, &tracks).await,
            Err(error) => {
                // Publishing asks again, and gives up nothing that is published.
                error!(recording = %id, %error, "the catalogue cannot say whether this is published");
                self.revive(id, &tracks).await;
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
        for track in tracks {
            let id = track.header.track;
            if track.samples > 0 && !told.contains(&id) {
                warn!(track = %id, "a log is not part of what was published; it is kept, see `reeltime recover`");
            } else if let Err(error) = self.inner().spool.release(id, &proof) {
                warn!(track = %id, %error, "cannot remove a published log; trying again at the next start");
            }
        }
        Ok(true)
    }

    async fn revive(&self, id: RecordingId, tracks: &[RecoveredTrack]) {
        let (now, utc) = (self.inner().clock.now(), Clock::utc());
        let Some(header) = tracks.first().map(|track| track.header.clone()) else { return };
        let last = tracks.iter().map(|track| track.last_arrival).max().unwrap_or_default();
        let clock = RecordingClock::go_on(header.epoch, last, now, utc);
        let (call, purpose) = (header.call.clone(), header.purpose);
        let recording = LiveRecording::new(id, header.tenant, call, purpose, header.epoch, Some(clock));
        let recording = Arc::new(recording);
        self.enter(&recording).await;
        let resumable = tracks.iter().any(RecoveredTrack::can_resume) && !recording.is_deleted();
        for track in tracks {
            self.revive_track(&recording, track);
        }
        self.inner().registry.insert(&recording, resumable);
        recording.mark_empty(now);
    }

    fn revive_track(&self, recording: &Arc<LiveRecording>, track: &RecoveredTrack) {
        let log = self.inner().spool.resume(track);
        recording.add_track(Arc::clone(&log));
        if !track.can_resume() {
            log.seal();
            return;
        }
        let header = &track.header;
        let core = Session::new(header.format, track.samples, track.paused, true);
        let now = self.inner().clock.now();
        let token = header.resume_token_sha256.clone();
        let session = LiveSession::new(header.session, Arc::clone(recording), log, token, core, now);
        session.disconnect(now);
        recording.session_opened();
        self.inner().registry.add_session(&Arc::new(session));
    }

    /// Recordings that an earlier process entered and never logged a packet of.
    async fn abandon_starting(&self) {
        if let Err(error) = super::publish::sweep_objects(self).await {
            warn!(%error, "cannot remove left-over objects; trying again at the next start");
        }
        if let Err(error) = super::publish::abandon_unlogged(self).await {
            warn!(%error, "cannot tidy the catalogue; trying again at the next start");
        }
    }
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
