//! Logs as lists, and what a placer makes of them. Samples are 8 bytes (four channels of 16 bits) and carry their
//! own index, so that any lost, doubled or shifted sample shows.

#![allow(dead_code, reason = "each test program uses some of it")]

use reeltime_core::log::{Counting, Event, PacketMeta};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Placer, Sink, Survey};

/// 100 samples a second, so that minutes stay small.
pub(crate) const FORMAT: Format = Format { codec: Codec::S16le, rate: 100, channels: 4 };

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Packet(PacketMeta, u64),
    Event(Micros, Event),
}

/// A packet of `samples` samples that begins at `timestamp`.
pub(crate) fn packet(arrival_ms: u64, timestamp: u64, samples: u64) -> Item {
    Item::Packet(PacketMeta { arrival: Micros::from_millis(arrival_ms), timestamp, sequence: None }, samples)
}

pub(crate) fn sequenced(arrival_ms: u64, timestamp: u64, sequence: u64, samples: u64) -> Item {
    let meta = PacketMeta { arrival: Micros::from_millis(arrival_ms), timestamp, sequence: Some(sequence) };
    Item::Packet(meta, samples)
}

pub(crate) fn event(arrival_ms: u64, event: Event) -> Item {
    Item::Event(Micros::from_millis(arrival_ms), event)
}

/// Each sample carries its timestamp.
pub(crate) fn payload(timestamp: u64, samples: u64) -> Vec<u8> {
    (timestamp..timestamp + samples).flat_map(u64::to_le_bytes).collect()
}

pub(crate) fn survey(format: Format, counting: Counting, log: &[Item]) -> Survey {
    let mut survey = Survey::new(format, counting);
    for item in log {
        match item {
            Item::Packet(meta, samples) => survey.packet(*meta, *samples),
            Item::Event(arrival, event) => survey.event(*arrival, event),
        }
    }
    survey
}

/// A stretch of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// So many samples that carry consecutive indices from the first.
    Media {
        first: u64,
        samples: u64,
    },
    Silence(u64),
}

/// Collects runs, joined where they continue.
#[derive(Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, run: Run) {
        match (self.0.last_mut(), run) {
            (Some(Run::Silence(before)), Run::Silence(more)) => *before += more,
            (Some(Run::Media { first, samples }), Run::Media { first: next, samples: more })
                if *first + *samples == next =>
            {
                *samples += more;
            }
            _ => self.0.push(run),
        }
    }
}

impl Sink for Runs {
    fn audio(&mut self, payload: &[u8], samples: u64) {
        assert_eq!(payload.len() as u64, samples * 8, "the payload has the samples it is said to have");
        for sample in payload.chunks(8) {
            self.push(Run::Media { first: u64::from_le_bytes(sample.try_into().unwrap()), samples: 1 });
        }
    }

    fn silence(&mut self, samples: u64) {
        self.push(Run::Silence(samples));
    }
}

/// What the second pass makes of a log by `layout`.
pub(crate) fn place(format: Format, counting: Counting, layout: &Layout, log: &[Item]) -> Vec<Run> {
    let (mut placer, mut runs) = (Placer::new(format, counting, layout), Runs::default());
    for item in log {
        if let Item::Packet(meta, samples) = item {
            placer.packet(*meta, &payload(meta.timestamp, *samples), &mut runs);
        }
    }
    placer.finish(&mut runs);
    assert_eq!(placer.position(), layout.samples, "the placer ends where the layout says");
    runs.0
}

/// Both passes.
pub(crate) fn both(counting: Counting, log: &[Item]) -> (Layout, Vec<Run>) {
    let layout = survey(FORMAT, counting, log).finish();
    let runs = place(FORMAT, counting, &layout, log);
    (layout, runs)
}
