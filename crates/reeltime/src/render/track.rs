//! One track as received: from its log to the bytes of a file.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reeltime_core::log::Record;
use reeltime_core::media::Format;
use reeltime_core::render::{Output, RenderError, TrackRenderer};
use reeltime_core::timeline::{Counting, Layout, Survey};

use crate::blocking::blocking;
use crate::spool::{Chain, Cursor, Disk, Item, Reach, TrackLog, read_chain, read_on};
use crate::store::{ByteSender, ByteStream, CHUNK};

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
    tokio::spawn(async move {
        match Rendering::new(job.format, job.counting, &job.layout, job.output, job.range) {
            Ok(rendering) => snapshot(rendering, job.chain, sender).await,
            Err(error) => {
                let _ = sender.fail(io::Error::other(error)).await;
            }
        }
    });
    stream
}

async fn snapshot(mut rendering: Rendering, chain: Arc<Chain>, sender: ByteSender) {
    loop {
        let chain = Arc::clone(&chain);
        let step = tokio::task::spawn_blocking(move || {
            let done = rendering.step(&chain, Reach::Whole, true);
            (rendering, done)
        });
        let Ok((next, done)) = step.await else { return };
        rendering = next;
        let progress = match done {
            Ok(progress) => progress,
            Err(error) => {
                let _ = sender.fail(error).await;
                return;
            }
        };
        // A reader that went away needs no answer.
        if !rendering.send(&sender).await {
            return;
        }
        if progress == Progress::AllRead {
            let _ = sender.finish().await;
            return;
        }
    }
}

/// How often a live track that is followed is looked at.
const BEAT: Duration = Duration::from_millis(250);

/// Renders a live track to its end, wherever that will be: its bytes come as they are received.
pub(crate) fn follow(disk: Arc<dyn Disk>, log: Arc<TrackLog>, output: Output) -> ByteStream {
    let (sender, stream) = ByteStream::channel(2);
    tokio::spawn(async move {
        let header = log.header();
        let empty = Layout::default();
        let Ok(rendering) = Rendering::new(header.format, header.counting, &empty, output, None) else {
            return;
        };
        Follower { disk, log, rendering, chain: None }.run(sender).await;
    });
    stream
}

struct Follower {
    disk: Arc<dyn Disk>,
    log: Arc<TrackLog>,
    rendering: Rendering,
    /// The log's files as last found. They stay readable after a publisher has released the log, which it may do
    /// before the last step here.
    chain: Option<Chain>,
}

impl Follower {
    async fn run(mut self, sender: ByteSender) {
        loop {
            // In this order: what is appended before the end is seen, is also read.
            let ended = self.log.is_closed();
            self.log.flush().await;
            loop {
                let step = tokio::task::spawn_blocking(move || {
                    let done = self.step(ended);
                    (self, done)
                });
                // A log that cannot be read breaks the body off, and so does a reader that went away.
                let Ok((next, Ok(progress))) = step.await else { return };
                self = next;
                if !self.rendering.send(&sender).await {
                    return;
                }
                if progress == Progress::AllRead {
                    break;
                }
            }
            if ended {
                let _ = sender.finish().await;
                return;
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    fn step(&mut self, last: bool) -> io::Result<Progress> {
        let layout = self.log.layout();
        self.step_by(layout, last)
    }

    /// By this layout, or as the files tell.
    fn step_by(&mut self, layout: Option<Layout>, last: bool) -> io::Result<Progress> {
        let chain = match (Chain::find(&*self.disk, self.log.id()), self.chain.take()) {
            (Ok(found), _) => self.chain.insert(found),
            (Err(_released), Some(kept)) => self.chain.insert(kept),
            (Err(error), None) => return Err(io::Error::other(error)),
        };
        let layout = match layout {
            Some(layout) => layout,
            None => survey_chain(chain)?,
        };
        self.rendering.extend(&layout);
        self.rendering.step(chain, Reach::Growing, last)
    }
}

/// A track's file while the track is recorded: made as far as its log reaches, whenever that is asked for.
pub(crate) struct TrackGrowth(Follower);

impl TrackGrowth {
    /// # Errors
    /// Where the output cannot be made of the track.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        log: &Arc<TrackLog>,
        output: Output,
    ) -> Result<Self, RenderError> {
        let (header, empty) = (log.header(), Layout::default());
        let rendering = Rendering::new(header.format, header.counting, &empty, output, None)?;
        Ok(Self(Follower { disk: Arc::clone(disk), log: Arc::clone(log), rendering, chain: None }))
    }

    /// The next bytes of what is there by now: none where those were the last. `end`: the track is over, and this is
    /// its layout.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(crate) async fn step(mut self: Box<Self>, end: Option<Layout>) -> io::Result<(Box<Self>, Bytes)> {
        blocking(move || {
            let last = end.is_some();
            let layout = end.or_else(|| self.0.log.layout());
            let progress = self.0.step_by(layout, last)?;
            if progress == Progress::AllRead {
                // Nothing is held open until the next time.
                self.0.chain = None;
            }
            let bytes = std::mem::take(&mut self.0.rendering.out.buffer);
            Ok((self, bytes.into()))
        })
        .await
    }

    /// Whether what was made is the beginning of what is made of the track now.
    pub(crate) const fn is_steady(&self) -> bool {
        self.0.rendering.renderer.is_steady()
    }
}

impl std::fmt::Debug for TrackGrowth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackGrowth").field("log", &self.0.log).finish_non_exhaustive()
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A chunk is full; there is more.
    Full,
    /// All is rendered that there is.
    AllRead,
}

/// A file on its way: how far the log was read, and what of the file is not sent yet.
struct Rendering {
    renderer: TrackRenderer,
    cursor: Cursor,
    out: Out,
    begun: bool,
    finished: bool,
    /// The renderer has more to write before its next packet.
    more: bool,
    /// Packets read.
    read: u64,
    /// Packets that the layout knows: what was written since is for later.
    packets: u64,
}

impl Rendering {
    fn new(
        format: Format,
        counting: Counting,
        layout: &Layout,
        output: Output,
        range: Option<Range<u64>>,
    ) -> Result<Self, RenderError> {
        let mut renderer = TrackRenderer::new(format, counting, layout, output)?;
        let (mut pass, left) = range.map_or((0, u64::MAX), |range| (range.start, range.end - range.start));
        if renderer.seek(pass) {
            pass = 0;
        }
        let out = Out::new(pass, left);
        let (cursor, packets) = (Cursor::default(), layout.counters.packets);
        Ok(Self { renderer, cursor, out, begun: false, finished: false, more: false, read: 0, packets })
    }

    fn extend(&mut self, layout: &Layout) {
        self.renderer.extend(layout);
        self.packets = layout.counters.packets;
    }

    /// Renders until a chunk is full or the log, as it is now, is read. `last`: nothing will follow.
    fn step(&mut self, chain: &Chain, reach: Reach, last: bool) -> io::Result<Progress> {
        if !std::mem::replace(&mut self.begun, true) {
            self.renderer.head(&mut self.out.buffer);
        }
        if self.drain().is_break() {
            return Ok(self.out.progress());
        }
        if !self.finished && self.read < self.packets {
            // The cursor is taken, so that the closure may have the rest.
            let mut cursor = std::mem::take(&mut self.cursor);
            let mut flow = ControlFlow::Continue(());
            let read = read_on(chain, &mut cursor, reach, |item| {
                flow = self.feed(&item);
                flow
            });
            self.cursor = cursor;
            read?;
            if flow.is_break() {
                return Ok(self.out.progress());
            }
        }
        if last && !std::mem::replace(&mut self.finished, true) {
            self.more = self.renderer.finish(&mut self.out.buffer);
            if self.drain().is_break() {
                return Ok(self.out.progress());
            }
        }
        Ok(Progress::AllRead)
    }

    fn feed(&mut self, item: &Item<'_>) -> ControlFlow<()> {
        let Item::Record(Record::Packet(packet)) = item else { return ControlFlow::Continue(()) };
        self.more = self.renderer.packet(packet.meta, packet.payload, &mut self.out.buffer);
        self.read += 1;
        let drained = self.drain();
        if self.read < self.packets { drained } else { ControlFlow::Break(()) }
    }

    /// Writes what the renderer holds back, until the chunk is full.
    fn drain(&mut self) -> ControlFlow<()> {
        loop {
            if self.out.is_full() {
                return ControlFlow::Break(());
            }
            if !self.more {
                return ControlFlow::Continue(());
            }
            self.more = self.renderer.more(&mut self.out.buffer);
        }
    }

    /// Sends what is there; false where nobody reads any more.
    async fn send(&mut self, sender: &ByteSender) -> bool {
        self.out.buffer.is_empty() || sender.send(self.out.take()).await.is_ok()
    }
}

/// What is rendered and not sent yet, cut to the range.
pub(super) struct Out {
    /// Room for a chunk and what one packet may add to it.
    pub(super) buffer: Vec<u8>,
    /// Bytes still to leave out, where the renderer cannot seek.
    pass: u64,
    /// Bytes still wanted.
    left: u64,
}

impl Out {
    pub(super) fn new(pass: u64, left: u64) -> Self {
        Self { buffer: Vec::with_capacity(CHUNK + CHUNK / 4), pass, left }
    }

    /// Whether a chunk, or all that is wanted, is there.
    pub(super) fn is_full(&mut self) -> bool {
        if self.pass > 0 {
            let passed = self.pass.min(self.buffer.len() as u64);
            self.buffer.drain(..usize::try_from(passed).unwrap_or(self.buffer.len()));
            self.pass -= passed;
        }
        self.buffer.len() >= CHUNK || self.buffer.len() as u64 >= self.left
    }

    pub(super) fn progress(&self) -> Progress {
        if self.buffer.len() as u64 >= self.left { Progress::AllRead } else { Progress::Full }
    }

    pub(super) fn take(&mut self) -> Bytes {
        self.buffer.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= self.buffer.len() as u64;
        Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + CHUNK / 4)))
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
            Item::Record(Record::Footer(_) | Record::Beside(_)) | Item::Damage { .. } => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(survey.finish())
}
