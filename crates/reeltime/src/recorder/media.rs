//! A recording's sound as a stream of bytes: from the store once it is published, from the spool before.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::log::Purpose;
use reeltime_core::manifest::{self, Manifest};
use reeltime_core::media::{Codec, Container};
use reeltime_core::render::{Gaps, Output, Samples, Sizes, TrackRenderer};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Counting, Layout};

use super::Recorder;
use super::cache::CacheKey;
use super::encoded::encoded_as;
use super::live::LiveRecording;
use super::publish::{Settled, extension, master};
use super::selection::{MOST_TOLD, MediaError, Selection};
use super::tags::tags;
use super::view::is_flat;
use crate::blocking::{BrokenOff, blocking};
use crate::error::Error;
use crate::render::{Job, Live, MixJob, MixTrack, Origin, follow, gapless, render};
use crate::spool::{Chain, TrackLog};
use crate::store::{ByteStream, read_file};

/// A sound, ready to be read.
#[derive(Debug)]
pub struct Media {
    /// Its media type.
    pub mime: &'static str,
    /// The file name's extension.
    pub extension: &'static str,
    /// Its length in bytes: of a live one, as of now; unknown where only rendering tells.
    pub len: Option<u64>,
    /// Nothing will change any more.
    pub complete: bool,
    /// An entity tag, once complete; a weak one where another reader may get other bytes of the same sound.
    pub etag: Option<String>,
    recorder: Recorder,
    source: Source,
}

enum Source {
    Object {
        key: ObjectKey,
    },
    /// Made before, and kept.
    Kept(Arc<File>, u64),
    /// Still in the spool: opened here, so that a publication meanwhile takes nothing away.
    Spool(Box<Job>),
    /// Nothing yet but a head.
    Head(Bytes),
    /// Being recorded: to its end.
    Live {
        log: Arc<TrackLog>,
        output: Output,
    },
    /// To be made of one or many tracks; kept under this name where nothing will change any more.
    Mix(Box<MixJob>, Option<CacheKey>),
    /// To be made of tracks that are being recorded, to their end, and of those that join.
    LiveMix(Box<MixJob>, Arc<LiveRecording>, Selection),
}

impl Recorder {
    /// Finds the sound that `selection` asks for.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn media(
        &self,
        tenant: &str,
        id: RecordingId,
        selection: &Selection,
    ) -> Result<Media, MediaError> {
        selection.check()?;
        if let Some((live, tracks)) = self.live_tracks(tenant, id).await? {
            let (recorder, asked) = (self.clone(), selection.clone());
            match blocking(move || recorder.live_media(&live, &tracks, &asked)).await {
                // Published meanwhile: the catalogue has it now.
                Err(MediaError::Failed(_)) if self.live(tenant, id).is_none() => {}
                found => return found,
            }
        }
        let manifest = self.published_manifest(tenant, id).await?;
        let (recorder, asked) = (self.clone(), selection.clone());
        blocking(move || recorder.stored_media(&manifest, &asked)).await
    }

    /// Of a recording whose files are in the store.
    fn stored_media(&self, manifest: &Manifest, selection: &Selection) -> Result<Media, MediaError> {
        let tracks = choose(&manifest.tracks, selection, |track| (&track.participant, track.id))?;
        selection.check_sides(&manifest.tracks.iter().map(|track| track.participant.as_str()).collect())?;
        if let Some(format) = tracks.iter().find_map(|track| encoded_as(track)) {
            return match tracks[..] {
                [track] if selection.is_kept(format) => {
                    let object = track.object.as_ref().ok_or(MediaError::Empty)?;
                    self.object(object, format.mime(), format.name(), track.id.to_string())
                }
                _ => Err(MediaError::Kept(format)),
            };
        }
        if let [track] = tracks[..]
            && selection.is_as_received(track.format)
        {
            let object = track.object.as_ref().ok_or(MediaError::Empty)?;
            let output = Output::as_received(track.format.codec);
            return self.object(object, output.mime(), extension(&output), track.id.to_string());
        }
        let kept = manifest.renditions.iter().find(|rendition| {
            let kinds = (rendition.format.parse(), rendition.layout.parse());
            matches!(kinds, (Ok(format), Ok(layout)) if selection.is_rendition(format, layout))
        });
        if let (Some(rendition), true) = (kept, tracks.len() == manifest.tracks.len()) {
            let container: Container = rendition.format.parse()?;
            let tag = format!("{}-{}", manifest.id, rendition.layout);
            return self.object(&rendition.object, container.mime(), container.name(), tag);
        }
        let container = selection.container();
        let what = format!("{:?} {selection:?}", tracks.iter().map(|track| track.id).collect::<Vec<_>>());
        let key = CacheKey::new(manifest.id, &what, container.name());
        if let Some((file, size)) = self.inner().cache.find(&key) {
            let source = Source::Kept(Arc::new(file), size);
            return Ok(self.made(container, Some(size), Some(key.tag()), true, source));
        }
        let mixed = tracks.iter().map(|track| stored(track)).collect::<Result<Vec<_>, MediaError>>()?;
        let mut job = job(mixed, selection);
        job.tags = tags(manifest, &tracks, &job)?;
        let (_, len) = job.describe()?;
        // Where the end tells what the head says, this time its head will not be that of the file that is kept.
        let tag = if len.is_some() { key.tag() } else { format!("W/{}", key.tag()) };
        Ok(self.made(container, len, Some(tag), true, Source::Mix(Box::new(job), Some(key))))
    }

    fn object(
        &self,
        object: &manifest::Object,
        mime: &'static str,
        extension: &'static str,
        tag: String,
    ) -> Result<Media, MediaError> {
        let key = ObjectKey::new(object.key.clone()).map_err(Error::from)?;
        Ok(Media {
            mime,
            extension,
            len: Some(object.bytes),
            complete: true,
            etag: Some(format!("\"{tag}-{}\"", object.bytes)),
            recorder: self.clone(),
            source: Source::Object { key },
        })
    }

    fn made(
        &self,
        container: Container,
        len: Option<u64>,
        etag: Option<String>,
        complete: bool,
        source: Source,
    ) -> Media {
        Media {
            mime: container.mime(),
            extension: container.name(),
            len,
            complete,
            etag,
            recorder: self.clone(),
            source,
        }
    }

    fn live_media(
        &self,
        live: &Arc<LiveRecording>,
        tracks: &[Settled],
        selection: &Selection,
    ) -> Result<Media, MediaError> {
        let chosen = choose(tracks, selection, |track| (&track.header.participant, track.log.id()))?;
        if let [track] = chosen[..]
            && let Some(output) = unmixed_output(track, selection)
        {
            return self.live_track(track, selection.follow, output);
        }
        self.live_mix(live, &chosen, selection)
    }

    /// One track as it is received.
    fn live_track(&self, track: &Settled, to_the_end: bool, output: Output) -> Result<Media, MediaError> {
        if to_the_end && !track.log.is_closed() {
            return Ok(self.followed(Arc::clone(&track.log), output));
        }
        let (format, counting) = (track.header.format, track.header.counting);
        let mut renderer = TrackRenderer::new(format, counting, &track.layout, output)?;
        let len = renderer.wav_len();
        if track.layout.samples == 0 {
            let mut head = Vec::new();
            renderer.head(&mut head);
            return Ok(self.empty(output, head));
        }
        let chain = Chain::find(&**self.inner().spool.disk(), track.log.id()).map_err(Error::from)?;
        let layout = track.layout.clone();
        let job = Job { chain: Arc::new(chain), format, counting, layout, output, range: None };
        Ok(Media {
            mime: output.mime(),
            extension: extension(&output),
            len,
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Spool(Box::new(job)),
        })
    }

    /// Tracks that are being recorded, as they are now or to their end.
    fn live_mix(
        &self,
        live: &Arc<LiveRecording>,
        tracks: &[&Settled],
        selection: &Selection,
    ) -> Result<Media, MediaError> {
        let heard = tracks.iter().filter(|track| track.layout.samples > 0);
        let mixed = heard.map(|track| self.heard(track, selection.follow));
        let mut job = job(mixed.collect::<Result<Vec<_>, Error>>()?, selection);
        if job.tracks.is_empty() {
            return Err(MediaError::Empty);
        }
        job.plan.arrangement = selection.arrangement(tracks.len());
        job.plan.open = selection.follow && job.tracks.iter().any(|track| track.live.is_some());
        let (_, len) = job.describe()?;
        let (container, open) = (job.container, job.plan.open);
        let source = match open {
            true => Source::LiveMix(Box::new(job), Arc::clone(live), selection.clone()),
            false => Source::Mix(Box::new(job), None),
        };
        Ok(self.made(container, len.filter(|_| !open), None, false, source))
    }

    /// What a mix of a live recording asks for while it follows it.
    fn followed_mix(&self, job: &MixJob, live: &Arc<LiveRecording>, selection: &Selection) -> Live {
        let mut known: Vec<TrackId> =
            job.tracks.iter().filter_map(|track| Some(track.live.as_ref()?.id())).collect();
        let (recorder, recording, selection) = (self.clone(), Arc::clone(live), selection.clone());
        let joined = move || {
            let meant = |log: &Arc<TrackLog>| {
                let (id, participant) = (log.id(), log.header().participant);
                !known.contains(&id) && !log.is_closed() && is_meant(&selection, (&participant, id))
            };
            let new = recording.tracks().into_iter().filter(meant).filter_map(|log| {
                let layout = log.layout().filter(|layout| layout.samples > 0)?;
                let settled = Settled { header: log.header(), log, layout };
                // Where its file is not there yet, the next time.
                Some((settled.log.id(), recorder.heard(&settled, true).ok()?))
            });
            let (ids, tracks): (Vec<_>, Vec<_>) = new.unzip();
            known.extend(ids);
            tracks
        };
        let disk = Arc::clone(self.inner().spool.disk());
        Live { disk, passed: self.passed(live), joined: Box::new(joined) }
    }

    /// Tells the time on a recording's clock for which nobody is waited any more.
    pub(super) fn passed(&self, live: &Arc<LiveRecording>) -> Box<dyn Fn() -> Micros + Send> {
        let (recorder, recording) = (self.clone(), Arc::clone(live));
        Box::new(move || {
            let now = recorder.inner().clock.now();
            let now = recording.clock().map_or(now, |clock| clock.at(now));
            Micros(now.0.saturating_sub(recorder.inner().config.live_horizon.as_micros() as u64))
        })
    }

    /// A track from its log.
    pub(super) fn logged(&self, track: &Settled, to_the_end: bool) -> Result<MixTrack, Error> {
        let chain = Chain::find(&**self.inner().spool.disk(), track.log.id())?;
        let live = (to_the_end && !track.log.is_closed()).then(|| Arc::clone(&track.log));
        Ok(MixTrack {
            participant: track.header.participant.clone(),
            format: track.header.format,
            counting: track.header.counting,
            layout: track.layout.clone(),
            origin: Origin::Log(Arc::new(chain)),
            gapless: false,
            gain: 1.0,
            drift_ppm: None,
            live,
        })
    }

    /// A track from its log, as its façade has it heard.
    pub(super) fn heard(&self, track: &Settled, to_the_end: bool) -> Result<MixTrack, Error> {
        let logged = self.logged(track, to_the_end)?;
        Ok(match track.header.purpose {
            Purpose::Plain => logged,
            Purpose::Transcribe { gain, .. } => {
                let layout = gapless(&logged.layout);
                MixTrack { layout, gapless: true, gain, counting: Counting::Samples, ..logged }
            }
        })
    }
}

/// The file of a track that is made of its log alone, where that is what is asked for.
fn unmixed_output(track: &Settled, selection: &Selection) -> Option<Output> {
    let format = track.header.format;
    if track.header.purpose != Purpose::Plain {
        return selection.is_kept(Container::Wav).then(|| master(track));
    }
    if selection.is_as_received(format) {
        return Some(Output::as_received(format.codec));
    }
    let linear = selection.decode
        && format.codec != Codec::Opus
        && Selection { decode: false, ..selection.clone() }.is_as_received(format);
    let samples = Samples::Linear { gain: 1.0 };
    linear.then_some(Output::Wav { samples, gaps: Gaps::Fill, sizes: Sizes::Exact })
}

/// A track from its file in the store.
pub(super) fn stored(track: &manifest::Track) -> Result<MixTrack, MediaError> {
    let object = track.object.as_ref().ok_or(MediaError::Empty)?;
    let key = ObjectKey::new(object.key.clone()).map_err(Error::from)?;
    let layout = if is_flat(object) { gapless(&track.layout) } else { as_stored(track) };
    Ok(MixTrack {
        participant: track.participant.clone(),
        format: track.format,
        counting: Counting::Samples,
        layout,
        origin: match encoded_as(track) {
            Some(Container::Flac) => Origin::Flac(key),
            _ => Origin::Stored(key),
        },
        gapless: false,
        gain: 1.0,
        drift_ppm: track.drift_ppm,
        live: None,
    })
}

/// Where the media of a track lies in its file as received: what is missing of samples is silence there.
fn as_stored(track: &manifest::Track) -> Layout {
    let layout = &track.layout;
    let gaps = if track.format.codec == Codec::Opus { layout.gaps.clone() } else { Vec::new() };
    Layout { samples: layout.samples, gaps, pauses: layout.pauses.clone(), ..gapless(layout) }
}

/// The file that is asked for, of these tracks.
pub(super) fn job(tracks: Vec<MixTrack>, selection: &Selection) -> MixJob {
    MixJob {
        plan: reeltime_core::render::Plan {
            arrangement: selection.arrangement(tracks.len()),
            rate: selection.rate,
            pauses: selection.pauses,
            ..Default::default()
        },
        tracks,
        container: selection.container(),
        bitrate: selection.bitrate,
        tags: Default::default(),
        loudness: selection.loudness,
    }
}

impl Recorder {
    /// A live track of which nothing was received yet: a file without sound.
    fn empty(&self, output: Output, head: Vec<u8>) -> Media {
        Media {
            mime: output.mime(),
            extension: extension(&output),
            len: Some(head.len() as u64),
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Head(Bytes::from(head)),
        }
    }

    fn followed(&self, log: Arc<TrackLog>, output: Output) -> Media {
        let output = match output {
            Output::Wav { samples, gaps, .. } => Output::Wav { samples, gaps, sizes: Sizes::Open },
            Output::Ogg { .. } => output,
        };
        Media {
            mime: output.mime(),
            extension: extension(&output),
            len: None,
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Live { log, output },
        }
    }
}

/// Whether a track of this participant is asked for.
fn is_meant(selection: &Selection, (participant, id): (&String, TrackId)) -> bool {
    selection.participant.as_ref().is_none_or(|wanted| wanted == participant)
        && selection.track.is_none_or(|wanted| wanted == id)
}

/// The tracks that are meant.
pub(super) fn choose<'a, T>(
    tracks: &'a [T],
    selection: &Selection,
    name: impl Fn(&T) -> (&String, TrackId),
) -> Result<Vec<&'a T>, MediaError> {
    let chosen: Vec<_> = tracks.iter().filter(|track| is_meant(selection, name(track))).collect();
    match (tracks.is_empty(), chosen.is_empty()) {
        (true, _) => Err(MediaError::Empty),
        (_, true) => Err(MediaError::Participant { known: told(tracks, name) }),
        _ => Ok(chosen),
    }
}

/// Names for the person who has to choose, as many as fit a sentence.
fn told<T>(tracks: &[T], name: impl Fn(&T) -> (&String, TrackId)) -> Vec<String> {
    let one = |track: &T| {
        let (participant, id) = name(track);
        format!("{participant} (track {id})")
    };
    let mut known: Vec<_> = tracks.iter().take(MOST_TOLD).map(one).collect();
    if tracks.len() > MOST_TOLD {
        known.push(format!("and {} more", tracks.len() - MOST_TOLD));
    }
    known
}

impl Media {
    /// Reads all of it, or the bytes of `range`.
    ///
    /// # Errors
    /// Where the store does not have it; [`Error::Busy`] where it has to be made and too many are.
    pub async fn read(&self, range: Option<Range<u64>>) -> Result<ByteStream, Error> {
        match &self.source {
            Source::Object { key } => Ok(self.recorder.inner().store.get(key, range).await?),
            Source::Kept(file, size) => {
                let range = range.map_or(0..*size, |range| range.start..range.end.min(*size));
                Ok(read_file(Arc::clone(file), range))
            }
            Source::Mix(job, key) => self.recorder.mixed(job, key.as_ref(), range).await,
            Source::LiveMix(job, live, selection) => {
                let room = self.recorder.render_room()?;
                let prepared = job.prepare(&self.recorder.inner().store, None).await.map_err(unmixed)?;
                Ok(prepared.holding(room).follow(self.recorder.followed_mix(job, live, selection)))
            }
            Source::Head(head) => {
                let all = 0..head.len();
                let clamp = |at: u64| usize::try_from(at).unwrap_or(all.end).min(all.end);
                let range = range.map_or(all.clone(), |range| clamp(range.start)..clamp(range.end));
                Ok(ByteStream::from_bytes(head.slice(range)))
            }
            Source::Live { log, output } => {
                let disk = Arc::clone(self.recorder.inner().spool.disk());
                Ok(follow(disk, Arc::clone(log), *output))
            }
            Source::Spool(job) => Ok(render(Job { range, ..(**job).clone() })),
        }
    }
}

impl Media {
    /// The same sound, of which any bytes can be read: where its length is known only once it is made, it is made now,
    /// and kept. Where it cannot be kept, it stays what it was.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn made_whole(self) -> Result<Self, Error> {
        let Source::Mix(job, Some(key)) = &self.source else { return Ok(self) };
        if self.len.is_some() {
            return Ok(self);
        }
        let (recorder, job, key) = (self.recorder.clone(), job.clone(), key.clone());
        // In a task of its own: a player that seeks on goes away, and comes back for what was made.
        let making = tokio::spawn(async move {
            let _turn = recorder.inner().outlines.turn().await;
            if let Some(kept) = recorder.kept(&key).await? {
                return Ok(Some(kept));
            }
            let mut made = recorder.mixed(&job, Some(&key), None).await?;
            while let Some(chunk) = made.next().await {
                chunk.map_err(Error::Spool)?;
            }
            recorder.kept(&key).await
        });
        let Some((file, size, tag)) = making.await.map_err(BrokenOff::from)?? else { return Ok(self) };
        let source = Source::Kept(Arc::new(file), size);
        Ok(Self { len: Some(size), etag: Some(tag), source, ..self })
    }
}

impl Recorder {
    /// A file that was made, its size, and its entity tag.
    async fn kept(&self, key: &CacheKey) -> Result<Option<(File, u64, String)>, Error> {
        let (recorder, key) = (self.clone(), key.clone());
        blocking(move || Ok(recorder.inner().cache.find(&key).map(|(file, size)| (file, size, key.tag()))))
            .await
    }

    /// Makes a file, and keeps it where all of it is made and nothing will change any more.
    async fn mixed(
        &self,
        job: &MixJob,
        key: Option<&CacheKey>,
        range: Option<Range<u64>>,
    ) -> Result<ByteStream, Error> {
        let room = self.render_room()?;
        let keeping = match (key, &range) {
            (Some(key), None) => {
                let (recorder, key) = (self.clone(), key.clone());
                blocking(move || Ok::<_, Error>(recorder.inner().cache.begin(&key))).await?
            }
            _ => None,
        };
        let prepared = job.prepare(&self.inner().store, range).await.map_err(unmixed)?;
        Ok(prepared.holding(room).start(keeping.map(|keeping| Box::new(keeping) as _)))
    }
}

/// What was fine when it was described fails only for a reason of the system.
pub(super) fn unmixed(error: MediaError) -> Error {
    if let MediaError::Failed(error) = error { error } else { Error::Spool(std::io::Error::other(error)) }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Object { .. } => "Object",
            Self::Kept(..) => "Kept",
            Self::Spool(_) => "Spool",
            Self::Head(_) => "Head",
            Self::Live { .. } => "Live",
            Self::Mix(..) => "Mix",
            Self::LiveMix(..) => "LiveMix",
        })
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("output", &self.output)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
