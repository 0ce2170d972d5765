//! The spool: a log per track on the local disk, and the only code that writes one.
//!
//! Four verbs: *append* (into the track's block, [`TrackLog::append`]), *sync* (to the disk, each
//! `sync_interval`), *ship* (to a remote store, [`crate::ship`]), *release* ([`Spool::release`]).
//!
//! ```text
//! session ──append──▶ active block ──swap──▶ spare block ──write(2)──▶ {track}-{number}.log ──fdatasync──▶ acked
//!            (its own thread)        each flush_interval, one thread a shard      each sync_interval, 8 threads
//!                                                           └────────▶ {track}-{number}.wav, where payload is samples
//! ```
//!
//! Invariants:
//! - `received ≥ appended ≥ written ≥ synced`; a client is told `synced` and nothing else.
//! - A log is released with a [`Published`] in hand, or with the [`Removed`] of a recording that its owner deleted, and
//!   in no other way.
//! - One process uses a data folder at a time ([`FolderLock`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reeltime_core::bundle::Kind;
use reeltime_core::id::TrackId;
use reeltime_core::log::LogHeader;
use reeltime_core::timeline::Survey;
use tracing::{info, warn};

use crate::catalogue::{Published, Removed};

mod copy;
pub mod disk;
mod lock;
mod pen;
mod reach;
mod reader;
mod recover;
mod restore;
mod shard;
mod sound;
mod sync;
mod track;

pub use disk::{Disk, DiskFile, LocalDisk};
pub use lock::{FolderLock, LockError};
pub use reach::{Extent, Piece, Shippable};
pub use reader::{Chain, ChainError, Cursor, Item, Reach, read_chain, read_on};
pub use recover::{RecoveredTrack, Recovery, recover, recover_some};
pub(crate) use restore::{Restore, settle_restored};
pub use sound::FinishedSound;
pub(crate) use sound::GrowingSound;
pub use track::{Appended, LogClosed, TrackLog};

use shard::{Message, Shard, ShardHandle};
use sync::SyncPool;

const RESERVE: &str = "reserve";

/// Is given the bytes of a track's sound file, as they are written; not those of the files that may follow it. It is called
/// on the writer's thread.
pub(crate) type Listener = Box<dyn FnMut(&[u8]) + Send>;

/// What the spool is told.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// How often blocks are written: the most audio that a crash of the process costs.
    pub flush_interval: Duration,
    /// How often logs are synced: with `flush_interval`, the most audio that a power loss costs.
    pub sync_interval: Duration,
    /// Bytes set aside for live recordings when the disk is full.
    pub reserve: u64,
    /// The most bytes that logs may take together; new sessions are refused beyond. 0: no limit.
    pub budget: u64,
    /// Writer threads.
    pub shards: usize,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_millis(200),
            sync_interval: Duration::from_secs(1),
            reserve: 64 << 20,
            budget: 0,
            shards: std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4)),
        }
    }
}

/// What all of the spool's threads share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    config: SpoolConfig,
    /// Files created, and how many of them are known to be durable by name.
    created: AtomicU64,
    names: Mutex<sync::Names>,
    /// Until when files are synced one by one.
    sync_all_rests: Mutex<Option<std::time::Instant>>,
    bytes: AtomicU64,
    free: AtomicU64,
    reserved: AtomicBool,
    totals: Totals,
}

/// Bytes of payload since the start, in the order in which they pass.
#[derive(Debug, Default)]
struct Totals {
    appended: AtomicU64,
    written: AtomicU64,
    synced: AtomicU64,
}

impl Shared {
    fn look_at_space(&self) {
        if let Ok(free) = self.disk.free() {
            self.free.store(free, Ordering::Relaxed);
        }
    }

    /// Looks how much space is left, and sets the reserve aside again once there is plenty.
    fn watch_space(&self) {
        self.look_at_space();
        let free = self.free.load(Ordering::Relaxed);
        if !self.reserved.load(Ordering::Relaxed) && free >= self.config.reserve.saturating_mul(2) {
            self.set_reserve();
        }
    }

    fn set_reserve(&self) {
        match self.disk.reserve(RESERVE, self.config.reserve) {
            Ok(()) => self.reserved.store(true, Ordering::Relaxed),
            Err(error) => {
                // A part of it may have been allocated: live recordings need it more.
                let _ = self.disk.remove(RESERVE);
                warn!(%error, bytes = self.config.reserve, "cannot set the reserve aside");
            }
        }
    }

    /// Gives the reserve to live recordings. False where it was spent before.
    fn spend_reserve(&self) -> bool {
        if self.config.reserve == 0 || !self.reserved.swap(false, Ordering::Relaxed) {
            return false;
        }
        warn!("the disk is full: live recordings go on into the reserve, new sessions are refused");
        self.disk.remove(RESERVE).is_ok()
    }

    fn note_full(&self) {
        self.free.store(0, Ordering::Relaxed);
        metrics::counter!("reeltime_spool_full_writes_total").increment(1);
    }
}

/// Why a new session cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The reserve is in use, or less than its size is left beside it.
    #[error(
        "the disk of the spool is full: {free} bytes are free, a new session needs {reserve} beside what is kept for live ones; free some, or set a smaller --reserve"
    )]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes of the reserve.
        reserve: u64,
    },
    /// The logs take as much as they may.
    #[error(
        "the spool holds {bytes} bytes of its budget of {budget}: recordings are not published fast enough"
    )]
    BudgetSpent {
        /// Bytes of all logs.
        bytes: u64,
        /// Bytes allowed.
        budget: u64,
    },
}

/// Figures of the spool as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all logs.
    pub bytes: u64,
    /// Bytes free on the disk.
    pub free: u64,
    /// Bytes of the reserve.
    pub reserve: u64,
    /// The budget; 0: no limit.
    pub budget: u64,
    /// Whether the reserve is set aside.
    pub reserved: bool,
    /// Bytes of payload that were appended to logs since the start: never less than `written`.
    pub appended: u64,
    /// Bytes of payload written since the start: never less than `synced`.
    pub written: u64,
    /// Bytes of payload synced since the start.
    pub synced: u64,
    /// How long what is written and not synced has waited, at the worst of all tracks.
    pub lag: Duration,
}

/// The logs of all tracks.
pub struct Spool {
    shared: Arc<Shared>,
    shards: Vec<ShardHandle>,
    /// Of each shard, in microseconds.
    lags: Vec<Arc<AtomicU64>>,
    next: AtomicUsize,
}

impl Spool {
    /// Starts the threads on `disk`. Logs that lie there are left alone: see [`recover`].
    ///
    /// # Errors
    /// Where the disk cannot be read or threads cannot be started.
    pub fn start(disk: Arc<dyn Disk>, config: SpoolConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            disk,
            created: AtomicU64::new(0),
            names: Mutex::default(),
            sync_all_rests: Mutex::default(),
            bytes: AtomicU64::new(0),
            free: AtomicU64::new(0),
            reserved: AtomicBool::new(false),
            totals: Totals::default(),
            config,
        });
        // A start after a full disk: what the last process left of the reserve counts as free.
        shared.disk.remove(RESERVE)?;
        shared.set_reserve();
        shared.watch_space();
        let pool = SyncPool::start(&shared, 8)?;
        let lags: Vec<_> = (0..shared.config.shards.max(1)).map(|_| Arc::default()).collect();
        let shards =
            lags.iter().enumerate().map(|(number, lag)| start_shard(&shared, &pool, number, Arc::clone(lag)));
        Ok(Self { shards: shards.collect::<io::Result<_>>()?, lags, shared, next: AtomicUsize::new(0) })
    }

    /// A log for a new track. No file exists until the first append.
    pub fn create(&self, header: LogHeader) -> Arc<TrackLog> {
        self.create_heard(header, None)
    }

    /// A log whose sound file somebody listens to, as it is written.
    pub(crate) fn create_heard(&self, header: LogHeader, listener: Option<Listener>) -> Arc<TrackLog> {
        let survey = Survey::new(header.format, header.counting);
        self.register(header, (0, 0), Some(survey), Vec::new(), listener)
    }

    /// Goes on with a track that another process left open, in a file with the next number.
    pub fn resume(&self, recovered: &RecoveredTrack) -> Arc<TrackLog> {
        let reached = (recovered.samples, recovered.safe);
        let log = self.register(recovered.next_header(), reached, None, recovered.files.clone(), None);
        log.lock().earlier = recovered.bytes;
        log
    }

    /// `reached`: samples so far, and how many of them are safe.
    fn register(
        &self,
        header: LogHeader,
        reached: (u64, u64),
        survey: Option<Survey>,
        files: Vec<Extent>,
        listener: Option<Listener>,
    ) -> Arc<TrackLog> {
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len()];
        let log = Arc::new(TrackLog::new(header, reached, survey, files, shard.clone()));
        shard.send(Message::Register(Arc::clone(&log), listener));
        log
    }

    /// Whether a new session may begin.
    ///
    /// # Errors
    /// [`NoRoom`], with what is missing.
    pub fn admit(&self) -> Result<(), NoRoom> {
        self.shared.look_at_space();
        let usage = self.usage();
        if usage.reserve > 0 && (!usage.reserved || usage.free < usage.reserve) {
            return Err(NoRoom::DiskFull { free: usage.free, reserve: usage.reserve });
        }
        if usage.budget > 0 && usage.bytes >= usage.budget {
            return Err(NoRoom::BudgetSpent { bytes: usage.bytes, budget: usage.budget });
        }
        Ok(())
    }

    /// Figures as of now.
    pub fn usage(&self) -> Usage {
        // The last first, so that what passes meanwhile does not turn the order around.
        let totals = &self.shared.totals;
        let lag = self.lags.iter().map(|lag| lag.load(Ordering::Relaxed));
        Usage {
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            free: self.shared.free.load(Ordering::Relaxed),
            reserve: self.shared.config.reserve,
            budget: self.shared.config.budget,
            reserved: self.shared.reserved.load(Ordering::Relaxed),
            synced: totals.synced.load(Ordering::Acquire),
            written: totals.written.load(Ordering::Acquire),
            appended: totals.appended.load(Ordering::Acquire),
            lag: Duration::from_micros(lag.max().unwrap_or(0)),
        }
    }

    /// Reads a piece of a track's file.
    ///
    /// # Errors
    /// Where the file cannot be read, or is shorter than it was.
    pub(crate) fn read_piece(&self, track: TrackId, piece: &Piece) -> io::Result<Vec<u8>> {
        let name = match piece.kind {
            Kind::Log => file_name(track, piece.number),
            Kind::Sound => sound_name(track, piece.number),
        };
        let length = usize::try_from(piece.bytes.end - piece.bytes.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        match reader::fill(&*self.disk().open(&name)?, &mut bytes, piece.bytes.start)? {
            read if read == length => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The disk, for readers.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// Counts logs that an earlier process left.
    pub(crate) fn adopt_bytes(&self, bytes: u64) {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Removes the logs of a track. Only a published recording may lose its logs, so this takes the proof.
    ///
    /// # Errors
    /// Where a file cannot be removed; the call can be repeated.
    pub fn release(&self, track: TrackId, _proof: &Published) -> io::Result<()> {
        self.remove(track)
    }

    /// Removes the logs of a track whose recording its owner deleted.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn discard(&self, track: TrackId, _proof: &Removed) -> io::Result<()> {
        self.remove(track)
    }

    fn remove(&self, track: TrackId) -> io::Result<()> {
        // From the last to the first: a crash in between leaves a chain that still begins at 0.
        for number in reader::numbers_of(&*self.shared.disk, track)?.into_iter().rev() {
            // The log last: it is what tells that there is something to remove.
            for name in [sound_name(track, number), file_name(track, number)] {
                let size = self.shared.disk.open(&name).and_then(|file| file.size()).unwrap_or(0);
                self.shared.disk.remove(&name)?;
                let _ = self.shared.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                    Some(bytes.saturating_sub(size))
                });
            }
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.send(Message::Quit);
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

fn start_shard(
    shared: &Arc<Shared>,
    pool: &SyncPool,
    number: usize,
    lag: Arc<AtomicU64>,
) -> io::Result<ShardHandle> {
    let (sender, inbox) = std::sync::mpsc::channel();
    let handle = ShardHandle(sender);
    let shard = Shard::new(Arc::clone(shared), inbox, handle.clone(), pool.clone(), lag);
    std::thread::Builder::new().name(format!("spool-writer-{number}")).spawn(move || shard.run())?;
    Ok(handle)
}

/// The name of a track's log file.
fn file_name(track: TrackId, number: u32) -> String {
    format!("{track}-{number}.log")
}

/// The name of the sound file beside it.
fn sound_name(track: TrackId, number: u32) -> String {
    format!("{track}-{number}.wav")
}

/// The track and number that a log file's name tells; `None` for other files.
fn parse_file_name(name: &str) -> Option<(TrackId, u32)> {
    let (track, number) = name.strip_suffix(".log")?.rsplit_once('-')?;
    Some((track.parse().ok()?, number.parse().ok()?))
}

/// The folder of the logs inside a data folder, created where it is missing.
///
/// # Errors
/// Where it cannot be created.
pub fn folder(data_dir: &Path) -> io::Result<PathBuf> {
    let folder = data_dir.join("spool");
    std::fs::create_dir_all(&folder)?;
    info!(folder = %folder.display(), "spool");
    Ok(folder)
}
