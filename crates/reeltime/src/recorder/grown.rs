//! The mix that is kept of a recording of several speakers, made and uploaded while they speak.
//!
//! It is what the publisher would make, as long as nothing happened that only hindsight tells: nothing is missing or
//! marked in any track, no clock drifts, and nobody joined behind what was mixed. Then only its tail and its first part
//! are left to send. Else it is thrown away and made anew, and parts that come out the same are not sent again.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reeltime_core::codec::Spec;
use reeltime_core::id::TrackId;
use reeltime_core::log::{LogHeader, Purpose};
use reeltime_core::media::Container;
use reeltime_core::timeline::Layout;
use rustix::fs::FallocateFlags;
use tracing::debug;

use super::live::LiveRecording;
use super::media::job;
use super::part::Part;
use super::publish::{Settled, new_object};
use super::{Recorder, Rendition, Seating};
use crate::catalogue::{NewObject, ObjectKind, RecordingState, StoredObject};
use crate::error::Error;
use crate::parts::{Body, PartUpload};
use crate::render::{Growth, MixJob, MixTrack};
use crate::spool::TrackLog;
use crate::store::{ByteStream, PART};

/// The rendition that can grow: the head of any other would not keep its length.
const GROWS: Rendition = Rendition { format: Container::Wav, layout: Seating::Mono };
/// How long a store that did not take a part is left alone.
const REST: Duration = Duration::from_secs(5);
/// How often it is asked whether the mix is still wanted.
const LOOK: Duration = Duration::from_secs(1);

/// A mix that was made while its recording went on, to the end of that.
#[derive(Debug)]
pub(crate) struct Grown {
    file: Arc<File>,
    size: u64,
    spec: Spec,
    /// Who is heard, in order.
    tracks: Vec<TrackId>,
    /// Nothing happened that keeps it from being what is made at the end.
    stands: bool,
    upload: Option<PartUpload>,
    _part: Part,
}

/// Where it is on its way.
#[derive(Debug, Default)]
pub(crate) enum Mixing {
    /// Not begun, since there is too little yet.
    #[default]
    Before,
    /// Being made.
    Now(tokio::task::JoinHandle<Option<Grown>>),
    /// Taken, or given up.
    After,
}

impl Mixing {
    /// Waits for its end, which comes soon after that of the recording.
    pub(super) async fn take(&mut self) -> Option<Grown> {
        match std::mem::replace(self, Self::After) {
            Self::Now(task) => task.await.ok().flatten(),
            Self::Before | Self::After => None,
        }
    }
}

impl Recorder {
    /// Whether a recording is long enough for its mix to be uploaded while it goes on. `false` costs little.
    pub(super) fn can_grow_mix(&self, recording: &LiveRecording, mixing: &Mixing) -> bool {
        let wanted = self.inner().config.renditions.contains(&GROWS) && recording.purpose == Purpose::Plain;
        if !wanted || !matches!(mixing, Mixing::Before) {
            return false;
        }
        let mut heard = recording.tracks();
        heard.retain(|log| log.samples() > 0);
        let has_grown = |log: &Arc<TrackLog>| log.samples() * 2 > PART as u64 && !log.is_closed();
        heard.len() > 1 && heard.iter().all(|log| log.is_ours()) && heard.iter().any(has_grown)
    }

    /// Begins the mix.
    pub(super) fn grow_mix(&self, recording: &Arc<LiveRecording>) -> Mixing {
        let tracks = recording.tracks();
        let object = tracks.first().and_then(|log| self.mix_object(recording, &log.header(), GROWS).ok());
        if !object.is_some_and(|object| self.inner().uploads.takes(&object.key)) {
            return Mixing::After;
        }
        let (recorder, recording) = (self.clone(), Arc::clone(recording));
        Mixing::Now(tokio::spawn(async move {
            let id = recording.id;
            match recorder.mix_growing(&recording).await {
                Ok(grown) => grown,
                Err(error) => {
                    debug!(recording = %id, %error, "the mix is made when the recording is over");
                    None
                }
            }
        }))
    }

    async fn mix_growing(&self, recording: &Arc<LiveRecording>) -> Result<Option<Grown>, Error> {
        let tracks = settled_now(&recording.tracks(), &[]);
        let Some(header) = tracks.first().map(|track| track.header.clone()) else { return Ok(None) };
        let joined = Arc::new(Mutex::new(tracks.iter().map(|track| track.log.id()).collect::<Vec<_>>()));
        let stands = Arc::new(AtomicBool::new(true));
        let growth = self.growth(recording, &joined, &stands);
        let mix = self.growing_job(&tracks)?;
        let prepared = mix.prepare_growing(&self.inner().store).await.map_err(super::media::unmixed)?;
        let (bytes, spec) = (prepared.0.grow(growth), prepared.1);
        let part = self.inner().cache.part();
        let created = tokio::task::spawn_blocking(|| Part::create(part)).await.map_err(io::Error::other);
        let (part, writer) = created.flatten().map_err(Error::Spool)?;
        let mut file = GrowingFile { file: Arc::new(writer.into_file()), size: 0, upload: None };
        self.write_growing(recording, &header, bytes, &mut file).await?;
        let tracks = joined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let GrowingFile { file, size, upload } = file;
        let stands = stands.load(Ordering::Acquire);
        Ok(Some(Grown { file, size, spec, tracks, stands, upload, _part: part }))
    }

    fn growing_job(&self, tracks: &[Settled]) -> Result<MixJob, Error> {
        let tracks: Vec<_> =
            tracks.iter().map(|track| self.growing_track(track)).collect::<Result<_, _>>()?;
        let mut job = job(tracks, &GROWS.selection());
        job.plan.open = true;
        Ok(job)
    }

    /// One that is over already is looked at like any other: it is closed when its turn comes.
    fn growing_track(&self, track: &Settled) -> Result<MixTrack, Error> {
        Ok(MixTrack { live: Some(Arc::clone(&track.log)), ..self.logged(track, true)? })
    }

    fn growth(
        &self,
        recording: &Arc<LiveRecording>,
        joined: &Arc<Mutex<Vec<TrackId>>>,
        stands: &Arc<AtomicBool>,
    ) -> Growth {
        let (recorder, live, joined) = (self.clone(), Arc::clone(recording), Arc::clone(joined));
        let join = move || {
            let mut known = joined.lock().unwrap_or_else(PoisonError::into_inner);
            let new = settled_now(&live.tracks(), &known).into_iter().filter_map(|track| {
                // Where its file is not there yet, the next time.
                Some((track.log.id(), recorder.growing_track(&track).ok()?))
            });
            let (ids, tracks): (Vec<_>, Vec<_>) = new.unzip();
            known.extend(ids);
            tracks
        };
        let live = Arc::clone(recording);
        let over = move || live.state() == RecordingState::Ending;
        let disk = Arc::clone(self.inner().spool.disk());
        Growth { disk, over: Box::new(over), joined: Box::new(join), stands: Arc::clone(stands) }
    }

    /// Writes the file as it is made, and sends its parts.
    async fn write_growing(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        mut bytes: ByteStream,
        file: &mut GrowingFile,
    ) -> Result<(), Error> {
        loop {
            let chunk = tokio::time::timeout(LOOK, bytes.next()).await;
            if recording.is_deleted() || self.is_leaving() {
                return Err(Error::Spool(io::ErrorKind::Interrupted.into()));
            }
            match chunk {
                Ok(Some(chunk)) => file.write(chunk.map_err(Error::Spool)?).await?,
                Ok(None) => return Ok(()),
                Err(_nothing_new) => continue,
            }
            while file.size >= u64::from(file.next()) * PART as u64 {
                if file.upload.is_none() {
                    let mut object = self.mix_object(recording, header, GROWS)?;
                    object.key = self.stage_free(&object, 1).await?.key;
                    file.upload = Some(self.inner().uploads.open(&object).await?);
                }
                match file.send().await {
                    Err(Error::Store(error))
                        if error.is_passing() && recording.state() != RecordingState::Ending =>
                    {
                        debug!(recording = %recording.id, %error, "cannot upload what has grown of the mix; trying again");
                        tokio::time::sleep(REST).await;
                    }
                    sent => sent?,
                }
            }
        }
    }

    /// The object of a rendition, under the key that it has if that is free.
    pub(super) fn mix_object(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        rendition: Rendition,
    ) -> Result<NewObject, Error> {
        let layout = rendition.layout.name();
        let key = self.key_of(recording, header, (layout, layout), rendition.format.name())?;
        Ok(new_object(recording, None, ObjectKind::Rendition, key, rendition.format.mime()))
    }

    /// Finishes the mix that grew with its recording, where it is the one that `job` would make; `None` where that has to
    /// be made.
    ///
    /// # Errors
    /// Never for what the store says: then the mix is made, and sent as far as it has to be.
    pub(super) async fn store_grown(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        rendition: Rendition,
        job: &MixJob,
    ) -> Result<Option<StoredObject>, Error> {
        let mut growing = recording.growing.lock().await;
        let grown = if rendition == GROWS { growing.mixing.take().await } else { None };
        drop(growing);
        let Some(grown) = grown else { return Ok(None) };
        let head = grown.final_head(tracks, job);
        let end = if head.is_some() { "kept" } else { "made_anew" };
        metrics::counter!("reeltime_live_mixes_total", "end" => end).increment(1);
        let Some(head) = head else { return Ok(None) };
        let (file, size, Some(upload)) = (grown.file, grown.size, grown.upload) else { return Ok(None) };
        let target = Arc::clone(&file);
        let headed = tokio::task::spawn_blocking(move || target.write_all_at(&head, 0)).await;
        headed.map_err(io::Error::other).flatten().map_err(Error::Spool)?;
        let mut object = self.mix_object(recording, &tracks[0].header, rendition)?;
        object.key = upload.key().clone();
        match self.inner().uploads.put(&object, Some(upload), Body::File(file, size), false).await {
            Ok(meta) => Ok(Some(StoredObject { key: meta.key, size: meta.size, crc32c: None })),
            Err(error) => {
                debug!(recording = %recording.id, %error, "the mix that grew cannot be finished; it is made anew");
                Ok(None)
            }
        }
    }
}

impl Grown {
    /// The head that the file has to begin with; `None` where it is not the one that `job` makes of these tracks.
    fn final_head(&self, tracks: &[Settled], job: &MixJob) -> Option<Vec<u8>> {
        let (spec, len) = job.describe().ok()?;
        let same = tracks.iter().map(|track| &track.log).map(|log| log.id()).eq(self.tracks.iter().copied());
        let steady = job.tracks.iter().all(|track| track.drift_ppm.is_none() && is_steady(&track.layout));
        let (mut head, mut growing) = (Vec::new(), Vec::new());
        reeltime_codec::encoder(job.container, &spec).ok()?.start(&mut head);
        reeltime_codec::encoder(job.container, &self.spec).ok()?.start(&mut growing);
        let alike =
            (spec.rate, spec.channels) == (self.spec.rate, self.spec.channels) && head.len() == growing.len();
        (self.stands && same && steady && alike && len == Some(self.size)).then_some(head)
    }
}

/// Whether the track's packets lie one behind the other from its beginning to its end.
fn is_steady(layout: &Layout) -> bool {
    let counters = layout.counters;
    layout.samples == counters.media_samples
        && layout.pauses.is_empty()
        && counters.duplicates + counters.trimmed_samples + counters.late + counters.restarts == 0
}

/// The tracks that anything is known of now, but for those that are known already.
fn settled_now(logs: &[Arc<TrackLog>], known: &[TrackId]) -> Vec<Settled> {
    let new = logs.iter().filter(|log| !known.contains(&log.id()));
    let heard = new.filter_map(|log| Some((log, log.layout().filter(|layout| layout.samples > 0)?)));
    heard.map(|(log, layout)| Settled { log: Arc::clone(log), header: log.header(), layout }).collect()
}

/// A file that is written at its end and sent from its second part on.
struct GrowingFile {
    file: Arc<File>,
    size: u64,
    upload: Option<PartUpload>,
}

impl GrowingFile {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (file, size) = (Arc::clone(&self.file), bytes.len() as u64);
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&bytes)).await;
        written.map_err(io::Error::other).flatten().map_err(Error::Spool)?;
        self.size += size;
        Ok(())
    }

    /// The part that is sent next.
    fn next(&self) -> u32 {
        self.upload.as_ref().map_or(2, PartUpload::next)
    }

    /// Sends the next part and gives the disk back what it took.
    async fn send(&mut self) -> Result<(), Error> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let number = upload.next();
        upload.send(&self.file, number).await?;
        let file = Arc::clone(&self.file);
        let punched = tokio::task::spawn_blocking(move || {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&*file, how, u64::from(number - 1) * PART as u64, PART as u64)
        });
        if let Ok(Err(error)) = punched.await {
            debug!(%error, "this file system keeps what was uploaded until the recording is over");
        }
        Ok(())
    }
}
