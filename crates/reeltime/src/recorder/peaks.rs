//! A recording's peaks. They are made once, of all samples, at 256 samples a pixel, into a file; coarser ones are
//! drawn from that. Of a recording that is being recorded the file grows with it for as long as somebody asks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::manifest::Manifest;
use reeltime_core::media::Container;
use reeltime_core::peaks::{Bits, Drawer, Drawing, PeaksFormat};

use super::Recorder;
use super::cache::CacheKey;
use super::encoded::encoded_as;
use super::live::LiveRecording;
use super::media::{choose, job, stored};
use super::outlines::{Grown, Outline};
use super::publish::Settled;
use super::selection::{MediaError, Seating, Selection};
use crate::blocking::{BrokenOff, blocking};
use crate::error::Error;
use crate::render::{MixJob, MixTrack};
use crate::store::{ByteStream, CHUNK};

/// The coarsest peaks that are made of samples, in samples per pixel.
pub(super) const BASE: u32 = 256;
/// The most samples per pixel that the format can say and that are a multiple of those.
const COARSEST: u32 = i32::MAX as u32 / BASE * BASE;
/// The most values of one kind (pixels times channels) that are drawn: 2 MB as 8 bit, up to 13 MB as text.
const MOST: u64 = 1_000_000;
/// Pixels, where nothing is said of the zoom.
const WIDTH: u32 = 2_000;

/// How many samples a pixel stands for.
///
/// Below 256 there are powers of two, above multiples of 256: the nearest that fits is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// So many, or the next fewer.
    SamplesPerPixel(u32),
    /// As many as make at most so many pixels.
    Width(u32),
}

impl Default for Zoom {
    fn default() -> Self {
        Self::Width(WIDTH)
    }
}

impl Zoom {
    /// Samples per pixel that peaks are made with, and how many of those pixels become one.
    fn split(self, samples: u64) -> (u32, u32) {
        let wanted = match self {
            Self::SamplesPerPixel(wanted) => u64::from(wanted.max(1)),
            Self::Width(width) => samples.div_ceil(width.max(1).into()).max(1),
        };
        let wanted = u32::try_from(wanted).unwrap_or(COARSEST).min(COARSEST);
        match self {
            Self::SamplesPerPixel(_) if wanted < BASE => (1 << wanted.ilog2(), 1),
            Self::SamplesPerPixel(_) => (BASE, wanted / BASE),
            Self::Width(_) if wanted <= BASE => (wanted.next_power_of_two(), 1),
            Self::Width(_) => (BASE, wanted.div_ceil(BASE)),
        }
    }
}

/// Which peaks of a recording: of one track as it is, or of several as one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeaksSelection {
    /// Whose; all by default.
    pub participant: Option<String>,
    /// Which track; all by default.
    pub track: Option<TrackId>,
    /// How coarse.
    pub zoom: Zoom,
}

impl PeaksSelection {
    fn sound(&self) -> Selection {
        let all = self.participant.is_none() && self.track.is_none();
        Selection {
            participant: self.participant.clone(),
            track: self.track,
            layout: all.then_some(Seating::Mono),
            ..Selection::default()
        }
    }
}

/// Peaks, ready to be drawn.
#[derive(Debug)]
pub struct Peaks {
    /// Nothing will change any more.
    pub complete: bool,
    /// An entity tag, once complete.
    pub etag: Option<String>,
    drawing: Drawing,
    recorder: Recorder,
    pub(super) source: Source,
}

pub(super) enum Source {
    /// A file that is there, or grows.
    File(Arc<File>),
    /// To be made, and kept under this name.
    Job(Box<MixJob>, CacheKey),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Job(..) => "Job",
        })
    }
}

impl Recorder {
    /// Finds the peaks that `selection` asks for; of a live recording, as of now.
    ///
    /// # Errors
    /// See [`MediaError`]; [`MediaError::Peaks`] where there would be too many.
    pub async fn peaks(
        &self,
        tenant: &str,
        id: RecordingId,
        selection: &PeaksSelection,
        (bits, format): (Bits, PeaksFormat),
    ) -> Result<Peaks, MediaError> {
        if let Some((live, tracks)) = self.live_tracks(tenant, id).await? {
            match self.live_peaks(live, tracks, selection, (bits, format)).await {
                // Published meanwhile: the catalogue has it now.
                Err(MediaError::Failed(_)) if self.live(tenant, id).is_none() => {}
                found => return found,
            }
        }
        let manifest = self.published_manifest(tenant, id).await?;
        let (recorder, asked) = (self.clone(), selection.clone());
        blocking(move || recorder.stored_peaks(&manifest, &asked, (bits, format))).await
    }

    pub(super) fn stored_peaks(
        &self,
        manifest: &Manifest,
        selection: &PeaksSelection,
        (bits, format): (Bits, PeaksFormat),
    ) -> Result<Peaks, MediaError> {
        let sound = selection.sound();
        let tracks = choose(&manifest.tracks, &sound, |track| (&track.participant, track.id))?;
        let mixed = tracks.iter().map(|track| stored(track)).collect::<Result<Vec<_>, _>>()?;
        let job = job(mixed, &sound);
        let encoded = tracks.iter().find_map(|track| encoded_as(track));
        let finest = if encoded.is_some() { BASE } else { 1 };
        let drawing = drawing(&job, (selection.zoom, finest), (bits, format))?;
        let ids: Vec<_> = tracks.iter().map(|track| track.id).collect();
        let key = kept_key(manifest.id, &ids, drawing.channels, drawing.samples_per_pixel);
        let source = match (encoded, self.inner().cache.find(&key)) {
            (None | Some(Container::Flac), _) => Source::Job(Box::new(job), key.clone()),
            (Some(_), Some((file, _))) => Source::File(Arc::new(file)),
            (Some(format), None) => return Err(MediaError::Undecodable(format)),
        };
        let zoom = (drawing.factor, if bits == Bits::Eight { 8 } else { 16 }, format.name());
        let etag = format!("\"{}-{}-{}-{}\"", key.tag().trim_matches('"'), zoom.0, zoom.1, zoom.2);
        Ok(Peaks { complete: true, etag: Some(etag), drawing, recorder: self.clone(), source })
    }

    async fn live_peaks(
        &self,
        live: Arc<LiveRecording>,
        tracks: Vec<Settled>,
        selection: &PeaksSelection,
        written: (Bits, PeaksFormat),
    ) -> Result<Peaks, MediaError> {
        let (recorder, asked) = (self.clone(), selection.clone());
        let planned = blocking(move || recorder.outline(live, &tracks, &asked, written));
        let (outline, drawing) = planned.await?;
        let Grown { file, bytes } = self.grown(outline).await?;
        let pixels = bytes.saturating_sub(Drawing::HEAD) / drawing.pixel_bytes() as u64;
        Ok(Peaks {
            complete: false,
            etag: None,
            drawing: Drawing { pixels, ..drawing },
            recorder: self.clone(),
            source: Source::File(file),
        })
    }

    /// What is to grow, and how it is drawn.
    fn outline(
        &self,
        live: Arc<LiveRecording>,
        tracks: &[Settled],
        selection: &PeaksSelection,
        written: (Bits, PeaksFormat),
    ) -> Result<(Outline, Drawing), MediaError> {
        let sound = selection.sound();
        let chosen = choose(tracks, &sound, |track| (&track.header.participant, track.log.id()))?;
        let heard: Vec<_> = chosen.into_iter().filter(|track| track.layout.samples > 0).collect();
        let mixed = heard.iter().map(|track| self.growing(track)).collect::<Result<Vec<_>, Error>>()?;
        if mixed.is_empty() {
            return Err(MediaError::Empty);
        }
        let mut job = job(mixed, &sound);
        let drawing = drawing(&job, (selection.zoom, 1), written)?;
        job.plan.open = true;
        let what = (heard.iter().map(|track| track.log.id()).collect(), drawing.samples_per_pixel);
        Ok((Outline { what, job, gain: live.purpose.gain(), recording: live }, drawing))
    }

    /// A track from its log, as its façade has it heard.
    fn growing(&self, track: &Settled) -> Result<MixTrack, Error> {
        let live = Some(Arc::clone(&track.log));
        // Its gain is of what is drawn, where nothing limits it.
        Ok(MixTrack { live, gain: 1.0, ..self.heard(track, true)? })
    }

    /// Makes the peaks, or finds them where they were made before.
    async fn peaks_file(&self, job: &MixJob, key: &CacheKey, samples_per_pixel: u32) -> Result<File, Error> {
        if let Some(file) = self.kept_peaks(key).await? {
            return Ok(file);
        }
        let turn = self.inner().outlines.turn().await;
        if let Some(file) = self.kept_peaks(key).await? {
            return Ok(file);
        }
        let (recorder, job, key) = (self.clone(), job.clone(), key.clone());
        // In a task of its own: whoever asked may go away, the next one finds what was made.
        let making = tokio::spawn(async move {
            let _turn = turn;
            recorder.make_peaks(&job, &key, samples_per_pixel).await
        });
        making.await.map_err(BrokenOff::from)?
    }

    pub(super) async fn kept_peaks(&self, key: &CacheKey) -> Result<Option<File>, Error> {
        let (recorder, key) = (self.clone(), key.clone());
        blocking(move || Ok(recorder.inner().cache.find(&key).map(|(file, _)| file))).await
    }
}

/// What is drawn of `job`, whose samples are counted, from peaks with `finest` samples per pixel at least.
fn drawing(
    job: &MixJob,
    (zoom, finest): (Zoom, u32),
    (bits, format): (Bits, PeaksFormat),
) -> Result<Drawing, MediaError> {
    let (spec, _) = job.describe()?;
    let samples = spec.samples.unwrap_or(0);
    let (samples_per_pixel, factor) = zoom.split(samples);
    let samples_per_pixel = samples_per_pixel.max(finest);
    let pixels = samples.div_ceil(samples_per_pixel.into());
    let drawing =
        Drawing { rate: spec.rate, channels: spec.channels, samples_per_pixel, pixels, factor, bits, format };
    let most = MOST / u64::from(spec.channels.max(1));
    if drawing.len() > most {
        let least = samples.div_ceil(most).next_multiple_of(BASE.into());
        return Err(MediaError::Peaks { most, least });
    }
    Ok(drawing)
}

/// The name of kept peaks. Several tracks are always mixed, so channels tell the rest apart.
pub(super) fn kept_key(
    id: RecordingId,
    tracks: &[TrackId],
    channels: u8,
    samples_per_pixel: u32,
) -> CacheKey {
    CacheKey::new(id, &format!("peaks {samples_per_pixel} {channels} {tracks:?}"), "dat")
}

impl Peaks {
    /// The media type of what is drawn.
    pub const fn mime(&self) -> &'static str {
        self.drawing.format.mime()
    }

    /// Its file name's extension.
    pub const fn extension(&self) -> &'static str {
        self.drawing.format.name()
    }

    /// Its length in bytes, where that is known before it is drawn.
    pub fn bytes(&self) -> Option<u64> {
        self.drawing.bytes()
    }

    /// Draws. The first time, of a complete recording, all of its sound is read for it.
    ///
    /// # Errors
    /// Where the store does not have it.
    pub async fn read(&self) -> Result<ByteStream, Error> {
        let file = match &self.source {
            Source::File(file) => Arc::clone(file),
            Source::Job(job, key) => {
                Arc::new(self.recorder.peaks_file(job, key, self.drawing.samples_per_pixel).await?)
            }
        };
        Ok(draw(file, self.drawing))
    }
}

/// Draws what a file of peaks has, a chunk at a time.
fn draw(file: Arc<File>, drawing: Drawing) -> ByteStream {
    let (sender, body) = ByteStream::channel(2);
    tokio::spawn(async move {
        let mut drawn = Vec::new();
        let mut drawer = Drawer::new(drawing, &mut drawn);
        let pixel = drawing.pixel_bytes();
        let end = Drawing::HEAD + drawing.pixels * pixel as u64;
        let mut at = Drawing::HEAD;
        while at < end {
            let window = (end - at).min((CHUNK / pixel * pixel) as u64) as usize;
            let file = Arc::clone(&file);
            let step = blocking(move || {
                let mut values = vec![0; window];
                file.read_exact_at(&mut values, at)?;
                drawer.push(&values, &mut drawn);
                std::io::Result::Ok((drawer, drawn))
            });
            match step.await {
                Ok((drawing, bytes)) => (drawer, drawn) = (drawing, bytes),
                Err(error) => {
                    let _ = sender.fail(error).await;
                    return;
                }
            }
            at += window as u64;
            // A reader that went away needs no answer.
            if !drawn.is_empty() && sender.send(Bytes::from(std::mem::take(&mut drawn))).await.is_err() {
                return;
            }
        }
        drawer.finish(&mut drawn);
        if sender.send(Bytes::from(drawn)).await.is_ok() {
            let _ = sender.finish().await;
        }
    });
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zoom_is_the_nearest_that_is_kept_or_drawn() {
        let per_pixel = |wanted| {
            let (base, factor) = Zoom::SamplesPerPixel(wanted).split(0);
            (base, factor, base * factor)
        };
        assert_eq!(
            [0, 1, 3, 255, 256, 511, 512, 5_000].map(per_pixel),
            [
                (1, 1, 1),
                (1, 1, 1),
                (2, 1, 2),
                (128, 1, 128),
                (256, 1, 256),
                (256, 1, 256),
                (256, 2, 512),
                (256, 19, 4_864)
            ]
        );
    }

    #[test]
    fn a_width_is_never_exceeded() {
        for samples in [0, 1, 999, 1_000, 1_001, 256_000, 256_001, 5_760_000, 4_147_200_000] {
            for width in [2, 10, 1_000, 1_000_000] {
                let (base, factor) = Zoom::Width(width).split(samples);
                let pixels = samples.div_ceil(u64::from(base)).div_ceil(factor.into());
                assert!(pixels <= width.into(), "{samples} as {width}: {base} by {factor}");
            }
        }
    }
}
