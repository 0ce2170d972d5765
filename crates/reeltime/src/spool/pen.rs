//! What writes one numbered file of a track, or two: a log, and beside it the sound of a track whose payload is samples.

use reeltime_core::log::{Encoder, Event, LogHeader, PacketMeta};
use reeltime_core::media::wav;
use reeltime_core::time::Micros;

use super::shard::Mark;

/// Bytes that wait to be written: to the log, and to the sound file.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) log: Vec<u8>,
    pub(super) sound: Vec<u8>,
}

impl Block {
    pub(super) const fn len(&self) -> usize {
        self.log.len() + self.sound.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.log.is_empty() && self.sound.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.log.clear();
        self.sound.clear();
    }
}

/// Encodes records, and knows how far both files reach.
#[derive(Debug)]
pub(super) struct Pen {
    encoder: Encoder,
    /// Where the sound file ends; `None` where payload stands in the log.
    sound: Option<u64>,
}

impl Pen {
    /// Begins a log, and its sound with the head of a WAV that goes on to its end. `None` where the header's texts are
    /// too long.
    pub(super) fn create(header: &LogHeader, out: &mut Block) -> Option<Self> {
        let encoder = Encoder::create(header, super::track::salt(header), &mut out.log).ok()?;
        let sound = wav::Head::of(header.format, None).map(|head| {
            let start = out.sound.len();
            out.sound.extend_from_slice(&head.to_bytes());
            (out.sound.len() - start) as u64
        });
        Some(Self { encoder, sound })
    }

    #[inline]
    pub(super) fn packet(&mut self, meta: PacketMeta, payload: &[u8], out: &mut Block) {
        let Some(at) = &mut self.sound else {
            return self.encoder.packet(meta, payload, &mut out.log);
        };
        self.encoder.beside(meta, *at, payload, &mut out.log);
        out.sound.extend_from_slice(payload);
        *at += payload.len() as u64;
    }

    pub(super) fn event(&mut self, arrival: Micros, event: &Event, out: &mut Block) {
        self.encoder.event(arrival, event, &mut out.log);
    }

    pub(super) fn footer(&mut self, samples: u64, at: Micros, reason: &str, out: &mut Block) {
        self.encoder.footer(samples, at, reason, &mut out.log);
    }

    /// How far both files reach.
    pub(super) fn reached(&self) -> Mark {
        Mark { offset: self.encoder.offset(), sound: self.sound.unwrap_or(0), ..Mark::default() }
    }
}
