//! Many tracks to one file: placed on the recording's clock, at one rate, summed without clipping.
//!
//! ```text
//! push ─▶ TrackPcm ─▶ clock ─▶ rate ─┐
//! push ─▶ TrackPcm ─▶ clock ─▶ rate ─┼▶ sum by routes ─▶ limiter ─▶ cuts ─▶ 16 bit samples ─▶ Encoder
//! push ─▶ TrackPcm ─▶ clock ─▶ rate ─┘
//! ```
//!
//! The mixer says what it needs, and holds no more than that: of each track what one block asks for, a packet and
//! a resampler's unit. Whoever drives it reads logs in any way it likes:
//!
//! ```text
//! loop {
//!     match mixer.needs()? {
//!         Need::Packet(track) => push the log's next packet of that track, or end it
//!         Need::Step          => step
//!         Need::Extend        => of a live one: wait, then extend
//!         Need::Done          => break
//!     }
//! }
//! ```
//!
//! # What holds
//! - How the packets are cut into pushes and steps changes nothing, bit for bit.
//! - One speaker alone at gain 1 and at the mix's rate comes out bit for bit, wherever in a range it begins.
//! - A range is the slice of the whole, bit for bit, through rate conversion and limiter as well. A corrected clock
//!   adds at most one bit of rounding; a decoder with a memory (Opus) converges over its preroll.

use std::ops::Range;

use super::casting::{Casting, Latecomers};
use super::lane::{Lane, Route, Stages};
use super::limiter::{self, Limiter};
use super::pcm::TrackPcm;
use super::place::{Cuts, Place, all_paused};
use super::plan::{MixError, Pauses, Plan, TrackInput};
use super::resample::{ClockConverter, Planar, RateConverter};
use crate::codec::{EncodeError, Encoder, Spec};
use crate::log::PacketMeta;
use crate::media::Format;
use crate::time::Micros;
use crate::timeline::Layout;

/// What one step mixes.
const BLOCK: Micros = Micros::from_millis(100);

/// What a mixer needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The next packet of the track with this number in the list that the mixer was given, or its end.
    Packet(usize),
    /// A [step](Mixer::step).
    Step,
    /// All that is known of open tracks is mixed: extend, pass or close them.
    Extend,
    /// Nothing: all is mixed.
    Done,
}

/// Tracks to interleaved samples.
pub struct Mixer {
    rate: u32,
    pauses: Pauses,
    open: bool,
    /// Where on the recording's clock its first sample lies.
    origin: Micros,
    latecomers: Latecomers,
    tracks: Vec<Option<Mixed>>,
    cuts: Cuts,
    /// What of the mix is wanted: before cuts.
    range: Range<u64>,
    /// Sample that is mixed next.
    at: u64,
    limiter: Limiter,
    /// Of each channel: what the limiter has seen and not given, then the new block.
    mix: Vec<Vec<f32>>,
    block: u64,
    steady: bool,
}

/// A track that is heard.
struct Mixed {
    lane: Lane,
    place: Place,
    layout: Layout,
    start: Micros,
    /// Its layout is not extended any more.
    closed: bool,
}

impl Mixer {
    /// Plans it. The tracks' numbers are their places in `tracks`.
    ///
    /// # Errors
    /// See [`MixError`].
    pub fn new(plan: Plan, tracks: Vec<TrackInput>) -> Result<Self, MixError> {
        let casting = Casting::new(&plan.arrangement, &tracks)?;
        let rate = chosen_rate(&plan, &tracks, &casting)?;
        let alone = casting.heard() == 1;
        let origin = plan.origin.or_else(|| casting.first_start(&tracks)).unwrap_or_default();
        let place = |track: &TrackInput| {
            let drift = track.drift.filter(|_| !alone);
            Place::new(track.format.rate, rate, drift, track.layout.start, origin)
        };
        let heard = || {
            tracks.iter().zip(&casting.routes).filter_map(|(track, routes)| routes.as_ref().map(|_| track))
        };
        let cuts = cuts(plan.pauses, heard().map(|track| (place(track), &track.layout)));
        let end = heard().map(|track| place(track).extent(&track.layout).end).max().unwrap_or(0);
        let range = wanted(plan.range, &cuts, end, plan.open);
        // What the limiter has heard before matters, no further than its memory.
        let at = range.start.saturating_sub(limiter::MEMORY.to_samples(rate));
        let (channels, mono) = (casting.channels, casting.mono);
        let latecomers = Latecomers::new(plan.arrangement, &tracks);
        let mixed = |(track, routes): (TrackInput, Option<Vec<Route>>)| {
            let place = place(&track);
            routes.map(|routes| Mixed::new(track, place, routes, mono, at)).transpose()
        };
        let tracks = tracks.into_iter().zip(casting.routes).map(mixed).collect::<Result<_, _>>()?;
        let limiter = Limiter::new(rate);
        let block = BLOCK.to_samples(rate).max(1);
        let mix = vec![vec![0.0; limiter.ahead() + block as usize]; channels];
        let (pauses, open) = (plan.pauses, plan.open);
        let steady = true;
        Ok(Self {
            rate,
            pauses,
            open,
            origin,
            latecomers,
            tracks,
            cuts,
            range,
            at,
            limiter,
            mix,
            block,
            steady,
        })
    }

    /// Samples per second of a mix of these: as planned, else the highest of those that are heard.
    ///
    /// # Errors
    /// See [`MixError`].
    pub fn rate(plan: &Plan, tracks: &[TrackInput]) -> Result<u32, MixError> {
        chosen_rate(plan, tracks, &Casting::new(&plan.arrangement, tracks)?)
    }

    /// Rate, channels and length of what is made: for the encoder.
    pub fn spec(&self) -> Spec {
        Spec {
            rate: self.rate,
            channels: self.mix.len() as u8,
            samples: (!self.open).then(|| self.samples()),
            ..Spec::default()
        }
    }

    /// Samples per channel in all; of open tracks: as far as they are known.
    pub fn samples(&self) -> u64 {
        self.cuts.left(self.range.end.max(self.range.start)) - self.cuts.left(self.range.start)
    }

    /// Which tracks are heard, by number.
    pub fn heard(&self) -> impl Iterator<Item = usize> + '_ {
        self.tracks.iter().enumerate().filter_map(|(number, track)| track.as_ref().map(|_| number))
    }

    /// What is needed next.
    ///
    /// # Errors
    /// [`MixError::Resample`].
    pub fn needs(&mut self) -> Result<Need, MixError> {
        let until = self.until();
        if self.at >= until {
            let owed =
                self.tracks.iter().position(|track| track.as_ref().is_some_and(|it| it.lane.pcm.is_owed()));
            return Ok(match (self.open, owed) {
                (true, _) => Need::Extend,
                (false, Some(number)) => Need::Packet(number),
                (false, None) => Need::Done,
            });
        }
        let to = until.min(self.at + self.block);
        for (number, track) in self.tracks.iter_mut().enumerate() {
            if let Some(track) = track {
                let share = track.lane.share(self.at, to);
                if share > 0 && !track.lane.is_ready(share)? {
                    return Ok(Need::Packet(number));
                }
            }
        }
        Ok(Need::Step)
    }

    /// The next packet of a track's log, from its first on.
    pub fn push(&mut self, track: usize, meta: PacketMeta, payload: &[u8]) {
        if let Some(track) = self.track(track) {
            track.lane.pcm.push(meta, payload);
        }
    }

    /// A track has no more packets: all have been pushed.
    pub fn end(&mut self, track: usize) {
        if let Some(ended) = self.track(track) {
            ended.lane.pcm.end();
            self.close(track);
        }
    }

    /// An open track's layout is final; its packets are still to be pushed. When all are, the mix is no longer open.
    pub fn close(&mut self, track: usize) {
        if let Some(track) = self.track(track) {
            track.closed = true;
        }
        if self.open && self.tracks.iter().flatten().all(|track| track.closed) {
            self.open = false;
        }
    }

    /// One more track, which began after an open mix was planned. It is heard from where the mix is now, all its
    /// channels as one, at gain 1 or its own, and its number is the next; `false` where the arrangement has no place for
    /// it, since a file's channels do not change, or where the mix is not open any more.
    ///
    /// # Errors
    /// See [`MixError`].
    pub fn join(&mut self, track: TrackInput) -> Result<bool, MixError> {
        if !self.open {
            return Ok(false);
        }
        let Some(routes) = self.latecomers.routes(&track)? else {
            self.steady = false;
            return Ok(false);
        };
        // Who is on which side follows from who is there.
        self.steady &= self.mix.len() == 1 && !self.is_past(track.layout.start);
        let place = Place::new(track.format.rate, self.rate, None, track.layout.start, self.origin);
        self.tracks.push(Some(Mixed::new(track, place, routes, true, self.at)?));
        self.measure();
        Ok(true)
    }

    /// Whether what was mixed is what a mixer that begins with the tracks and layouts of now mixes, as far as their clocks
    /// are not corrected.
    pub fn is_steady(&self) -> bool {
        let told = |track: &Mixed| track.lane.pcm.is_steady() && track.start == track.layout.start;
        self.steady && self.tracks.iter().flatten().all(told)
    }

    /// Whether this time of the recording's clock is mixed already: of a track that began then and joins now, what lies
    /// before is left out.
    fn is_past(&self, time: Micros) -> bool {
        Place::new(self.rate, self.rate, None, time, self.origin).at < self.at as i64
    }

    /// Goes on with a later layout of an open track. What is mixed is not mixed again.
    pub fn extend(&mut self, track: usize, layout: &Layout) {
        if let Some(track) = self.track(track) {
            track.lane.pcm.extend(layout);
            track.layout.clone_from(layout);
            let end = track.place.extent(layout).end;
            track.lane.end = track.lane.end.max(end);
        }
        self.measure();
    }

    /// An open track has nothing before this time of the recording's clock, as far as anyone can wait for it: the
    /// others go on. What it brings for that time nevertheless is left out. One that is known further than it is mixed
    /// keeps nobody waiting, and is left as it is.
    pub fn pass_to(&mut self, track: usize, time: Micros) {
        let mixed = self.at;
        if let Some(track) = self.track(track).filter(|track| track.lane.end <= mixed) {
            let at = Micros(time.0.saturating_sub(track.start.0)).to_samples(track.place.from);
            track.lane.pcm.pass_to(at);
            track.lane.end = track.lane.end.max(track.place.place(at));
        }
        self.measure();
    }

    /// Mixes a block and appends what of it is wanted, interleaved. Call it when [`Self::needs`] says so.
    pub fn step(&mut self, out: &mut Vec<i16>) {
        let to = self.until().min(self.at + self.block);
        let new = to.saturating_sub(self.at) as usize;
        let ahead = self.limiter.ahead();
        self.mix.iter_mut().for_each(|channel| channel[ahead..ahead + new].fill(0.0));
        for track in self.tracks.iter_mut().flatten() {
            let share = track.lane.share(self.at, to);
            if share > 0 {
                let begin = track.lane.at.saturating_sub(self.at) as usize;
                track.lane.add(&mut self.mix, ahead + begin, share);
            }
        }
        self.limiter.process(&mut self.mix, new);
        self.give(new, out);
        self.mix.iter_mut().for_each(|channel| channel.copy_within(new..new + ahead, 0));
        self.at = to;
    }

    /// Samples held over all tracks and channels, decoded or not: what memory is bounded by.
    pub fn held(&self) -> usize {
        let mix: usize = self.mix.iter().map(Vec::capacity).sum();
        mix + self.tracks.iter().flatten().map(|track| track.lane.held()).sum::<usize>()
    }

    fn track(&mut self, number: usize) -> Option<&mut Mixed> {
        self.tracks.get_mut(number).and_then(Option::as_mut)
    }

    /// Where mixing stops for now: at the end, and what the limiter looks ahead; of open tracks, where the first
    /// of them is not known any further.
    fn until(&self) -> u64 {
        let ahead = self.limiter.ahead() as u64;
        let end = self.range.end.saturating_add(ahead);
        let open =
            self.tracks.iter().flatten().filter(|track| !track.closed).map(|track| track.lane.end).min();
        match open {
            Some(known) if self.open => known.min(end),
            Some(_) | None => end,
        }
    }

    /// Where a sample lies of the mix as it would be without cuts: its place, or that of the next one that is left.
    pub fn place(&self, at: u64) -> u64 {
        self.cuts.left(at)
    }

    /// Ends and cuts anew, once layouts have changed.
    fn measure(&mut self) {
        let heard = self.tracks.iter().flatten();
        self.cuts = cuts(self.pauses, heard.clone().map(|track| (track.place, &track.layout)));
        self.range.end = heard.map(|track| track.lane.end).max().unwrap_or(0);
    }

    /// Appends the first `new` samples of the mix: those that lie one look-ahead before the block.
    fn give(&self, new: usize, out: &mut Vec<i16>) {
        let begin = self.at as i64 - self.limiter.ahead() as i64;
        let clamp = |at: i64| {
            u64::try_from(at).unwrap_or(0).clamp(self.range.start, self.range.end.max(self.range.start))
        };
        for kept in self.cuts.keep(clamp(begin)..clamp(begin + new as i64)) {
            let from = (kept.start as i64 - begin) as usize;
            interleave(&self.mix, from..from + (kept.end - kept.start) as usize, out);
        }
    }
}

impl Mixed {
    /// Begins at sample `at` of the mix.
    fn new(
        track: TrackInput,
        place: Place,
        routes: Vec<Route>,
        mono: bool,
        at: u64,
    ) -> Result<Self, MixError> {
        let TrackInput { format, counting, layout, decoder, .. } = track;
        let mut pcm = TrackPcm::new(format, counting, &layout, decoder);
        let channels = if mono { 1 } else { pcm.channels() };
        // What of the track lies before the mix, or before what is wanted of it.
        let before = (at as i64).saturating_sub(place.at).max(0) as u64;
        let (stages, begin) = stages(&place, channels, before)?;
        pcm.seek(begin);
        let mut lane = Lane::new(pcm, stages, routes, mono);
        lane.at = place.place(0).max(at);
        lane.end = place.extent(&layout).end;
        Ok(Self { lane, place, start: layout.start, layout, closed: false })
    }
}

/// The converters that a track needs, and the sample of the track that they have to be fed from so that what they
/// give first is sample `at` from the track's beginning on.
fn stages(place: &Place, channels: usize, at: u64) -> Result<(Stages, u64), MixError> {
    let (mut stages, mut begin) = (Stages::default(), at);
    if place.from != place.to {
        let (rate, first) = RateConverter::new(place.from, place.to, channels, begin)?;
        (stages.rate, begin) = (Some(Box::new((rate, Planar::new(channels)))), first);
    }
    if let Some(drift) = place.drift {
        let (clock, first) = ClockConverter::new(drift, channels, begin)?;
        (stages.clock, begin) = (Some(Box::new((clock, Planar::new(channels)))), first);
    }
    Ok((stages, begin))
}

fn cuts<'a>(pauses: Pauses, tracks: impl Iterator<Item = (Place, &'a Layout)> + Clone) -> Cuts {
    match pauses {
        Pauses::Silence => Cuts::default(),
        Pauses::Skip => Cuts::new(all_paused(tracks)),
    }
}

/// What is wanted, as samples before cuts, of a mix that ends at `end`.
fn wanted(range: Option<Range<u64>>, cuts: &Cuts, end: u64, open: bool) -> Range<u64> {
    let Some(range) = range else { return 0..end };
    let start = cuts.position(range.start);
    let start = if open { start } else { start.min(end) };
    let last = if range.end > range.start { cuts.position(range.end - 1).saturating_add(1) } else { start };
    start..last.min(end).max(start)
}

fn chosen_rate(plan: &Plan, tracks: &[TrackInput], casting: &Casting) -> Result<u32, MixError> {
    let heard = tracks.iter().zip(&casting.routes).filter(|(_, routes)| routes.is_some());
    let highest = heard.map(|(track, _)| track.format.rate).max();
    let rate = plan.rate.or(highest).ok_or(MixError::NoTracks)?;
    if (Format::MIN_RATE..=Format::MAX_RATE).contains(&rate) { Ok(rate) } else { Err(MixError::Rate(rate)) }
}

fn interleave(channels: &[Vec<f32>], range: Range<usize>, out: &mut Vec<i16>) {
    if let [mono] = channels {
        return out.extend(mono[range].iter().map(|&sample| limiter::to_i16(sample)));
    }
    let begin = out.len();
    out.resize(begin + range.len() * channels.len(), 0);
    for (index, channel) in channels.iter().enumerate() {
        let into = out[begin..].iter_mut().skip(index).step_by(channels.len());
        into.zip(&channel[range.clone()]).for_each(|(into, &sample)| *into = limiter::to_i16(sample));
    }
}

/// A mixer and the encoder that its samples go to.
pub struct MixRenderer {
    mixer: Mixer,
    encoder: Box<dyn Encoder>,
    samples: Vec<i16>,
    stage: Writing,
}

/// How far a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Head,
    Samples,
    Done,
}

impl MixRenderer {
    /// Of an encoder made by [`Mixer::spec`].
    pub const fn new(mixer: Mixer, encoder: Box<dyn Encoder>) -> Self {
        Self { mixer, encoder, samples: Vec::new(), stage: Writing::Head }
    }

    /// The mixer: it says what it needs, and is given it.
    pub const fn mixer(&mut self) -> &mut Mixer {
        &mut self.mixer
    }

    /// The interleaved samples of the last step: for peaks.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// After the end: the bytes that belong at the file's beginning, where they differ from what was written there.
    pub fn head(&self) -> Option<Vec<u8>> {
        self.encoder.head()
    }

    /// Appends what the next block gives, with the file's head before and its tail behind; whether there is more.
    /// Where a packet is needed first, or an open track has to be extended, nothing is mixed.
    ///
    /// # Errors
    /// Where the encoder or a resampler fails.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, MixError> {
        self.samples.clear();
        if self.stage == Writing::Head {
            self.encoder.start(out);
            self.stage = Writing::Samples;
        }
        match self.mixer.needs()? {
            Need::Step => {
                self.mixer.step(&mut self.samples);
                self.encode(out)?;
            }
            Need::Done if self.stage == Writing::Samples => {
                self.stage = Writing::Done;
                self.encoder.finish(out)?;
            }
            Need::Packet(_) | Need::Extend | Need::Done => {}
        }
        Ok(self.stage != Writing::Done)
    }

    fn encode(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.samples.is_empty() { Ok(()) } else { self.encoder.push(&self.samples, out) }
    }
}
