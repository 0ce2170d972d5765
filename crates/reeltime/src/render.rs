//! The renderer: from a track's log to the bytes of a file, on a thread of its own, in constant memory. One code
//! for live, final and on demand.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use reeltime_core::log::Record;
use reeltime_core::media::Format;
use reeltime_core::render::{Output, TrackRenderer};
use reeltime_core::timeline::{Counting, Layout};

use crate::spool::{Chain, Item, read_chain};
use crate::store::{ByteSender, ByteStream, CHUNK, StreamClosed};

/// One file to make of one track.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) chain: Arc<Chain>,
    pub(crate) format: Format,
    pub(crate) counting: Counting,
    pub(crate) layout: Layout,
    pub(crate) output: Output,
    /// The bytes wanted; all where absent.
    pub(crate) range: Option<Range<u64>>,
}

/// Starts the job; its bytes come as they are made.
pub(crate) fn render(job: Job) -> ByteStream {
    let (sender, stream) = ByteStream::channel(2);
    tokio::task::spawn_blocking(move || run(&job, sender));
    stream
}

fn run(job: &Job, sender: ByteSender) {
    let mut out = Out::new(&sender, job.range.as_ref());
    let done = write(job, &mut out);
    // A reader that went away needs no answer.
    let _ = match done {
        Ok(()) => sender.blocking_finish(),
        Err(Stop::Closed) => Err(StreamClosed),
        Err(Stop::Failed(error)) => sender.blocking_fail(error),
    };
}

enum Stop {
    Closed,
    Failed(io::Error),
}

impl From<StreamClosed> for Stop {
    fn from(_: StreamClosed) -> Self {
        Self::Closed
    }
}

fn write(job: &Job, out: &mut Out<'_>) -> Result<(), Stop> {
    let failed = |error: io::Error| Stop::Failed(error);
    let mut renderer = TrackRenderer::new(job.format, job.counting, &job.layout, job.output)
        .map_err(|error| failed(io::Error::other(error)))?;
    if let Some(range) = &job.range
        && renderer.seek(range.start)
    {
        out.pass = 0;
    }
    renderer.head(&mut out.buffer);
    let mut closed = false;
    read_chain(&job.chain, |item| {
        let Item::Record(Record::Packet(packet)) = item else { return ControlFlow::Continue(()) };
        let mut more = renderer.packet(packet.meta, packet.payload, &mut out.buffer);
        loop {
            match out.pass_on() {
                Ok(false) => {}
                Ok(true) => return ControlFlow::Break(()),
                Err(StreamClosed) => {
                    closed = true;
                    return ControlFlow::Break(());
                }
            }
            if !more {
                return ControlFlow::Continue(());
            }
            more = renderer.more(&mut out.buffer);
        }
    })
    .map_err(failed)?;
    if closed {
        return Err(Stop::Closed);
    }
    let mut more = renderer.finish(&mut out.buffer);
    while more && !out.pass_on()? {
        more = renderer.more(&mut out.buffer);
    }
    out.flush()?;
    Ok(())
}

/// Cuts the renderer's bytes to the range and sends them in chunks.
struct Out<'a> {
    sender: &'a ByteSender,
    buffer: Vec<u8>,
    /// Bytes still to leave out, where the renderer cannot seek.
    pass: u64,
    /// Bytes still wanted.
    left: u64,
}

impl<'a> Out<'a> {
    fn new(sender: &'a ByteSender, range: Option<&Range<u64>>) -> Self {
        let (pass, left) = range.map_or((0, u64::MAX), |range| (range.start, range.end - range.start));
        // Room for a chunk and what one packet may add to it.
        Self { sender, buffer: Vec::with_capacity(CHUNK + CHUNK / 4), pass, left }
    }

    /// Sends the buffer where it is full enough; true once the range is complete.
    fn pass_on(&mut self) -> Result<bool, StreamClosed> {
        if self.pass > 0 {
            let passed = self.pass.min(self.buffer.len() as u64);
            self.buffer.drain(..usize::try_from(passed).unwrap_or(self.buffer.len()));
            self.pass -= passed;
        }
        if self.buffer.len() >= CHUNK || self.buffer.len() as u64 >= self.left {
            self.flush()?;
        }
        Ok(self.left == 0)
    }

    fn flush(&mut self) -> Result<(), StreamClosed> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.buffer.truncate(left);
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.left -= self.buffer.len() as u64;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + CHUNK / 4));
        self.sender.blocking_send(Bytes::from(full))
    }
}
