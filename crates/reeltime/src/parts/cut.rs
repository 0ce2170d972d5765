//! A body cut in parts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blocking::blocking;
use crate::error::Error;
use crate::store::{ByteStream, PART, read_file};

/// What is to be stored.
pub(crate) enum Body {
    /// Bytes as they are made.
    Stream(ByteStream),
    /// A file that is whole, and its size: parts that were sent from it need not be read again.
    File(Arc<File>, u64),
}

impl Body {
    /// A whole file.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, Error> {
        let open = move || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            io::Result::Ok(Self::File(Arc::new(file), size))
        };
        blocking(open).await.map_err(Error::Spool)
    }
}

/// A part on its way.
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) body: Bytes,
    /// The bytes can not change any more: who has sent them need not look at them again.
    pub(super) lasting: bool,
    /// Its place in memory.
    pub(super) room: OwnedSemaphorePermit,
}

/// Cuts a body.
pub(super) struct Cuts {
    source: Source,
    /// Parts given, or passed over.
    count: u32,
    size: u64,
}

enum Source {
    Stream { stream: ByteStream, rest: Vec<u8>, ended: bool, first: Option<OwnedSemaphorePermit> },
    File { file: Arc<File>, size: u64 },
}

impl Cuts {
    pub(super) fn new(body: Body) -> Self {
        let source = match body {
            Body::Stream(stream) => Source::Stream { stream, rest: Vec::new(), ended: false, first: None },
            Body::File(file, size) => Source::File { file, size },
        };
        Self { source, count: 0, size: 0 }
    }

    /// The whole body, where it fits into one part; nothing is passed by this.
    pub(super) async fn one(&mut self, room: &Arc<Semaphore>) -> Result<Option<ByteStream>, Error> {
        match &mut self.source {
            Source::File { file, size } if *size <= PART as u64 => {
                Ok(Some(read_file(Arc::clone(file), 0..*size)))
            }
            Source::File { .. } => Ok(None),
            Source::Stream { stream, rest, ended, first } => {
                *first = Arc::clone(room).acquire_owned().await.ok();
                *ended = fill(stream, rest).await?;
                let whole = (*ended).then(|| ByteStream::from_bytes(Bytes::from(std::mem::take(rest))));
                Ok(whole)
            }
        }
    }

    /// The next part. Of a file, those that `known` knows are passed over, and the first part comes last.
    pub(super) async fn next(
        &mut self,
        known: impl Fn(u32) -> bool,
        room: impl Future<Output = OwnedSemaphorePermit>,
    ) -> Result<Option<Part>, Error> {
        match &mut self.source {
            Source::File { file, size } => {
                let parts = parts(*size);
                self.size = *size;
                while self.count < parts {
                    self.count += 1;
                    let number = if self.count < parts { self.count + 1 } else { 1 };
                    let bytes = (*size - u64::from(number - 1) * PART as u64).min(PART as u64);
                    if number == 1 || bytes < PART as u64 || !known(number) {
                        let room = room.await;
                        let body = read(Arc::clone(file), number, bytes as usize).await?;
                        return Ok(Some(Part { number, body, lasting: true, room }));
                    }
                }
                Ok(None)
            }
            Source::Stream { stream, rest, ended, first } => {
                let room = match first.take() {
                    Some(room) => room,
                    None => room.await,
                };
                if !*ended {
                    *ended = fill(stream, rest).await?;
                }
                // Nothing at all is a part too: an upload has at least one.
                if rest.is_empty() && self.count > 0 {
                    return Ok(None);
                }
                let behind = rest.split_off(rest.len().min(PART));
                let body = Bytes::from(std::mem::replace(rest, behind));
                self.count += 1;
                self.size += body.len() as u64;
                Ok(Some(Part { number: self.count, body, lasting: false, room }))
            }
        }
    }

    /// How many parts there are, and bytes in them; known once all are given.
    pub(super) const fn total(&self) -> (u32, u64) {
        (self.count, self.size)
    }
}

fn parts(size: u64) -> u32 {
    u32::try_from(size.div_ceil(PART as u64)).unwrap_or(u32::MAX)
}

/// Reads on until there is more than a part. `true`: that was all.
async fn fill(stream: &mut ByteStream, rest: &mut Vec<u8>) -> Result<bool, Error> {
    while rest.len() <= PART {
        match stream.next().await {
            Some(chunk) => rest.extend_from_slice(&chunk.map_err(Error::Spool)?),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// The `bytes` bytes of part `number` of a file.
pub(super) async fn read(file: Arc<File>, number: u32, bytes: usize) -> Result<Bytes, Error> {
    let read = move || {
        let mut body = vec![0; bytes];
        file.read_exact_at(&mut body, u64::from(number - 1) * PART as u64)?;
        io::Result::Ok(Bytes::from(body))
    };
    blocking(read).await.map_err(Error::Spool)
}
