//! What each fuzz target does with its bytes: parse them, and check what must hold whatever they are.
//!
//! A target is a plain function here, so that the fuzzer (`just fuzz TARGET`) and the replay of the seeds
//! (`cargo test`) run the same code.

use reeltime_core::bundle::{BundleError, Index};
use reeltime_core::keys::{ObjectKey, safe_name};
use reeltime_core::log::{self, Event, GapReason, PacketMeta, Record, Scan, Scanner};
use reeltime_core::media::{Codec, Format, opus};
use reeltime_core::range::{self, Resolved};
use reeltime_core::signing::{self, Request};
use reeltime_core::time::{Micros, UtcMicros};
use reeltime_core::timeline::{Counting, Placer, Sink, Survey};
use reeltime_core::wire::v1::{ClientMessage, Start};

/// A file of the spool, whole: the scan ends, every byte is accounted for, and a window of any size gives the
/// same records.
pub fn log(data: &[u8]) {
    let Ok((_, scanner)) = log::read_header(data) else { return };
    let whole = scan(scanner.clone(), data, usize::MAX);
    let step = data.last().map_or(1, |&byte| usize::from(byte) + 1);
    assert_eq!(whole, scan(scanner.clone(), data, step), "records depend on the window");
    let tail = &data[data.len().saturating_sub(4096)..];
    if let Some(closed) = log::read_closed(&scanner, tail, data.len() as u64) {
        assert!(closed.records_end <= data.len() as u64);
    }
}

/// The payloads of all packets, and where the log's valid part ends.
fn scan(mut scanner: Scanner, file: &[u8], window: usize) -> (Vec<Vec<u8>>, u64) {
    // A file may end within its second header, or within its trailer: those count as there.
    let end = scanner.offset().max(file.len() as u64) + log::TRAILER as u64;
    let mut payloads = Vec::new();
    let mut need = window;
    loop {
        let rest = usize::try_from(scanner.offset()).ok().and_then(|at| file.get(at..)).unwrap_or_default();
        let shown = &rest[..need.min(rest.len())];
        let before = scanner.offset();
        match scanner.next(shown, shown.len() == rest.len()) {
            Scan::Record(Record::Packet(packet)) => payloads.push(packet.payload.to_vec()),
            Scan::Record(Record::Beside(beside)) => {
                assert!(beside.bytes as usize <= log::MAX_PAYLOAD && beside.with(&[0; 7]).is_none_or(|_| beside.bytes == 7));
            }
            Scan::Record(Record::Event(..) | Record::Footer(_)) | Scan::Damage(_) => {}
            Scan::More(bytes) => {
                assert!(bytes > shown.len() || scanner.offset() > before, "asks for what it has");
                need = bytes.max(window);
                continue;
            }
            Scan::End { torn } => {
                assert!(scanner.valid_until() + torn <= end);
                return (payloads, scanner.valid_until());
            }
        }
        need = window;
    }
}

/// A client's text, as a message and as the query of a URL.
pub fn wire(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = ClientMessage::parse(text);
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    if let Ok(start) = Start::parse(pairs) {
        assert!(start.format.rate > 0 && start.format.channels > 0);
    }
}

/// A length (the first eight bytes) and a `Range` header: what it resolves to lies within the length.
pub fn range(data: &[u8]) {
    let Some((length, header)) = data.split_first_chunk::<8>() else { return };
    let length = u64::from_le_bytes(*length);
    match range::resolve(Some(header), Some(length)) {
        Resolved::Whole => {}
        Resolved::Bytes(bytes) => {
            assert!(bytes.start < bytes.end && bytes.end <= length);
            let _ = range::content_range(&bytes, Some(length));
        }
        Resolved::Unsatisfiable { length: told } => assert_eq!(told, length),
    }
}

/// A query from a link that we did not make, and one that we made for it: the first is never accepted, the
/// second always.
pub fn link(data: &[u8]) {
    const SECRET: &[u8] = b"what nobody knows";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let now = UtcMicros(0);
    assert!(signing::verify(SECRET, "GET", path, query, now).is_err());
    let reserved = |pair: &str| ["tenant", "expires", "signature"].iter().any(|name| pair.contains(name));
    if !query.split('&').any(|pair| reserved(pair) || pair.contains('%')) {
        let signed = signing::sign(SECRET, &Request { method: "GET", path, query, tenant: "default" }, 60);
        assert_eq!(signing::verify(SECRET, "GET", path, &signed, now).as_deref(), Ok("default"));
        assert!(signing::verify(SECRET, "PUT", path, &signed, now).is_err());
        assert!(signing::verify(SECRET, "GET", &format!("{path}x"), &signed, now).is_err());
    }
}

/// A user's id as a file name, and a text as an object's key: neither leaves its folder.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let name = safe_name(text);
    assert!(!name.is_empty() && name.len() <= 120 && !name.starts_with('.'));
    assert!(!name.contains(['/', '\\', '\0']));
    if let Ok(key) = ObjectKey::new(text) {
        assert!(key.components().all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0')));
        assert!(!key.as_str().starts_with('/'));
    }
}

/// One Opus packet: its length is known or it is refused; no packet is longer than 120 ms.
pub fn opus(data: &[u8]) {
    if let Some(samples) = opus::packet_samples(data) {
        assert!(samples > 0 && samples <= 120 * 48);
    }
}

/// A track: the first byte says how it is counted, every eight bytes after it are a packet or an event. Both passes
/// agree on how long it is, whatever the order, and account for each of its samples.
pub fn timeline(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let counting = [Counting::Arrival, Counting::Samples, Counting::Timestamps][usize::from(first % 3)];
    let format = Format { codec: Codec::Mulaw, rate: 8_000, channels: 1 };
    let mut clock = Clock::default();
    let items: Vec<_> = rest.as_chunks::<8>().0.iter().map(|bytes| clock.item(bytes)).collect();
    let mut survey = Survey::new(format, counting);
    for item in &items {
        match item {
            Item::Packet(meta, payload) => survey.packet(*meta, payload.len() as u64),
            Item::Event(arrival, event) => survey.event(*arrival, event),
        }
    }
    let layout = survey.finish();
    let (mut placer, mut length) = (Placer::new(format, counting, &layout), Length::default());
    for item in &items {
        if let Item::Packet(meta, payload) = item {
            placer.packet(*meta, payload, &mut length);
        }
    }
    placer.finish(&mut length);
    assert_eq!(length.audio, layout.counters.media_samples);
    assert_eq!(length.audio + length.silence, layout.samples);
    let missing = layout.gaps.iter().map(|gap| (gap.at, gap.samples));
    let missing: Vec<_> =
        missing.chain(layout.pauses.iter().map(|pause| (pause.at, pause.samples))).collect();
    assert!(missing.iter().all(|(at, samples)| *samples > 0 && at + samples <= layout.samples));
}

enum Item {
    Packet(PacketMeta, Vec<u8>),
    Event(Micros, Event),
}

/// Where a source is that jitters, jumps and repeats itself.
#[derive(Default)]
struct Clock {
    arrival: u64,
    timestamp: u64,
    sequence: u64,
}

impl Clock {
    fn item(&mut self, bytes: &[u8; 8]) -> Item {
        let [kind, wait, jump_low, jump_high, skip, length, ..] = *bytes;
        self.arrival += u64::from(wait) << (bytes[6] % 20);
        let jump = i64::from(i16::from_le_bytes([jump_low, jump_high])) << (bytes[7] % 12);
        self.timestamp = self.timestamp.saturating_add_signed(jump);
        self.sequence = self.sequence.saturating_add_signed(i64::from(skip as i8));
        let (at, samples) = (self.timestamp, u64::from(length) + 1);
        let event = match kind % 16 {
            0 => Event::Pause { at, reason: None },
            1 => Event::Resume { at },
            2 => Event::Gap { at, samples, reason: GapReason::Overflow },
            3 => Event::Gap { at, samples, reason: GapReason::Paused },
            4 => Event::Reconnected { at },
            _ => {
                let sequence = (kind & 0x80 == 0).then_some(self.sequence);
                self.timestamp += samples;
                self.sequence += 1;
                let meta = PacketMeta { arrival: Micros(self.arrival), timestamp: at, sequence };
                return Item::Packet(meta, vec![0; usize::from(length) + 1]);
            }
        };
        Item::Event(Micros(self.arrival), event)
    }
}

#[derive(Default)]
struct Length {
    audio: u64,
    silence: u64,
}

impl Sink for Length {
    fn audio(&mut self, payload: &[u8], samples: u64) {
        assert_eq!(payload.len() as u64, samples);
        self.audio += samples;
    }

    fn silence(&mut self, samples: u64) {
        self.silence += samples;
    }
}

/// A bundle, whole: any tail that is long enough tells the same of it, every range lies within it, and only what is
/// intact comes out.
pub fn bundle(data: &[u8]) {
    let size = data.len() as u64;
    let index = match Index::read(&data[data.len().saturating_sub(16)..], size) {
        Err(BundleError::Tail { need }) => Index::read(&data[data.len() - need..], size),
        read => read,
    };
    assert_eq!(index, Index::read(data, size));
    let Ok(index) = index else { return };
    for range in &index.ranges {
        assert!(range.at + range.length as usize <= data.len() && index.owner(range).is_some());
        if let Ok(bytes) = index.bytes(range, data) {
            assert_eq!(bytes.len(), range.length as usize);
        }
    }
}
