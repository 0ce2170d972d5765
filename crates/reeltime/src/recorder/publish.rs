//! From logs to files in the store: stage → render → put → publish → release.
//!
//! A crash anywhere leaves the logs, so the next start does it again; a failure anywhere is tried again until it
//! works (`publishing`). The logs are released with the catalogue's proof and in no other way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::{KeyFields, ObjectKey};
use reeltime_core::log::{LogHeader, Purpose};
use reeltime_core::manifest;
use reeltime_core::media::Codec;
use reeltime_core::render::{Gaps, Output, Samples, Sizes};
use reeltime_core::timeline::Layout;
use tracing::{info, warn};

use super::Recorder;
use super::clock::Clock;
use super::live::LiveRecording;
use super::view::manifest_in;
use crate::blocking::blocking;
use crate::catalogue::{
    CatalogueError, NewObject, NewRecording, ObjectKind, Publication, Published, RecordingState, StoredObject,
};
use crate::crash;
use crate::error::Error;
use crate::parts::Body;
use crate::render::{Job, render, survey_chain};
use crate::spool::{Chain, Disk, TrackLog};
use crate::store::{ByteStream, ObjectMeta, StoreError, read_path};

/// A track with everything that its file is made from.
#[derive(Clone)]
pub(crate) struct Settled {
    pub(crate) log: Arc<TrackLog>,
    pub(crate) header: LogHeader,
    pub(crate) layout: Layout,
}

impl Recorder {
    /// One attempt to publish a recording that has ended, by whoever holds its files.
    pub(super) async fn try_publish(&self, recording: &Arc<LiveRecording>) -> Result<(), Error> {
        let fresh = recording.is_fresh();
        let known = match fresh {
            true => None,
            false => self.inner().catalogue.published(&recording.tenant, recording.id).await?,
        };
        if let Some(proof) = known {
            let told = self.published_tracks(&recording.tenant, recording.id).await?;
            self.release(recording, proof, told);
            return Ok(());
        }
        if !recording.is_entered() {
            match self.inner().catalogue.begin(&new_recording(recording)).await {
                Err(CatalogueError::Deleted { .. }) => return self.discard(recording).await,
                begun => begun?,
            }
        }
        let mut tracks = self.settled(recording).await?;
        tracks.retain(|track| track.layout.samples > 0);
        if recording.is_deleted() {
            return self.discard(recording).await;
        }
        if tracks.is_empty() {
            return self.end_empty(recording).await;
        }
        self.note_missing(recording, &mut tracks).await?;
        let publication = self.store_tracks(recording, &tracks).await?;
        crash::point("uploaded");
        let proof = match self.inner().catalogue.publish(&publication).await {
            Err(CatalogueError::Deleted { .. }) => return self.discard(recording).await,
            proof => proof?,
        };
        crash::point("published");
        let bytes = publication.objects.iter().map(|object| object.size).sum::<u64>();
        self.inner().published.fetch_add(bytes, Ordering::Relaxed);
        let (state, seconds) = (publication.state, publication.duration.0 as f64 / 1e6);
        info!(recording = %recording.id, call = %recording.call_name(), %state, seconds, "recording published");
        let told: Vec<_> = tracks.iter().map(|track| track.log.id()).collect();
        self.release(recording, proof, told);
        self.outline_ahead(recording);
        Ok(())
    }

    /// Nothing was recorded: there is no recording. But one of segments there is: its client was told of it.
    async fn end_empty(&self, recording: &Arc<LiveRecording>) -> Result<(), Error> {
        if self.inner().catalogue.segment_recording(&recording.tenant, recording.id).await?.is_none() {
            warn!(recording = %recording.id, "nothing was recorded: there is no recording");
            return self.discard(recording).await;
        }
        match self.publish_empty(recording).await {
            Err(Error::Catalogue(CatalogueError::Deleted { .. })) => self.discard(recording).await,
            proof => {
                self.release(recording, proof?, Vec::new());
                Ok(())
            }
        }
    }

    /// Publishes a recording that has no sound.
    pub(super) async fn publish_empty(&self, recording: &LiveRecording) -> Result<Published, Error> {
        let manifest = manifest_of(recording, RecordingState::Complete, Vec::new());
        let empty = publication(recording, &[], &manifest, Vec::new(), None);
        crash::point("uploaded");
        info!(recording = %recording.id, call = %recording.call_name(), "nothing was recorded");
        let reason = Some("nothing was recorded".to_owned());
        Ok(self.inner().catalogue.publish(&Publication { reason, ..empty }).await?)
    }

    /// Readers find it in the catalogue from here on, so that its logs can go. One that cannot be removed now is
    /// removed at the next start. Nobody waits for it: giving back the blocks of a long log takes a disk some time, so that
    /// it is done for one recording after the other.
    fn release(&self, recording: &Arc<LiveRecording>, proof: Published, told: Vec<TrackId>) {
        self.inner().unreleased.fetch_add(1, Ordering::AcqRel);
        self.inner().registry.remove_recording(recording.id);
        recording.tracks().iter().for_each(|log| log.note_published());
        let (recorder, recording) = (self.clone(), Arc::clone(recording));
        tokio::spawn(async move {
            recorder.inner().segment_sender.until_cut(recording.id).await;
            let _turn = recorder.inner().releasing.acquire().await;
            let begun = Instant::now();
            let (releasing, logs) = (recorder.clone(), recording.tracks());
            let release = move || {
                releasing.release_logs(&logs, &proof, &told);
                std::io::Result::Ok(())
            };
            if let Err(error) = blocking(release).await {
                warn!(recording = %recording.id, %error, "published logs may not all be removed; the next start will");
            }
            crash::point("released");
            recorder.inner().unreleased.fetch_sub(1, Ordering::AcqRel);
            recorder.inner().settled.notify_waiters();
            // The next one rests meanwhile: who hangs up now needs the cores.
            tokio::time::sleep(begun.elapsed() * 2).await;
        });
    }

    fn release_logs(&self, logs: &[Arc<TrackLog>], proof: &Published, told: &[TrackId]) {
        for log in logs {
            let held = log.layout().is_none_or(|layout| layout.samples > 0);
            if held && !told.contains(&log.id()) {
                warn!(recording = %proof.recording(), track = %log.id(), "a log is not part of what was published; it is kept");
            } else if let Err(error) = self.inner().spool.release(log.id(), proof) {
                warn!(recording = %proof.recording(), %error, "cannot remove a published log; the next start will");
            }
            crash::point("releasing");
        }
    }

    /// The tracks that a published recording's manifest names.
    pub(super) async fn published_tracks(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Vec<TrackId>, Error> {
        let row = self.inner().catalogue.get(tenant, id).await?;
        let manifest = row.as_ref().and_then(manifest_in);
        Ok(manifest.into_iter().flat_map(|manifest| manifest.tracks).map(|track| track.id).collect())
    }

    /// Its owner deleted it: nothing of it may stay.
    async fn discard(&self, recording: &LiveRecording) -> Result<(), Error> {
        let Some(removed) = self.bury(&recording.tenant, recording.id).await? else { return Ok(()) };
        let (recorder, logs) = (self.clone(), recording.tracks());
        let discard = move || {
            logs.iter().try_for_each(|log| recorder.inner().spool.discard(log.id(), &removed))?;
            std::io::Result::Ok(removed)
        };
        let removed = blocking(discard).await.map_err(Error::Spool)?;
        self.remove_bytes(&recording.tenant, &removed).await;
        Ok(())
    }

    /// The recording's tracks, with their timelines.
    pub(super) async fn settled(&self, recording: &LiveRecording) -> Result<Vec<Settled>, Error> {
        let mut tracks = Vec::new();
        for log in recording.tracks() {
            let header = log.header();
            let layout = match log.layout() {
                Some(layout) => layout,
                None => survey(self.inner().spool.disk(), log.id()).await?,
            };
            tracks.push(Settled { log, header, layout });
        }
        Ok(tracks)
    }

    async fn store_tracks(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
    ) -> Result<Publication, Error> {
        let (mut objects, mut described) = (Vec::new(), Vec::new());
        for track in tracks {
            let (object, mime) = match self.store_encoded(recording, track).await? {
                Some((object, format)) => (object, format.mime()),
                None => (self.store_track(recording, track, master(track)).await?, master(track).mime()),
            };
            let file = manifest::Object {
                key: object.key.as_str().to_owned(),
                bytes: object.size,
                mime: mime.to_owned(),
            };
            objects.push(object);
            described.push(describe(track, Some(file)));
        }
        self.measure_drift(tracks, &mut described).await?;
        let mut manifest = manifest_of(recording, RecordingState::Complete, described);
        let renditions = self.store_renditions(recording, tracks, &mut manifest).await?;
        let main = renditions.first().or(objects.first()).map(|object| object.key.clone());
        objects.extend(renditions);
        if recording.purpose == Purpose::Plain {
            // The catalogue has rows for segments; in the store they are told here alone.
            let segments = self.told_segments(recording).await?;
            let told = manifest::Manifest { segments, ..manifest.clone() };
            objects.push(self.store_manifest(recording, &told).await?);
        }
        Ok(publication(recording, tracks, &manifest, objects, main))
    }

    async fn store_track(
        &self,
        recording: &LiveRecording,
        track: &Settled,
        output: Output,
    ) -> Result<StoredObject, Error> {
        if let Some(grown) = self.store_grown_track(recording, track).await? {
            return Ok(grown);
        }
        let object = self.master_object(recording, &track.header, output)?;
        if let Some(file) = self.finished(track, &output).await? {
            self.keep_sketch(recording, track).await;
            return self.put(recording, object, Some(&file), || read_path(file.clone())).await;
        }
        let (disk, log) = (Arc::clone(self.inner().spool.disk()), track.log.id());
        let chain = blocking(move || Chain::find(&*disk, log).map_err(Error::from)).await?;
        let job = Job {
            chain: Arc::new(chain),
            format: track.header.format,
            counting: track.header.counting,
            layout: track.layout.clone(),
            output,
            range: None,
        };
        self.put(recording, object, None, || render(job.clone())).await
    }

    /// The object of a track's file, under the key that it has if that is free.
    pub(super) fn master_object(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        output: Output,
    ) -> Result<NewObject, Error> {
        let key = self.key(recording, header, extension(&output))?;
        Ok(new_object(recording, Some(header.track), ObjectKind::Master, key, output.mime()))
    }

    /// The file that is the output already, where the track's sound lies in one.
    async fn finished(&self, track: &Settled, output: &Output) -> Result<Option<PathBuf>, Error> {
        let Some(filled) = is_sound(&track.header, output) else { return Ok(None) };
        let (recorder, log, layout) = (self.clone(), Arc::clone(&track.log), track.layout.clone());
        let find = move || recorder.inner().spool.finished_sound(&log, &layout, filled);
        Ok(blocking(find).await.map_err(Error::Spool)?.map(|sound| sound.path))
    }

    async fn store_manifest(
        &self,
        recording: &LiveRecording,
        manifest: &manifest::Manifest,
    ) -> Result<StoredObject, Error> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|error| Error::Spool(error.into()))?;
        let key = ObjectKey::new(format!("_reeltime/manifests/{}.json", recording.id))?;
        let object = new_object(recording, None, ObjectKind::Manifest, key, "application/json");
        let body = bytes::Bytes::from(text);
        self.put(recording, object, None, || ByteStream::from_bytes(body.clone())).await
    }

    /// Stores a body under the first key of a name that is free in the catalogue and in the store; where it lies in a
    /// `finished` file that the store can take, without reading it.
    pub(super) async fn put(
        &self,
        recording: &LiveRecording,
        wanted: NewObject,
        finished: Option<&Path>,
        body: impl Fn() -> ByteStream,
    ) -> Result<StoredObject, Error> {
        let (mut form, mut gone) = (1, false);
        loop {
            let staged = self.stage_free(&wanted, form).await?;
            let object = NewObject { key: staged.key.clone(), ..wanted.clone() };
            crash::point("staged");
            match self.transfer(recording, &object, finished, &body, !staged.again).await {
                Err(Error::Store(StoreError::AlreadyExists { .. })) => {
                    if let Some(size) = self.stored_alike(&object.key, body()).await? {
                        return Ok(StoredObject { key: object.key, size, crc32c: None });
                    }
                    form = self.make_way(&object, &staged).await?;
                }
                Err(Error::Store(StoreError::NotFound { .. })) if !gone => {
                    // Its upload is not there any more, and so is nothing of what was sent.
                    self.inner().uploads.give_up(&object).await?;
                    gone = true;
                }
                stored => {
                    let meta = stored?;
                    return Ok(StoredObject { key: meta.key, size: meta.size, crc32c: None });
                }
            }
        }
    }

    /// Brings the bytes of a staged object to the store, in the way that costs least.
    async fn transfer(
        &self,
        recording: &LiveRecording,
        object: &NewObject,
        finished: Option<&Path>,
        body: &impl Fn() -> ByteStream,
        free: bool,
    ) -> Result<ObjectMeta, Error> {
        let inner = self.inner();
        if let Some(file) = finished
            && let Some(adopted) = inner.store.adopt(&object.key, file).await?
        {
            return Ok(adopted);
        }
        if !inner.uploads.takes(&object.key) {
            return Ok(inner.store.put(&object.key, body()).await?);
        }
        let begun = recording.growing.lock().await.take(&object.key);
        let body = match finished {
            Some(file) => Body::open(file.to_owned()).await?,
            None => Body::Stream(body()),
        };
        inner.uploads.put(object, begun, body, free).await
    }

    pub(super) fn key(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        ext: &str,
    ) -> Result<ObjectKey, Error> {
        self.key_of(recording, header, (&header.track.to_string(), &header.participant), ext)
    }

    /// `named`: what stands for track and participant.
    pub(super) fn key_of(
        &self,
        recording: &LiveRecording,
        header: &LogHeader,
        (track, participant): (&str, &str),
        ext: &str,
    ) -> Result<ObjectKey, Error> {
        let template = match recording.purpose {
            Purpose::Plain => &self.inner().config.key_template,
            Purpose::Transcribe { .. } => &self.inner().config.transcribe_template,
        };
        let key = template.render(&KeyFields {
            tenant: &recording.tenant,
            call: &recording.call_name(),
            campaign: "",
            recording: &recording.id.to_string(),
            track,
            participant,
            session: &header.session.to_string(),
            ext,
            at: header.epoch,
        })?;
        Ok(key)
    }
}

/// Whether the output is the track's sound file, once that has its sizes: `Some(true)` where nothing may be missing in it.
pub(super) fn is_sound(header: &LogHeader, output: &Output) -> Option<bool> {
    let linear = header.format.codec == Codec::S16le;
    match *output {
        Output::Wav { samples: Samples::AsReceived, gaps, sizes: Sizes::Exact } => Some(gaps == Gaps::Fill),
        Output::Wav { samples: Samples::Linear { gain: 1.0 }, gaps, sizes: Sizes::Exact } if linear => {
            Some(gaps == Gaps::Fill)
        }
        Output::Wav { .. } | Output::Ogg { .. } => None,
    }
}

/// What a track's file holds: the track as received, or what its façade promises.
pub(super) fn master(track: &Settled) -> Output {
    master_of(&track.header)
}

/// [`master`], before all of the track is there.
pub(super) fn master_of(header: &LogHeader) -> Output {
    match header.purpose {
        Purpose::Transcribe { gain, .. } => {
            Output::Wav { samples: Samples::Linear { gain }, gaps: Gaps::Cut, sizes: Sizes::Exact }
        }
        Purpose::Plain => Output::as_received(header.format.codec),
    }
}

/// The file name's extension.
pub(super) const fn extension(output: &Output) -> &'static str {
    match output {
        Output::Wav { .. } => "wav",
        Output::Ogg { .. } => "ogg",
    }
}

pub(super) fn new_object(
    recording: &LiveRecording,
    track: Option<TrackId>,
    kind: ObjectKind,
    key: ObjectKey,
    mime: &str,
) -> NewObject {
    NewObject {
        tenant: recording.tenant.clone(),
        recording: recording.id,
        track,
        kind,
        key,
        mime_type: mime.to_owned(),
        created_at: Clock::utc(),
    }
}

pub(super) fn new_recording(recording: &LiveRecording) -> NewRecording {
    NewRecording {
        id: recording.id,
        tenant: recording.tenant.clone(),
        call: recording.call_name(),
        created_at: recording.created,
    }
}

pub(super) fn describe(track: &Settled, object: Option<manifest::Object>) -> manifest::Track {
    manifest::Track {
        id: track.log.id(),
        participant: track.header.participant.clone(),
        session_id: track.header.session,
        format: track.header.format,
        layout: track.layout.clone(),
        drift_ppm: None,
        object,
    }
}

pub(super) fn manifest_of(
    recording: &LiveRecording,
    state: RecordingState,
    tracks: Vec<manifest::Track>,
) -> manifest::Manifest {
    let epoch = recording.clock().map_or(recording.created, |clock| clock.epoch);
    let ended = state.is_final().then(|| {
        let end = tracks.iter().map(manifest::Track::end_seconds).fold(0.0, f64::max);
        reeltime_core::time::UtcMicros(epoch.0 + (end * 1e6) as i64)
    });
    manifest::Manifest::new(
        recording.id,
        recording.tenant.clone(),
        Some(recording.call_name()),
        state,
        epoch,
        ended,
        tracks,
    )
}

fn publication(
    recording: &LiveRecording,
    tracks: &[Settled],
    manifest: &manifest::Manifest,
    objects: Vec<StoredObject>,
    main: Option<ObjectKey>,
) -> Publication {
    let started_at = recording.clock().map(|clock| clock.epoch);
    let duration = reeltime_core::time::Micros((seconds(recording.purpose, tracks) * 1e6).round() as u64);
    let participants: std::collections::BTreeSet<_> =
        tracks.iter().map(|track| &track.header.participant).collect();
    Publication {
        tenant: recording.tenant.clone(),
        recording: recording.id,
        state: RecordingState::Complete,
        reason: None,
        started_at,
        ended_at: started_at.map_or_else(Clock::utc, |at| at.plus(duration)),
        duration,
        participants: u32::try_from(participants.len()).unwrap_or(u32::MAX),
        manifest: serde_json::to_string(manifest).unwrap_or_default(),
        objects,
        url: main.is_some().then(|| format!("/api/v1/recordings/{}/stream", recording.id)),
        main,
    }
}

/// How long a recording is: to the end of its longest track; for the transcribe socket, what was received.
pub(super) fn seconds(purpose: Purpose, tracks: &[Settled]) -> f64 {
    let of = |track: &Settled| {
        let rate = f64::from(track.header.format.rate.max(1));
        match purpose {
            Purpose::Transcribe { .. } => track.layout.counters.media_samples as f64 / rate,
            Purpose::Plain => track.layout.start.0 as f64 / 1e6 + track.layout.samples as f64 / rate,
        }
    };
    tracks.iter().map(of).fold(0.0, f64::max)
}

/// A track's timeline from its files, as they are now.
pub(super) async fn survey(disk: &Arc<dyn Disk>, track: TrackId) -> Result<Layout, Error> {
    let disk = Arc::clone(disk);
    blocking(move || survey_chain(&Chain::find(&*disk, track)?).map_err(Error::Spool)).await
}
