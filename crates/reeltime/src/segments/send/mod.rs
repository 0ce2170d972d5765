//! The sender of segments: cuts every recording while it lasts, and sends the pieces on.
//!
//! ```text
//! a track's log ─▶ LivePcm ─▶ cuts::Cutter ─▶ {participant}/segment_000.flac ─▶ journal ─▶ store, or a recording API
//!   (follow)       samples      silences        (file)                          cut, sent       (upload, api)
//! ```
//!
//! It reads what the recorder has logged and changes nothing about it: where it fails, the recording goes on. A
//! recording's logs are released only when it has cut them; a segment's file goes when it has arrived. What happened
//! stands in a journal, so that a process that is killed at any point goes on where it was: indexes never begin again,
//! and no segment that is known to have arrived is sent again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeltime_core::id::RecordingId;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use crate::blocking::blocking;
use crate::error::Error;
use crate::recorder::{Clock, LiveRecording};
use crate::spare::Spare;
use crate::spool::Disk;
use crate::store::{Bandwidth, Store};

mod api;
mod batch;
mod config;
mod error;
mod file;
mod follow;
mod journal;
mod outgoing;
mod removal;
mod upload;

pub use config::{ApiTarget, SegmentsConfig, Target, TargetError};

use journal::{Begun, Journal};
use outgoing::Outgoing;

/// The segments' folder in the data folder.
const FOLDER: &str = "segments";
/// How often a line tells how things stand.
const STATUS: Duration = Duration::from_secs(30);

/// The sender, or nothing where segments are off. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentSender(Option<Arc<Shared>>);

struct Shared {
    config: SegmentsConfig,
    to: Way,
    folder: PathBuf,
    spare: Spare,
    turns: Semaphore,
    recordings: Mutex<HashMap<RecordingId, Arc<Outgoing>>>,
    /// Recordings that are about to be among them.
    beginning: AtomicUsize,
    counts: Counts,
}

/// One recording's segments, for who waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Following(Arc<Outgoing>);

/// A segment that was cut and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentSegment {
    /// Who speaks.
    pub participant: String,
    /// Its number among the participant's segments.
    pub index: u64,
    /// Unix time of its first sample, in milliseconds.
    pub start_ms: i64,
    /// Unix time of its end, in milliseconds.
    pub end_ms: i64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Its key in the store, or its address as the API has told it; an API that takes all at the end tells none.
    pub place: Option<String>,
}

/// The target, opened.
enum Way {
    Store(Arc<dyn Store>),
    Api(Box<api::Api>),
}

#[derive(Debug, Default)]
struct Counts {
    cut: AtomicU64,
    short: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// How the sending of segments stands. Totals count from the process's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentFigures {
    /// Segments that were cut.
    pub cut: u64,
    /// What was too short to be one.
    pub short: u64,
    /// Segments that arrived, and their bytes.
    pub sent: u64,
    /// Bytes of the segments that arrived.
    pub sent_bytes: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Recordings that were not cut, since there were too many.
    pub refused: u64,
    /// Segments that wait on the disk.
    pub waiting: u64,
    /// Bytes of the segments that wait.
    pub waiting_bytes: u64,
    /// Speakers in the middle of a segment.
    pub speakers: u64,
    /// Recordings of which something is still to be cut or sent.
    pub recordings: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentSender").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SegmentSender {
    /// Takes up what an earlier process left in the data folder. `bandwidth` is what an API's uploads share with the
    /// store's. It blocks.
    ///
    /// # Errors
    /// Where the folder cannot be made or read.
    pub(crate) fn open(
        config: Option<SegmentsConfig>,
        data_dir: &Path,
        store: &Arc<dyn Store>,
        bandwidth: Option<Bandwidth>,
        spare: u64,
    ) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        let Some(config) = config else { return Ok(Self::default()) };
        std::fs::create_dir_all(&folder)?;
        let spare = Spare::new(folder.clone(), spare);
        let to = match &config.target {
            Target::Store => Way::Store(Arc::clone(store)),
            Target::Api(target) => {
                Way::Api(Box::new(api::Api::new(target.clone(), bandwidth).map_err(io::Error::other)?))
            }
        };
        let recordings = Mutex::new(left_over(&folder, &config.target.to_string())?);
        let turns = Semaphore::new(config.parallel.max(1));
        let counts = Counts::default();
        Ok(Self(Some(Arc::new(Shared {
            config,
            to,
            folder,
            spare,
            turns,
            recordings,
            beginning: AtomicUsize::new(0),
            counts,
        }))))
    }

    /// Starts to cut a recording, unless too many are cut already. One that was begun before goes on.
    pub(crate) async fn follow(&self, disk: &Arc<dyn Disk>, clock: Clock, recording: &Arc<LiveRecording>) {
        let Some(shared) = self.0.clone() else { return };
        let (disk, recording) = (Arc::clone(disk), Arc::clone(recording));
        // In a task of its own: who opens the session may go away.
        let beginning = tokio::spawn(async move {
            let (with, of) = (Arc::clone(&shared), Arc::clone(&recording));
            let outgoing = match blocking(move || with.begin(&of)).await {
                Ok(Some(outgoing)) if !outgoing.is_all_cut() => outgoing,
                Ok(_) => return,
                Err(error) => {
                    error!(recording = %recording.id, %error, "cannot cut segments of it; the recording itself goes on");
                    return;
                }
            };
            shared.start_sending(&outgoing);
            let following = follow::follow(shared, disk, clock, recording, Arc::clone(&outgoing));
            outgoing.add_task(tokio::spawn(following).abort_handle());
        });
        // It ends without a result.
        let _ = beginning.await;
    }

    /// Whether a recording's logs are still needed.
    pub(crate) fn needs(&self, recording: RecordingId) -> bool {
        self.0
            .as_ref()
            .and_then(|shared| shared.get(recording))
            .is_some_and(|outgoing| !outgoing.is_all_cut())
    }

    /// A recording's segments; `None` where none are cut of it.
    pub(crate) fn following(&self, recording: RecordingId) -> Option<Following> {
        self.0.as_ref()?.get(recording).map(Following)
    }

    /// Waits until a recording's logs are not needed any more.
    pub(crate) async fn until_cut(&self, recording: RecordingId) {
        if let Some(outgoing) = self.0.as_ref().and_then(|shared| shared.get(recording)) {
            outgoing.until_cut().await;
        }
    }

    /// Goes on with what earlier processes left, `followed` telling whose logs are there; and says how things stand from
    /// time to time.
    pub(crate) fn go_on(&self, followed: impl Fn(RecordingId) -> bool) {
        let Some(shared) = &self.0 else { return };
        for outgoing in shared.all() {
            if !followed(outgoing.id) {
                outgoing.all_cut();
            }
            shared.start_sending(&outgoing);
        }
        tokio::spawn(tell(Arc::downgrade(shared)));
    }

    /// Gives up a recording's segments, here and in the store, also those of a time when they were on: its owner deleted
    /// it. Until those in the store are gone, its folder says so, and holds nothing else.
    ///
    /// # Errors
    /// Where something of it may still be there.
    pub(crate) async fn remove(
        &self,
        recording: RecordingId,
        data_dir: &Path,
        store: &dyn Store,
    ) -> Result<(), Error> {
        if let Some(outgoing) = self.0.as_ref().and_then(|shared| shared.lock().remove(&recording)) {
            outgoing.abandon();
        }
        let sends = self.0.as_ref().is_some_and(|shared| matches!(shared.to, Way::Store(_)));
        let folder = data_dir.join(FOLDER).join(recording.to_string());
        let emptied = folder.clone();
        // The folder stays as long as the recording: without one, nothing was ever cut of it.
        if !blocking(move || removal::begin(&emptied, sends)).await.map_err(Error::Spool)? {
            return Ok(());
        }
        for object in store.list(&upload::prefix(recording)).await? {
            store.delete(&object.key).await?;
        }
        remove_folder(folder).await;
        Ok(())
    }

    /// Goes on with what [`Self::remove`] could not finish, also in an earlier process.
    ///
    /// # Errors
    /// Where something may still be there.
    pub(crate) async fn sweep(&self, data_dir: &Path, store: &dyn Store) -> Result<(), Error> {
        let folder = data_dir.join(FOLDER);
        for recording in blocking(move || removal::begun(&folder)).await.map_err(Error::Spool)? {
            self.remove(recording, data_dir, store).await?;
        }
        Ok(())
    }

    /// How things stand.
    pub(crate) fn figures(&self) -> SegmentFigures {
        self.0.as_ref().map(|shared| shared.figures()).unwrap_or_default()
    }
}

impl Following {
    /// Waits until all have arrived, or the rest was given up: those that arrived, and how many were refused.
    pub(crate) async fn arrived(&self) -> io::Result<(Vec<SentSegment>, u64)> {
        self.0.until_over().await;
        let told = |journal: &mut Journal| Ok((journal.segments()?, journal.done, journal.refused));
        let (segments, done, refused) = self.0.ask(told).await?;
        let arrived = segments.into_iter().filter(|(_, sent)| done || sent.is_some());
        let arrived = arrived.map(|(segment, sent)| SentSegment {
            participant: segment.participant,
            index: segment.index,
            start_ms: segment.start_ms,
            end_ms: segment.end_ms,
            bytes: segment.bytes,
            place: sent.map(|sent| sent.url),
        });
        Ok((arrived.collect(), refused))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<RecordingId, Arc<Outgoing>>> {
        self.recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, recording: RecordingId) -> Option<Arc<Outgoing>> {
        self.lock().get(&recording).cloned()
    }

    fn all(&self) -> Vec<Arc<Outgoing>> {
        self.lock().values().cloned().collect()
    }

    /// The recording's place, made where there is none; `None` where there are too many. It waits for the disk.
    fn begin(&self, recording: &LiveRecording) -> io::Result<Option<Arc<Outgoing>>> {
        if let Some(known) = self.get(recording.id) {
            return Ok(Some(known));
        }
        if !self.begins() {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            warn!(recording = %recording.id, most = self.config.max_recordings, "no segments are cut of it: too many recordings are cut already; the recording itself goes on");
            return Ok(None);
        }
        let begun = Begun {
            recording: recording.id,
            call: recording.call_name(),
            started_ms: recording.created.0 / 1_000,
            target: self.config.target.to_string(),
        };
        let journal = Journal::create(&self.folder.join(recording.id.to_string()), begun);
        let mut recordings = self.lock();
        self.beginning.fetch_sub(1, Ordering::Relaxed);
        let outgoing = Arc::new(Outgoing::new(journal?));
        recordings.insert(recording.id, Arc::clone(&outgoing));
        Ok(Some(outgoing))
    }

    /// Counts one more that begins, unless there are too many.
    fn begins(&self) -> bool {
        let recordings = self.lock();
        let live = recordings.values().filter(|outgoing| !outgoing.is_all_cut()).count();
        let room = live + self.beginning.load(Ordering::Relaxed) < self.config.max_recordings;
        if room {
            self.beginning.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    fn start_sending(self: &Arc<Self>, outgoing: &Arc<Outgoing>) {
        if outgoing.sending.swap(true, Ordering::AcqRel) {
            return;
        }
        let sending = upload::send(Arc::clone(self), Arc::clone(outgoing));
        outgoing.add_task(tokio::spawn(sending).abort_handle());
    }

    /// All of it has arrived.
    async fn settle(&self, outgoing: &Arc<Outgoing>) {
        let refused = outgoing.ask(|journal| Ok(journal.refused)).await.unwrap_or(0);
        info!(recording = %outgoing.id, refused, "all segments have arrived");
        self.lock().remove(&outgoing.id);
        outgoing.end();
        if !self.config.keep_local && refused == 0 {
            remove_folder(outgoing.folder.clone()).await;
        }
    }

    fn figures(&self) -> SegmentFigures {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        let all = self.all();
        let waiting: Vec<_> = all.iter().map(|outgoing| outgoing.waiting()).collect();
        SegmentFigures {
            cut: of(&counts.cut),
            short: of(&counts.short),
            sent: of(&counts.sent),
            sent_bytes: of(&counts.sent_bytes),
            failed: of(&counts.failed),
            refused: of(&counts.refused),
            waiting: waiting.iter().map(|(segments, _)| segments).sum(),
            waiting_bytes: waiting.iter().map(|(_, bytes)| bytes).sum(),
            speakers: all.iter().map(|outgoing| outgoing.speaking.load(Ordering::Relaxed) as u64).sum(),
            recordings: all.len() as u64,
        }
    }
}

async fn remove_folder(folder: PathBuf) {
    let place = folder.clone();
    if let Err(error) = blocking(move || std::fs::remove_dir_all(folder)).await {
        warn!(folder = %place.display(), %error, "files of segments cannot be removed");
    }
}

/// What earlier processes began for this target and did not finish. What cannot be read is left as it is, and so is
/// what was meant for another.
fn left_over(folder: &Path, target: &str) -> io::Result<HashMap<RecordingId, Arc<Outgoing>>> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let place = entry?.path();
        if removal::is_begun(&place) {
            continue;
        }
        match Journal::open(&place) {
            Ok(Some(journal)) if journal.done => {}
            Ok(Some(journal)) if journal.begun.target != target => {
                warn!(folder = %place.display(), target = %journal.begun.target, "segments wait for another target: they are sent when `segments` names it");
            }
            Ok(Some(journal)) => {
                found.insert(journal.begun.recording, Arc::new(Outgoing::new(journal)));
            }
            Ok(None) => {}
            Err(error) => {
                error!(folder = %place.display(), %error, "segments cannot be taken up; they are left as they are")
            }
        }
    }
    Ok(found)
}

/// Tells how things stand while there is anything to tell.
async fn tell(shared: std::sync::Weak<Shared>) {
    let mut beat = tokio::time::interval(STATUS);
    beat.tick().await;
    loop {
        beat.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let figures = shared.figures();
        if figures.recordings > 0 {
            let memory_kib = memory_kib().await.unwrap_or(0);
            info!(
                memory_kib,
                waiting_bytes = figures.waiting_bytes,
                uploaded_segments = figures.sent,
                active_speakers = figures.speakers,
                "segments"
            );
        }
    }
}

/// What the process holds in memory, in KiB (proc(5), status: `VmRSS`).
async fn memory_kib() -> Option<u64> {
    let text = tokio::fs::read_to_string("/proc/self/status").await.ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
