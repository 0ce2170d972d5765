//! One recording's segments on their way out: what the one who cuts and the one who sends have in common.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reeltime_core::cuts::Cut;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::safe_name;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::file::SegmentFile;
use super::journal::{Entry, Journal, Segment};
use crate::blocking::blocking;
use crate::crash;

/// One recording.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: RecordingId,
    pub(super) folder: PathBuf,
    /// Held while it is synced: only on threads that may block.
    journal: Mutex<Journal>,
    /// Segments that wait, and the bytes of their files.
    waiting: AtomicUsize,
    waiting_bytes: AtomicU64,
    /// Rung when there is something to send, or nothing more will come.
    pub(super) changed: Notify,
    /// Becomes true when nothing more will be cut: nobody needs the logs any more.
    cut: watch::Sender<bool>,
    /// Becomes true when nothing more is done for it: all has arrived, or it was given up.
    over: watch::Sender<bool>,
    /// Who is in the middle of a segment.
    pub(super) speaking: AtomicUsize,
    /// Somebody sends them.
    pub(super) sending: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A segment that was cut, and not named yet.
pub(super) struct Finished<'a> {
    pub(super) file: &'a SegmentFile,
    pub(super) bytes: u64,
    pub(super) extension: &'static str,
    pub(super) track: TrackId,
    pub(super) participant: &'a str,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) cut: Cut,
}

impl Outgoing {
    pub(super) fn new(journal: Journal) -> Self {
        let cut = watch::Sender::new(journal.all_cut.is_some());
        let (waiting, bytes) = journal.waiting();
        Self {
            waiting: AtomicUsize::new(waiting),
            waiting_bytes: AtomicU64::new(bytes),
            id: journal.begun.recording,
            folder: journal.folder().to_owned(),
            journal: Mutex::new(journal),
            changed: Notify::new(),
            cut,
            over: watch::Sender::new(false),
            speaking: AtomicUsize::new(0),
            sending: AtomicBool::new(false),
            tasks: Mutex::default(),
        }
    }

    /// The journal, on a thread that may block.
    pub(super) fn journal<T>(&self, with: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let done = with(&mut journal);
        let (waiting, bytes) = journal.waiting();
        self.waiting.store(waiting, Ordering::Relaxed);
        self.waiting_bytes.store(bytes, Ordering::Relaxed);
        done
    }

    /// The journal, from a thread that may not.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        with: impl FnOnce(&mut Journal) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let outgoing = Arc::clone(self);
        blocking(move || outgoing.journal(with)).await
    }

    /// Writes a line.
    pub(super) async fn note(self: &Arc<Self>, entry: Entry) -> io::Result<()> {
        self.ask(move |journal| journal.append(&entry)).await
    }

    /// Segments that wait to be sent, and the bytes of their files.
    pub(super) fn waiting(&self) -> (u64, u64) {
        (self.waiting.load(Ordering::Relaxed) as u64, self.waiting_bytes.load(Ordering::Relaxed))
    }

    /// Names a finished file and hands it over. It blocks.
    ///
    /// # Errors
    /// Where the disk refuses; then the segment was not cut.
    pub(super) fn take(&self, finished: &Finished<'_>) -> io::Result<()> {
        self.journal(|journal| {
            let (number, index) = journal.next_numbers(finished.participant);
            let name = format!("segment_{index:03}.{}", finished.extension);
            let file = format!("{}/{name}", safe_name(finished.participant));
            finished.file.rename(&self.folder.join(&file))?;
            crash::point("segment_named");
            journal.append(&Entry::Cut(Segment {
                number,
                track: finished.track,
                participant: finished.participant.to_owned(),
                index,
                file,
                bytes: finished.bytes,
                start_ms: finished.start_ms,
                end_ms: finished.end_ms,
                next: finished.cut.next,
            }))
        })?;
        crash::point("segment_cut");
        self.changed.notify_one();
        Ok(())
    }

    /// Nothing more will be cut, which the journal knows where it could be told.
    pub(super) fn all_cut(&self) {
        self.cut.send_replace(true);
        self.changed.notify_one();
    }

    /// Whether nothing more will be cut.
    pub(super) fn is_all_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Waits until nothing more will be cut.
    pub(super) async fn until_cut(&self) {
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// Nothing more is done for it.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    /// Waits until nothing more is done for it.
    pub(super) async fn until_over(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(super) fn add_task(&self, task: AbortHandle) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends whoever works on it.
    pub(super) fn abandon(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AbortHandle::abort);
        self.all_cut();
        self.end();
    }
}
