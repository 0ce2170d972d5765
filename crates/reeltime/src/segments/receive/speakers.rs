//! From a segment's sound to its speaker's log.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use reeltime_core::id::{SessionId, TrackId};
use reeltime_core::log::{Counting, Event, GapReason, LogHeader, MAX_PAYLOAD, PacketMeta, Purpose, Record};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::Micros;
use tracing::warn;
use uuid::Uuid;

use super::cover::{Cover, samples_of, stretch_of};
use super::sound::{Sound, SoundError};
use crate::error::Error;
use crate::recorder::{LiveRecording, Recorder};
use crate::spool::{Appended, Chain, ChainError, Item, TrackLog, read_chain};

/// What is logged of each speaker, and where more of it goes.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    covers: HashMap<String, Cover>,
    lanes: HashMap<(String, Format, Turn), Lane>,
}

/// When a segment is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    /// As it comes, behind what its speaker has logged.
    Live,
    /// At the end, with all that came out of turn, in order.
    Late,
}

/// A track that grows.
#[derive(Debug)]
struct Lane {
    log: Arc<TrackLog>,
    /// The sample behind its last, from zero of the recording's clock.
    end: u64,
    /// Packets so far. Numbers without a hole say that what lies between two packets is silence, and not lost.
    packets: u64,
}

/// What became of a segment's sound.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is logged up to this sample of this log, or was before.
    Logged(Option<(Arc<TrackLog>, u64)>),
    /// It is to be logged late: it came out of turn, or the disk did not take all of it.
    Deferred,
}

/// Where sound is to go.
pub(super) struct Place<'a> {
    pub(super) participant: &'a str,
    /// Where it begins on the recording's clock.
    pub(super) at: Micros,
    pub(super) turn: Turn,
}

impl Speakers {
    /// What the files hold of what was logged, also by an earlier process.
    pub(super) fn recover(recorder: &Recorder, recording: &LiveRecording) -> Result<Self, Error> {
        let mut speakers = Self::default();
        for log in recording.tracks() {
            let chain = match Chain::find(&**recorder.inner().spool.disk(), log.id()) {
                // No file of it has taken anything.
                Err(ChainError::Header { .. }) => continue,
                chain => chain?,
            };
            let header = chain.header().clone();
            let cover = speakers.covers.entry(header.participant).or_default();
            let visit = |item: Item<'_>| {
                if let Item::Record(Record::Packet(packet)) = item {
                    let begin = packet.meta.timestamp;
                    let samples = header.format.samples_in(packet.payload).unwrap_or(0);
                    cover.insert(stretch_of(&(begin..begin + samples), header.format.rate));
                }
                ControlFlow::Continue(())
            };
            read_chain(&chain, visit).map_err(Error::Spool)?;
        }
        Ok(speakers)
    }

    /// Whether the disk has not safely taken all that was logged.
    pub(super) fn in_doubt(&self) -> bool {
        self.lanes.values().any(|lane| *lane.log.synced().borrow() < lane.end)
    }

    /// From here on that alone is logged which the files hold.
    pub(super) fn believe_files(
        &mut self,
        recorder: &Recorder,
        recording: &LiveRecording,
    ) -> Result<(), Error> {
        self.covers = Self::recover(recorder, recording)?.covers;
        Ok(())
    }

    /// Logs what of a segment's sound is not logged yet. Blocks while the disk is slower.
    pub(super) fn log(
        &mut self,
        recorder: &Recorder,
        recording: &LiveRecording,
        place: &Place<'_>,
        sound: &mut Sound,
    ) -> Result<Placed, SoundError> {
        let format = sound.format;
        let key = (place.participant.to_owned(), format, place.turn);
        let begin = place.at.to_samples(format.rate);
        let cover = self.covers.entry(place.participant.to_owned()).or_default();
        let end = self.lanes.get(&key).map_or(0, |lane| lane.end);
        if begin < end && !cover.holds(stretch_of(&(begin..end), format.rate)) {
            return Ok(Placed::Deferred);
        }
        let Some(align) = format.block_align() else { return Ok(Placed::Deferred) };
        let (mut at, mut taken) = (begin, true);
        while taken {
            let payload = match sound.next() {
                // Whatever was heard of it before is worth keeping.
                Err(error) if at > begin => {
                    warn!(recording = %recording.id, %error, "a segment is damaged: it is heard up to there");
                    break;
                }
                payload => payload?,
            };
            let samples = at..at + (payload.len() / align) as u64;
            if samples.is_empty() {
                break;
            }
            for piece in cover.missing(stretch_of(&samples, format.rate)) {
                let piece = samples_of(&piece, format.rate);
                let lane = self
                    .lanes
                    .entry(key.clone())
                    .or_insert_with(|| Lane::create(recorder, recording, &key, piece.start));
                let bytes = (piece.start - at) as usize * align..(piece.end - at) as usize * align;
                recorder.received(bytes.len());
                taken &= lane.append(format, piece, &payload[bytes]);
            }
            at = if taken { samples.end } else { at };
        }
        cover.insert(stretch_of(&(begin..at), format.rate));
        if !taken {
            return Ok(Placed::Deferred);
        }
        Ok(Placed::Logged(self.lanes.get(&key).map(|lane| (Arc::clone(&lane.log), lane.end))))
    }

    /// Whether anything of a speaker is logged.
    pub(super) fn knows(&self, participant: &str) -> bool {
        self.covers.contains_key(participant)
    }

    /// A track of a speaker of whom nothing came, and of whom something is missing: from `stretch.start` to its end.
    pub(super) fn log_gap(
        &mut self,
        recorder: &Recorder,
        recording: &LiveRecording,
        participant: &str,
        stretch: Range<u64>,
    ) {
        let format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };
        let key = (participant.to_owned(), format, Turn::Late);
        let samples = samples_of(&stretch, format.rate);
        let lane = Lane::create(recorder, recording, &key, samples.start);
        let gap = Event::Gap { at: 0, samples: samples.end - samples.start, reason: GapReason::Loss };
        lane.log.event(Micros(stretch.start), &gap);
        self.covers.entry(participant.to_owned()).or_default();
        self.lanes.insert(key, lane);
    }

    /// The logs that grow.
    pub(super) fn logs(&self) -> Vec<Arc<TrackLog>> {
        self.lanes.values().map(|lane| Arc::clone(&lane.log)).collect()
    }
}

impl Lane {
    fn create(
        recorder: &Recorder,
        recording: &LiveRecording,
        (participant, format, _): &(String, Format, Turn),
        begin: u64,
    ) -> Self {
        let header = LogHeader {
            tenant: recording.tenant.clone(),
            recording: recording.id,
            call: recording.call.clone(),
            session: SessionId(Uuid::now_v7()),
            track: TrackId(Uuid::now_v7()),
            participant: participant.clone(),
            format: *format,
            epoch: recording.clock().map_or(recording.created, |clock| clock.epoch),
            opened: Micros::from_samples(begin, format.rate),
            number: 0,
            continues: None,
            resume_token_sha256: None,
            counting: Counting::Timestamps,
            purpose: Purpose::Plain,
        };
        let log = recorder.inner().spool.create(header);
        recording.add_track(Arc::clone(&log));
        Self { log, end: begin, packets: 0 }
    }

    /// Appends samples; false where the disk did not take all of them. They arrive when they were spoken: then the
    /// timeline knows no other time than theirs.
    fn append(&mut self, format: Format, samples: Range<u64>, payload: &[u8]) -> bool {
        let align = format.block_align().unwrap_or(1);
        let mut timestamp = samples.start;
        for piece in payload.chunks(MAX_PAYLOAD / align * align) {
            let count = (piece.len() / align) as u64;
            let arrival = Micros::from_samples(timestamp, format.rate);
            let meta = PacketMeta { arrival, timestamp, sequence: Some(self.packets) };
            if self.log.append_blocking(meta, count, piece) != Ok(Appended::Logged) {
                return false;
            }
            self.packets += 1;
            timestamp += count;
            self.end = timestamp;
        }
        true
    }
}
