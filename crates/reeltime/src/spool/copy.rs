//! Going on in a new file: what a failed one does not safely hold is encoded anew.

use reeltime_core::log::{Event, GapReason, Packet, Record, Scan, Scanner, read_header};
use reeltime_core::media::Format;
use reeltime_core::time::Micros;
use tracing::warn;

use super::disk::DiskFile;
use super::pen::{Block, Pen};
use super::shard::Mark;

/// Copies records of a failed file into the next one.
pub(super) struct Copy<'a> {
    pub(super) salt: u32,
    pub(super) format: Format,
    pub(super) pen: &'a mut Pen,
    pub(super) out: &'a mut Block,
}

/// How far a copy has come.
#[derive(Default)]
struct Copied {
    /// Position behind what was copied.
    reached: u64,
    arrival: Micros,
    /// Bytes before the next record are no record.
    damaged: bool,
    /// Where the first gap begins.
    lost: Option<u64>,
}

impl Copy<'_> {
    /// Copies the records of `block`, which begin at `from` and should reach position `until`. What is missing,
    /// between them too, is a gap; gives where the first one begins.
    pub(super) fn records(&mut self, from: Mark, block: &Block, until: u64) -> Option<u64> {
        let mut scanner = self.scanner(from, &block.log);
        let mut copied = Copied { reached: from.samples, ..Copied::default() };
        loop {
            let start = usize::try_from(scanner.offset() - from.offset).unwrap_or(usize::MAX);
            match scanner.next(block.log.get(start..).unwrap_or_default(), true) {
                Scan::Record(record) => match with_payload(record, from, &block.sound) {
                    Some(record) => self.record(record, &mut copied),
                    None => copied.damaged = true,
                },
                Scan::Damage(_) => copied.damaged = true,
                Scan::More(_) | Scan::End { .. } => break,
            }
        }
        self.gap_until(until, &mut copied);
        copied.lost
    }

    /// Stands at the first record: behind the header, where the bytes begin with one.
    fn scanner(&self, from: Mark, bytes: &[u8]) -> Scanner {
        let header = if from.offset == 0 { read_header(bytes).ok() } else { None };
        header.map_or_else(|| Scanner::at(self.salt, from.offset), |(_, scanner)| scanner)
    }

    fn record(&mut self, record: Record<'_>, copied: &mut Copied) {
        let begins = match &record {
            Record::Packet(packet) => packet.meta.timestamp,
            Record::Beside(beside) => beside.meta.timestamp,
            Record::Event(_, Event::Gap { at, .. }) => *at,
            Record::Event(_, event) => event.end(),
            Record::Footer(footer) => footer.samples,
        };
        if std::mem::take(&mut copied.damaged) {
            self.gap_until(begins, copied);
        }
        let end = self.copy(record, &mut copied.arrival);
        copied.reached = copied.reached.max(end);
    }

    fn gap_until(&mut self, until: u64, copied: &mut Copied) {
        let (at, samples) = (copied.reached, until.saturating_sub(copied.reached));
        if samples == 0 {
            return;
        }
        warn!(samples, "unsynced audio could not be read back: it is a gap");
        let gap = Event::Gap { at, samples, reason: GapReason::Discarded };
        self.pen.event(copied.arrival, &gap, self.out);
        copied.reached = until;
        copied.lost.get_or_insert(at);
    }

    /// Copies one record and gives the position behind it.
    fn copy(&mut self, record: Record<'_>, arrival: &mut Micros) -> u64 {
        match record {
            Record::Packet(packet) => {
                *arrival = packet.meta.arrival;
                self.pen.packet(packet.meta, packet.payload, self.out);
                packet.meta.timestamp + self.format.samples_in(packet.payload).unwrap_or(0)
            }
            // With its payload by now.
            Record::Beside(beside) => beside.meta.timestamp,
            Record::Event(at, event) => {
                *arrival = at;
                self.pen.event(at, &event, self.out);
                event.end()
            }
            Record::Footer(footer) => {
                self.pen.footer(footer.samples, footer.closed, &footer.reason, self.out);
                footer.samples
            }
        }
    }
}

/// The record with its payload, from the sound that begins at `from`; `None` where that is not there.
fn with_payload<'a>(record: Record<'a>, from: Mark, sound: &'a [u8]) -> Option<Record<'a>> {
    let Record::Beside(beside) = record else { return Some(record) };
    let start = usize::try_from(beside.at.checked_sub(from.sound)?).ok()?;
    let payload = sound.get(start..)?.get(..beside.bytes as usize)?;
    beside.with(payload).map(|packet: Packet<'a>| Record::Packet(packet))
}

/// What can be read of a file between two places.
pub(super) fn read_between(file: Option<&dyn DiskFile>, from: u64, to: u64) -> Vec<u8> {
    let Some(file) = file else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    bytes.truncate(filled);
    bytes
}
