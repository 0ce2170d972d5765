//! The uploader: a fixed number of workers, a bounded queue, and a folder that is looked through again and again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use reeltime_core::keys::ObjectKey;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, error, info, warn};

use super::transfer::{blocking, transfer};
use super::{EnqueueError, RecordingJob, Retry, Scan, UploadError};
use crate::store::Store;

/// Files that failed, of which is remembered which key they were to have and until when they rest.
const MOST_KNOWN: usize = 4_096;
/// Causes of refusals that are remembered as said.
const MOST_SAID: usize = 64;
/// How soon a folder is looked through again that had more than fits.
const SOON: Duration = Duration::from_millis(500);

/// What an uploader is told. [`UploaderConfig::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct UploaderConfig {
    /// Files uploaded at a time.
    pub workers: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// How often a file is tried again before it is left to the next scan.
    pub retries: usize,
    /// How long between two tries.
    pub retry: Retry,
    /// The folder to look through.
    pub scan: Option<Scan>,
    /// Whether each file is read back from the store and its CRC32C compared before it is removed here. Where the store
    /// lets nobody read, its length alone is compared.
    pub read_back: bool,
}

impl UploaderConfig {
    /// Values that are not above zero become the defaults: 2 workers, a queue of 32, 3 retries.
    pub fn new(workers: i32, queue: i32, retries: i32) -> Self {
        let or =
            |value: i32, default: usize| usize::try_from(value).ok().filter(|n| *n > 0).unwrap_or(default);
        Self {
            workers: or(workers, 2),
            queue: or(queue, 32),
            retries: or(retries, 3),
            retry: Retry::default(),
            scan: None,
            read_back: true,
        }
    }
}

impl Default for UploaderConfig {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

/// Jobs were still being worked on when an uploader's time was up. Their files stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{jobs} uploads were not done in time: their files stay, the next start takes them up")]
pub struct Unfinished {
    /// How many.
    pub jobs: usize,
}

/// Uploads finished files and removes them once the store has them. Dropping it stops it at once, as
/// [`shutdown`](Self::shutdown) without any time; files stay where they are.
///
/// Metrics: `recording_jobs_enqueued_total`, `recording_jobs_success_total`, `recording_jobs_failed_total` (jobs that
/// were given up until the next scan, or not taken), `recording_queue_depth` (jobs that wait or are worked on).
#[derive(Debug)]
pub struct Uploader {
    shared: Arc<Shared>,
    workers: tokio::sync::Mutex<JoinSet<()>>,
    scanning: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    config: UploaderConfig,
    /// `None` once it is shut down.
    queue: Mutex<Option<mpsc::Sender<RecordingJob>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that wait or are worked on.
    busy: HashSet<PathBuf>,
    known: HashMap<PathBuf, Known>,
    said: BTreeSet<String>,
}

/// A file that was not taken or not uploaded.
#[derive(Debug)]
struct Known {
    key: ObjectKey,
    rests_until: Instant,
}

impl Uploader {
    /// Starts the workers, and the first scan. Needs a tokio runtime.
    pub fn start(store: Arc<dyn Store>, config: UploaderConfig) -> Self {
        let (sender, jobs) = mpsc::channel(config.queue.max(1));
        let jobs = Arc::new(tokio::sync::Mutex::new(jobs));
        let shared =
            Arc::new(Shared { store, config, queue: Mutex::new(Some(sender)), state: Mutex::default() });
        let mut workers = JoinSet::new();
        for _ in 0..shared.config.workers.max(1) {
            workers.spawn(work(Arc::clone(&shared), Arc::clone(&jobs)));
        }
        let scan = shared.config.scan.clone();
        let scanning = scan.map(|scan| tokio::spawn(look(Arc::clone(&shared), scan)).abort_handle());
        Self { shared, workers: tokio::sync::Mutex::new(workers), scanning }
    }

    /// Hands a finished file over. Never waits. A file that is in the queue already is left there.
    ///
    /// # Errors
    /// [`EnqueueError`]; then the file stays, and the next scan takes it up, under the same key.
    pub fn enqueue(&self, job: RecordingJob) -> Result<(), EnqueueError> {
        self.shared.enqueue(job)
    }

    /// Jobs that wait or are worked on.
    pub fn depth(&self) -> usize {
        self.shared.lock().busy.len()
    }

    /// Takes no more jobs, and waits up to `deadline` for those it has. Safe beside [`enqueue`](Self::enqueue).
    ///
    /// # Errors
    /// [`Unfinished`] where some were not done by then.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Unfinished> {
        self.stop_taking();
        let mut workers = self.workers.lock().await;
        let all = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            workers.shutdown().await;
        }
        match self.shared.forget_busy() {
            0 => Ok(()),
            jobs => Err(Unfinished { jobs }),
        }
    }

    fn stop_taking(&self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(scanning) = &self.scanning {
            scanning.abort();
        }
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.stop_taking();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, job: RecordingJob) -> Result<(), EnqueueError> {
        let path = job.local_path.clone();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = queue.as_ref() else { return Err(EnqueueError::Closed { path }) };
        let mut state = self.lock();
        if !state.busy.insert(path.clone()) {
            return Ok(());
        }
        match sender.try_send(job) {
            Ok(()) => {
                counter!("recording_jobs_enqueued_total").increment(1);
                gauge!("recording_queue_depth").increment(1.0);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => {
                counter!("recording_jobs_failed_total").increment(1);
                state.busy.remove(&path);
                state.know(job, Instant::now());
                Err(EnqueueError::QueueFull { path, capacity: self.config.queue })
            }
        }
    }

    /// Gives up what is not done; how many there were.
    fn forget_busy(&self) -> usize {
        let busy = std::mem::take(&mut self.lock().busy);
        gauge!("recording_queue_depth").decrement(busy.len() as f64);
        busy.len()
    }

    /// Tries a job as often as the settings say.
    async fn upload(&self, job: &RecordingJob) -> Result<ObjectKey, UploadError> {
        let mut failures = 0_u32;
        loop {
            match transfer(&*self.store, job, self.config.read_back).await {
                Err(error) if error.is_passing() && (failures as usize) < self.config.retries => {
                    failures += 1;
                    debug!(file = %job.local_path.display(), %error, failures, "cannot upload yet");
                    tokio::time::sleep(self.config.retry.wait(failures, fastrand::f64())).await;
                }
                done => return done,
            }
        }
    }

    fn done(&self, job: RecordingJob, outcome: Result<ObjectKey, UploadError>) {
        let file = job.local_path.clone();
        gauge!("recording_queue_depth").decrement(1.0);
        let mut state = self.lock();
        state.busy.remove(&file);
        match outcome {
            Ok(key) => {
                counter!("recording_jobs_success_total").increment(1);
                state.known.remove(&file);
                info!(file = %file.display(), %key, "uploaded");
            }
            Err(error) => {
                counter!("recording_jobs_failed_total").increment(1);
                state.say(&file, &error);
                state.know(job, Instant::now() + self.config.retry.refused);
            }
        }
    }
}

impl State {
    /// Remembers the key that a file was to have, and lets it rest.
    fn know(&mut self, job: RecordingJob, rests_until: Instant) {
        if self.known.len() < MOST_KNOWN || self.known.contains_key(&job.local_path) {
            self.known.insert(job.local_path, Known { key: job.key, rests_until });
        }
    }

    fn is_due(&self, path: &Path, now: Instant) -> bool {
        !self.busy.contains(path) && self.known.get(path).is_none_or(|known| known.rests_until <= now)
    }

    fn say(&mut self, file: &Path, error: &UploadError) {
        let file = file.display();
        if error.is_passing() {
            warn!(%file, %error, "cannot upload now; the file stays, the next scan takes it up");
            return;
        }
        if self.said.len() >= MOST_SAID {
            self.said.clear();
        }
        if self.said.insert(error.to_string()) {
            error!(%file, %error, "this does not pass by itself; the file stays and is looked at again each minute");
        }
    }
}

async fn work(shared: Arc<Shared>, jobs: Arc<tokio::sync::Mutex<mpsc::Receiver<RecordingJob>>>) {
    loop {
        let next = jobs.lock().await.recv().await;
        let Some(job) = next else { return };
        let outcome = shared.upload(&job).await;
        shared.done(job, outcome);
    }
}

/// Looks through the folder for ever; soon again where more was found than there was room for.
async fn look(shared: Arc<Shared>, scan: Scan) {
    loop {
        let room = shared.room();
        let found = match shared.scan(&scan, room).await {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "cannot look for files to upload; trying again");
                0
            }
        };
        // A queue without room is as good as a folder with more than fits.
        let pause = if found == room { SOON.min(scan.interval) } else { scan.interval };
        tokio::time::sleep(pause).await;
    }
}

impl Shared {
    /// How many jobs fit that nobody handed over: half of the queue is left to those who do.
    fn room(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let free = queue.as_ref().map_or(0, mpsc::Sender::capacity);
        free.saturating_sub(self.config.queue / 2)
    }

    /// Takes up to `room` files of the folder; how many there were.
    async fn scan(self: &Arc<Self>, scan: &Scan, room: usize) -> Result<usize, UploadError> {
        if room == 0 {
            return Ok(0);
        }
        let (shared, scan, now) = (Arc::clone(self), scan.clone(), Instant::now());
        let folder = scan.folder.clone();
        let look = move || scan.look(room, |path| shared.lock().is_due(path, now));
        let jobs = blocking("look through", folder, look).await?;
        let found = jobs.len();
        for mut job in jobs {
            if let Some(known) = self.lock().known.get(&job.local_path) {
                job.key = known.key.clone();
            }
            // What does not fit any more is found again.
            let _ = self.enqueue(job);
        }
        Ok(found)
    }
}
