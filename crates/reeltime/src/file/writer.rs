//! The threads that write and sync all open files of one file system.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::growing::OpenFile;

/// How often queues are written: the most audio that a crash of the process costs.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// How often files are synced: with the above, the most audio that a power loss costs.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Files that one thread syncs, and the most threads that do: one after the other, 1,000 files take seconds.
const FILES_A_THREAD: usize = 16;
const SYNC_THREADS: usize = 8;
const STACK: usize = 128 * 1024;

/// By device number. They stay: there are as many as file systems, and without open files they sleep.
static WRITERS: Mutex<BTreeMap<u64, Arc<Writer>>> = Mutex::new(BTreeMap::new());

/// The open files of one file system.
#[derive(Default)]
pub(super) struct Writer {
    files: Mutex<Files>,
    wake: Condvar,
}

#[derive(Default)]
struct Files {
    open: Vec<Arc<OpenFile>>,
    /// A queue runs full: do not wait for the interval.
    hurry: bool,
}

impl Writer {
    /// The writer of a device; its threads are started where it is the first file there.
    pub(super) fn of(device: u64) -> io::Result<Arc<Self>> {
        let mut writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writers.get(&device) {
            return Ok(Arc::clone(writer));
        }
        let writer = Arc::new(Self::default());
        start("wav-writer", &writer, write_for_ever)?;
        start("wav-sync", &writer, sync_for_ever)?;
        writers.insert(device, Arc::clone(&writer));
        Ok(writer)
    }

    pub(super) fn add(&self, file: &Arc<OpenFile>) {
        self.lock().open.push(Arc::clone(file));
        self.wake.notify_all();
    }

    pub(super) fn remove(&self, file: &Arc<OpenFile>) {
        self.lock().open.retain(|open| !Arc::ptr_eq(open, file));
    }

    /// Has the queues written at once.
    pub(super) fn hurry(&self) {
        self.lock().hurry = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are files; sleeps while there are none.
    fn some_open(&self) -> MutexGuard<'_, Files> {
        self.wake
            .wait_while(self.lock(), |files| files.open.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next time to write; the files as of then.
    fn next_round(&self) -> Vec<Arc<OpenFile>> {
        let waited = self.wake.wait_timeout_while(self.some_open(), FLUSH_INTERVAL, |files| !files.hurry);
        let (mut files, _) = waited.unwrap_or_else(PoisonError::into_inner);
        files.hurry = false;
        files.open.clone()
    }
}

fn start(name: &str, writer: &Arc<Writer>, run: fn(&Writer)) -> io::Result<()> {
    let writer = Arc::clone(writer);
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || run(&writer))?;
    Ok(())
}

fn write_for_ever(writer: &Writer) {
    let mut block = Vec::new();
    loop {
        for file in writer.next_round() {
            file.flush(&mut block);
        }
    }
}

fn sync_for_ever(writer: &Writer) {
    loop {
        drop(writer.some_open());
        thread::sleep(SYNC_INTERVAL);
        let files = writer.lock().open.clone();
        sync_side_by_side(&files);
    }
}

fn sync_side_by_side(files: &[Arc<OpenFile>]) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            file.sync();
        }
    };
    thread::scope(|scope| {
        for _ in 1..files.len().div_ceil(FILES_A_THREAD).min(SYNC_THREADS) {
            // With fewer threads it only takes longer.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
        work();
    });
}
