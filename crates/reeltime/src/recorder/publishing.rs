//! The workers that publish what has ended: a few, in the order in which recordings ended, for as long as it takes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, warn};

use super::live::LiveRecording;
use super::{Inner, Recorder};
use crate::catalogue::CatalogueError;
use crate::error::Error;
use crate::spans;
use crate::store::StoreError;
use crate::upload::Retry;
use crate::upload::line::{Failure, Figures, Line, Next, Turn};

/// How often an outage that goes on is mentioned.
const REMINDER: Duration = Duration::from_secs(60);
/// Causes of refusals that are remembered as said.
const MOST_SAID: usize = 64;

type Waiting = Turn<Arc<LiveRecording>>;

/// Recordings that have ended and are not published, and who works on them.
#[derive(Debug)]
pub(crate) struct Publishing {
    line: Arc<SharedLine>,
    /// They end when the recorder does.
    workers: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct SharedLine {
    line: Mutex<Line<Arc<LiveRecording>>>,
    /// Rung when something came, or may go on.
    bell: Notify,
    said: Mutex<Said>,
}

/// What the log has been told.
#[derive(Debug, Default)]
struct Said {
    refusals: BTreeSet<String>,
    outage: Option<Instant>,
}

impl Publishing {
    pub(super) fn new(retry: Retry) -> Self {
        let line =
            SharedLine { line: Mutex::new(Line::new(retry)), bell: Notify::new(), said: Mutex::default() };
        Self { line: Arc::new(line), workers: Mutex::default() }
    }

    /// What waits, as of now.
    pub(super) fn figures(&self) -> Figures {
        self.line.lock().figures(Instant::now())
    }
}

impl SharedLine {
    fn lock(&self) -> MutexGuard<'_, Line<Arc<LiveRecording>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    async fn next(&self) -> Waiting {
        loop {
            // Made before the look: it hears whatever is rung from here on.
            let rung = self.bell.notified();
            let next = self.lock().take(Instant::now());
            match next {
                Next::Turn(turn) => return turn,
                Next::Wait(None) => rung.await,
                Next::Wait(Some(until)) => {
                    let _ = tokio::time::timeout_at(until.into(), rung).await;
                }
            }
        }
    }
}

impl Recorder {
    /// Starts the workers.
    pub(super) fn start_publishing(&self) {
        let inner = &self.0;
        let workers = inner.config.upload_workers.unwrap_or(if inner.store.is_remote() { 4 } else { 16 });
        let mut set = inner.publishing.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..workers.max(1) {
            set.spawn(work(Arc::clone(&inner.publishing.line), Arc::downgrade(inner)));
        }
    }

    /// Takes a recording that has ended.
    pub(crate) fn hand_over(&self, recording: Arc<LiveRecording>) {
        metrics::counter!("recording_jobs_enqueued_total").increment(1);
        metrics::gauge!("recording_queue_depth").increment(1.0);
        let bytes = recording.bytes();
        let line = &self.inner().publishing.line;
        let mut waiting = line.lock();
        if waiting.is_away() {
            recording.stop_growing();
        }
        waiting.push(recording, bytes, Instant::now());
        drop(waiting);
        line.bell.notify_waiters();
    }

    /// One attempt at a recording. Deleting one waits for its files, and the other way round.
    async fn attempt(&self, recording: &Arc<LiveRecording>) -> Result<(), Error> {
        let _files = recording.files.lock().await;
        let span = spans::publish(recording);
        let done = self.try_publish(recording).instrument(span.clone()).await;
        spans::failed(&span, done.as_ref().err());
        done
    }

    /// Nothing more is to be done about it here.
    fn let_go(&self, line: &SharedLine, turn: &Waiting) {
        metrics::gauge!("recording_queue_depth").decrement(1.0);
        let over = line.lock().succeeded(turn.number(), Instant::now());
        line.bell.notify_waiters();
        if let Some(lasted) = over {
            let waiting = line.lock().figures(Instant::now()).jobs;
            info!(seconds = lasted.as_secs(), waiting, "recordings can be published again");
        }
        turn.job.span.end();
        self.inner().registry.remove_recording(turn.job.id);
        self.inner().settled.notify_waiters();
    }
}

async fn work(line: Arc<SharedLine>, recorder: Weak<Inner>) {
    loop {
        let turn = line.next().await;
        let Some(inner) = recorder.upgrade() else { return };
        let recorder = Recorder(inner);
        let (attempting, recording) = (recorder.clone(), Arc::clone(&turn.job));
        // In a task of its own: one that dies takes no worker with it.
        let attempt = tokio::spawn(async move { attempting.attempt(&recording).await });
        match attempt.await.unwrap_or_else(|died| Err(Error::Spool(std::io::Error::other(died)))) {
            Ok(()) => {
                metrics::counter!("recording_jobs_success_total").increment(1);
                recorder.let_go(&line, &turn);
            }
            Err(Error::Catalogue(error @ CatalogueError::TakenOver { .. })) => {
                warn!(%error, "its logs stay in the spool: they may hold more than was taken over");
                recorder.let_go(&line, &turn);
            }
            Err(Error::Catalogue(CatalogueError::Closed)) => {
                info!(recording = %turn.job.id, "going down: its logs are kept, the next start publishes it");
                return;
            }
            Err(error) => line.put_back(turn, &error),
        }
    }
}

impl SharedLine {
    fn put_back(&self, turn: Waiting, error: &Error) {
        metrics::counter!("recording_jobs_failed_total").increment(1);
        let (id, failure, now) = (turn.job.id, whose(error), Instant::now());
        turn.job.doubt_entered();
        if failure == Failure::Own {
            // The next attempt believes the files alone.
            turn.job.tracks().iter().for_each(|log| log.forget_survey());
        }
        turn.job.stop_growing();
        let mut line = self.lock();
        let begins = line.failed(turn, failure, now, fastrand::f64());
        if begins {
            line.waiting().for_each(|waiting| waiting.stop_growing());
        }
        drop(line);
        self.bell.notify_waiters();
        let figures = self.lock().figures(now);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Failure::Refused => said.refused(error),
            Failure::Away => said.away(error, begins, &figures, now),
            Failure::Own => {
                error!(recording = %id, %error, "cannot publish yet; its logs are kept, trying again");
            }
        }
    }
}

impl Said {
    /// Once for each cause, since it is the same for every recording.
    fn refused(&mut self, error: &Error) {
        let cause = if let Error::Store(StoreError::Refused { why, .. }) = error {
            why.clone()
        } else {
            error.to_string()
        };
        if self.refusals.len() >= MOST_SAID {
            self.refusals.clear();
        }
        if self.refusals.insert(cause) {
            error!(
                %error,
                "this does not pass by itself; logs are kept, and it is looked at again each minute"
            );
        }
    }

    fn away(&mut self, error: &Error, begins: bool, figures: &Figures, now: Instant) {
        let waiting = figures.jobs;
        if begins {
            error!(%error, waiting, "cannot publish now; logs are kept, trying again until it works");
        } else if self.outage.is_some_and(|said| now.saturating_duration_since(said) < REMINDER) {
            return;
        } else {
            let seconds = figures.outage.unwrap_or_default().as_secs();
            warn!(%error, waiting, seconds, "still cannot publish");
        }
        self.outage = Some(now);
    }
}

/// Whom an error concerns.
const fn whose(error: &Error) -> Failure {
    match error {
        // What the store was given broke, not the store.
        Error::Store(StoreError::Body { .. }) => Failure::Own,
        Error::Store(error) if error.is_passing() => Failure::Away,
        Error::Store(_) => Failure::Refused,
        Error::Catalogue(
            CatalogueError::Locked { .. }
            | CatalogueError::Corrupt { .. }
            | CatalogueError::Unwritable { .. }
            | CatalogueError::Full { .. }
            | CatalogueError::Newer { .. }
            | CatalogueError::Database { .. },
        ) => Failure::Away,
        Error::Catalogue(_)
        | Error::Folder(_)
        | Error::Spool(_)
        | Error::Log(_)
        | Error::Key(_)
        | Error::Node(_)
        | Error::Busy { .. } => Failure::Own,
    }
}
