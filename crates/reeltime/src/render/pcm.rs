//! One track's samples, read from its log while it is written. It blocks, on a thread that may.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use reeltime_core::log::Record;
use reeltime_core::render::{Run, TrackPcm};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Survey};

use super::feed::{Feed, Log};
use crate::spool::{Chain, ChainError, Cursor, Disk, Item, Reach, TrackLog, read_on};

/// Rows of packets taken at a time: some seconds of sound.
const ROWS: usize = 16;

/// Reads a track to its end, wherever that will be. It surveys the log by itself, a packet once, so that a track of
/// an earlier process is as cheap to follow as one of this.
pub(crate) struct LivePcm {
    disk: Arc<dyn Disk>,
    log: Arc<TrackLog>,
    chain: Arc<Chain>,
    survey: Survey,
    surveyed: Cursor,
    layout: Layout,
    feed: Log,
    pcm: TrackPcm,
    /// Samples per channel given.
    given: u64,
    /// Of what was surveyed, not all is given.
    more: bool,
}

/// What reading on came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// There is more now.
    More,
    /// This is all there is for now.
    Now,
    /// The track's end.
    End,
}

impl LivePcm {
    /// Begins with the track's first sample; nothing of it is decoded yet.
    ///
    /// # Errors
    /// Where its log cannot be read, or its decoder cannot be had.
    pub(crate) fn open(disk: &Arc<dyn Disk>, log: &Arc<TrackLog>) -> io::Result<Self> {
        let chain = Arc::new(Chain::find(&**disk, log.id()).map_err(failed)?);
        let (format, counting) = (chain.header().format, chain.header().counting);
        let layout = Layout::default();
        let decoder = reeltime_codec::decoder(format).map_err(io::Error::other)?;
        Ok(Self {
            disk: Arc::clone(disk),
            log: Arc::clone(log),
            survey: Survey::new(format, counting),
            surveyed: Cursor::default(),
            feed: Log::new(Arc::clone(&chain), &layout, Reach::Growing),
            pcm: TrackPcm::new(format, counting, &layout, decoder),
            layout,
            chain,
            given: 0,
            more: false,
        })
    }

    /// Interleaved channels of what is given.
    pub(crate) const fn channels(&self) -> usize {
        self.pcm.channels()
    }

    /// Gives what comes next, some seconds at most, with where the track begins on the recording's clock. `closed`: the
    /// log is, and was before it was flushed last.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(crate) fn advance(
        &mut self,
        closed: bool,
        mut take: impl FnMut(Micros, Run<'_>),
    ) -> io::Result<Reached> {
        let looked = !self.more;
        if looked {
            self.look()?;
        }
        for _ in 0..ROWS {
            let pcm = &mut self.pcm;
            self.more = self.feed.give(&mut |meta, payload| pcm.push(meta, payload))?;
            self.give(self.pcm.available(), &mut take);
            if !self.more {
                break;
            }
        }
        if self.more || !looked {
            return Ok(Reached::More);
        }
        if closed {
            self.pcm.end();
            self.give(self.layout.samples.saturating_sub(self.given), &mut take);
            return Ok(Reached::End);
        }
        Ok(Reached::Now)
    }

    fn give(&mut self, samples: u64, take: &mut impl FnMut(Micros, Run<'_>)) {
        let start = self.layout.start;
        self.pcm.read(samples, |run| take(start, run));
        self.given += samples;
    }

    /// Surveys what was written since.
    fn look(&mut self) -> io::Result<()> {
        if self.log.header().number != self.chain.header().number {
            self.chain = Arc::new(Chain::find(&*self.disk, self.log.id()).map_err(failed)?);
        }
        let (survey, format) = (&mut self.survey, self.chain.header().format);
        read_on(&self.chain, &mut self.surveyed, Reach::Growing, |item| {
            match item {
                Item::Record(Record::Packet(packet)) => {
                    survey.packet(packet.meta, format.samples_in(packet.payload).unwrap_or(0));
                }
                Item::Record(Record::Event(arrival, event)) => survey.event(arrival, &event),
                Item::Record(Record::Footer(_) | Record::Beside(_)) | Item::Damage { .. } => {}
            }
            ControlFlow::Continue(())
        })?;
        self.layout = self.survey.layout();
        self.feed.renew(Arc::clone(&self.chain), self.layout.counters.packets);
        self.pcm.extend(&self.layout);
        Ok(())
    }
}

fn failed(error: ChainError) -> io::Error {
    io::Error::other(error)
}
