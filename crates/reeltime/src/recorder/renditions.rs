//! What is kept of a recording of several tracks beside each track as received: a mix, as the settings say.

use std::sync::Arc;

use futures_util::StreamExt;
use reeltime_core::log::Purpose;
use reeltime_core::manifest::{self, Manifest};
use tracing::warn;

use super::live::LiveRecording;
use super::media::job;
use super::part::Part;
use super::publish::Settled;
use super::selection::{MediaError, Selection};
use super::sketch::MixSketch;
use super::tags::tags;
use super::{Recorder, Rendition};
use crate::blocking::blocking;
use crate::catalogue::StoredObject;
use crate::error::Error;
use crate::render::{MixJob, MixTrack, drift_of};
use crate::spool::Chain;

impl Recorder {
    /// Notes how far the tracks' clocks are off: their arrival times go with their logs.
    pub(super) async fn measure_drift(
        &self,
        tracks: &[Settled],
        described: &mut [manifest::Track],
    ) -> Result<(), Error> {
        if tracks.len() < 2 {
            return Ok(());
        }
        for (track, described) in tracks.iter().zip(described) {
            if let Some(known) = track.log.drift_ppm() {
                described.drift_ppm = known;
                continue;
            }
            let (disk, track) = (Arc::clone(self.inner().spool.disk()), track.clone());
            let measure =
                move || drift_of(&Chain::find(&*disk, track.log.id())?, &track.layout).map_err(Error::Spool);
            described.drift_ppm = blocking(measure).await?;
        }
        Ok(())
    }

    /// Makes and stores what is kept, and names it in the manifest. What cannot be made is left out with a warning: it
    /// keeps no recording from being published, and can be asked for later.
    pub(super) async fn store_renditions(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        manifest: &mut Manifest,
    ) -> Result<Vec<StoredObject>, Error> {
        let mut stored = Vec::new();
        if tracks.len() < 2 || recording.purpose != Purpose::Plain {
            return Ok(stored);
        }
        for rendition in &self.inner().config.renditions {
            let (object, version) = match self.make_and_store(recording, tracks, manifest, *rendition).await?
            {
                Ok(made) => made,
                Err(error) => {
                    let format = rendition.format;
                    warn!(recording = %recording.id, %format, %error, "cannot make what is to be kept; it is left out");
                    continue;
                }
            };
            manifest.renditions.push(manifest::Rendition {
                format: rendition.format.name().to_owned(),
                layout: rendition.layout.name().to_owned(),
                version,
                object: manifest::Object {
                    key: object.key.as_str().to_owned(),
                    bytes: object.size,
                    mime: rendition.format.mime().to_owned(),
                },
            });
            stored.push(object);
        }
        Ok(stored)
    }

    /// The rendition in the store and its version; or inside, why it cannot be made.
    async fn make_and_store(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        manifest: &Manifest,
        rendition: Rendition,
    ) -> Result<Result<(StoredObject, u32), MediaError>, Error> {
        let (recorder, logs, described) = (self.clone(), tracks.to_vec(), manifest.clone());
        let job = blocking(move || recorder.rendition_job(&logs, &described, rendition)).await;
        let job = match job {
            Ok(job) => job,
            Err(error) => return Ok(Err(error)),
        };
        let version = match self.store_grown_mix(recording, tracks, rendition, &job).await {
            Ok(object) => return Ok(Ok((object, 1))),
            Err(version) => version,
        };
        match self.make(&job, rendition).await {
            Ok((made, sketch)) => {
                self.keep_mix_sketch(recording, tracks, sketch).await;
                Ok(Ok((self.store_rendition(recording, tracks, rendition, &made).await?, version)))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn rendition_job(
        &self,
        tracks: &[Settled],
        manifest: &Manifest,
        rendition: Rendition,
    ) -> Result<MixJob, MediaError> {
        let mut logged = Vec::new();
        for track in tracks {
            let described = manifest.tracks.iter().find(|described| described.id == track.log.id());
            let drift_ppm = described.and_then(|described| described.drift_ppm);
            logged.push(MixTrack { drift_ppm, ..self.logged(track, false)? });
        }
        let mut job = job(logged, &rendition.selection());
        job.tags = tags(manifest, &manifest.tracks.iter().collect::<Vec<_>>(), &job)?;
        Ok(job)
    }

    async fn make(
        &self,
        job: &MixJob,
        rendition: Rendition,
    ) -> Result<(Part, Option<MixSketch>), MediaError> {
        let (part, writer) = self.part().await?;
        let prepared = job.prepare(&self.inner().store, None).await?;
        let (prepared, sketch) = self.sketch_mix(prepared, job, rendition).await;
        let mut bytes = prepared.start(Some(Box::new(writer)));
        while let Some(chunk) = bytes.next().await {
            chunk.map_err(Error::Spool)?;
        }
        Ok((part, sketch))
    }

    async fn store_rendition(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        rendition: Rendition,
        made: &Part,
    ) -> Result<StoredObject, Error> {
        let object = self.mix_object(recording, &tracks[0].header, rendition)?;
        self.put(recording, object, Some(made.path()), || made.read()).await
    }
}

impl Rendition {
    /// What is asked for to have it made.
    pub(super) fn selection(self) -> Selection {
        Selection { format: Some(self.format), layout: Some(self.layout), ..Selection::default() }
    }
}
