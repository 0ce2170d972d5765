//! The making of peaks: how many at a time, and those that grow while somebody looks at a live recording, so that who
//! asks each second has each second read and no more.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::time::Micros;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Recorder;
use super::cache::CacheKey;
use super::live::LiveRecording;
use super::media::unmixed;
use super::part::{Part, Writer};
use super::publish::survey;
use crate::blocking::BrokenOff;
use crate::error::Error;
use crate::render::{MixJob, Prepared, Since};

/// Peaks that grow at a time; each holds its tracks' windows and a mixer, 300 KiB for one track.
const MOST: usize = 32;
/// How long they are held after they were asked for.
const IDLE: Duration = Duration::from_secs(30);
/// Peaks that are made at a time: they read all of a recording, and recording comes first.
const TURNS: usize = 2;

/// Which tracks, and at how many samples per pixel.
pub(super) type What = (Vec<TrackId>, u32);

/// What is made now.
#[derive(Debug)]
pub(crate) struct Outlines {
    growing: Mutex<HashMap<(RecordingId, What), Entry>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    outline: Arc<tokio::sync::Mutex<Option<Growing>>>,
    asked: Micros,
}

/// Peaks of tracks that are being recorded, as far as they are made.
struct Growing {
    prepared: Prepared,
    writer: Writer,
    file: Arc<File>,
    _part: Part,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Growing").field("bytes", &self.writer.bytes).finish_non_exhaustive()
    }
}

/// The peaks of a live recording that are asked for.
pub(super) struct Outline {
    pub(super) recording: Arc<LiveRecording>,
    pub(super) what: What,
    pub(super) job: MixJob,
    /// Linear gain of what is drawn.
    pub(super) gain: f32,
}

/// A file of peaks as of now: it goes on, what is there stays.
pub(super) struct Grown {
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
}

impl Outlines {
    pub(crate) fn new() -> Self {
        Self { growing: Mutex::default(), turns: Arc::new(Semaphore::new(TURNS)) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RecordingId, What), Entry>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until peaks may be made.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// The place of peaks that grow. Where there are too many, those that were asked for longest ago go.
    fn place(&self, of: (RecordingId, What), now: Micros) -> Arc<tokio::sync::Mutex<Option<Growing>>> {
        let mut growing = self.lock();
        let entry = growing.entry(of).or_insert_with(|| Entry { outline: Arc::default(), asked: now });
        entry.asked = now;
        let outline = Arc::clone(&entry.outline);
        while growing.len() > MOST {
            let oldest = growing.iter().min_by_key(|(_, entry)| entry.asked).map(|(of, _)| of.clone());
            oldest.and_then(|of| growing.remove(&of));
        }
        outline
    }

    /// Lets go of what nobody has asked for in a while.
    pub(super) fn sweep(&self, now: Micros) {
        let mut growing = self.lock();
        if !growing.is_empty() {
            growing.retain(|_, entry| now.since(entry.asked) < IDLE);
        }
    }
}

impl Recorder {
    /// Makes peaks of tracks that change no more, and keeps them where there is room.
    pub(super) async fn make_peaks(
        &self,
        job: &MixJob,
        key: &CacheKey,
        samples_per_pixel: u32,
    ) -> Result<File, Error> {
        let inner = self.inner();
        let (part, writer) = self.part().await?;
        let file = writer.reader().map_err(Error::Spool)?;
        let prepared = job.prepare_peaks(&inner.store, samples_per_pixel, 1.0).await.map_err(unmixed)?;
        let mut made = prepared.start(Some(Box::new(writer)));
        while let Some(chunk) = made.next().await {
            chunk.map_err(Error::Spool)?;
        }
        self.keep(key, part).await?;
        Ok(file)
    }

    /// Brings the peaks of a live recording up to now.
    pub(super) async fn grown(&self, outline: Outline) -> Result<Grown, Error> {
        let place = (outline.recording.id, outline.what.clone());
        let held = self.inner().outlines.place(place, self.inner().clock.now());
        let mut held = held.lock_owned().await;
        let turn = self.inner().outlines.turn().await;
        let recorder = self.clone();
        // In a task of its own: whoever asked may go away, and what was made so far is not lost.
        let growing = tokio::spawn(async move {
            let _turn = turn;
            let begun = match held.take() {
                Some(growing) => growing,
                None => recorder.begin_outline(&outline).await?,
            };
            let growing = recorder.go_on(begun, &outline).await?;
            let grown = Grown { file: Arc::clone(&growing.file), bytes: growing.writer.bytes };
            *held = Some(growing);
            Ok(grown)
        });
        growing.await.map_err(BrokenOff::from)?
    }

    async fn begin_outline(&self, outline: &Outline) -> Result<Growing, Error> {
        let Outline { what: (_, samples_per_pixel), job, gain, .. } = outline;
        let (part, writer) = self.part().await?;
        let file = Arc::new(writer.reader().map_err(Error::Spool)?);
        let store = &self.inner().store;
        let prepared = job.prepare_peaks(store, *samples_per_pixel, *gain).await.map_err(unmixed)?;
        Ok(Growing { prepared, writer, file, _part: part })
    }

    async fn go_on(&self, growing: Growing, outline: &Outline) -> Result<Growing, Error> {
        let disk = self.inner().spool.disk();
        let mut layouts = Vec::new();
        for track in &outline.job.tracks {
            let Some(log) = &track.live else { continue };
            let layout = match log.layout() {
                Some(layout) => layout,
                None => survey(disk, log.id()).await?,
            };
            layouts.push(layout);
            log.flush().await;
        }
        // One track alone waits for nobody.
        let passed = if layouts.len() > 1 { (self.passed(&outline.recording))() } else { Micros(0) };
        let Growing { prepared, writer, file, _part } = growing;
        let since = Since::open(layouts, passed);
        let (prepared, writer) = prepared.catch_up(writer, disk, &since).await.map_err(Error::Spool)?;
        Ok(Growing { prepared, writer, file, _part })
    }
}
