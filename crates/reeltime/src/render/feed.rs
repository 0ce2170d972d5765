//! A track's packets, from its log or from its file in the store. Both block, on a thread that may.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use ogg::PacketReader;
use reeltime_core::keys::ObjectKey;
use reeltime_core::log::{PacketMeta, Record};
use reeltime_core::media::{Format, wav};
use reeltime_core::time::Micros;
use reeltime_core::timeline::Layout;

use crate::error::Error;
use crate::spool::{Chain, Cursor, Item, Reach, read_on};
use crate::store::{ByteStream, Store};

/// Packets given at a time: nothing is read far ahead of what is mixed.
const ROW: u64 = 16;
/// Bytes of a log after which fewer are enough: some packets last a second.
const ROW_BYTES: usize = 32 * 1024;
/// Bytes of samples given as one packet.
const PIECE: usize = 16 * 1024;

/// Takes a packet.
pub(super) type Take<'a> = &'a mut dyn FnMut(PacketMeta, &[u8]);

/// Packets in order.
pub(super) trait Feed: Send {
    /// Gives some; whether there may be more.
    fn give(&mut self, take: Take<'_>) -> io::Result<bool>;

    /// The log's files as they are now, where it is a log that grows, and how many packets its layout knows: what was
    /// written since is for later.
    fn renew(&mut self, _chain: Arc<Chain>, _packets: u64) {}
}

/// Where a track's packets lie.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// In its log.
    Log(Arc<Chain>),
    /// In its file as received, in the store.
    Stored(ObjectKey),
    /// In a FLAC file of its 16 bit samples, in the store.
    Flac(ObjectKey),
}

impl Origin {
    /// `growing`: more will be appended to the log.
    pub(super) async fn open(
        &self,
        store: &dyn Store,
        format: Format,
        layout: &Layout,
        growing: bool,
    ) -> Result<Box<dyn Feed>, Error> {
        let key = match self {
            Self::Log(chain) => {
                let reach = if growing { Reach::Growing } else { Reach::Whole };
                return Ok(Box::new(Log::new(Arc::clone(chain), layout, reach)));
            }
            Self::Flac(key) => {
                let body = Body { stream: store.get(key, None).await?, chunk: Bytes::new() };
                return Ok(Box::new(Flac::Unread(Some(body))));
            }
            Self::Stored(key) => key,
        };
        let Some(head) = wav::Head::of(format, Some(layout.samples)) else {
            let body = Body { stream: store.get(key, None).await?, chunk: Bytes::new() };
            return Ok(Box::new(Ogg::new(format, layout, body)));
        };
        let first = head.to_bytes().len() as u64;
        let last = first + head.data_len().unwrap_or(u64::MAX - first);
        let body = Body { stream: store.get(key, Some(first..last)).await?, chunk: Bytes::new() };
        Ok(Box::new(Samples { body, align: head.block_align() as usize, samples: 0, piece: vec![0; PIECE] }))
    }
}

pub(super) struct Log {
    chain: Arc<Chain>,
    cursor: Cursor,
    reach: Reach,
    /// Packets given.
    given: u64,
    /// Packets that the layout knows.
    packets: u64,
}

impl Log {
    pub(super) fn new(chain: Arc<Chain>, layout: &Layout, reach: Reach) -> Self {
        Self { chain, cursor: Cursor::default(), reach, given: 0, packets: layout.counters.packets }
    }
}

impl Feed for Log {
    fn give(&mut self, take: Take<'_>) -> io::Result<bool> {
        let row = self.packets.min(self.given + ROW);
        if self.given >= row {
            return Ok(false);
        }
        let mut room = ROW_BYTES;
        read_on(&self.chain, &mut self.cursor, self.reach, |item| {
            if let Item::Record(Record::Packet(packet)) = item {
                take(packet.meta, packet.payload);
                self.given += 1;
                room = room.saturating_sub(packet.payload.len());
            }
            if self.given < row && room > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(self.given == row || room == 0)
    }

    fn renew(&mut self, chain: Arc<Chain>, packets: u64) {
        (self.chain, self.packets) = (chain, packets);
    }
}

/// The body of a stored file, for a reader that blocks.
struct Body {
    stream: ByteStream,
    chunk: Bytes,
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.stream.blocking_next() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let read = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..read]);
        Ok(read)
    }
}

/// Ogg's reader asks for it and does not use it.
impl Seek for Body {
    fn seek(&mut self, _to: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Packets that count one after the other, whatever their log says of the time between them.
pub(super) struct Counted {
    format: Format,
    feed: Box<dyn Feed>,
    samples: u64,
}

impl Counted {
    pub(super) fn new(format: Format, feed: Box<dyn Feed>) -> Self {
        Self { format, feed, samples: 0 }
    }
}

impl Feed for Counted {
    fn give(&mut self, take: Take<'_>) -> io::Result<bool> {
        let (format, samples) = (self.format, &mut self.samples);
        self.feed.give(&mut |_, payload| {
            take(counted(*samples), payload);
            *samples += format.samples_in(payload).unwrap_or(0);
        })
    }

    fn renew(&mut self, chain: Arc<Chain>, packets: u64) {
        self.feed.renew(chain, packets);
    }
}

/// Of sources whose timestamps are counts, so that arrival says nothing.
const fn counted(samples: u64) -> PacketMeta {
    PacketMeta { arrival: Micros(0), timestamp: samples, sequence: None }
}

/// The samples of a WAV file.
struct Samples {
    body: Body,
    align: usize,
    samples: u64,
    piece: Vec<u8>,
}

impl Feed for Samples {
    fn give(&mut self, take: Take<'_>) -> io::Result<bool> {
        let wanted = PIECE / self.align * self.align;
        let mut filled = 0;
        while filled < wanted {
            match self.body.read(&mut self.piece[filled..wanted])? {
                0 => break,
                read => filled += read,
            }
        }
        let whole = filled / self.align * self.align;
        if whole > 0 {
            take(counted(self.samples), &self.piece[..whole]);
            self.samples += (whole / self.align) as u64;
        }
        Ok(filled == wanted)
    }
}

/// The samples of a FLAC file.
enum Flac {
    Unread(Option<Body>),
    Open { file: Box<reeltime_codec::Flac<Body>>, samples: u64 },
}

impl Feed for Flac {
    fn give(&mut self, take: Take<'_>) -> io::Result<bool> {
        let failed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let (file, samples) = match self {
            Self::Unread(body) => {
                let Some(body) = body.take() else { return Ok(false) };
                let file = Box::new(reeltime_codec::Flac::open(body).map_err(failed)?);
                *self = Self::Open { file, samples: 0 };
                return Ok(true);
            }
            Self::Open { file, samples } => (file, samples),
        };
        let mut block = Vec::new();
        if !file.block(&mut block).map_err(failed)? {
            return Ok(false);
        }
        let piece: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        take(counted(*samples), &piece);
        *samples += block.len() as u64 / u64::from(file.channels().max(1));
        Ok(true)
    }
}

/// The packets of an Ogg file, without those that stand for what is missing: the layout tells what that is, and
/// better than a decoder could.
struct Ogg {
    format: Format,
    packets: PacketReader<Body>,
    /// Header packets still to come.
    heads: u8,
    /// Position on the track's timeline of the next packet.
    at: u64,
    /// What is missing, the last first: position and samples.
    missing: Vec<(u64, u64)>,
    /// Missing samples before the next packet that none has stood for yet: in the end less than the shortest frame.
    owed: u64,
}

impl Ogg {
    fn new(format: Format, layout: &Layout, body: Body) -> Self {
        let gaps = layout.gaps.iter().map(|gap| (gap.at, gap.samples));
        let pauses = layout.pauses.iter().map(|pause| (pause.at, pause.samples));
        let mut missing: Vec<_> = gaps.chain(pauses).collect();
        missing.sort_unstable_by(|a, b| b.cmp(a));
        Self { format, packets: PacketReader::new(body), heads: 2, at: 0, missing, owed: 0 }
    }

    /// Where the next packet, of so many samples, lies; `None` where it stands for what is missing.
    fn place(&mut self, samples: u64) -> Option<u64> {
        while let Some((_, missing)) = self.missing.pop_if(|(at, _)| *at <= self.at) {
            self.at = self.at.saturating_add(missing);
            self.owed = self.owed.saturating_add(missing);
        }
        if self.owed >= samples {
            self.owed -= samples;
            return None;
        }
        let at = self.at;
        self.at = at.saturating_add(samples);
        Some(at)
    }
}

impl Feed for Ogg {
    fn give(&mut self, take: Take<'_>) -> io::Result<bool> {
        let failed = |error: ogg::OggReadError| io::Error::new(io::ErrorKind::InvalidData, error);
        for _ in 0..ROW {
            let Some(packet) = self.packets.read_packet().map_err(failed)? else { return Ok(false) };
            if self.heads > 0 {
                self.heads -= 1;
                continue;
            }
            let samples = self.format.samples_in(&packet.data).unwrap_or(0);
            if let Some(at) = self.place(samples) {
                take(counted(at), &packet.data);
            }
        }
        Ok(true)
    }
}
