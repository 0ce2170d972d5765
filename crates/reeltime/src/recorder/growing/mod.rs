//! Files of live recordings on their way to the store, part by part, so that hanging up costs the rest alone.
//!
//! | module | a file that |
//! |---|---|
//! | here | lies in the spool as it will lie in the store: a track of samples of which nothing is missing so far |
//! | `track` | is made of one track's log: Opus, and samples of which something is missing |
//! | `mix` | is made of all tracks |
//! | `file` | is made, and sent as it is made |
//!
//! Whatever comes later, what was sent is only a guess at what is published: the publisher sends again what came out
//! otherwise, and need not look where it did not.

mod file;
mod mix;
mod track;

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use reeltime_core::id::TrackId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::log::Purpose;
use reeltime_core::media::Container;
use tokio::time::Instant;
use tracing::{Instrument, debug, warn};

use super::Recorder;
use super::live::LiveRecording;
use super::publish::{Settled, is_sound, master_of};
use crate::blocking::blocking;
use crate::catalogue::{NewObject, RecordingState, StoredObject};
use crate::error::Error;
use crate::parts::PartUpload;
use crate::spans;
use crate::spool::{GrowingSound, TrackLog};
use crate::store::PART;
use mix::Mixes;
use track::GrowingTrack;

/// How long a store that did not take a part is left alone, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A track on its way to the store.
#[derive(Debug, Default)]
enum Track {
    /// Nothing of it was sent.
    #[default]
    New,
    /// Its sound is sent as it grows in the spool.
    Sound(PartUpload),
    /// Its file is made as its log grows.
    Made(Box<GrowingTrack>),
    /// It is sent when it is whole.
    Whole,
}

/// What of a recording is uploaded while it is recorded.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    tracks: HashMap<TrackId, Track>,
    /// Until when the store is left alone, and for how long that is.
    rests: Option<(Instant, Duration)>,
    mixes: Mixes,
}

impl Growing {
    /// Takes the upload to this object of a sound in the spool, if there is one.
    pub(crate) fn take(&mut self, key: &ObjectKey) -> Option<PartUpload> {
        let is = |track: &Track| matches!(track, Track::Sound(upload) if upload.key() == key);
        let found = self.tracks.values_mut().find(|track| is(track))?;
        if let Track::Sound(upload) = std::mem::replace(found, Track::Whole) { Some(upload) } else { None }
    }

    /// Takes the file that was made of a track so far.
    fn take_made(&mut self, track: TrackId) -> Option<GrowingTrack> {
        let found = self.tracks.get_mut(&track).filter(|found| matches!(found, Track::Made(_)))?;
        if let Track::Made(made) = std::mem::replace(found, Track::Whole) { Some(*made) } else { None }
    }

    /// Lets go of all files that are made; what was sent of them is compared with what is made later.
    pub(super) fn stop(&mut self) {
        for track in self.tracks.values_mut().filter(|track| matches!(track, Track::Made(_))) {
            *track = Track::Whole;
        }
        self.mixes.stop();
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
            self.grow_mixes(&recording, &mut growing.mixes);
            let due = |log: &Arc<TrackLog>| self.is_due(log, growing.tracks.get(&log.id()));
            if !growing.is_resting() && recording.tracks().iter().any(due) {
                let recorder = self.clone();
                let span = spans::upload(&recording);
                let look = async move { recorder.upload_grown(&recording, &mut growing).await };
                tokio::spawn(look.instrument(span));
            }
        }
    }

    /// Whether there is something to send of a track, as far as that can be told at no cost.
    fn is_due(&self, log: &TrackLog, track: Option<&Track>) -> bool {
        match track {
            None | Some(Track::New) => log.bytes() >= 2 * PART as u64,
            Some(Track::Sound(upload)) => {
                !matches!(self.grown_sound(log, upload.next()), GrowingSound::NotYet)
            }
            Some(Track::Made(made)) => made.is_due(log.bytes()),
            Some(Track::Whole) => false,
        }
    }

    /// The sound file of a track that has grown by its part `next`.
    fn grown_sound(&self, log: &TrackLog, next: u32) -> GrowingSound {
        let header = log.header();
        match is_sound(&header, &master_of(&header)) {
            Some(_) => self.inner().spool.growing_sound(log, u64::from(next) * PART as u64),
            None => GrowingSound::Never,
        }
    }

    async fn upload_grown(&self, recording: &LiveRecording, growing: &mut Growing) {
        for log in recording.tracks() {
            match self.upload_track(recording, &log, growing).await {
                Ok(()) => {}
                Err(Error::Store(error)) if !error.is_passing() => {
                    // What is wrong is said where the recording is published; that is where it has to be right.
                    debug!(recording = %recording.id, %error, "a track is not uploaded while it grows");
                    growing.tracks.insert(log.id(), Track::Whole);
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
        log: &Arc<TrackLog>,
        growing: &mut Growing,
    ) -> Result<(), Error> {
        let state = growing.tracks.entry(log.id()).or_default();
        if !self.is_due(log, Some(state)) {
            return Ok(());
        }
        loop {
            match state {
                Track::Whole => return Ok(()),
                Track::New => *state = self.begin_track(recording, log).await?,
                Track::Made(made) => {
                    return made.go_on(self, log, || self.track_object(recording, log)).await;
                }
                Track::Sound(upload) => match self.grown_sound(log, upload.next()) {
                    GrowingSound::At(path) => {
                        let file = Arc::new(blocking(|| File::open(path)).await.map_err(Error::Spool)?);
                        let number = upload.next();
                        upload.send(&file, number).await?;
                        forget(file, number).await;
                    }
                    GrowingSound::NotYet => return Ok(()),
                    // From here on it is another file, which begins as this one.
                    GrowingSound::Never => {
                        let Track::Sound(sent) = std::mem::take(state) else { return Ok(()) };
                        *state = self.make_track(log, Some(sent)).await?;
                    }
                },
            }
            if matches!(state, Track::New) {
                return Ok(());
            }
        }
    }

    fn track_object(&self, recording: &LiveRecording, log: &TrackLog) -> Result<NewObject, Error> {
        let header = log.header();
        self.master_object(recording, &header, master_of(&header))
    }

    /// Begins a track's upload, or goes on with one that an earlier process began.
    async fn begin_track(&self, recording: &LiveRecording, log: &Arc<TrackLog>) -> Result<Track, Error> {
        let object = self.track_object(recording, log)?;
        let encoded = match log.header().purpose {
            Purpose::Transcribe { format, .. } => format != Container::Wav,
            Purpose::Plain => false,
        };
        if encoded || !self.inner().uploads.takes(&object.key) {
            return Ok(Track::Whole);
        }
        match self.grown_sound(log, 2) {
            GrowingSound::NotYet => Ok(Track::New),
            GrowingSound::At(_) => Ok(Track::Sound(self.open_upload(object).await?)),
            GrowingSound::Never => self.make_track(log, None).await,
        }
    }

    /// Of a log that another process began, all of it would have to be read each time.
    async fn make_track(&self, log: &Arc<TrackLog>, sent: Option<PartUpload>) -> Result<Track, Error> {
        if !log.is_ours() {
            return Ok(Track::Whole);
        }
        Ok(Track::Made(Box::new(GrowingTrack::begin(self, log, sent).await?)))
    }

    /// Finishes the file that was made of a track while it was recorded, where it is the track's now; `None` where that
    /// has to be made.
    ///
    /// # Errors
    /// Where the log cannot be read, or the store is away. What it refuses is left to who makes the file: an upload that is
    /// gone, or a key that is taken.
    pub(super) async fn store_grown_track(
        &self,
        recording: &LiveRecording,
        track: &Settled,
    ) -> Result<Option<StoredObject>, Error> {
        let made = recording.growing.lock().await.take_made(track.log.id());
        let Some(made) = made else { return Ok(None) };
        match made.finish(self, track, self.track_object(recording, &track.log)?).await {
            Err(Error::Store(error)) if !error.is_passing() => {
                debug!(recording = %recording.id, %error, "the file that grew cannot be finished; it is made anew");
                Ok(None)
            }
            finished => finished,
        }
    }
}

/// Nobody will read this part of a file again, most likely: the memory that holds it is given back bit by bit, and not all
/// at once when the file is removed, which would keep those waiting who hang up then.
async fn forget(file: Arc<File>, number: u32) {
    let (at, length) = (u64::from(number - 1) * PART as u64, NonZero::new(PART as u64));
    let advise = move || Ok(rustix::fs::fadvise(&*file, at, length, rustix::fs::Advice::DontNeed)?);
    // It is only an advice.
    let _ = blocking::<(), std::io::Error>(advise).await;
}
