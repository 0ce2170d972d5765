//! A body cut into parts, one in memory at a time.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::store::{ByteStream, PART};

/// A body as parts of [`PART`] bytes, the last one shorter.
pub(super) struct Parts {
    body: ByteStream,
    /// What was read beyond the part before; empty only at the end.
    rest: Bytes,
    started: bool,
}

impl Parts {
    pub(super) fn new(body: ByteStream) -> Self {
        Self { body, rest: Bytes::new(), started: false }
    }

    /// The next part, never empty; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.started {
            self.started = true;
            self.refill().await?;
        }
        let mut part = BytesMut::new();
        while part.len() < PART && !self.rest.is_empty() {
            let taken = self.rest.split_to(self.rest.len().min(PART - part.len()));
            part.extend_from_slice(&taken);
            self.refill().await?;
        }
        Ok(Some(part.freeze()).filter(|part| !part.is_empty()))
    }

    /// Whether the part before was the last, once there was one.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    async fn refill(&mut self) -> io::Result<()> {
        while self.rest.is_empty() {
            match self.body.next().await {
                Some(chunk) => self.rest = chunk?,
                None => break,
            }
        }
        Ok(())
    }
}
