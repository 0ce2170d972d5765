//! The body of an object on its way: a bounded queue of chunks with an explicit end.
//!
//! The end is a message of its own. If closing the queue were the end, a writer that panicked half way would
//! leave a file that looks complete.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// The size of a chunk that suits every store, in bytes. Writers may send others.
pub const CHUNK: usize = 256 * 1024;

enum Item {
    Chunk(Bytes),
    Failed(io::Error),
    End,
}

/// The reading end of a body. A [`Stream`] of chunks; after an error or the end it yields nothing more.
#[derive(Debug)]
pub struct ByteStream {
    items: mpsc::Receiver<Item>,
    ended: bool,
    /// Counts the bytes that pass.
    counters: Vec<metrics::Counter>,
}

/// The writing end of a body. Dropped without [`finish`](Self::finish), it makes the reader fail.
#[derive(Debug)]
pub struct ByteSender {
    items: mpsc::Sender<Item>,
}

/// The reader of a body went away; what is sent has no one to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the body went away")]
pub struct StreamClosed;

impl ByteStream {
    /// A body and its writer, with at most `depth` chunks between them (at least one). A full queue makes the
    /// writer wait.
    pub fn channel(depth: usize) -> (ByteSender, Self) {
        let (sender, items) = mpsc::channel(depth.max(1));
        (ByteSender { items: sender }, Self { items, ended: false, counters: Vec::new() })
    }

    /// A body that is already there.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let (sender, body) = Self::channel(2);
        // The queue has room for both.
        let _ = sender.items.try_send(Item::Chunk(bytes));
        let _ = sender.items.try_send(Item::End);
        body
    }

    /// The same body, whose bytes `counter` counts as they are read.
    pub(crate) fn counted(mut self, counter: metrics::Counter) -> Self {
        self.counters.push(counter);
        self
    }

    /// The next chunk, for a thread that may block; `None` at the end.
    pub fn blocking_next(&mut self) -> Option<io::Result<Bytes>> {
        if self.ended {
            return None;
        }
        let item = self.items.blocking_recv();
        self.take(item)
    }

    fn take(&mut self, item: Option<Item>) -> Option<io::Result<Bytes>> {
        let next = match item {
            Some(Item::Chunk(chunk)) => {
                for counter in &self.counters {
                    counter.increment(chunk.len() as u64);
                }
                return Some(Ok(chunk));
            }
            Some(Item::End) => None,
            Some(Item::Failed(error)) => Some(Err(error)),
            None => {
                Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the writer went away before the end")))
            }
        };
        self.ended = true;
        next
    }
}

impl Stream for ByteStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.items.poll_recv(cx).map(|item| self.take(item))
    }
}

impl From<Bytes> for ByteStream {
    fn from(bytes: Bytes) -> Self {
        Self::from_bytes(bytes)
    }
}

impl ByteSender {
    /// Sends a chunk, waiting while the queue is full.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub async fn send(&self, chunk: Bytes) -> Result<(), StreamClosed> {
        self.items.send(Item::Chunk(chunk)).await.map_err(|_| StreamClosed)
    }

    /// [`send`](Self::send) for a thread that may block.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub fn blocking_send(&self, chunk: Bytes) -> Result<(), StreamClosed> {
        self.items.blocking_send(Item::Chunk(chunk)).map_err(|_| StreamClosed)
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// Ends the body: it is complete.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub async fn finish(self) -> Result<(), StreamClosed> {
        self.items.send(Item::End).await.map_err(|_| StreamClosed)
    }

    /// [`finish`](Self::finish) for a thread that may block.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub fn blocking_finish(self) -> Result<(), StreamClosed> {
        self.items.blocking_send(Item::End).map_err(|_| StreamClosed)
    }

    /// Ends the body with an error; whoever reads it fails with it.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub async fn fail(self, error: io::Error) -> Result<(), StreamClosed> {
        self.items.send(Item::Failed(error)).await.map_err(|_| StreamClosed)
    }

    /// [`fail`](Self::fail) for a thread that may block.
    ///
    /// # Errors
    /// [`StreamClosed`] where nobody reads any more.
    pub fn blocking_fail(self, error: io::Error) -> Result<(), StreamClosed> {
        self.items.blocking_send(Item::Failed(error)).map_err(|_| StreamClosed)
    }
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chunk(chunk) => write!(f, "Chunk({} bytes)", chunk.len()),
            Self::Failed(error) => write!(f, "Failed({error})"),
            Self::End => f.write_str("End"),
        }
    }
}
