//! What of a track is synced, file by file, and how much of that is in the store.

use std::ops::Range;
use std::time::Instant;

use reeltime_core::bundle::Kind;

/// How far one file of a track counts: all before it is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The file's number.
    pub number: u32,
    /// Bytes of the log.
    pub log: u64,
    /// Bytes of the sound beside it.
    pub sound: u64,
    /// Samples per channel of the session that are safe with it.
    pub samples: u64,
    /// Bytes of payload that this process has logged up to there.
    pub payload: u64,
}

/// A piece of a file that is to go to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The file's number.
    pub number: u32,
    /// Which of the two files.
    pub kind: Kind,
    /// Its bytes.
    pub bytes: Range<u64>,
}

/// What comes next of a track, and how far it is shipped once that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shippable {
    /// The pieces, in order: a range's sound before the log that speaks of it.
    pub pieces: Vec<Piece>,
    /// Where that leads.
    pub to: Extent,
    /// Whether more is synced already.
    pub more: bool,
}

/// The files of one track, and how far they are shipped.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// By number: one, and another for each that failed or whose process died.
    files: Vec<Extent>,
    shipped: Extent,
    /// Since when something of it waits; `None` where all is shipped.
    since: Option<Instant>,
}

impl Reached {
    pub(super) fn new(files: Vec<Extent>) -> Self {
        let mut found = Self { files, ..Self::default() };
        found.note_waiting(Instant::now());
        found
    }

    /// Since when the oldest that is synced and not shipped has been so.
    pub(super) const fn waits_since(&self) -> Option<Instant> {
        self.since
    }

    /// What waits has waited since `now` at the latest.
    fn note_waiting(&mut self, now: Instant) {
        self.since = self.next(1).map(|_| self.since.unwrap_or(now));
    }

    /// More of the file is synced, or the first of a new one.
    pub(super) fn synced(&mut self, reach: Extent, now: Instant) {
        match self.files.last_mut().filter(|last| last.number == reach.number) {
            Some(last) => *last = reach,
            None => self.files.push(reach),
        }
        self.note_waiting(now);
    }

    /// What follows what is shipped: `most` bytes at most. Nothing where all is shipped.
    pub(super) fn next(&self, most: u64) -> Option<Shippable> {
        let mut at = self.shipped;
        let (mut pieces, mut left) = (Vec::new(), most);
        let mut more = false;
        for file in self.files.iter().filter(|file| file.number >= self.shipped.number) {
            if file.number > at.number {
                at = Extent { number: file.number, log: 0, sound: 0, ..at };
            }
            let whole = take(&mut pieces, &mut left, (file.number, Kind::Sound), &mut at.sound, file.sound)
                && take(&mut pieces, &mut left, (file.number, Kind::Log), &mut at.log, file.log);
            if !whole {
                more = true;
                break;
            }
            at.samples = at.samples.max(file.samples);
            at.payload = at.payload.max(file.payload);
        }
        (at != self.shipped).then_some(Shippable { pieces, to: at, more })
    }

    /// It is shipped up to `to`: all that was synced at `then`, where that is said.
    pub(super) fn ship(&mut self, to: Extent, then: Option<Instant>) {
        self.shipped = to;
        if then.is_some() {
            self.since = self.since.max(then);
        }
        self.note_waiting(Instant::now());
    }

    /// Whatever is synced by now is in the store already.
    pub(super) fn ship_all(&mut self) -> Option<Extent> {
        let to = self.next(u64::MAX)?.to;
        self.ship(to, None);
        Some(to)
    }

    pub(super) const fn shipped(&self) -> Extent {
        self.shipped
    }

    /// Goes back to the beginning: what was shipped is no longer to be counted on.
    pub(super) fn start_over(&mut self) {
        self.shipped = Extent::default();
        self.note_waiting(Instant::now());
    }

    /// Skips what `held` says is in the store: bytes from a file's beginning. Never goes back.
    pub(super) fn skip(&mut self, held: impl Fn(u32, Kind) -> u64) {
        self.skip_files(held);
        self.note_waiting(Instant::now());
    }

    fn skip_files(&mut self, held: impl Fn(u32, Kind) -> u64) {
        let first = self.shipped.number;
        for file in self.files.iter().filter(|file| file.number >= first) {
            let before = self.shipped;
            let there = if file.number == before.number { (before.sound, before.log) } else { (0, 0) };
            let sound = held(file.number, Kind::Sound).max(there.0).min(file.sound);
            let log = held(file.number, Kind::Log).max(there.1).min(file.log);
            self.shipped = Extent { number: file.number, sound, log, ..before };
            if (sound, log) != (file.sound, file.log) {
                return;
            }
            self.shipped.samples = before.samples.max(file.samples);
            self.shipped.payload = before.payload.max(file.payload);
        }
    }
}

/// Takes what is left of a file, as far as there is room; false where that is not all.
fn take(pieces: &mut Vec<Piece>, left: &mut u64, file: (u32, Kind), at: &mut u64, until: u64) -> bool {
    let bytes = until.saturating_sub(*at).min(*left);
    if bytes > 0 {
        pieces.push(Piece { number: file.0, kind: file.1, bytes: *at..*at + bytes });
        *at += bytes;
        *left -= bytes;
    }
    *at >= until
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reach(number: u32, log: u64, sound: u64, samples: u64) -> Extent {
        Extent { number, log, sound, samples, payload: samples }
    }

    fn piece(number: u32, kind: Kind, bytes: Range<u64>) -> Piece {
        Piece { number, kind, bytes }
    }

    #[test]
    fn the_sound_goes_before_the_log_that_speaks_of_it_and_samples_count_once_both_are_there() {
        let mut track = Reached::default();
        track.synced(reach(0, 100, 1_000, 500), Instant::now());
        let first = track.next(600).unwrap();
        assert_eq!(
            (first.pieces, first.to.samples, first.more),
            (vec![piece(0, Kind::Sound, 0..600)], 0, true)
        );
        track.ship(first.to, None);
        let second = track.next(600).unwrap();
        assert_eq!(second.pieces, [piece(0, Kind::Sound, 600..1_000), piece(0, Kind::Log, 0..100)]);
        assert_eq!((second.to.samples, second.more), (500, false));
        track.ship(second.to, None);
        assert_eq!(track.next(600), None);
    }

    #[test]
    fn a_poisoned_file_counts_up_to_where_it_was_synced_and_the_next_follows() {
        let mut track = Reached::default();
        track.synced(reach(0, 100, 0, 10), Instant::now());
        track.synced(reach(2, 50, 0, 20), Instant::now());
        let next = track.next(u64::MAX).unwrap();
        assert_eq!(next.pieces, [piece(0, Kind::Log, 0..100), piece(2, Kind::Log, 0..50)]);
        track.ship(next.to, None);
        track.synced(reach(2, 70, 0, 30), Instant::now());
        assert_eq!(track.next(u64::MAX).unwrap().pieces, [piece(2, Kind::Log, 50..70)]);
        track.start_over();
        assert_eq!(
            track.next(u64::MAX).unwrap().pieces,
            [piece(0, Kind::Log, 0..100), piece(2, Kind::Log, 0..70)]
        );
    }

    #[test]
    fn what_older_bundles_hold_is_not_shipped_again() {
        let mut track = Reached::new(vec![reach(0, 100, 1_000, 5), reach(1, 80, 400, 9)]);
        track.skip(|number, kind| match (number, kind) {
            (0, _) => 5_000,
            (_, Kind::Sound) => 300,
            (_, Kind::Log) => 0,
        });
        assert_eq!(track.shipped().samples, 5);
        let next = track.next(u64::MAX).unwrap();
        assert_eq!(next.pieces, [piece(1, Kind::Sound, 300..400), piece(1, Kind::Log, 0..80)]);
        assert_eq!(next.to.samples, 9);
        track.ship(next.to, None);
        track.skip(|_, _| 0);
        assert_eq!(track.next(u64::MAX), None, "it never goes back");
    }

    #[test]
    fn what_waits_has_waited_since_it_was_synced() {
        let (start, mut track) = (Instant::now(), Reached::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(track.waits_since(), None);
        track.synced(reach(0, 10, 0, 10), at(1));
        track.synced(reach(0, 20, 0, 20), at(2));
        assert_eq!(track.waits_since(), Some(at(1)), "the oldest counts");
        let all = track.next(u64::MAX).unwrap();
        track.synced(reach(0, 30, 0, 30), at(9));
        track.ship(all.to, Some(at(3)));
        assert_eq!(track.waits_since(), Some(at(3)), "what came later was not there yet");
        let part = track.next(5).unwrap();
        track.ship(part.to, None);
        assert_eq!(track.waits_since(), Some(at(3)), "the rest of what was there waits on");
        track.ship(track.next(u64::MAX).unwrap().to, Some(at(10)));
        assert_eq!(track.waits_since(), None);
        track.start_over();
        assert!(track.waits_since().is_some());
    }
}
