//! Making a file a chunk at a time, as fast as it is taken.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tracing::Instrument;

use super::Prepared;
use crate::encode::Made;
use crate::render::track::Progress;
use crate::spans;
use crate::store::{ByteSender, ByteStream, StreamClosed};

/// Chunks made at the same time, by the whole process: half of the cores stay with those who are recorded.
pub(super) static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Semaphore::new(cores.div_ceil(2))
});

/// How often a turn is looked for that nobody else wants.
const BEAT: Duration = Duration::from_millis(250);
/// Who takes nothing for so long is not waited for with a room in hand.
const PATIENCE: Duration = Duration::from_secs(10);

/// A turn that nobody else wants.
async fn idle_turn() -> Option<SemaphorePermit<'static>> {
    loop {
        // Those who wait are served first.
        if let Ok(turn) = TURNS.try_acquire() {
            return Some(turn);
        }
        tokio::time::sleep(BEAT).await;
    }
}

impl Prepared {
    /// Gives this back when it is made, or nobody wants it any more.
    pub(crate) fn holding(mut self, room: OwnedSemaphorePermit) -> Self {
        self.room = Some(room);
        self
    }

    /// Makes it only while nobody else has a file made, and rests as long as it works.
    pub(crate) const fn gently(mut self) -> Self {
        self.gentle = true;
        self
    }

    /// Starts to make the file; its bytes come as they are made. `made` is given all of them, or is dropped where
    /// nobody reads any more.
    pub(crate) fn start(self, made: Option<Box<dyn Made>>) -> ByteStream {
        let (sender, stream) = ByteStream::channel(2);
        let span = spans::render(self.tracks.len());
        tokio::spawn(self.run(made, sender).instrument(span));
        stream
    }

    async fn run(mut self, mut made: Option<Box<dyn Made>>, sender: ByteSender) {
        loop {
            let turn = if self.gentle { idle_turn().await } else { TURNS.acquire().await.ok() };
            let begun = Instant::now();
            let step = tokio::task::spawn_blocking(move || {
                let mut done = self.step();
                let chunk = self.out.take();
                if let (Some(made), Ok(progress)) = (&mut made, &done) {
                    let taken = made.bytes(&chunk).and_then(|()| match progress {
                        Progress::AllRead => made.complete(self.renderer.head()),
                        Progress::Full => Ok(()),
                    });
                    done = taken.and(done);
                }
                (self, made, done, chunk)
            });
            let Ok((next, still, done, chunk)) = step.await else { return };
            drop(turn);
            (self, made) = (next, still);
            if self.gentle {
                tokio::time::sleep(begun.elapsed()).await;
            }
            // A reader that went away needs no answer, and the work stops.
            if !chunk.is_empty() && self.hand_over(&sender, chunk).await.is_err() {
                // Its files are closed where that may block.
                tokio::task::spawn_blocking(move || drop((self, made)));
                return;
            }
            match done {
                Ok(Progress::Full) => {}
                Ok(Progress::AllRead) => {
                    let _ = sender.finish().await;
                    return;
                }
                Err(error) => {
                    let _ = sender.fail(error).await;
                    return;
                }
            }
        }
    }

    /// Waits until a chunk is taken. Who takes nothing for a while keeps nobody else from having a file made.
    async fn hand_over(&mut self, sender: &ByteSender, chunk: Bytes) -> Result<(), StreamClosed> {
        let mut sending = pin!(sender.send(chunk));
        if let Ok(taken) = tokio::time::timeout(PATIENCE, &mut sending).await {
            return taken;
        }
        let rooms = self.room.take().map(|room| Arc::clone(room.semaphore()));
        let taken = sending.await;
        if let Some(rooms) = rooms {
            self.room = rooms.acquire_owned().await.ok();
        }
        taken
    }
}
