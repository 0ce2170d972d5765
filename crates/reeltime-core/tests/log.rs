//! The log's format: what is written is read back, by this version and by every later one; what is damaged is found,
//! and costs no more than itself; what a loss of power leaves is told apart from what was synced.

use std::path::Path;

use proptest::prelude::*;
use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::{
    Beside, Continues, Counting, Encoder, Event, Footer, GapReason, HeaderError, LogHeader, MAX_HEADER,
    MAX_PAYLOAD, PacketMeta, Purpose, Record, Scan, Scanner, TRAILER, read_closed, read_header,
};
use reeltime_core::media::{Codec, Container, Format};
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

const SALT: u32 = 0x5eed_1e55;
const SECTOR: usize = 512;

fn header() -> LogHeader {
    LogHeader {
        tenant: "default".to_owned(),
        recording: RecordingId(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057)),
        call: Some("room 7 · Ünïcode".to_owned()),
        session: SessionId(Uuid::from_u128(2)),
        track: TrackId(Uuid::from_u128(3)),
        participant: "alice".to_owned(),
        format: Format { codec: Codec::S16le, rate: 16_000, channels: 1 },
        epoch: UtcMicros(1_735_787_045_000_006),
        opened: Micros(40),
        number: 2,
        continues: Some(Continues { number: 1, valid_until: 4_711, samples: 640, given_up: None }),
        resume_token_sha256: Some("ab".repeat(32)),
        counting: Counting::Samples,
        purpose: Purpose::Transcribe { gain: 2.0, format: Container::Wav, bitrate: None },
    }
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq)]
enum Written {
    Packet(PacketMeta, Vec<u8>),
    Beside(Beside),
    Event(Micros, Event),
}

/// A record as it was read.
fn read(record: Record<'_>) -> Result<Written, Footer> {
    match record {
        Record::Packet(packet) => Ok(Written::Packet(packet.meta, packet.payload.to_vec())),
        Record::Beside(beside) => Ok(Written::Beside(beside)),
        Record::Event(arrival, event) => Ok(Written::Event(arrival, event)),
        Record::Footer(footer) => Err(footer),
    }
}

fn packet(number: u64, sequence: Option<u64>, length: usize) -> Written {
    let meta = PacketMeta { arrival: Micros(20_000 * number), timestamp: 320 * number, sequence };
    let payload = (0..length).map(|at| (number as usize * 31 + at * 7) as u8).collect();
    Written::Packet(meta, payload)
}

fn events() -> Vec<Event> {
    let reasons = [
        GapReason::Loss,
        GapReason::Discarded,
        GapReason::Paused,
        GapReason::Overflow,
        GapReason::Disconnected,
        GapReason::SilentSource,
    ];
    let gaps = reasons.map(|reason| Event::Gap { at: 640, samples: 160, reason });
    let mut events = vec![
        Event::Pause { at: 640, reason: Some("by request".to_owned()) },
        Event::Pause { at: 640, reason: None },
        Event::Resume { at: 800 },
        Event::Mark { at: 800, name: "objection".to_owned() },
        Event::Turn { at: 800, data: serde_json::json!({ "speaker": "b", "text": "\u{1f600}" }) },
        Event::Reconnected { at: 800 },
    ];
    events.extend(gaps);
    events
}

/// A packet whose payload lies beside: as many bytes of that value.
fn beside(number: u64, sequence: Option<u64>, bytes: u32) -> Written {
    let meta = PacketMeta { arrival: Micros(20_000 * number), timestamp: 320 * number, sequence };
    let payload = vec![bytes as u8; bytes as usize];
    Written::Beside(Beside { meta, at: 44 + 64 * number, bytes, crc: crc32c(&payload) })
}

/// Every kind of record of version 2.
fn every_record_of_2() -> Vec<Written> {
    let sound = [beside(5, None, 64), beside(6, Some(65_536), 33), beside(7, None, 0)];
    every_record().into_iter().chain(sound).collect()
}

/// Every kind of record of version 1, and every kind of event.
fn every_record() -> Vec<Written> {
    let packets = [packet(0, None, 64), packet(1, Some(65_536), 33), packet(2, None, 0), packet(3, None, 1)];
    let events = events().into_iter().map(|event| Written::Event(Micros(80_000), event));
    packets.into_iter().chain(events).chain([packet(4, None, 64)]).collect()
}

fn append(encoder: &mut Encoder, record: &Written, out: &mut Vec<u8>) {
    match record {
        Written::Packet(meta, payload) => encoder.packet(*meta, payload, out),
        Written::Beside(beside) => {
            let payload = vec![beside.bytes as u8; beside.bytes as usize];
            encoder.beside(beside.meta, beside.at, &payload, out);
        }
        Written::Event(arrival, event) => assert!(encoder.event(*arrival, event, out)),
    }
}

/// The log of these records, and where each of them ends.
fn write(records: &[Written]) -> (Vec<u8>, Vec<usize>, Encoder) {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::create(&header(), SALT, &mut bytes).expect("the header fits");
    let mut ends = Vec::new();
    for record in records {
        append(&mut encoder, record, &mut bytes);
        ends.push(bytes.len());
    }
    assert_eq!((encoder.offset(), encoder.records()), (bytes.len() as u64, records.len() as u64));
    (bytes, ends, encoder)
}

fn write_closed(records: &[Written]) -> Vec<u8> {
    let (mut bytes, _, mut encoder) = write(records);
    encoder.footer(1_600, Micros(100_000), "stop", &mut bytes);
    bytes
}

/// All that a scan says of a file.
#[derive(Clone, Debug, Default, PartialEq)]
struct Scanned {
    records: Vec<Written>,
    footer: Option<Footer>,
    damage: Vec<u64>,
    torn: u64,
    valid_until: u64,
}

/// Scans in windows of `window` bytes, or what the scanner asks for.
fn scan(bytes: &[u8], window: usize) -> Scanned {
    let (_, mut scanner) = read_header(bytes).expect("the header is intact");
    scan_from(&mut scanner, bytes, window)
}

fn scan_from(scanner: &mut Scanner, bytes: &[u8], window: usize) -> Scanned {
    let mut scanned = Scanned::default();
    let mut need = window;
    loop {
        let rest = &bytes[bytes.len().min(scanner.offset() as usize)..];
        let shown = &rest[..need.min(rest.len())];
        let before = scanner.offset();
        match scanner.next(shown, shown.len() == rest.len()) {
            Scan::Record(record) => match read(record) {
                Ok(record) => scanned.records.push(record),
                Err(footer) => scanned.footer = Some(footer),
            },
            Scan::Damage(bytes) => scanned.damage.push(bytes),
            Scan::More(bytes) => {
                assert!(bytes > shown.len() || scanner.offset() > before, "asks for what it has");
                need = bytes.max(window);
                continue;
            }
            Scan::End { torn } => {
                scanned.torn = torn;
                scanned.valid_until = scanner.valid_until();
                return scanned;
            }
        }
        need = window;
    }
}

#[test]
fn version_1_is_read_as_ever() {
    read_as_ever("log-v1.bin", &every_record());
}

#[test]
fn version_2_is_read_and_written_as_ever() {
    let golden = read_as_ever("log-v2.bin", &every_record_of_2());
    assert!(write_closed(&every_record_of_2()) == golden, "the same records are written in other bytes");
}

fn read_as_ever(name: &str, records: &[Written]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden = std::fs::read(&path).expect("the file is there");
    assert_eq!(read_header(&golden).expect("its header is read").0, header());
    let scanned = scan(&golden, usize::MAX);
    assert_eq!(scanned.records, records);
    let footer = Footer {
        records: records.len() as u64,
        samples: 1_600,
        closed: Micros(100_000),
        reason: "stop".to_owned(),
    };
    assert_eq!(scanned.footer, Some(footer));
    assert_eq!((scanned.damage, scanned.torn, scanned.valid_until), (vec![], 0, golden.len() as u64));
    golden
}

#[test]
fn a_payload_beside_counts_where_it_is_what_was_written() {
    let Written::Beside(record) = beside(3, None, 64) else { panic!("it is one") };
    assert_eq!(record.with(&[64; 64]).unwrap().payload, [64; 64]);
    assert_eq!(record.with(&[64; 64]).unwrap().meta, record.meta);
    assert!(record.with(&[64; 63]).is_none() && record.with(&[65; 64]).is_none());
}

#[test]
fn a_header_of_an_older_writer_takes_defaults_and_one_of_a_newer_version_is_refused() {
    let old: LogHeader = serde_json::from_value(serde_json::json!({
        "tenant": "default", "recording": header().recording, "session": header().session, "track": header().track,
        "participant": "alice", "format": header().format, "epoch": 1, "opened": 2, "of a later version": true,
    }))
    .unwrap();
    assert_eq!((old.number, old.continues, old.call, old.counting), (0, None, None, Counting::Arrival));
    let (mut newer, _, _) = write(&[]);
    let length = newer.len() / 2;
    for copy in [0, length] {
        newer[copy + 8] = 3;
        let crc = crc32c(&[&newer[copy..copy + 20], &newer[copy + 24..copy + length]].concat());
        newer[copy + 20..copy + 24].copy_from_slice(&crc.to_le_bytes());
    }
    let error = read_header(&newer).unwrap_err();
    assert_eq!(error, HeaderError::Newer(3));
    assert!(error.to_string().contains("use the newer program"));
}

/// CRC32C, bit by bit: a second opinion on the one in the code.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn a_header_that_does_not_fit_is_refused_and_the_longest_that_fits_is_read() {
    let mut long = LogHeader { participant: "x".repeat(MAX_HEADER), ..header() };
    assert!(Encoder::create(&long, SALT, &mut Vec::new()).is_err());
    let fixed = serde_json::to_vec(&LogHeader { participant: String::new(), ..header() }).unwrap().len();
    long.participant.truncate(MAX_HEADER - 24 - fixed);
    let mut bytes = Vec::new();
    Encoder::create(&long, SALT, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 2 * MAX_HEADER);
    assert_eq!(read_header(&bytes).unwrap().0, long);
    bytes[100] ^= 1;
    assert_eq!(read_header(&bytes).unwrap().0, long, "the second copy");
}

#[test]
fn the_largest_payload_is_read_back_and_an_event_that_does_not_fit_is_left_out() {
    let largest = packet(0, Some(9), MAX_PAYLOAD);
    let (mut bytes, _, mut encoder) = write(std::slice::from_ref(&largest));
    let before = bytes.len();
    let event = Event::Mark { at: 0, name: "x".repeat(1 << 16) };
    assert!(!encoder.event(Micros(0), &event, &mut bytes));
    assert_eq!((bytes.len(), encoder.offset()), (before, before as u64));
    assert_eq!(scan(&bytes, 1).records, [largest]);
}

#[test]
fn a_closed_log_is_known_by_its_last_4_kib() {
    let records: Vec<_> = (0..100).map(|number| packet(number, None, 640)).collect();
    let bytes = write_closed(&records);
    let (_, scanner) = read_header(&bytes).unwrap();
    let closed = read_closed(&scanner, &bytes[bytes.len() - 4_096..], bytes.len() as u64).unwrap();
    assert_eq!((closed.footer.records, closed.footer.samples), (100, 1_600));
    let open = &bytes[..usize::try_from(closed.records_end).unwrap()];
    assert_eq!(scan(open, 4_096).records, records);
    for cut in 1..=bytes.len() - open.len() {
        let short = &bytes[..bytes.len() - cut];
        let tail = &short[short.len() - 4_096..];
        assert_eq!(read_closed(&scanner, tail, short.len() as u64), None, "{cut} bytes cut off");
        assert_eq!(scan(short, 4_096).records, records, "{cut} bytes cut off");
    }
}

#[test]
fn a_log_cut_anywhere_keeps_every_record_before_the_cut() {
    let records = every_record();
    let (bytes, ends, _) = write(&records);
    let (_, scanner) = read_header(&bytes).unwrap();
    let first = usize::try_from(scanner.offset()).unwrap();
    for cut in 0..bytes.len() {
        let scanned = match read_header(&bytes[..cut]) {
            Ok(_) => scan(&bytes[..cut], usize::MAX),
            Err(error) => {
                assert!(
                    cut < first && matches!(error, HeaderError::Short | HeaderError::Damaged),
                    "{cut}: {error}"
                );
                continue;
            }
        };
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let end = if whole == 0 { first } else { ends[whole - 1] };
        assert_eq!(scanned.records, records[..whole], "cut at {cut}");
        assert_eq!((scanned.torn, scanned.damage), (cut.saturating_sub(end) as u64, vec![]), "cut at {cut}");
        assert_eq!(scanned.valid_until, end as u64, "cut at {cut}");
    }
}

/// Where a byte of a log lies.
fn place(ends: &[usize], at: usize) -> usize {
    ends.iter().position(|&end| at < end).unwrap_or(ends.len())
}

#[test]
fn every_flipped_bit_is_found_and_costs_one_record_at_most() {
    let records = every_record();
    let (mut bytes, ends, mut encoder) = write(&records);
    encoder.footer(1_600, Micros(100_000), "stop", &mut bytes);
    let first = usize::try_from(read_header(&bytes).unwrap().1.offset()).unwrap();
    for bit in 0..8 * bytes.len() {
        let at = bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        let (read, _) = read_header(&bytes).unwrap_or_else(|error| panic!("bit {bit}: {error}"));
        assert_eq!(read, header(), "bit {bit}");
        let scanned = scan(&bytes, usize::MAX);
        let expected = expected_without(&records, (at >= first).then(|| place(&ends, at)));
        assert_eq!(scanned.records, expected, "bit {bit}");
        let found = scanned.damage.iter().sum::<u64>() + scanned.torn;
        let in_footer = at >= *ends.last().unwrap();
        assert_eq!(found > 0, at >= first && at < bytes.len() - TRAILER, "bit {bit}: {found}");
        let (_, scanner) = read_header(&bytes).unwrap();
        assert_eq!(read_closed(&scanner, &bytes, bytes.len() as u64).is_some(), !in_footer, "bit {bit}");
        bytes[at] ^= 1 << (bit % 8);
    }
}

fn expected_without(records: &[Written], lost: Option<usize>) -> Vec<Written> {
    let kept = records.iter().enumerate().filter(|(number, _)| Some(*number) != lost);
    kept.map(|(_, record)| record.clone()).collect()
}

#[test]
fn a_header_is_read_with_either_copy_gone() {
    let (bytes, _, _) = write(&every_record());
    let first = usize::try_from(read_header(&bytes).unwrap().1.offset()).unwrap();
    let length = first / 2;
    for (from, to) in [(0, length), (length, first)] {
        let mut damaged = bytes.clone();
        damaged[from..to].fill(0);
        assert_eq!(read_header(&damaged).unwrap().0, header());
        assert_eq!(scan(&damaged, usize::MAX), scan(&bytes, usize::MAX));
    }
    let mut damaged = bytes;
    damaged[..first].fill(0);
    assert_eq!(read_header(&damaged).unwrap_err(), HeaderError::Damaged);
}

#[test]
fn records_of_another_log_or_of_another_place_are_not_taken() {
    let (bytes, ends, _) = write(&every_record());
    let mut other = Vec::new();
    let mut encoder = Encoder::create(&header(), SALT + 1, &mut other).unwrap();
    append(&mut encoder, &packet(7, None, 64), &mut other);
    let (from, to) = (ends[0], ends[1]);
    for foreign in [&other[other.len() - (to - from).min(90)..], &bytes[from..to], &bytes[..to - from]] {
        let mixed = [&bytes[..], foreign, &bytes[bytes.len() - 20..]].concat();
        let scanned = scan(&mixed, usize::MAX);
        assert_eq!(scanned.records, every_record());
        assert_eq!(scanned.torn, foreign.len() as u64 + 20);
    }
}

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn record(&mut self, number: u64) -> Written {
        let length = if self.below(20) == 0 { self.below(5_000) } else { self.below(700) };
        match self.below(8) {
            0 => Written::Event(Micros(number), Event::Mark { at: number, name: "m".repeat(length / 8) }),
            1 => packet(number, Some(number), length),
            _ => packet(number, None, length),
        }
    }
}

/// What the power leaves of the bytes behind `synced`: each sector kept, lost, zeroed or torn; the end anywhere.
fn after_power_loss(bytes: &[u8], synced: usize, foreign: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut left = bytes.to_vec();
    for start in (synced / SECTOR * SECTOR..bytes.len()).step_by(SECTOR) {
        let range = start.max(synced)..bytes.len().min(start + SECTOR);
        let cut = range.start + chance.below(range.len() + 1);
        match chance.below(7) {
            0..=2 => {}
            3 => left[range].fill(0),
            4 => left[cut..range.end].fill(0),
            5 => left[cut..range.end].fill_with(|| chance.below(256) as u8),
            _ => {
                let from = chance.below(foreign.len() - SECTOR);
                left[range.clone()].copy_from_slice(&foreign[from..from + range.len()]);
            }
        }
    }
    match chance.below(3) {
        0 => left.truncate(synced + chance.below(left.len() - synced + 1)),
        1 => left.resize(left.len() + chance.below(3 * SECTOR), 0),
        _ => {}
    }
    left
}

/// Which records of the log still stand in what is left, byte for byte, from the header on.
fn intact(bytes: &[u8], left: &[u8], first: usize, ends: &[usize]) -> Vec<bool> {
    let starts = std::iter::once(&first).chain(ends);
    starts.zip(ends).map(|(&from, &to)| left.get(from..to) == Some(&bytes[from..to])).collect()
}

#[test]
fn a_loss_of_power_takes_nothing_synced_and_adds_nothing() {
    let count =
        |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (points, seed): (u64, u64) = (count("REELTIME_POINTS", 2_000), count("REELTIME_SEED", 7));
    eprintln!("REELTIME_SEED={seed}, {points} points");
    let mut cut_points = 0;
    for point in seed..seed + points {
        let mut chance = Chance(point);
        let count = 1 + chance.below(60);
        let records: Vec<_> = (0..count).map(|number| chance.record(number as u64)).collect();
        let (bytes, ends, _) = write(&records);
        let first = usize::try_from(read_header(&bytes).unwrap().1.offset()).unwrap();
        let safe = chance.below(count + 1);
        let synced = if safe == 0 { first } else { ends[safe - 1] };
        let (foreign, ..) = write(&(0..4).map(|number| packet(90 + number, None, 600)).collect::<Vec<_>>());
        let left = after_power_loss(&bytes, synced, &foreign, &mut chance);
        let kept = intact(&bytes, &left, first, &ends);
        assert!(kept[..safe].iter().all(|&kept| kept), "point {point}: the test took what was synced");
        let scanned = scan(&left, 1 + chance.below(4_096));
        let expected: Vec<_> =
            records.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(record, _)| record.clone()).collect();
        assert_eq!(scanned.records, expected, "point {point}");
        let end = kept.iter().rposition(|&kept| kept).map_or(first, |last| ends[last]);
        assert_eq!(
            (scanned.valid_until, scanned.torn),
            (end as u64, (left.len() - end) as u64),
            "point {point}"
        );
        let lost = ends.iter().zip(&kept).filter(|(at, kept)| !**kept && **at < end);
        assert_eq!(scanned.damage.is_empty(), lost.count() == 0, "point {point}");
        assert!(scanned.damage.iter().sum::<u64>() as usize <= end - synced, "point {point}");
        cut_points += u64::from(scanned.torn > 0);
    }
    assert!(cut_points > points / 10, "the test hardly ever cuts: {cut_points}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn windows_of_any_size_give_the_same(window in 1_usize..3_000, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = write_closed(&every_record());
        let first = usize::try_from(read_header(&bytes).unwrap().1.offset()).unwrap();
        for (at, with) in damage {
            let at = first + at.index(bytes.len() - first);
            bytes[at] = with;
        }
        prop_assert_eq!(scan(&bytes, window), scan(&bytes, usize::MAX));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_always_end(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), window in 1_usize..500) {
        let _ = read_header(&bytes);
        let mut scanner = Scanner::at(SALT, 0);
        let scanned = scan_from(&mut scanner, &bytes, window);
        prop_assert!(scanned.records.is_empty() && scanned.valid_until + scanned.torn == bytes.len() as u64);
        let _ = read_closed(&scanner, &bytes, bytes.len() as u64);
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_are_a_tail(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let (log, _, _) = write(&every_record());
        let scanned = scan(&[&log[..], &bytes[..]].concat(), 64);
        prop_assert_eq!(scanned.records, every_record());
        prop_assert_eq!((scanned.torn, scanned.valid_until), (bytes.len() as u64, log.len() as u64));
    }

    #[test]
    fn what_a_trailer_claims_is_never_believed_blindly(at in any::<u64>(), length in any::<u64>(), tail in proptest::collection::vec(any::<u8>(), 0..100)) {
        let tail = [&tail[..], &at.to_le_bytes(), b"REELEND0"].concat();
        prop_assert_eq!(read_closed(&Scanner::at(SALT, 0), &tail, length), None);
    }
}

#[test]
fn the_transcribe_sockets_purpose_reads_as_older_logs_have_it() {
    let older = r#"{"facade":"transcribe","gain":2.0}"#;
    let wav = Purpose::Transcribe { gain: 2.0, format: Container::Wav, bitrate: None };
    assert_eq!(serde_json::from_str::<Purpose>(older).unwrap(), wav);
    assert_eq!(serde_json::to_string(&wav).unwrap(), older);
    let mp3 = Purpose::Transcribe { gain: 1.5, format: Container::Mp3, bitrate: Some(64_000) };
    let text = r#"{"facade":"transcribe","gain":1.5,"format":"mp3","bitrate":64000}"#;
    assert_eq!(serde_json::to_string(&mp3).unwrap(), text);
    assert_eq!(serde_json::from_str::<Purpose>(text).unwrap(), mp3);
}
