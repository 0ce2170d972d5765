//! From logs to files in the store: stage → render → put → publish → release.
//!
//! A crash anywhere leaves the logs, so the next start does it again; a failure anywhere is tried again until it
//! works. The logs are released with the catalogue's proof and in no other way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::{KeyFields, ObjectKey};
use reeltime_core::log::{LogHeader, Purpose};
use reeltime_core::manifest;
use reeltime_core::media::Codec;
use reeltime_core::render::{Gaps, Output, Samples, Sizes};
use reeltime_core::timeline::Layout;
use tracing::{error, info, warn};

use super::Recorder;
use super::clock::Clock;
use super::live::LiveRecording;
use crate::catalogue::{
    CatalogueError, Filter, NewObject, NewRecording, ObjectKind, ObjectState, Page, Publication, Published,
    RecordingState, Removed, StoredObject, stage_unique,
};
use crate::crash;
use crate::error::Error;
use crate::render::{Job, render, survey_chain};
use crate::spool::{Chain, Disk, TrackLog};
use crate::store::{ByteStream, StoreError};

/// A track with everything that its file is made from.
pub(super) struct Settled {
    pub(super) log: Arc<TrackLog>,
    pub(super) header: LogHeader,
    pub(super) layout: Layout,
}

impl Recorder {
    /// Publishes a recording that has ended, trying again until it works.
    pub(super) async fn publish(&self, recording: Arc<LiveRecording>) {
        metrics::counter!("recording_jobs_enqueued_total").increment(1);
        metrics::gauge!("recording_queue_depth").increment(1.0);
        let mut wait = Duration::from_millis(250);
        while let Err(error) = self.take_turn(&recording).await {
            if matches!(error, Error::Catalogue(CatalogueError::Closed)) {
                info!(recording = %recording.id, "going down: its logs are kept, the next start publishes it");
                return;
            }
            metrics::counter!("recording_jobs_failed_total").increment(1);
            error!(recording = %recording.id, %error, "cannot publish yet; its logs are kept, trying again");
            // Whatever it was, the next attempt believes the files alone.
            recording.doubt_entered();
            recording.tracks().iter().for_each(|log| log.forget_survey());
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(30));
        }
        metrics::counter!("recording_jobs_success_total").increment(1);
        metrics::gauge!("recording_queue_depth").decrement(1.0);
        self.inner().registry.remove_recording(recording.id);
        self.inner().settled.notify_waiters();
    }

    /// One attempt. A turn is held for no longer, so that one that cannot be published keeps no other from it.
    async fn take_turn(&self, recording: &LiveRecording) -> Result<(), Error> {
        let _turn = self.inner().publishing.acquire().await;
        let _files = recording.files.lock().await;
        self.try_publish(recording).await
    }

    async fn try_publish(&self, recording: &LiveRecording) -> Result<(), Error> {
        let fresh = recording.is_fresh();
        let known = match fresh {
            true => None,
            false => self.inner().catalogue.published(&recording.tenant, recording.id).await?,
        };
        if let Some(proof) = known {
            let told = self.published_tracks(&recording.tenant, recording.id).await?;
            self.release(recording, proof, told).await;
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
        if tracks.is_empty() {
            warn!(recording = %recording.id, "nothing was recorded: there is no recording");
        }
        if recording.is_deleted() || tracks.is_empty() {
            return self.discard(recording).await;
        }
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
        self.release(recording, proof, told).await;
        Ok(())
    }

    /// Readers find it in the catalogue from here on, so that its logs can go. One that cannot be removed now is
    /// removed at the next start.
    async fn release(&self, recording: &LiveRecording, proof: Published, told: Vec<TrackId>) {
        self.inner().registry.remove_recording(recording.id);
        let (recorder, logs) = (self.clone(), recording.tracks());
        let release = move || recorder.release_logs(&logs, &proof, &told);
        if let Err(error) = tokio::task::spawn_blocking(release).await {
            warn!(recording = %recording.id, %error, "published logs may not all be removed; the next start will");
        }
    }

    fn release_logs(&self, logs: &[Arc<TrackLog>], proof: &Published, told: &[TrackId]) {
        for log in logs {
            let held = log.layout().is_none_or(|layout| layout.samples > 0);
            if held && !told.contains(&log.id()) {
                warn!(recording = %proof.recording(), track = %log.id(), "a log is not part of what was published; it is kept");
            } else if let Err(error) = self.inner().spool.release(log.id(), proof) {
                warn!(recording = %proof.recording(), %error, "cannot remove a published log; the next start will");
            }
        }
    }

    /// The tracks that a published recording's manifest names.
    pub(super) async fn published_tracks(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Vec<TrackId>, Error> {
        let row = self.inner().catalogue.get(tenant, id).await?;
        let manifest = row.and_then(|row| row.manifest);
        let manifest: Option<manifest::Manifest> = manifest.and_then(|text| serde_json::from_str(&text).ok());
        Ok(manifest
            .map(|manifest| manifest.tracks.iter().map(|track| track.id).collect())
            .unwrap_or_default())
    }

    /// Its owner deleted it: nothing of it may stay.
    async fn discard(&self, recording: &LiveRecording) -> Result<(), Error> {
        let Some(removed) = self.remove_objects(&recording.tenant, recording.id).await? else {
            return Ok(());
        };
        for log in recording.tracks() {
            self.inner().spool.discard(log.id(), &removed).map_err(Error::Spool)?;
        }
        Ok(())
    }

    /// Deletes a recording in the catalogue, then its bytes in the store; the proof, where there was one.
    pub(super) async fn remove_objects(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<Removed>, Error> {
        let Some(removed) = self.inner().catalogue.delete(tenant, id).await? else { return Ok(None) };
        self.forget_made(id).await?;
        for key in removed.keys() {
            self.inner().store.delete(key).await?;
            self.inner().catalogue.forget(tenant, key).await?;
        }
        Ok(Some(removed))
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
            objects.push(self.store_manifest(recording, &manifest).await?);
        }
        Ok(publication(recording, tracks, &manifest, objects, main))
    }

    async fn store_track(
        &self,
        recording: &LiveRecording,
        track: &Settled,
        output: Output,
    ) -> Result<StoredObject, Error> {
        let key = self.key(recording, &track.header, extension(&output))?;
        let object = new_object(recording, Some(track.log.id()), ObjectKind::Master, key, output.mime());
        let finished = self.finished(track, &output).await?;
        let body = || {
            Ok(render(Job {
                chain: Arc::new(Chain::find(&**self.inner().spool.disk(), track.log.id())?),
                format: track.header.format,
                counting: track.header.counting,
                layout: track.layout.clone(),
                output,
                range: None,
            }))
        };
        self.put(recording, object, finished.as_deref(), body).await
    }

    /// The file that is the output already, where the track's sound lies in one.
    async fn finished(&self, track: &Settled, output: &Output) -> Result<Option<PathBuf>, Error> {
        let linear = track.header.format.codec == Codec::S16le;
        let filled = match *output {
            Output::Wav { samples: Samples::AsReceived, gaps, sizes: Sizes::Exact } => gaps == Gaps::Fill,
            Output::Wav { samples: Samples::Linear { gain: 1.0 }, gaps, sizes: Sizes::Exact } if linear => {
                gaps == Gaps::Fill
            }
            Output::Wav { .. } | Output::Ogg { .. } => return Ok(None),
        };
        let (recorder, log, layout) = (self.clone(), Arc::clone(&track.log), track.layout.clone());
        let find = move || recorder.inner().spool.finished_sound(&log, &layout, filled);
        let sound = tokio::task::spawn_blocking(find).await.map_err(std::io::Error::other).flatten();
        Ok(sound.map_err(Error::Spool)?.map(|sound| sound.path))
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
        self.put(recording, object, None, || Ok(ByteStream::from_bytes(body.clone()))).await
    }

    /// Stores a body under the first key of a name that is free in the catalogue and in the store; where it lies in a
    /// `finished` file that the store can take, without reading it.
    pub(super) async fn put(
        &self,
        recording: &LiveRecording,
        mut object: NewObject,
        finished: Option<&Path>,
        body: impl Fn() -> Result<ByteStream, Error>,
    ) -> Result<StoredObject, Error> {
        let wanted = object.key.clone();
        let mut n = 1;
        loop {
            let ours = !recording.is_fresh() && self.is_staged(&object).await?;
            object.key = stage_unique(&*self.inner().catalogue, object.clone()).await?;
            crash::point("staged");
            let stored = match finished {
                Some(file) => self.inner().store.adopt(&object.key, file).await.transpose(),
                None => None,
            };
            let stored = match stored {
                Some(adopted) => adopted,
                None => self.inner().store.put(&object.key, body()?).await,
            };
            match stored {
                Err(StoreError::AlreadyExists { .. }) if ours => {
                    // What an earlier attempt left there.
                    self.inner().store.delete(&object.key).await?;
                }
                Err(StoreError::AlreadyExists { .. }) => {
                    // Somebody else's, of whom this catalogue knows nothing: it stays, and the row goes.
                    self.inner().catalogue.mark(&object.tenant, &object.key).await?;
                    self.inner().catalogue.forget(&object.tenant, &object.key).await?;
                    n += 1;
                    object.key = wanted.unique(n)?;
                }
                stored => {
                    let meta = stored?;
                    return Ok(StoredObject { key: meta.key, size: meta.size, crc32c: None });
                }
            }
        }
    }

    /// Whether an earlier attempt of ours entered this very object.
    async fn is_staged(&self, object: &NewObject) -> Result<bool, Error> {
        let objects = self.inner().catalogue.objects(&object.tenant, object.recording).await?;
        Ok(objects.iter().any(|known| known.key == object.key && known.state == ObjectState::Staged))
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

/// What a track's file holds: the track as received, or what its façade promises.
pub(super) fn master(track: &Settled) -> Output {
    match track.header.purpose {
        Purpose::Transcribe { gain, .. } => {
            Output::Wav { samples: Samples::Linear { gain }, gaps: Gaps::Cut, sizes: Sizes::Exact }
        }
        Purpose::Plain => Output::as_received(track.header.format.codec),
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
    let done = tokio::task::spawn_blocking(move || {
        let chain = Chain::find(&*disk, track)?;
        survey_chain(&chain).map_err(Error::Spool)
    });
    done.await.map_err(|_| Error::Spool(std::io::Error::other("the survey of a log died")))?
}

/// Removes what earlier processes staged and never published, and what of deleted recordings is left.
pub(super) async fn sweep_objects(recorder: &Recorder) -> Result<(), Error> {
    let (catalogue, tenant) = (&recorder.inner().catalogue, crate::catalogue::DEFAULT_TENANT);
    for object in catalogue.objects_in(tenant, ObjectState::Staged, Clock::utc(), 10_000).await? {
        // One that is about to be published again needs its row.
        if recorder.inner().registry.recording(tenant, object.recording).is_none() {
            catalogue.mark(tenant, &object.key).await?;
        }
    }
    for object in catalogue.objects_in(tenant, ObjectState::MarkedForDeletion, Clock::utc(), 10_000).await? {
        recorder.inner().store.delete(&object.key).await?;
        catalogue.forget(tenant, &object.key).await?;
    }
    Ok(())
}

/// Removes the recordings that an earlier process entered and has no log of: nothing was recorded.
pub(super) async fn abandon_unlogged(recorder: &Recorder) -> Result<(), Error> {
    let states = vec![RecordingState::Starting, RecordingState::Active, RecordingState::Ending];
    let filter = Filter { states, ..Filter::default() };
    let (catalogue, tenant) = (&recorder.inner().catalogue, crate::catalogue::DEFAULT_TENANT);
    let mut unlogged = Vec::new();
    for number in 1.. {
        let listing = catalogue.list(tenant, &filter, Page { number, size: 100 }).await?;
        let ids = listing.items.iter().map(|recording| recording.id);
        unlogged.extend(ids.filter(|&id| recorder.inner().registry.recording(tenant, id).is_none()));
        if listing.items.len() < 100 {
            break;
        }
    }
    for id in unlogged {
        warn!(recording = %id, "nothing was recorded before the recorder went down: there is no recording");
        recorder.remove_objects(tenant, id).await?;
    }
    Ok(())
}
