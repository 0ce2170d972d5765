//! A track cut into segments: a speaker's utterances between silences.
//!
//! ```text
//! chunks of 20 ms   ░░▓▓▓▓▓░▓▓▓░░░░░░░░░░░░░░░░▓▓▓
//! segments            └────────────┘            └──…       ▓ RMS at the threshold or above   ░ below
//!                               tail
//!                               └──silence──┘
//! ```
//!
//! A segment begins with the first loud chunk and ends once nothing was loud for [`Rules::silence`]; of that silence
//! it keeps the first [`Rules::tail`]. One that is loud for less than [`Rules::shortest`], from its first loud chunk to
//! the end of its last, is marked as short: whoever takes the segments counts it and lets it go. One that its taker
//! says is full goes on in another, from the very next sample.
//!
//! Where it is cut depends on the samples alone, not on the steps in which they come, and after each segment the
//! [`Mark`] is all there is to know: a cutter that resumes from it cuts what follows in the same way. Memory does not
//! grow: what is held back is silence that may yet prove to lie within a segment, at most [`Rules::silence`].

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Chunks a second.
const CHUNKS: u32 = 50;

/// What makes a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The root mean square, of 16 bit samples, from which on a chunk of 20 ms is loud.
    pub rms: u16,
    /// How much of the silence at its end a segment keeps; at most [`Self::silence`].
    pub tail: Duration,
    /// The silence that ends a segment.
    pub silence: Duration,
    /// What is loud for less is short.
    pub shortest: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            rms: 500,
            tail: Duration::from_secs(1),
            silence: Duration::from_millis(1_500),
            shortest: Duration::from_millis(250),
        }
    }
}

/// How far a track was cut: where to resume. Media is counted, not time, since the time that a silence takes is
/// known better later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Samples per channel of media before it.
    pub heard: u64,
    /// Samples per channel of silence between that media and it.
    pub silence: u64,
    /// The segment before it was full: the next begins here, loud or not.
    pub open: bool,
}

/// A segment that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its first sample's position on the track's timeline.
    pub at: u64,
    /// Its length in samples per channel.
    pub samples: u64,
    /// It was not loud for long enough.
    pub short: bool,
    /// Where the next one is to be looked for.
    pub next: Mark,
}

/// Takes a track's segments, one after the other.
pub trait Sink {
    /// A segment begins at this position of the timeline.
    fn begin(&mut self, at: u64);

    /// Its next samples, interleaved, of 20 ms at most. `true`: it is full, what follows belongs to another.
    fn samples(&mut self, samples: &[i16]) -> bool;

    /// It is over.
    fn end(&mut self, cut: Cut);
}

/// Cuts one track.
#[derive(Debug)]
pub struct Cutter {
    channels: usize,
    /// Samples of a chunk, over all channels.
    chunk: usize,
    limits: Limits,
    /// The chunk that is not full yet.
    partial: Vec<i16>,
    /// Where it begins on the timeline.
    at: u64,
    /// How far the track was taken.
    taken: Mark,
    /// What of the track's beginning was cut before.
    behind: Option<Mark>,
    open: Option<Open>,
}

/// The rules in chunks.
#[derive(Debug)]
struct Limits {
    power: u64,
    tail: u32,
    silence: u32,
    shortest: u64,
}

/// A segment on its way.
#[derive(Debug)]
struct Open {
    at: u64,
    /// Samples per channel given so far, and up to the end of the last loud chunk.
    samples: u64,
    loud: u64,
    /// Chunks in a row that were not loud.
    quiet: u32,
    /// Those beyond the tail.
    held: VecDeque<(Vec<i16>, Mark)>,
    continued: bool,
}

impl Open {
    const fn new(at: u64, continued: bool) -> Self {
        Self { at, samples: 0, loud: 0, quiet: 0, held: VecDeque::new(), continued }
    }
}

impl Cutter {
    /// Of a track from its first sample on; of its segments those before `from` are passed over.
    pub fn new(rate: u32, channels: usize, rules: &Rules, from: Option<Mark>) -> Self {
        let channels = channels.max(1);
        let chunks = |time: Duration| time.as_millis().div_ceil(1_000 / u128::from(CHUNKS)) as u32;
        let silence = chunks(rules.silence).max(1);
        let limits = Limits {
            power: u64::from(rules.rms).pow(2),
            tail: chunks(rules.tail).min(silence),
            silence,
            shortest: rules.shortest.as_millis() as u64 * u64::from(rate) / 1_000,
        };
        let chunk = (rate / CHUNKS).max(1) as usize * channels;
        Self {
            channels,
            chunk,
            limits,
            partial: Vec::with_capacity(chunk),
            at: 0,
            taken: Mark::default(),
            behind: from.filter(|mark| *mark != Mark::default()),
            open: None,
        }
    }

    /// Whether a segment has begun and is not over.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Samples per channel taken so far: the position of what comes next.
    pub fn position(&self) -> u64 {
        self.at + self.per_channel(self.partial.len())
    }

    /// The track's next samples: whole samples of all channels.
    pub fn samples(&mut self, mut samples: &[i16], sink: &mut impl Sink) {
        if let Some(behind) = self.behind {
            let pass = behind.heard.saturating_sub(self.taken.heard).min(self.per_channel(samples.len()));
            self.at += pass;
            self.taken.heard += pass;
            samples = &samples[pass as usize * self.channels..];
            if samples.is_empty() {
                return;
            }
            self.resume();
        }
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.chunk - self.partial.len()));
            self.partial.extend_from_slice(now);
            self.taken.heard += self.per_channel(now.len());
            self.taken.silence = 0;
            if self.partial.len() == self.chunk {
                self.take_chunk(sink);
            }
            samples = later;
        }
    }

    /// The track's next samples per channel are silence: no media, however long.
    pub fn silence(&mut self, mut samples: u64, sink: &mut impl Sink) {
        if let Some(behind) = self.behind {
            let all_heard = self.taken.heard == behind.heard;
            let left = behind.silence.saturating_sub(self.taken.silence);
            let pass = if all_heard { left.min(samples) } else { samples };
            self.at += pass;
            self.taken.silence = if all_heard { self.taken.silence + pass } else { 0 };
            samples -= pass;
            if samples == 0 {
                return;
            }
            self.resume();
        }
        while samples > 0 && (self.open.is_some() || !self.partial.is_empty()) {
            let room = self.per_channel(self.chunk - self.partial.len()).min(samples);
            self.partial.resize(self.partial.len() + room as usize * self.channels, 0);
            self.taken.silence += room;
            samples -= room;
            if self.partial.len() == self.chunk {
                self.take_chunk(sink);
            }
        }
        self.at += samples;
        self.taken.silence += samples;
    }

    /// Nothing comes for now, or ever: a segment that has begun is over. What comes later begins another.
    pub fn end(&mut self, sink: &mut impl Sink) {
        if !self.partial.is_empty() {
            self.take_chunk(sink);
        }
        self.close(sink);
    }

    const fn per_channel(&self, samples: usize) -> u64 {
        (samples / self.channels) as u64
    }

    /// All that was cut before has passed.
    fn resume(&mut self) {
        if self.behind.take().is_some_and(|mark| mark.open) {
            self.open = Some(Open::new(self.at, true));
        }
    }

    fn take_chunk(&mut self, sink: &mut impl Sink) {
        let chunk = std::mem::take(&mut self.partial);
        let power: u64 = chunk.iter().map(|&sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
        let loud = power >= self.limits.power * chunk.len() as u64;
        let begin = self.at;
        self.at += self.per_channel(chunk.len());
        if loud {
            self.take_loud(begin, &chunk, sink);
        } else {
            self.take_quiet(&chunk, sink);
        }
        self.partial = chunk;
        self.partial.clear();
    }

    fn take_loud(&mut self, begin: u64, chunk: &[i16], sink: &mut impl Sink) {
        let open = self.open.get_or_insert_with(|| Open::new(begin, false));
        open.quiet = 0;
        for (held, mark) in std::mem::take(&mut open.held) {
            self.give(&held, mark, false, sink);
        }
        self.give(chunk, self.taken, true, sink);
    }

    fn take_quiet(&mut self, chunk: &[i16], sink: &mut impl Sink) {
        let Some(open) = &mut self.open else { return };
        open.quiet += 1;
        let quiet = open.quiet;
        if quiet <= self.limits.tail {
            self.give(chunk, self.taken, false, sink);
        } else {
            open.held.push_back((chunk.to_vec(), self.taken));
        }
        if quiet >= self.limits.silence {
            self.close(sink);
        }
    }

    /// Gives a chunk to the segment, which `mark` is the end of; where that fills it, the next one is begun.
    fn give(&mut self, chunk: &[i16], mark: Mark, loud: bool, sink: &mut impl Sink) {
        let samples = self.per_channel(chunk.len());
        let Some(open) = &mut self.open else { return };
        if open.samples == 0 {
            sink.begin(open.at);
        }
        let full = sink.samples(chunk);
        open.samples += samples;
        if loud {
            open.loud = open.samples;
        }
        if full {
            let next = Open::new(open.at + open.samples, true);
            let cut = self.limits.cut(open, Mark { open: true, ..mark });
            sink.end(cut);
            self.open = Some(next);
        }
    }

    fn close(&mut self, sink: &mut impl Sink) {
        if let Some(open) = self.open.take().filter(|open| open.samples > 0) {
            sink.end(self.limits.cut(&open, Mark { open: false, ..self.taken }));
        }
    }
}

impl Limits {
    /// What goes on from a full one is never too short, as long as there is anything to hear.
    const fn cut(&self, open: &Open, next: Mark) -> Cut {
        let short = open.loud == 0 || (open.loud < self.shortest && !open.continued && !next.open);
        Cut { at: open.at, samples: open.samples, short, next }
    }
}
