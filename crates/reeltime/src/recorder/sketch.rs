//! Peaks that are made while there is something to make them of: a track's of the very bytes that go into its sound file, a
//! mix's of the samples that go into its file. They are kept where those files are what is published: nobody has to read
//! them again for their peaks.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reeltime_core::codec::{Spec, Tags};
use reeltime_core::log::LogHeader;
use reeltime_core::media::wav;
use reeltime_core::peaks::PeaksEncoder;
use tracing::debug;

use super::cache::CacheKey;
use super::live::LiveRecording;
use super::part::{Part, Writer};
use super::peaks::{BASE, kept_key};
use super::publish::{Settled, is_sound, master_of};
use super::scribe::Written;
use super::selection::Seating;
use super::{Recorder, Rendition};
use crate::encode::{Encoding, Made, WavSamples};
use crate::render::{MixJob, Prepared};
use crate::spool::Listener;

/// A sketch that grows; taken out of it when its track is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch(Arc<Mutex<Option<Drawing>>>);

struct Drawing {
    samples: WavSamples,
    peaks: Encoding<Written>,
    /// Bytes of the sound file.
    heard: u64,
}

impl Sketch {
    /// Of a track whose file will be its sound as it lies in the spool, if all goes well; of no other.
    pub(super) fn begin(header: &LogHeader, file: impl FnOnce() -> Written) -> Option<Self> {
        let format = header.format;
        let head = wav::Head::of(format, None)?.to_bytes().len();
        is_sound(header, &master_of(header))?;
        let (rate, channels) = (format.rate, format.channels);
        let spec = Spec { rate, channels, samples: None, bitrate: None, tags: Tags::default() };
        let peaks = Encoding::begin(Box::new(PeaksEncoder::new(&spec, BASE, 1.0)), file());
        let drawing = Drawing { samples: WavSamples::new(format.codec, head), peaks, heard: 0 };
        Some(Self(Arc::new(Mutex::new(Some(drawing)))))
    }

    /// What tells it of the sound.
    pub(super) fn listener(&self) -> Listener {
        let sketch = self.clone();
        Box::new(move |bytes| {
            let mut drawing = sketch.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(error)) = drawing.as_mut().map(|drawing| drawing.take(bytes)) {
                debug!(%error, "a track's peaks are not made while it is recorded");
                *drawing = None;
            }
        })
    }

    /// The file with the peaks of a sound file of so many bytes; `None` where it has those of others.
    pub(super) async fn finish(&self, bytes: u64) -> Option<Part> {
        let drawing = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if drawing.heard != bytes {
            return None;
        }
        drawing.peaks.finish().ok()?.done().await
    }
}

impl Drawing {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.heard += bytes.len() as u64;
        self.samples.each(bytes, |samples| self.peaks.push(samples))
    }
}

impl fmt::Debug for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawing").field("heard", &self.heard).finish_non_exhaustive()
    }
}

/// The peaks of a mix, made while its file is.
#[derive(Debug)]
pub(super) struct MixSketch {
    part: Part,
    whole: Arc<AtomicBool>,
}

struct Taking {
    writer: Writer,
    whole: Arc<AtomicBool>,
}

impl Made for Taking {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.bytes(bytes)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        self.writer.complete(head)?;
        self.whole.store(true, Ordering::Release);
        Ok(())
    }
}

impl Recorder {
    /// Whether peaks are made before anybody asks.
    fn sketches(&self) -> bool {
        let config = &self.inner().config;
        config.peaks_after.is_some() && config.cache_budget > 0
    }

    /// That of a track that begins.
    pub(super) fn sketch(&self, header: &LogHeader) -> Option<Sketch> {
        let inner = self.inner();
        self.sketches().then(|| Sketch::begin(header, || inner.scribe.begin(inner.cache.part()))).flatten()
    }

    /// Keeps that of a track whose file is its sound as it was heard.
    pub(super) async fn keep_sketch(&self, recording: &LiveRecording, track: &Settled) {
        let Some(sketch) = recording.take_sketch(track.log.id()) else { return };
        let Some(head) = wav::Head::of(track.header.format, None) else { return };
        let sound = track.layout.counters.media_samples * head.block_align();
        match sketch.finish(head.to_bytes().len() as u64 + sound).await {
            Some(part) => {
                let key = kept_key(recording.id, &[track.log.id()], track.header.format.channels, BASE);
                self.keep_drawn(recording, &key, part).await;
            }
            None => debug!(recording = %recording.id, "a track's peaks are made when they are wanted"),
        }
    }

    /// Has that of a mix made beside its file, where it is the mix that peaks are drawn of.
    pub(super) async fn sketch_mix(
        &self,
        prepared: Prepared,
        job: &MixJob,
        rendition: Rendition,
    ) -> (Prepared, Option<MixSketch>) {
        let drawn = |kept: &&Rendition| kept.layout == Seating::Mono;
        let first = self.inner().config.renditions.iter().find(drawn) == Some(&rendition);
        if !(first && self.sketches() && job.is_at_full_rate()) {
            return (prepared, None);
        }
        let Ok((part, writer)) = self.part().await else { return (prepared, None) };
        let whole = Arc::<AtomicBool>::default();
        let taking = Taking { writer, whole: Arc::clone(&whole) };
        (prepared.beside(BASE, Box::new(taking)), Some(MixSketch { part, whole }))
    }

    /// Keeps that of a mix of these tracks, which is what is published.
    pub(super) async fn keep_mix_sketch(
        &self,
        recording: &LiveRecording,
        tracks: &[Settled],
        sketch: Option<MixSketch>,
    ) {
        let Some(sketch) = sketch.filter(|sketch| sketch.whole.load(Ordering::Acquire)) else { return };
        let ids: Vec<_> = tracks.iter().map(|track| track.log.id()).collect();
        self.keep_drawn(recording, &kept_key(recording.id, &ids, 1, BASE), sketch.part).await;
    }

    async fn keep_drawn(&self, recording: &LiveRecording, key: &CacheKey, part: Part) {
        if let Err(error) = self.keep(key, part).await {
            debug!(recording = %recording.id, %error, "peaks are made when they are wanted");
        }
    }
}
