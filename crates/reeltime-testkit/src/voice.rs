//! A voice whose every sample tells which voice and which sample it is, so that what is lost, doubled, moved or
//! another's shows exactly.

use std::io;
use std::ops::{ControlFlow, Range};

use reeltime::spool::{Chain, Item, read_chain};
use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::{Counting, Event, GapReason, LogHeader, PacketMeta, Purpose, Record};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

/// Samples a second of every voice.
pub const RATE: u32 = 8_000;

/// A speaker of mono PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice(pub u64);

impl Voice {
    /// Codec, rate, channels.
    pub const FORMAT: Format = Format { codec: Codec::S16le, rate: RATE, channels: 1 };

    /// Its track.
    pub const fn track(self) -> TrackId {
        TrackId(Uuid::from_u128(self.0 as u128 + 1))
    }

    /// The header of its log.
    pub fn header(self) -> LogHeader {
        LogHeader {
            tenant: "default".to_owned(),
            recording: RecordingId(Uuid::from_u128(self.0.into())),
            call: None,
            session: SessionId(Uuid::from_u128(self.0.into())),
            track: self.track(),
            participant: "speaker".to_owned(),
            format: Self::FORMAT,
            epoch: UtcMicros(0),
            opened: Micros(0),
            number: 0,
            continues: None,
            resume_token_sha256: Some(String::new()),
            counting: Counting::Samples,
            purpose: Purpose::Plain,
        }
    }

    /// Its samples of these numbers, as bytes.
    pub fn says(self, samples: Range<u64>) -> Vec<u8> {
        samples.flat_map(|index| self.sample(index).to_le_bytes()).collect()
    }

    const fn sample(self, index: u64) -> u16 {
        let mixed = (index ^ self.0.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x2545_f491_4f6c_dd1d);
        (mixed >> 48) as u16
    }

    /// The times of a packet that begins at a sample, had it been sent in real time.
    pub const fn meta(sample: u64) -> PacketMeta {
        PacketMeta { arrival: Micros::from_samples(sample, RATE), timestamp: sample, sequence: None }
    }
}

/// What a track's log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Samples that are there, in order; ranges that touch are one.
    pub audio: Vec<Range<u64>>,
    /// Gaps, in the order in which they stand.
    pub gaps: Vec<(Range<u64>, GapReason)>,
    /// Bytes that are no record.
    pub damaged: u64,
    /// It was closed.
    pub closed: bool,
}

impl Heard {
    /// Reads a voice's log.
    ///
    /// # Errors
    /// Where a file cannot be read.
    ///
    /// # Panics
    /// At a sample that is not the voice's, stands at another's place, or is there twice.
    pub fn of(voice: Voice, chain: &Chain) -> io::Result<Self> {
        let mut heard = Self::default();
        read_chain(chain, |item| {
            heard.hear(voice, item);
            ControlFlow::Continue(())
        })?;
        Ok(heard)
    }

    fn hear(&mut self, voice: Voice, item: Item<'_>) {
        match item {
            Item::Record(Record::Packet(packet)) => {
                let at = packet.meta.timestamp;
                let range = at..at + packet.payload.len() as u64 / 2;
                assert!(
                    packet.payload == voice.says(range.clone()),
                    "samples {range:?} are not what was sent"
                );
                self.add(range);
            }
            Item::Record(Record::Event(_, Event::Gap { at, samples, reason })) => {
                self.gaps.push((at..at + samples, reason));
            }
            Item::Record(Record::Event(..) | Record::Beside(_)) => {}
            Item::Record(Record::Footer(_)) => self.closed = true,
            Item::Damage { bytes, .. } => self.damaged += bytes,
        }
    }

    fn add(&mut self, range: Range<u64>) {
        match self.audio.last_mut() {
            Some(last) if last.end > range.start => {
                panic!("samples {range:?} are there twice, after {last:?}")
            }
            Some(last) if last.end == range.start => last.end = range.end,
            Some(_) | None => self.audio.push(range),
        }
    }

    /// Samples that are there without a break from the first.
    pub fn unbroken(&self) -> u64 {
        self.audio.first().filter(|first| first.start == 0).map_or(0, |first| first.end)
    }

    /// Whether audio and gaps together account for each sample before `end`.
    pub fn accounts_for(&self, end: u64) -> bool {
        let mut all: Vec<_> = self.audio.iter().chain(self.gaps.iter().map(|(gap, _)| gap)).collect();
        all.sort_unstable_by_key(|range| range.start);
        let reached = all
            .iter()
            .fold(0, |reached, range| if range.start <= reached { reached.max(range.end) } else { reached });
        reached >= end
    }
}
