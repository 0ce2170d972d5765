//! One track's packets to samples on its own timebase: placed, decoded, losses concealed.
//!
//! ```text
//! packets ─▶ Placer ─▶ Decoder ─▶ runs of samples and of silence, in timeline order
//! ```
//!
//! Packets are pushed, runs are read; both in steps of any size. What is read does not depend on the steps. A
//! packet is decoded when it is pushed, or, where a silence before it is not read yet, when its turn comes. So
//! what waits here is what was pushed beyond what was asked for; a silence takes no room, however long it is.

use std::collections::VecDeque;

use crate::codec::Decoder;
use crate::log::{GapReason, PacketMeta};
use crate::media::Format;
use crate::time::Micros;
use crate::timeline::{Counting, Layout, Placer, Sink};

/// The longest loss that is concealed; the rest of a longer one is silent.
const CONCEALED: Micros = Micros::from_millis(120);
/// How long the concealment of a longer loss takes to fade out, at its end.
const FADE: Micros = Micros::from_millis(40);
/// Decoded before the place that is sought, so that a decoder with a memory has it (RFC 7845 §4.6 asks for 80 ms).
const PREROLL: Micros = Micros::from_millis(80);

/// A stretch of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// Interleaved samples.
    Samples(&'a [i16]),
    /// Silence: so many samples per channel.
    Silence(u64),
}

/// One track's samples, from its start to its layout's end.
pub struct TrackPcm {
    placer: Placer,
    track: Decoding,
    /// Samples before the place that was sought, still to be thrown away.
    discard: u64,
    ended: bool,
}

impl TrackPcm {
    /// Of a track of this format, counted in this way, as far as `layout` describes it. The decoder's rate must be
    /// the format's; its channels are those of what is read.
    pub fn new(format: Format, counting: Counting, layout: &Layout, decoder: Box<dyn Decoder>) -> Self {
        let track = Decoding {
            channels: usize::from(decoder.channels().max(1)),
            decoder,
            rate: format.rate,
            holes: holes(layout),
            next_hole: 0,
            at: 0,
            from: 0,
            ahead: 0,
            lost: 0,
            pieces: VecDeque::new(),
            queued: 0,
            ready: Vec::new(),
            taken: 0,
            steady: true,
        };
        Self { placer: Placer::new(format, counting, layout), track, discard: 0, ended: false }
    }

    /// Interleaved channels of what is read.
    pub const fn channels(&self) -> usize {
        self.track.channels
    }

    /// Begins at sample `at` instead of the track's first; call it before anything is pushed. All packets are
    /// pushed nevertheless, since each is placed by those before it; but only what is needed is decoded. With a
    /// decoder that has a memory what is read converges to what a reader from the start hears.
    pub const fn seek(&mut self, at: u64) {
        let preroll = PREROLL.to_samples(self.track.rate);
        self.track.from = at.saturating_sub(preroll);
        self.discard = at - self.track.from;
    }

    /// The log's next packet.
    pub fn push(&mut self, meta: PacketMeta, payload: &[u8]) {
        self.track.compact();
        self.placer.packet(meta, payload, &mut self.track);
    }

    /// No more packets come: the rest of the layout is silent.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.placer.finish(&mut self.track);
            self.track.settle_loss();
        }
    }

    /// Goes on with a later layout of the same track, to follow a session that is live.
    pub fn extend(&mut self, layout: &Layout) {
        self.placer.extend(layout);
        self.track.renew(holes(layout));
    }

    /// Whether what was given is what a reader that begins with the latest layout is given: nothing that was given turned
    /// out otherwise, and what was silent [ahead of time](Self::pass_to) is.
    pub const fn is_steady(&self) -> bool {
        self.placer.is_steady() && self.track.steady
    }

    /// Gives silence up to timeline position `at` where nothing has come for it: a live track whose source is
    /// silent must not keep the others waiting. What comes later for that stretch is left out.
    pub fn pass_to(&mut self, at: u64) {
        let given = self.track.at + self.track.ahead;
        if at > given && !self.ended {
            self.track.settle_loss();
            self.track.ahead += at - given;
            self.track.push_piece(Piece::Silence { samples: at - given, reset: false });
        }
    }

    /// Whether packets may still come for what was given ahead of time.
    pub const fn is_owed(&self) -> bool {
        !self.ended && self.track.ahead > 0
    }

    /// Samples per channel that can be read now; without end where the track has ended, since all after it is
    /// silence.
    pub fn available(&self) -> u64 {
        if self.ended { u64::MAX } else { self.track.waiting().saturating_sub(self.discard) }
    }

    /// Reads the next `samples` samples per channel, of which there must be as many [available](Self::available);
    /// what is missing all the same is silent.
    pub fn read(&mut self, samples: u64, mut sink: impl FnMut(Run<'_>)) {
        let discard = self.discard.min(self.track.waiting());
        self.track.read(discard, &mut |_| {});
        self.discard -= discard;
        let read = samples.min(self.track.waiting());
        self.track.read(read, &mut sink);
        if read < samples {
            sink(Run::Silence(samples - read));
        }
    }

    /// Samples that are held, over all channels, decoded or as payload: for tests of what memory is bounded by.
    pub fn held(&self) -> usize {
        self.track.ready.capacity() + self.track.pieces.iter().map(Piece::held).sum::<usize>()
    }
}

/// What is not read yet, behind what is decoded.
enum Piece {
    Audio { payload: Box<[u8]>, samples: u64, skip: u64 },
    Silence { samples: u64, reset: bool },
    Lost { samples: u64, fades: bool },
}

impl Piece {
    const fn samples(&self) -> u64 {
        match self {
            Self::Audio { samples, skip, .. } => *samples - *skip,
            Self::Silence { samples, .. } | Self::Lost { samples, .. } => *samples,
        }
    }

    const fn held(&self) -> usize {
        match self {
            Self::Audio { payload, .. } => payload.len(),
            Self::Silence { .. } | Self::Lost { .. } => 0,
        }
    }
}

/// A stretch that the layout says is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    at: u64,
    end: u64,
    lost: bool,
}

fn holes(layout: &Layout) -> Vec<Hole> {
    let gap = |gap: &crate::timeline::Gap| Hole {
        at: gap.at,
        end: gap.at.saturating_add(gap.samples),
        lost: gap.reason == GapReason::Loss,
    };
    let pause = |pause: &crate::timeline::Pause| Hole {
        at: pause.at,
        end: pause.at.saturating_add(pause.samples),
        lost: false,
    };
    let mut holes: Vec<_> = layout.gaps.iter().map(gap).chain(layout.pauses.iter().map(pause)).collect();
    holes.sort_by_key(|hole| hole.at);
    holes
}

/// The placer's other side.
struct Decoding {
    decoder: Box<dyn Decoder>,
    rate: u32,
    channels: usize,
    holes: Vec<Hole>,
    next_hole: usize,
    /// Timeline position of what the placer gives next.
    at: u64,
    /// Nothing before this is decoded or kept.
    from: u64,
    /// Silence that was given before the placer gave anything for it.
    ahead: u64,
    /// A loss that waits for the packet after it.
    lost: u64,
    pieces: VecDeque<Piece>,
    /// Samples per channel of `pieces`.
    queued: u64,
    /// Decoded and interleaved, before all pieces.
    ready: Vec<i16>,
    /// How many of them have been read.
    taken: usize,
    /// See [`TrackPcm::is_steady`].
    steady: bool,
}

impl Sink for Decoding {
    fn audio(&mut self, payload: &[u8], samples: u64) {
        let begin = self.at;
        self.at = begin.saturating_add(samples);
        let given = self.ahead.min(samples);
        self.ahead -= given;
        self.steady &= given == 0;
        let skip = given.max(self.from.saturating_sub(begin));
        if skip >= samples {
            return;
        }
        if self.pieces.is_empty() && self.lost == 0 {
            return self.decode(payload, samples, skip);
        }
        self.push_loss(true);
        self.push_piece(Piece::Audio { payload: payload.into(), samples, skip });
    }

    fn silence(&mut self, samples: u64) {
        let end = self.at.saturating_add(samples);
        while self.at < end {
            let (until, hole) = self.stretch(end);
            let given = self.ahead.min(until - self.at);
            self.ahead -= given;
            let begin = self.at + given;
            let samples = until - begin.max(self.from).min(until);
            self.at = until;
            match hole {
                Some(Hole { lost: true, .. }) => {
                    self.steady &= given == 0;
                    self.lost += samples;
                }
                // Where all of it was given ahead of time, the decoder is still to forget what came before.
                Some(_) if samples == 0 && given > 0 => {
                    self.push_piece(Piece::Silence { samples, reset: true })
                }
                Some(_) => self.silent(samples, true),
                None => self.silent(samples, false),
            }
        }
    }
}

impl Decoding {
    fn renew(&mut self, holes: Vec<Hole>) {
        let given = |holes: &[Hole]| holes.partition_point(|hole| hole.at < self.at);
        self.steady &= self.holes[..given(&self.holes)] == holes[..given(&holes)];
        (self.holes, self.next_hole) = (holes, 0);
    }

    /// Samples per channel that can be read. A loss cannot before it is known what comes after it.
    const fn waiting(&self) -> u64 {
        ((self.ready.len() - self.taken) / self.channels) as u64 + self.queued
    }

    /// Where the stretch that begins at the present place ends, at most `end`, and the hole that it lies in.
    fn stretch(&mut self, end: u64) -> (u64, Option<Hole>) {
        while self.holes.get(self.next_hole).is_some_and(|hole| hole.end <= self.at) {
            self.next_hole += 1;
        }
        match self.holes.get(self.next_hole) {
            Some(hole) if hole.at <= self.at => (end.min(hole.end), Some(*hole)),
            Some(hole) => (end.min(hole.at), None),
            None => (end, None),
        }
    }

    fn silent(&mut self, samples: u64, reset: bool) {
        if samples > 0 {
            self.settle_loss();
            self.push_piece(Piece::Silence { samples, reset });
        }
    }

    /// Nothing follows the loss that could help to conceal it.
    fn settle_loss(&mut self) {
        self.push_loss(false);
    }

    /// The loss that waited is over. What is too long to be concealed is silent from there on.
    fn push_loss(&mut self, followed: bool) {
        let lost = std::mem::take(&mut self.lost);
        let concealed = lost.min(CONCEALED.to_samples(self.rate));
        let fades = concealed < lost || !followed;
        if concealed > 0 {
            self.push_piece(Piece::Lost { samples: concealed, fades });
        }
        if concealed < lost {
            self.push_piece(Piece::Silence { samples: lost - concealed, reset: false });
        }
    }

    fn push_piece(&mut self, piece: Piece) {
        self.queued = self.queued.saturating_add(piece.samples());
        self.pieces.push_back(piece);
    }

    /// Gives back the room of what has been read.
    fn compact(&mut self) {
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
        } else if self.taken >= self.ready.len() / 2 {
            self.ready.drain(..std::mem::take(&mut self.taken));
        }
    }

    /// Appends exactly the samples that the timeline has room for, whatever the decoder makes of the packet.
    fn decode(&mut self, payload: &[u8], samples: u64, skip: u64) {
        let begin = self.ready.len();
        if self.decoder.packet(payload, &mut self.ready).is_err() {
            self.ready.truncate(begin);
            self.decoder.conceal(samples, None, &mut self.ready);
        }
        self.ready.resize(begin + samples as usize * self.channels, 0);
        if skip > 0 {
            self.ready.drain(begin..begin + skip as usize * self.channels);
        }
    }

    fn conceal(&mut self, samples: u64, fades: bool) {
        let begin = self.ready.len();
        let next = match self.pieces.front() {
            Some(Piece::Audio { payload, .. }) if !fades => Some(&**payload),
            _ => None,
        };
        self.decoder.conceal(samples, next, &mut self.ready);
        self.ready.resize(begin + samples as usize * self.channels, 0);
        if fades {
            let length = FADE.to_samples(self.rate).min(samples) as usize * self.channels;
            let end = self.ready.len();
            fade_out(&mut self.ready[end - length..], self.channels);
        }
    }

    fn read(&mut self, mut samples: u64, sink: &mut impl FnMut(Run<'_>)) {
        while samples > 0 {
            let ready = (self.ready.len() - self.taken) / self.channels;
            if ready > 0 {
                let read = ready.min(usize::try_from(samples).unwrap_or(usize::MAX));
                let end = self.taken + read * self.channels;
                sink(Run::Samples(&self.ready[self.taken..end]));
                self.taken = end;
                samples -= read as u64;
                continue;
            }
            self.compact();
            samples -= match self.pieces.pop_front() {
                Some(piece) => self.begin(piece, samples, sink),
                None => return,
            };
        }
    }

    /// Decodes a piece, or gives up to `samples` of its silence at once; how many it gave.
    fn begin(&mut self, piece: Piece, samples: u64, sink: &mut impl FnMut(Run<'_>)) -> u64 {
        self.queued -= piece.samples();
        match piece {
            Piece::Audio { payload, samples, skip } => self.decode(&payload, samples, skip),
            Piece::Lost { samples, fades } => self.conceal(samples, fades),
            Piece::Silence { samples: silent, reset } => {
                if reset {
                    self.decoder.reset();
                }
                let given = silent.min(samples);
                if given > 0 {
                    sink(Run::Silence(given));
                }
                if silent > given {
                    self.queued += silent - given;
                    self.pieces.push_front(Piece::Silence { samples: silent - given, reset: false });
                }
                return given;
            }
        }
        0
    }
}

/// From as it is to nothing, along the whole of `samples`.
fn fade_out(samples: &mut [i16], channels: usize) {
    let length = (samples.len() / channels) as f32;
    for (index, frame) in samples.chunks_exact_mut(channels).enumerate() {
        let gain = 1.0 - (index as f32 + 1.0) / length;
        frame.iter_mut().for_each(|sample| *sample = (f32::from(*sample) * gain) as i16);
    }
}
