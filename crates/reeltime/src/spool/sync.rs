//! The sync pool. One file after the other, 1,000 dirty files take seconds; from eight threads a tenth of a second,
//! since the file system joins their commits. Many at once are synced by one call for the whole file system, at half
//! the cost; where that fails, each file is asked by itself, since each keeps its own error. Where it is slow, others
//! write to the same file system, and for a while it is not used.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reeltime_core::id::TrackId;

use super::Shared;
use super::disk::DiskFile;
use super::shard::{Mark, Message, ShardHandle, SyncDone};

/// Files that one thread syncs before it reports.
const BATCH: usize = 16;
/// From so many files on, one call syncs all.
const MANY: usize = 64;
/// A call that takes longer waits for what others write.
const SLOW: Duration = Duration::from_secs(1);
/// How long it is then not used.
const REST: Duration = Duration::from_secs(60);

/// One file to sync.
pub(super) struct SyncJob {
    pub(super) track: TrackId,
    pub(super) number: u32,
    /// The file's place among all created, while its name is not yet known to be durable.
    pub(super) unnamed: Option<u64>,
    pub(super) mark: Mark,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) sound: Option<Arc<dyn DiskFile>>,
}

impl std::fmt::Debug for SyncJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncJob")
            .field("track", &self.track)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

type Batch = (Vec<SyncJob>, ShardHandle);

/// Hands batches to the threads.
#[derive(Clone)]
pub(super) struct SyncPool(Sender<Batch>);

impl SyncPool {
    pub(super) fn start(shared: &Arc<Shared>, threads: usize) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let (shared, receiver) = (Arc::clone(shared), Arc::clone(&receiver));
            std::thread::Builder::new()
                .name(format!("spool-sync-{number}"))
                .stack_size(128 * 1024)
                .spawn(move || work(&shared, &receiver))?;
        }
        Ok(Self(sender))
    }

    pub(super) fn submit(&self, jobs: Vec<SyncJob>, reply: &ShardHandle) {
        // The threads end only when the last sender does.
        let _ = self.0.send((jobs, reply.clone()));
    }

    pub(super) fn submit_batches(&self, jobs: Vec<SyncJob>, reply: &ShardHandle) {
        if jobs.len() >= MANY {
            self.submit(jobs, reply);
        } else {
            self.submit_each(jobs, reply);
        }
    }

    /// Has each file synced by itself, side by side.
    pub(super) fn submit_each(&self, jobs: Vec<SyncJob>, reply: &ShardHandle) {
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            self.submit(jobs.by_ref().take(BATCH).collect(), reply);
        }
    }
}

fn work(shared: &Shared, inbox: &Mutex<Receiver<Batch>>) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((jobs, reply)) = next else { return };
        if jobs.len() < MANY {
            reply.send(Message::Synced(jobs.into_iter().map(|job| sync(shared, job)).collect()));
        } else if sync_all(shared) {
            reply.send(Message::Synced(jobs.into_iter().map(|job| named(shared, job)).collect()));
        } else {
            reply.send(Message::SyncEach(jobs));
        }
    }
}

/// Syncs the whole file system, names too; false where each file has to be asked. One call at a time: the system
/// reports a failure once, so whoever comes after one that failed must not take silence for success.
fn sync_all(shared: &Shared) -> bool {
    let mut rests = shared.sync_all_rests.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    if rests.is_some_and(|until| start < until) {
        return false;
    }
    let reached = shared.created.load(Ordering::Acquire);
    let done = shared.disk.sync_all().is_ok();
    if !done || start.elapsed() > SLOW {
        *rests = Some(Instant::now() + REST);
    }
    if done {
        let mut names = shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.synced = names.synced.max(reached);
    }
    done
}

/// A file whose bytes are synced: what is left is its name.
fn named(shared: &Shared, job: SyncJob) -> SyncDone {
    let result = job.unnamed.map_or(Ok(()), |created| sync_folder(shared, created));
    SyncDone { track: job.track, number: job.number, mark: job.mark, result }
}

fn sync(shared: &Shared, job: SyncJob) -> SyncDone {
    match job.sound.as_ref().map_or(Ok(()), |sound| sound.sync()).and_then(|()| job.file.sync()) {
        Ok(()) => named(shared, job),
        Err(error) => SyncDone { track: job.track, number: job.number, mark: job.mark, result: Err(error) },
    }
}

/// How far the names of files are durable, counted as files are created.
#[derive(Debug, Default)]
pub(super) struct Names {
    synced: u64,
    /// A sync of the folder failed for the files up to this: a later one that succeeds says nothing about them.
    failed: u64,
}

/// Makes the name of the file that was created as such a one durable: one fsync of the folder serves all that
/// waited for it.
fn sync_folder(shared: &Shared, created: u64) -> io::Result<()> {
    let mut names = shared.names.lock().unwrap_or_else(PoisonError::into_inner);
    if created <= names.failed {
        return Err(io::Error::other("a sync of the folder has failed since this file was created"));
    }
    if created <= names.synced {
        return Ok(());
    }
    let reached = shared.created.load(Ordering::Acquire);
    let result = shared.disk.sync_folder();
    let until = if result.is_ok() { &mut names.synced } else { &mut names.failed };
    *until = reached;
    result
}
