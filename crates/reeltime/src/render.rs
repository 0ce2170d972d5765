//! The renderer: from a track's log to the bytes of a file, on a thread of its own, in constant memory. One code
//! for live, final and on demand.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reeltime_core::log::Record;
use reeltime_core::media::Format;
use reeltime_core::render::{Output, TrackRenderer};
use reeltime_core::timeline::{Counting, Layout, Survey};

use crate::spool::{Chain, Cursor, Disk, Item, TrackLog, read_chain, read_on};
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
    let mut closed = Ok(false);
    read_chain(&job.chain, |item| {
        closed = feed(&mut renderer, item, out);
        if matches!(closed, Ok(false)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(failed)?;
    if !closed? {
        finish(&mut renderer, out)?;
    }
    Ok(())
}

/// Renders what a record gives; true once nothing more is wanted.
fn feed(renderer: &mut TrackRenderer, item: Item<'_>, out: &mut Out<'_>) -> Result<bool, StreamClosed> {
    let Item::Record(Record::Packet(packet)) = item else { return Ok(false) };
    let mut more = renderer.packet(packet.meta, packet.payload, &mut out.buffer);
    while !out.pass_on()? {
        if !more {
            return Ok(false);
        }
        more = renderer.more(&mut out.buffer);
    }
    Ok(true)
}

fn finish(renderer: &mut TrackRenderer, out: &mut Out<'_>) -> Result<(), StreamClosed> {
    let mut more = renderer.finish(&mut out.buffer);
    while more && !out.pass_on()? {
        more = renderer.more(&mut out.buffer);
    }
    out.flush()
}

/// How often a live track that is followed is looked at.
const BEAT: Duration = Duration::from_millis(250);

/// Renders a live track to its end, wherever that will be: its bytes come as they are received.
pub(crate) fn follow(disk: Arc<dyn Disk>, log: Arc<TrackLog>, output: Output) -> ByteStream {
    let (sender, stream) = ByteStream::channel(2);
    tokio::spawn(async move {
        let header = log.header();
        let empty = Layout::default();
        let Ok(renderer) = TrackRenderer::new(header.format, header.counting, &empty, output) else { return };
        let mut follower =
            Follower { disk, log, renderer, cursor: Cursor::default(), sender, begun: false, chain: None };
        loop {
            // In this order: what is appended before the end is seen, is also read.
            let ended = follower.log.is_closed();
            follower.log.flush().await;
            let step = tokio::task::spawn_blocking(move || follower.step(ended).map(|()| follower));
            // The reader went away, or the log cannot be read: then the body breaks off.
            let Ok(Ok(next)) = step.await else { return };
            if ended {
                let _ = next.sender.finish().await;
                return;
            }
            follower = next;
            tokio::time::sleep(BEAT).await;
        }
    });
    stream
}

struct Follower {
    disk: Arc<dyn Disk>,
    log: Arc<TrackLog>,
    renderer: TrackRenderer,
    cursor: Cursor,
    sender: ByteSender,
    begun: bool,
    /// The log's files as last found. They stay readable after a publisher has released the log, which it may do
    /// before the last step here.
    chain: Option<Chain>,
}

impl Follower {
    /// Renders what has come since the last step.
    fn step(&mut self, last: bool) -> Result<(), Stop> {
        let failed = |error: io::Error| Stop::Failed(error);
        let chain = match (Chain::find(&*self.disk, self.log.id()), self.chain.take()) {
            (Ok(found), _) => self.chain.insert(found),
            (Err(_released), Some(kept)) => self.chain.insert(kept),
            (Err(error), None) => return Err(failed(io::Error::other(error))),
        };
        let layout = match self.log.layout() {
            Some(layout) => layout,
            None => survey_chain(chain).map_err(failed)?,
        };
        self.renderer.extend(&layout);
        let mut out = Out::new(&self.sender, None);
        if !std::mem::replace(&mut self.begun, true) {
            self.renderer.head(&mut out.buffer);
        }
        let mut closed = Ok(false);
        read_on(chain, &mut self.cursor, |item| {
            closed = feed(&mut self.renderer, item, &mut out);
            if closed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(failed)?;
        closed?;
        if last {
            finish(&mut self.renderer, &mut out)?;
        }
        Ok(out.flush()?)
    }
}

/// A track's timeline from its files, as they are now.
pub(crate) fn survey_chain(chain: &Chain) -> io::Result<Layout> {
    let header = chain.header();
    let mut survey = Survey::new(header.format, header.counting);
    read_chain(chain, |item| {
        match item {
            Item::Record(Record::Packet(packet)) => {
                survey.packet(packet.meta, header.format.samples_in(packet.payload).unwrap_or(0));
            }
            Item::Record(Record::Event(arrival, event)) => survey.event(arrival, &event),
            Item::Record(Record::Footer(_)) | Item::Damage { .. } => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(survey.layout())
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
