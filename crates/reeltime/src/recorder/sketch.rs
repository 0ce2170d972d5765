//! Peaks that are made while there is something to make them of: a track's of the very bytes that go into its sound file, a
//! mix's of the samples that go into its file. They are kept where those files are what is published: nobody has to read
//! them again for their peaks.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reeltime_core::codec::{Encoder, Spec, Tags};
use reeltime_core::log::LogHeader;
use reeltime_core::media::{Codec, g711, wav};
use reeltime_core::peaks::PeaksEncoder;
use tracing::debug;

use super::cache::CacheKey;
use super::live::LiveRecording;
use super::part::{Part, Writer};
use super::peaks::{BASE, kept_key};
use super::publish::{Settled, is_sound, master_of};
use super::selection::Seating;
use super::{Recorder, Rendition};
use crate::blocking::blocking;
use crate::render::{Made, MixJob, Prepared};
use crate::spool::Listener;

/// Pixels are written so many bytes at a time: 8 s of 16 kHz.
const PIECE: usize = 2_048;
/// Samples that are looked at together.
const STEP: usize = 512;

/// A sketch that grows; taken out of it when its track is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch(Arc<Mutex<Option<Drawing>>>);

#[derive(Debug)]
struct Drawing {
    peaks: PeaksEncoder,
    codec: Codec,
    /// Bytes of the sound file's head that are still to come.
    head: usize,
    /// Bytes of sound.
    heard: u64,
    /// Pixels that are not in the file yet.
    pixels: Vec<u8>,
    /// Once there are enough of them.
    file: Option<Part>,
    place: PathBuf,
}

impl Sketch {
    /// Of a track whose file will be its sound as it lies in the spool, if all goes well; of no other. `place` is where its
    /// file may be.
    pub(super) fn begin(header: &LogHeader, place: PathBuf) -> Option<Self> {
        let format = header.format;
        let head = wav::Head::of(format, None)?.to_bytes().len();
        is_sound(header, &master_of(header))?;
        let (rate, channels) = (format.rate, format.channels);
        let spec = Spec { rate, channels, samples: None, bitrate: None, tags: Tags::default() };
        let mut peaks = PeaksEncoder::new(&spec, BASE, 1.0);
        let mut pixels = Vec::new();
        peaks.start(&mut pixels);
        let drawing = Drawing { peaks, codec: format.codec, head, heard: 0, pixels, file: None, place };
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

    /// The file with the peaks of `bytes` bytes of sound; `None` where it has those of others. It blocks.
    pub(super) fn finish(&self, bytes: u64) -> io::Result<Option<Part>> {
        let drawing = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drawing.filter(|drawing| drawing.heard == bytes).map(Drawing::finish).transpose()
    }
}

impl Drawing {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sound = &bytes[self.head.min(bytes.len())..];
        self.head -= bytes.len() - sound.len();
        self.heard += sound.len() as u64;
        let mut samples = [0; STEP];
        match self.codec {
            // Packets are whole samples, and blocks whole packets.
            Codec::S16le => {
                for some in sound.as_chunks::<2>().0.chunks(STEP) {
                    samples.iter_mut().zip(some).for_each(|(sample, &two)| *sample = i16::from_le_bytes(two));
                    self.draw(&samples[..some.len()])?;
                }
            }
            Codec::Mulaw | Codec::Alaw | Codec::Opus => {
                let table = if self.codec == Codec::Mulaw { &g711::MULAW } else { &g711::ALAW };
                for some in sound.chunks(STEP) {
                    samples.iter_mut().zip(some).for_each(|(sample, &one)| *sample = table[usize::from(one)]);
                    self.draw(&samples[..some.len()])?;
                }
            }
        }
        if self.pixels.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn draw(&mut self, samples: &[i16]) -> io::Result<()> {
        self.peaks.push(samples, &mut self.pixels).map_err(io::Error::other)
    }

    /// The file is closed in between: a descriptor is worth more than the time that this takes.
    fn write(&mut self) -> io::Result<()> {
        if let Some(part) = &self.file {
            OpenOptions::new().append(true).open(part.path())?.write_all(&self.pixels)?;
        } else {
            let (part, writer) = Part::create(self.place.clone())?;
            self.file = Some(part);
            writer.into_file().write_all(&self.pixels)?;
        }
        self.pixels.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Part> {
        self.peaks.finish(&mut self.pixels).map_err(io::Error::other)?;
        self.write()?;
        let Some(part) = self.file.take() else { return Err(io::ErrorKind::NotFound.into()) };
        if let Some(head) = self.peaks.head() {
            OpenOptions::new().write(true).open(part.path())?.write_all_at(&head, 0)?;
        }
        Ok(part)
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
        let place = || self.inner().cache.part();
        self.sketches().then(|| Sketch::begin(header, place())).flatten()
    }

    /// Keeps that of a track whose file is its sound as it was heard.
    pub(super) async fn keep_sketch(&self, recording: &LiveRecording, track: &Settled) {
        let Some(sketch) = recording.take_sketch(track.log.id()) else { return };
        let (format, heard) = (track.header.format, track.layout.counters.media_samples);
        let bytes = wav::Head::of(format, None).map_or(0, |head| heard * head.block_align());
        match blocking(move || sketch.finish(bytes)).await {
            Ok(Some(part)) => {
                let key = kept_key(recording.id, &[track.log.id()], format.channels, BASE);
                self.keep_drawn(recording, &key, part).await;
            }
            Ok(None) => {}
            Err(error) => {
                debug!(recording = %recording.id, %error, "a track's peaks are made when they are wanted")
            }
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
