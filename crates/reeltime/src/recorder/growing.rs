//! Files of live recordings on their way to the store, part by part, so that hanging up costs the rest alone.
//!
//! Here are those that lie in the spool as they will lie in the store: a track whose payload is samples, of which so far
//! nothing is missing. Whatever comes later, what was sent is only a guess at what is published: the publisher sends again
//! what came out otherwise, and need not look where it did not.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reeltime_core::id::TrackId;
use reeltime_core::keys::ObjectKey;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Recorder;
use super::grown::Mixing;
use super::live::LiveRecording;
use super::publish::{is_sound, master_of};
use crate::catalogue::RecordingState;
use crate::error::Error;
use crate::parts::PartUpload;
use crate::spool::TrackLog;
use crate::store::PART;

/// How long a store that did not take a part is left alone, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A track on its way to the store.
#[derive(Debug, Default)]
enum Track {
    /// Nothing of it was sent.
    #[default]
    New,
    /// Its parts are sent as it grows.
    Parts(PartUpload),
    /// It is sent when it is whole.
    Whole,
}

/// What of a recording is uploaded while it is recorded.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    uploads: HashMap<TrackId, Track>,
    /// Until when the store is left alone, and for how long that is.
    rests: Option<(Instant, Duration)>,
    pub(super) mixing: Mixing,
}

impl Growing {
    /// Takes the upload to this object, if there is one.
    pub(crate) fn take(&mut self, key: &ObjectKey) -> Option<PartUpload> {
        let is = |track: &Track| matches!(track, Track::Parts(upload) if upload.key() == key);
        let found = self.uploads.values_mut().find(|track| is(track))?;
        if let Track::Parts(upload) = std::mem::replace(found, Track::Whole) { Some(upload) } else { None }
    }

    /// The track's next part; `None` where it is not to be uploaded before its end.
    fn next(&self, track: TrackId) -> Option<u32> {
        match self.uploads.get(&track) {
            None | Some(Track::New) => Some(2),
            Some(Track::Parts(upload)) => Some(upload.next()),
            Some(Track::Whole) => None,
        }
    }

    fn is_resting(&self) -> bool {
        self.rests.is_some_and(|(until, _)| Instant::now() < until)
    }

    fn rest(&mut self) {
        let rest = self.rests.map_or(FIRST_REST, |(_, rest)| (rest * 2).min(LONGEST_REST));
        self.rests = Some((Instant::now() + rest, rest));
    }
}

impl Recorder {
    /// Has the parts sent by which live recordings have grown. One whose parts are on their way is left alone.
    pub(super) fn upload_growing(&self) {
        if !self.inner().config.live_uploads {
            return;
        }
        for recording in self.inner().registry.recordings() {
            let Ok(mut growing) = Arc::clone(&recording.growing).try_lock_owned() else { continue };
            let live = recording.state() == RecordingState::Active && !recording.is_deleted();
            if !live || !recording.is_entered() {
                continue;
            }
            if self.can_grow_mix(&recording, &growing.mixing) {
                growing.mixing = self.grow_mix(&recording);
            }
            let due = |log: &Arc<TrackLog>| self.grown_sound(log, growing.next(log.id())).is_some();
            if !growing.is_resting() && recording.tracks().iter().any(due) {
                let recorder = self.clone();
                tokio::spawn(async move {
                    recorder.upload_grown(&recording, &mut growing).await;
                });
            }
        }
    }

    /// The sound file of a track that has grown by its part `next`.
    fn grown_sound(&self, log: &TrackLog, next: Option<u32>) -> Option<PathBuf> {
        let header = log.header();
        is_sound(&header, &master_of(&header))?;
        self.inner().spool.growing_sound(log, u64::from(next?) * PART as u64)
    }

    async fn upload_grown(&self, recording: &LiveRecording, growing: &mut Growing) {
        for log in recording.tracks() {
            match self.upload_track(recording, &log, growing).await {
                Ok(()) => {}
                Err(Error::Store(error)) if !error.is_passing() => {
                    // What is wrong is said where the recording is published; that is where it has to be right.
                    debug!(recording = %recording.id, %error, "a track is not uploaded while it grows");
                    growing.uploads.insert(log.id(), Track::Whole);
                }
                Err(error) => {
                    if growing.rests.is_none() {
                        warn!(recording = %recording.id, %error, "cannot upload what has grown yet; trying again");
                    }
                    return growing.rest();
                }
            }
        }
        growing.rests = None;
    }

    /// Sends all parts by which a track has grown.
    async fn upload_track(
        &self,
        recording: &LiveRecording,
        log: &TrackLog,
        growing: &mut Growing,
    ) -> Result<(), Error> {
        while let Some(path) = self.grown_sound(log, growing.next(log.id())) {
            let upload = growing.uploads.entry(log.id()).or_default();
            let upload = match upload {
                Track::Whole => break,
                Track::Parts(upload) => upload,
                Track::New => {
                    *upload = self.begin_track(recording, log).await?;
                    continue;
                }
            };
            let file = tokio::task::spawn_blocking(|| File::open(path)).await;
            let file = file.map_err(std::io::Error::other).flatten().map_err(Error::Spool)?;
            let number = upload.next();
            upload.send(&Arc::new(file), number).await?;
        }
        Ok(())
    }

    /// Begins a track's upload, or goes on with one that an earlier process began.
    async fn begin_track(&self, recording: &LiveRecording, log: &TrackLog) -> Result<Track, Error> {
        let header = log.header();
        let mut object = self.master_object(recording, &header, master_of(&header))?;
        if !self.inner().uploads.takes(&object.key) {
            return Ok(Track::Whole);
        }
        object.key = self.stage_free(&object, 1).await?.key;
        Ok(Track::Parts(self.inner().uploads.open(&object).await?))
    }
}
