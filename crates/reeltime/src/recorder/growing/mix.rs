//! What is kept of a recording of several speakers, made and uploaded while they speak.
//!
//! It is what the publisher would make, as long as nothing happened that only hindsight tells: nobody joined behind what
//! was mixed, nobody brought what was taken for silence, no clock drifts, and the head says the same. Then only the
//! tail and the first part are left to send. Else it is thrown away and made anew, as a new version of which parts that
//! come out the same are not sent again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use reeltime_core::codec::{Spec, Tags};
use reeltime_core::id::TrackId;
use reeltime_core::log::{LogHeader, Purpose};
use reeltime_core::media::Container;
use reeltime_core::timeline::Layout;
use tokio::task::JoinHandle;
use tracing::{Instrument, debug};

use super::file::GrowingFile;
use crate::blocking::blocking;
use crate::catalogue::{NewObject, ObjectKind, RecordingState, StoredObject};
use crate::error::Error;
use crate::recorder::live::LiveRecording;
use crate::recorder::media::{job, unmixed};
use crate::recorder::publish::{Settled, describe, manifest_of, new_object};
use crate::recorder::selection::MediaError;
use crate::recorder::sketch::MixSketch;
use crate::recorder::tags::tags;
use crate::recorder::{Recorder, Rendition};
use crate::render::{Ending, Growth, MixJob, MixTrack};
use crate::spans;
use crate::spool::TrackLog;
use crate::store::{ByteStream, PART};

/// How long a store that did not take a part is left alone.
const REST: Duration = Duration::from_secs(5);
/// How often it is asked whether the mix is still wanted.
const LOOK: Duration = Duration::from_secs(1);

/// What is mixed of a recording while it goes on.
#[derive(Debug, Default)]
pub(super) enum Mixes {
    /// Nothing yet, since there is too little.
    #[default]
    Before,
    /// These are being made, or were taken.
    Now(Vec<(Rendition, JoinHandle<Option<GrownMix>>)>),
}

/// A mix that was made while its recording went on, to the end of that.
#[derive(Debug)]
pub(super) struct GrownMix {
    file: GrowingFile,
    spec: Spec,
    /// Who is heard, in order.
    tracks: Vec<TrackId>,
    ending: Ending,
    sketch: Option<MixSketch>,
}

impl Recorder {
    /// Begins what is kept of a recording that is long enough for it. Costs little where it is not.
    pub(super) fn grow_mixes(&self, recording: &Arc<LiveRecording>, mixes: &mut Mixes) {
        if !matches!(mixes, Mixes::Before) || !self.can_grow_mix(recording) {
            return;
        }
        let begin = |rendition: &Rendition| (*rendition, self.grow_mix(recording, *rendition));
        *mixes = Mixes::Now(self.inner().config.renditions.iter().map(begin).collect());
    }

    fn can_grow_mix(&self, recording: &LiveRecording) -> bool {
        if self.inner().config.renditions.is_empty() || recording.purpose != Purpose::Plain {
            return false;
        }
        let mut heard = recording.tracks();
        heard.retain(|log| log.samples() > 0);
        let grown = |log: &Arc<TrackLog>| log.bytes().max(log.samples() * 2) > PART as u64;
        let has_grown = |log: &Arc<TrackLog>| grown(log) && !log.is_closed();
        heard.len() > 1 && heard.iter().all(|log| log.is_ours()) && heard.iter().any(has_grown)
    }

    fn grow_mix(&self, recording: &Arc<LiveRecording>, rendition: Rendition) -> JoinHandle<Option<GrownMix>> {
        let (recorder, recording) = (self.clone(), Arc::clone(recording));
        let span = spans::upload(&recording);
        let growing = async move {
            match recorder.mix_growing(&recording, rendition).await {
                Ok(grown) => grown,
                Err(error) => {
                    debug!(recording = %recording.id, %error, "the mix is made when the recording is over");
                    None
                }
            }
        };
        tokio::spawn(growing.instrument(span))
    }

    async fn mix_growing(
        &self,
        recording: &Arc<LiveRecording>,
        rendition: Rendition,
    ) -> Result<Option<GrownMix>, Error> {
        let tracks = settled_now(&recording.tracks(), &[]);
        let Some(header) = tracks.first().map(|track| track.header.clone()) else { return Ok(None) };
        if !self.inner().uploads.takes(&self.mix_object(recording, &header, rendition)?.key) {
            return Ok(None);
        }
        let joined = Arc::new(Mutex::new(tracks.iter().map(|track| track.log.id()).collect::<Vec<_>>()));
        let growth = self.growth(recording, &joined);
        let (recorder, live) = (self.clone(), Arc::clone(recording));
        let job = blocking(move || recorder.growing_job(&live, &tracks, rendition));
        let mix = job.await.map_err(unmixed)?;
        let (prepared, spec) = mix.prepare_growing(&self.inner().store).await.map_err(unmixed)?;
        let (prepared, sketch) = self.sketch_mix(prepared, &mix, rendition).await;
        let (bytes, ending) = prepared.grow(growth);
        let mut file = GrowingFile::create(self, None).await?;
        let object = || self.mix_object(recording, &header, rendition);
        self.write_growing(recording, bytes, &mut file, object).await?;
        let ending = ending.await.map_err(|_| Error::Spool(io::ErrorKind::Interrupted.into()))?;
        let tracks = joined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Some(GrownMix { file, spec, tracks, ending, sketch }))
    }

    fn growing_job(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        rendition: Rendition,
    ) -> Result<MixJob, MediaError> {
        let heard: Result<Vec<_>, _> = tracks.iter().map(|track| self.growing_track(track)).collect();
        let mut job = job(heard?, &rendition.selection());
        job.plan.open = true;
        if job.container != Container::Wav {
            let described = tracks.iter().map(|track| describe(track, None)).collect();
            let manifest = manifest_of(recording, RecordingState::Active, described);
            let all: Vec<_> = manifest.tracks.iter().collect();
            job.tags = Tags { chapters: Vec::new(), ..tags(&manifest, &all, &job)? };
        }
        Ok(job)
    }

    /// One that is over already is looked at like any other: it is closed when its turn comes.
    fn growing_track(&self, track: &Settled) -> Result<MixTrack, Error> {
        Ok(MixTrack { live: Some(Arc::clone(&track.log)), ..self.logged(track, true)? })
    }

    fn growth(&self, recording: &Arc<LiveRecording>, joined: &Arc<Mutex<Vec<TrackId>>>) -> Growth {
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
        Growth {
            disk: Arc::clone(self.inner().spool.disk()),
            passed: self.passed(recording),
            over: recording.over(),
            joined: Box::new(join),
        }
    }

    /// Writes the file as it is made, and sends its parts.
    async fn write_growing(
        &self,
        recording: &LiveRecording,
        mut bytes: ByteStream,
        file: &mut GrowingFile,
        object: impl Fn() -> Result<NewObject, Error>,
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
            while let Err(error) = file.send(self, &object).await {
                let passes = matches!(&error, Error::Store(error) if error.is_passing());
                if !passes || recording.state() == RecordingState::Ending {
                    return Err(error);
                }
                debug!(recording = %recording.id, %error, "cannot upload what has grown of the mix; trying again");
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// The object of a rendition, under the key that it has if that is free.
    pub(in crate::recorder) fn mix_object(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        rendition: Rendition,
    ) -> Result<NewObject, Error> {
        let layout = rendition.layout.name();
        let key = self.key_of(recording, header, (layout, layout), rendition.format.name())?;
        Ok(new_object(recording, None, ObjectKind::Rendition, key, rendition.format.mime()))
    }

    /// Finishes the mix that grew with its recording, where it is the one that `job` would make: that object. Else that
    /// has to be made: the version that it will be, which is the second where one was sent that it is not.
    pub(in crate::recorder) async fn store_grown_mix(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        rendition: Rendition,
        job: &MixJob,
    ) -> Result<StoredObject, u32> {
        let Some(grown) = recording.growing.lock().await.mixes.take(rendition).await else { return Err(1) };
        let version = if grown.file.is_uploaded() { 2 } else { 1 };
        let ends = grown.ends(tracks, job);
        let end = if ends.is_some() { "kept" } else { "made_anew" };
        metrics::counter!("reeltime_live_mixes_total", "end" => end).increment(1);
        let (head, tail) = ends.ok_or(version)?;
        let object = self.mix_object(recording, &tracks[0].header, rendition);
        let finished = async { grown.file.finish(self, object?, head, tail).await };
        match finished.await {
            Ok(Some(stored)) => {
                self.keep_mix_sketch(recording, tracks, grown.sketch).await;
                Ok(stored)
            }
            Ok(None) => Err(version),
            Err(error) => {
                debug!(recording = %recording.id, %error, "the mix that grew cannot be finished; it is made anew");
                Err(1)
            }
        }
    }
}

impl Mixes {
    /// No more are made, and those that were go.
    pub(super) fn stop(&mut self) {
        if let Self::Now(mixes) = std::mem::replace(self, Self::Now(Vec::new())) {
            mixes.iter().for_each(|(_, making)| making.abort());
        }
    }

    /// Waits for the end of one, which comes soon after that of the recording.
    async fn take(&mut self, rendition: Rendition) -> Option<GrownMix> {
        let Self::Now(mixes) = self else { return None };
        let place = mixes.iter().position(|(made, _)| *made == rendition)?;
        mixes.swap_remove(place).1.await.ok().flatten()
    }
}

impl GrownMix {
    /// The head that the file has to begin with, where that is another, and what is missing at its end; `None` where the
    /// file is not the one that `job` makes of these tracks.
    fn ends(&self, tracks: &[Settled], job: &MixJob) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
        let (spec, _) = job.describe().ok()?;
        let ending = &self.ending;
        let heard = tracks.iter().map(|track| (track.log.id(), &track.layout));
        let same = heard.eq(self.tracks.iter().copied().zip(&ending.layouts));
        let steady = ending.steady && job.tracks.iter().all(|track| track.drift_ppm.is_none());
        let alike = (spec.rate, spec.channels, spec.samples)
            == (self.spec.rate, self.spec.channels, Some(ending.samples));
        if !(same && steady && alike) {
            return None;
        }
        if job.container != Container::Wav {
            return (spec.tags == self.spec.tags).then(|| (ending.head.clone(), Vec::new()));
        }
        // What there is to say stands behind the audio.
        let (mut head, mut before, mut tail) = (Vec::new(), Vec::new(), Vec::new());
        let mut whole = reeltime_codec::encoder(job.container, &spec).ok()?;
        whole.start(&mut head);
        whole.finish(&mut tail).ok()?;
        reeltime_codec::encoder(job.container, &self.spec).ok()?.start(&mut before);
        (head.len() == before.len()).then_some((Some(head), tail))
    }
}

/// The tracks that anything is known of now, but for those that are known already.
fn settled_now(logs: &[Arc<TrackLog>], known: &[TrackId]) -> Vec<Settled> {
    let new = logs.iter().filter(|log| !known.contains(&log.id()));
    let heard = new.filter_map(|log| {
        let layout: Layout = log.layout().filter(|layout| layout.samples > 0)?;
        Some(Settled { log: Arc::clone(log), header: log.header(), layout })
    });
    heard.collect()
}
