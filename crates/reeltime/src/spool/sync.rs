//! The sync pool: fdatasync side by side. One file after the other, 1,000 dirty files take seconds; from eight
//! threads a tenth of a second, since the file system joins their commits.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use reeltime_core::id::TrackId;

use super::Shared;
use super::disk::DiskFile;
use super::shard::{Mark, Message, ShardHandle, SyncDone};

/// Files that one thread syncs before it reports.
const BATCH: usize = 16;

/// One file to sync.
pub(super) struct SyncJob {
    pub(super) track: TrackId,
    pub(super) number: u32,
    /// The file's place among all created, while its name is not yet known to be durable.
    pub(super) unnamed: Option<u64>,
    pub(super) mark: Mark,
    pub(super) file: Arc<dyn DiskFile>,
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
        let done = jobs.into_iter().map(|job| sync(shared, job)).collect();
        reply.send(Message::Synced(done));
    }
}

fn sync(shared: &Shared, job: SyncJob) -> SyncDone {
    let named = |created| sync_folder(shared, created);
    let result = job.file.sync().and_then(|()| job.unnamed.map_or(Ok(()), named));
    SyncDone { track: job.track, number: job.number, mark: job.mark, result }
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
