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
    /// The file's name is not yet known to be durable.
    pub(super) first: bool,
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
    let result = job.file.sync().and_then(|()| if job.first { sync_folder(shared) } else { Ok(()) });
    SyncDone { track: job.track, number: job.number, mark: job.mark, result }
}

/// Makes every file created so far durable by name: one fsync of the folder serves all that waited for it.
fn sync_folder(shared: &Shared) -> io::Result<()> {
    let wanted = shared.created.load(Ordering::Acquire);
    let mut done = shared.folder_synced.lock().unwrap_or_else(PoisonError::into_inner);
    if *done < wanted {
        let reached = shared.created.load(Ordering::Acquire);
        shared.disk.sync_folder()?;
        *done = reached;
    }
    Ok(())
}
