//! A call recorded by a program that has the library in it, and its segments.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reeltime::catalogue::SqliteCatalogue;
use reeltime::recorder::{Control, Recorder, RecorderConfig};
use reeltime::segments::send::{SegmentsConfig, SentSegment, Target};
use reeltime::segments::{SegmentError, SegmentRecorder, SegmentSummary};
use reeltime::ship::When;
use reeltime::spool::{FolderLock, SpoolConfig};
use reeltime::store::Store;
use reeltime_core::codec::Spec;
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::{Codec, Container, Format};
use reeltime_testkit::remote::RemoteStore;
use tempfile::TempDir;

const TENANT: &str = "default";
const PCM: Format = Format { codec: Codec::S16le, rate: 48_000, channels: 2 };
const OPUS: Format = Format { codec: Codec::Opus, rate: 48_000, channels: 2 };
/// Interleaved samples of a packet of 20 ms.
const PACKET: usize = 2 * 960;

struct Bench {
    _folder: TempDir,
    store: Arc<RemoteStore>,
    recorder: Recorder,
}

impl Bench {
    async fn open(change: impl FnOnce(&mut RecorderConfig)) -> Self {
        let folder = TempDir::new().expect("a folder");
        let store = Arc::new(RemoteStore::default());
        let catalogue = SqliteCatalogue::open(folder.path().join("c.db")).await.expect("a catalogue");
        let mut config = RecorderConfig::new(folder.path());
        config.spool = SpoolConfig { reserve: 0, ..config.spool };
        config.ship.when = When::Never;
        // Only who keeps the call keeps it going.
        config.call_linger = Duration::ZERO;
        config.segments =
            Some(SegmentsConfig { format: Container::Wav, ..SegmentsConfig::new(Target::Store) });
        change(&mut config);
        let lock = FolderLock::take(folder.path()).expect("nobody else has it");
        let recorder = Recorder::open(config, lock, Arc::new(catalogue), Arc::clone(&store) as _).await;
        Self { _folder: folder, store, recorder: recorder.expect("a recorder") }
    }

    async fn begin(&self) -> SegmentRecorder {
        SegmentRecorder::begin(&self.recorder, TENANT, "channel").await.expect("it begins")
    }

    async fn object(&self, key: &str) -> Vec<u8> {
        let key = ObjectKey::new(key.to_owned()).expect("a key");
        let body = self.store.get(&key, None).await.expect("it is there");
        body.map(|chunk| chunk.expect("readable").to_vec()).collect::<Vec<_>>().await.concat()
    }

    /// The samples of a WAV file.
    async fn samples(&self, key: &str) -> Vec<i16> {
        let file = self.object(key).await;
        let data = file.windows(4).position(|name| name == b"data").expect("a WAV file") + 8;
        samples(&file[data..])
    }

    /// The samples of a segment.
    async fn heard(&self, segment: &SentSegment) -> Vec<i16> {
        let place = segment.place.as_deref().expect("it has a place");
        assert_eq!(self.object(place).await.len() as u64, segment.bytes);
        let samples = self.samples(place).await;
        let ms = (samples.len() / 2) as i64 * 1_000 / 48_000;
        assert!((segment.end_ms - segment.start_ms - ms).abs() <= 1, "{segment:?} lasts {ms} ms");
        samples
    }
}

async fn close(call: SegmentRecorder) -> SegmentSummary {
    let closed = tokio::time::timeout(Duration::from_secs(60), call.close()).await;
    closed.expect("it comes to an end").expect("its journal is read")
}

/// A speaker's packets, and the sound that they are.
struct Said {
    format: Format,
    packets: Vec<Vec<u8>>,
    sound: Vec<i16>,
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// 0.4 seconds that differ from channel to channel and from sample to sample.
fn loud(step: usize) -> Vec<i16> {
    (0..20 * PACKET)
        .map(|n| if (n / 97) % 2 == 0 { 6_000 + (n * step % 997) as i16 } else { -6_000 })
        .collect()
}

fn pcm(step: usize) -> Said {
    let sound = loud(step);
    Said { format: PCM, packets: sound.chunks(PACKET).map(bytes).collect(), sound }
}

fn opus(step: usize) -> Said {
    let spec = Spec { rate: 48_000, channels: 2, ..Spec::default() };
    let mut encoder = reeltime_codec::encoder(Container::Ogg, &spec).expect("an encoder");
    let mut file = Vec::new();
    encoder.start(&mut file);
    encoder.push(&loud(step), &mut file).expect("it encodes");
    encoder.finish(&mut file).expect("it ends");
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file));
    let mut packets = Vec::new();
    while let Some(packet) = reader.read_packet().expect("Ogg") {
        packets.push(packet.data);
    }
    // Behind the file's own two.
    let packets = packets.split_off(2);
    let (mut decoder, mut sound) = (reeltime_codec::decoder(OPUS).expect("a decoder"), Vec::new());
    for packet in &packets {
        decoder.packet(packet, &mut sound).expect("it decodes");
    }
    Said { format: OPUS, packets, sound }
}

/// Says something in its own time.
async fn say(call: &mut SegmentRecorder, all: &[(&str, &Said)]) {
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    for moment in 0..all.iter().map(|(_, said)| said.packets.len()).max().unwrap_or(0) {
        beat.tick().await;
        for (speaker, said) in all {
            if let Some(packet) = said.packets.get(moment) {
                call.write(speaker, said.format, packet).await.expect("it is taken");
            }
        }
    }
}

/// Asserts that a segment is this sound from its first loud packet on, and then at most a second of silence.
fn assert_is(heard: &[i16], said: &Said) {
    let power = |packet: &&[i16]| packet.iter().map(|&s| i64::from(s).pow(2)).sum::<i64>();
    let quiet =
        said.sound.chunks(PACKET).take_while(|packet| power(packet) < PACKET as i64 * 500 * 500).count();
    let sound = &said.sound[quiet * PACKET..];
    assert!(heard.len() >= sound.len(), "{} of {}", heard.len(), sound.len());
    let (first, rest) = heard.split_at(sound.len());
    assert!(first == sound, "it is something else that is heard");
    assert!(rest.len() <= 2 * 48_000 && rest.iter().all(|&sample| sample == 0), "{}", rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_come_and_go_leave_their_utterances_as_segments_of_one_recording() {
    let bench = Bench::open(|_| {}).await;
    let mut call = bench.begin().await;
    let (alice, bob) = ([pcm(3), pcm(5)], [opus(7), opus(11)]);
    say(&mut call, &[("alice", &alice[0]), ("bob", &bob[0])]).await;
    call.leave("bob").await;
    call.leave("nobody").await;
    // No packet comes of who is silent, and nobody else is there.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    say(&mut call, &[("bob", &bob[1]), ("alice", &alice[1])]).await;
    let recording = call.recording();
    let summary = close(call).await;

    assert_eq!((summary.recording, summary.refused), (recording, 0));
    for (speaker, said) in [("alice", &alice), ("bob", &bob)] {
        let own: Vec<_> = summary.segments.iter().filter(|segment| segment.participant == speaker).collect();
        assert_eq!(own.iter().map(|segment| segment.index).collect::<Vec<_>>(), [0, 1], "{speaker}");
        for (segment, said) in own.iter().zip(said) {
            let place = format!("recordings/{recording}/{speaker}/segment_{:03}.wav", segment.index);
            assert_eq!(segment.place.as_deref(), Some(&*place));
            assert_is(&bench.heard(segment).await, said);
        }
        assert!(own[1].start_ms - own[0].start_ms >= 2_500, "{own:?}");
    }
    let listed = bench.object(&format!("recordings/{recording}/segments.json")).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed).expect("JSON");
    let paths: Vec<_> = summary.segments.iter().map(|segment| segment.place.as_deref()).collect();
    let told: Vec<_> =
        listed["segments"].as_array().expect("a list").iter().map(|each| each["filePath"].as_str()).collect();
    assert_eq!(told, paths);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_users_have_all_left_goes_on_until_it_is_closed() {
    let bench = Bench::open(|_| {}).await;
    let mut call = bench.begin().await;
    say(&mut call, &[("alice", &pcm(3))]).await;
    call.leave("alice").await;
    // What ends recordings looks four times a second.
    tokio::time::sleep(Duration::from_millis(800)).await;
    say(&mut call, &[("alice", &opus(5))]).await;
    let (first, again) = (close(call).await, bench.begin().await);
    assert_eq!(first.segments.len(), 2);
    assert_ne!(again.recording(), first.recording, "a call that was closed begins anew");
    assert_eq!(close(again).await.segments, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_a_store_that_is_away_and_what_waits_is_not_lost() {
    let bench = Bench::open(|_| {}).await;
    let mut call = bench.begin().await;
    bench.store.set_away(true);
    let said = pcm(3);
    say(&mut call, &[("alice", &said)]).await;
    let closing = tokio::spawn(close(call));
    while bench.recorder.segment_figures().failed == 0 {
        assert!(!closing.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.store.set_away(false);
    let summary = closing.await.expect("it closes");
    let [segment] = &*summary.segments else { panic!("{summary:?}") };
    assert_is(&bench.heard(segment).await, &said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_that_is_dropped_has_said_arrives_all_the_same() {
    let bench = Bench::open(|config| config.patience.resume_window = Duration::ZERO).await;
    let (mut call, said) = (bench.begin().await, pcm(3));
    say(&mut call, &[("alice", &said)]).await;
    let prefix = format!("recordings/{}/", call.recording());
    drop(call);
    let listed = format!("{prefix}segments.json");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while bench.store.list(&listed).await.expect("it is listed").is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listed: serde_json::Value = serde_json::from_slice(&bench.object(&listed).await).expect("JSON");
    let [segment] = &**listed["segments"].as_array().expect("a list") else { panic!("{listed}") };
    let place = segment["filePath"].as_str().expect("a path");
    assert_eq!(place, format!("{prefix}alice/segment_000.wav"));
    assert_is(&bench.samples(place).await, &said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_deleted_has_no_segments_and_closing_it_comes_to_an_end() {
    let bench = Bench::open(|_| {}).await;
    let mut call = bench.begin().await;
    bench.store.set_away(true);
    let (said, recording) = (pcm(3), call.recording());
    say(&mut call, &[("alice", &said)]).await;
    call.leave("alice").await;
    while bench.recorder.segment_figures().failed == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench
        .recorder
        .delete(TENANT, recording)
        .await
        .expect("it is deleted, and its bytes once the store is back");
    bench.store.set_away(false);
    assert!(matches!(call.write("alice", PCM, &said.packets[0]).await, Err(SegmentError::Stopped)));
    assert_eq!(close(call).await, SegmentSummary { recording, segments: Vec::new(), refused: 0 });
    assert_eq!(bench.store.calls().iter().filter(|call| call.contains("segment_")).count(), 0);
}

/// Asks something of a call, which heeds it when `alice` is next written.
async fn ask(bench: &Bench, call: &mut SegmentRecorder, control: Control) -> Result<(), SegmentError> {
    let (recorder, id) = (bench.recorder.clone(), call.recording());
    let asking = tokio::spawn(async move { recorder.control(TENANT, id, control).await });
    while !asking.is_finished() {
        call.write("alice", PCM, &bytes(&[1, 1])).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(asking.await.expect("it is asked"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_pause_is_not_there_and_a_stop_stays() {
    let bench = Bench::open(|_| {}).await;
    let mut call = bench.begin().await;
    let (said, private) = (pcm(3), vec![9_999; 10 * PACKET]);
    call.write("alice", PCM, &bytes(&said.sound)).await.expect("it is taken");
    ask(&bench, &mut call, Control::Pause).await.expect("it pauses");
    call.write("alice", PCM, &bytes(&private)).await.expect("it is thrown away");
    ask(&bench, &mut call, Control::Resume).await.expect("it goes on");
    call.write("alice", PCM, &bytes(&said.sound)).await.expect("it is taken");
    assert!(matches!(ask(&bench, &mut call, Control::Stop).await, Err(SegmentError::Stopped)));
    for speaker in ["alice", "bob"] {
        let written = call.write(speaker, PCM, &said.packets[0]).await;
        assert!(matches!(written, Err(SegmentError::Stopped)));
    }
    // One, or two where the pause took long.
    let mut heard = Vec::new();
    for segment in close(call).await.segments {
        heard.extend(bench.heard(&segment).await);
    }
    assert!(heard.starts_with(&said.sound), "what was said before");
    assert!(
        heard[PACKET..].windows(said.sound.len()).any(|heard| heard == said.sound),
        "what was said after"
    );
    assert!(!heard.contains(&9_999));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_cut_says_so_at_once() {
    let bench = Bench::open(|config| config.segments = None).await;
    let begun = SegmentRecorder::begin(&bench.recorder, TENANT, "channel").await;
    assert!(matches!(begun, Err(SegmentError::NotCut)));
    assert_eq!(bench.recorder.readiness().recordings, 0, "none was begun");

    let one = |config: &mut RecorderConfig| {
        config.segments = Some(SegmentsConfig { max_recordings: 1, ..SegmentsConfig::new(Target::Store) });
    };
    let bench = Bench::open(one).await;
    let first = bench.begin().await;
    let second = SegmentRecorder::begin(&bench.recorder, TENANT, "another").await;
    assert!(matches!(second, Err(SegmentError::NotCut)));
    close(first).await;
    close(SegmentRecorder::begin(&bench.recorder, TENANT, "another").await.expect("there is room")).await;
}
