//! The one writer, with group commit.
//!
//! A task owns the writing connection. It takes every write that waits (up to [`BATCH`]), runs each inside a
//! savepoint of its own in one `BEGIN IMMEDIATE` transaction, commits, and only then answers them all. A write
//! that is refused rolls back to its savepoint and does not touch the others; a commit that fails fails all.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use crate::catalogue::CatalogueError;

/// How many writes share a transaction at most, and how many wait before their callers do.
const BATCH: usize = 256;

/// A handle to the writer; the task ends when it is closed or dropped.
#[derive(Debug)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
}

enum Message {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A write whose type of answer is not known here.
trait Job: Send {
    /// Runs it and keeps its value.
    fn run<'c>(&'c mut self, db: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), Failure>>;
    /// Answers with the value kept, or with why there is none.
    fn answer(self: Box<Self>, outcome: Result<(), CatalogueError>);
}

type Work<T> = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Failure>> + Send>;

struct Write<T> {
    work: Option<Work<T>>,
    value: Option<T>,
    caller: oneshot::Sender<Result<T, CatalogueError>>,
}

impl<T: Send> Job for Write<T> {
    fn run<'c>(&'c mut self, db: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), Failure>> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.value = Some(work(db).await?);
            }
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), CatalogueError>) {
        let Self { value, caller, .. } = *self;
        // A caller that no longer waits changes nothing: its write was made or not, as if the answer was lost.
        let _ = caller.send(outcome.and_then(|()| value.ok_or(CatalogueError::Closed)));
    }
}

impl Writer {
    pub(super) fn start(connection: SqliteConnection, path: Arc<Path>) -> Self {
        let (sender, messages) = mpsc::channel(BATCH);
        tokio::spawn(run(connection, path, messages));
        Self { messages: sender }
    }

    /// Runs `work` in a transaction and returns once that is durable. It is done to its end even when the
    /// caller stops waiting.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, CatalogueError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Failure>> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Write { work: Some(Box::new(work)), value: None, caller };
        self.messages.send(Message::Write(Box::new(job))).await.map_err(|_| CatalogueError::Closed)?;
        answer.await.map_err(|_| CatalogueError::Closed)?
    }

    /// Ends the writer after what is queued; returns once the file is closed.
    pub(super) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.messages.send(Message::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn run(mut db: SqliteConnection, path: Arc<Path>, mut messages: mpsc::Receiver<Message>) {
    let mut waiting = Vec::with_capacity(BATCH);
    let mut closing = None;
    while closing.is_none() && messages.recv_many(&mut waiting, BATCH).await > 0 {
        let mut jobs = Vec::with_capacity(waiting.len());
        for message in waiting.drain(..) {
            match message {
                Message::Write(job) if closing.is_none() => jobs.push(job),
                Message::Write(late) => late.answer(Err(CatalogueError::Closed)),
                Message::Close(closed) => closing = Some(closed),
            }
        }
        commit(&mut db, &path, jobs).await;
    }
    if let Err(error) = db.close().await {
        tracing::warn!(%error, path = %path.display(), "the catalogue did not close cleanly");
    }
    if let Some(closed) = closing {
        let _ = closed.send(());
    }
}

/// Runs the jobs in one transaction and answers them.
async fn commit(db: &mut SqliteConnection, path: &Path, mut jobs: Vec<Box<dyn Job>>) {
    if jobs.is_empty() {
        return;
    }
    match transact(db, path, &mut jobs).await {
        Ok(outcomes) => jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| job.answer(outcome)),
        Err(failure) => {
            // Where the failure ended the transaction already, there is nothing left to roll back.
            let _ = execute(db, "ROLLBACK").await;
            let error = failure.explain(path);
            jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
        }
    }
}

/// The outcome of each job, all of them committed; or why none is.
async fn transact(
    db: &mut SqliteConnection,
    path: &Path,
    jobs: &mut [Box<dyn Job>],
) -> Result<Vec<Result<(), CatalogueError>>, Failure> {
    // Each statement is a message to the thread that has the database, so those without values go together.
    execute(db, "BEGIN IMMEDIATE; SAVEPOINT job").await?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    let count = jobs.len();
    for (number, job) in jobs.iter_mut().enumerate() {
        let outcome = job.run(db).await;
        let next = match (outcome.is_ok(), number + 1 == count) {
            (true, false) => "RELEASE job; SAVEPOINT job",
            (false, false) => "ROLLBACK TO job; RELEASE job; SAVEPOINT job",
            (true, true) => "RELEASE job; COMMIT",
            (false, true) => "ROLLBACK TO job; RELEASE job; COMMIT",
        };
        execute(db, next).await?;
        outcomes.push(outcome.map_err(|failure| failure.explain(path)));
    }
    Ok(outcomes)
}

async fn execute(db: &mut SqliteConnection, statement: &'static str) -> Result<(), Failure> {
    sqlx::query(statement).execute(db).await?;
    Ok(())
}
