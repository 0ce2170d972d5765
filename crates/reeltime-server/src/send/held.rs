//! Audio that cannot be read twice, held until it is acknowledged: a bounded window over a pipe. When it is full, the
//! pipe is not read, and whoever fills it waits.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use tokio::sync::Notify;

/// Bytes that are held at most: more than four minutes of 16 kHz mono.
pub(super) const MOST: usize = 16 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// The window.
#[derive(Debug)]
pub(super) struct Held {
    state: Mutex<State>,
    room: Condvar,
    more: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// The place of the first of them.
    start: u64,
    /// Once the pipe has ended, or why it broke.
    end: Option<Result<(), String>>,
}

impl Held {
    /// Reads `input` on a thread of its own, since a pipe may block for ever; `finish` judges its end.
    pub(super) fn fill(
        input: impl Read + Send + 'static,
        most: usize,
        finish: impl FnOnce(std::io::Result<()>) -> Result<(), String> + Send + 'static,
    ) -> Arc<Self> {
        let held =
            Arc::new(Self { state: Mutex::default(), room: Condvar::new(), more: Notify::new(), most });
        let filled = Arc::clone(&held);
        std::thread::spawn(move || {
            let end = finish(filled.pump(input));
            filled.lock().end = Some(end);
            filled.more.notify_one();
        });
        held
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(&self, mut input: impl Read) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK.min(self.most)];
        loop {
            let read = match input.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let state = self.lock();
            let full = |state: &mut State| state.bytes.len() + read > self.most;
            let mut state = self.room.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
            state.bytes.extend(&chunk[..read]);
            drop(state);
            self.more.notify_one();
        }
    }

    /// Bytes from `at` on: at least `least`, unless the pipe ends, and at most `most`. Empty at the end.
    ///
    /// # Errors
    /// Where the pipe broke, or `at` was given up already.
    pub(super) async fn read(&self, at: u64, least: usize, most: usize) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(bytes) = self.now(at, least, most)? {
                return Ok(bytes);
            }
            self.more.notified().await;
        }
    }

    fn now(&self, at: u64, least: usize, most: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let state = self.lock();
        let Some(skipped) = at.checked_sub(state.start) else {
            bail!("the server asks for audio that it had acknowledged, and that is gone");
        };
        let there = (state.bytes.len() as u64).saturating_sub(skipped) as usize;
        if there < least && state.end.is_none() {
            return Ok(None);
        }
        if let (0, Some(Err(why))) = (there, &state.end) {
            bail!("{why}");
        }
        let bytes = state.bytes.range(state.bytes.len() - there..).take(most).copied().collect();
        Ok(Some(bytes))
    }

    /// What lies before `place` is not needed any more.
    pub(super) fn release(&self, place: u64) {
        let mut state = self.lock();
        let gone = place.saturating_sub(state.start).min(state.bytes.len() as u64);
        state.bytes.drain(..gone as usize);
        state.start += gone;
        drop(state);
        self.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc;
    use std::time::Duration;

    fn ended(read: io::Result<()>) -> Result<(), String> {
        read.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_was_not_acknowledged_is_read_again() {
        let held = Held::fill(&b"0123456789"[..], 64, ended);
        assert_eq!(held.read(0, 4, 4).await.unwrap(), b"0123");
        assert_eq!(held.read(4, 4, 100).await.unwrap(), b"456789");
        assert_eq!(held.read(2, 1, 3).await.unwrap(), b"234");
        held.release(5);
        assert_eq!(held.read(5, 100, 100).await.unwrap(), b"56789");
        assert_eq!(held.read(10, 1, 1).await.unwrap(), b"");
        assert!(held.read(4, 1, 1).await.unwrap_err().to_string().contains("gone"));
    }

    /// Says how much was read of it; never ends.
    struct Endless(mpsc::Sender<usize>);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let _ = self.0.send(into.len());
            Ok(into.len())
        }
    }

    #[test]
    fn a_full_window_is_not_filled_until_something_is_acknowledged() {
        let (sender, receiver) = mpsc::channel();
        let held = Held::fill(Endless(sender), 10, ended);
        let wait = Duration::from_secs(20);
        // One is held, one waits in the hands of the thread; the third is not read.
        assert_eq!((receiver.recv_timeout(wait), receiver.recv_timeout(wait)), (Ok(10), Ok(10)));
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err());
        held.release(10);
        assert_eq!(receiver.recv_timeout(wait), Ok(10));
        assert!(held.lock().bytes.len() <= 10);
    }

    #[tokio::test]
    async fn a_pipe_that_broke_says_why_behind_what_it_gave() {
        let held = Held::fill(&b"abc"[..], 64, |_| Err("it broke".to_owned()));
        assert_eq!(held.read(0, 8, 8).await.unwrap(), b"abc");
        assert_eq!(held.read(3, 8, 8).await.unwrap_err().to_string(), "it broke");
    }
}
