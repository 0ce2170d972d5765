//! Segments that come in while the store is away, loses its answers, or holds what nobody knows of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reeltime::catalogue::{
    Catalogue, NewObject, ObjectKind, RecordingState, Segment, SegmentsStatus, SqliteCatalogue,
};
use reeltime::recorder::{Recorder, RecorderConfig};
use reeltime::segments::receive::{Announcement, NewSegments, ReceiveError};
use reeltime::ship::When;
use reeltime::spool::{FolderLock, SpoolConfig};
use reeltime::store::{ByteStream, Store};
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;
use reeltime_core::media::wav::{Coding, Head};
use reeltime_core::time::UtcMicros;
use reeltime_testkit::disk::{Call, ReadBack, SimDisk};
use reeltime_testkit::remote::{Fault, RemoteStore};
use tempfile::TempDir;

const TENANT: &str = "default";
const BEGIN: i64 = 1_735_790_645_000_000;

struct Bench {
    _folder: TempDir,
    store: Arc<RemoteStore>,
    catalogue: Arc<SqliteCatalogue>,
    recorder: Recorder,
    recording: RecordingId,
}

impl Bench {
    async fn begin() -> Self {
        Self::begin_on(SimDisk::default()).await
    }

    async fn begin_on(disk: SimDisk) -> Self {
        let folder = TempDir::new().expect("a folder");
        let store = Arc::new(RemoteStore::default());
        let catalogue =
            Arc::new(SqliteCatalogue::open(folder.path().join("c.db")).await.expect("a catalogue"));
        let mut config = RecorderConfig::new(folder.path());
        // What is synced is what was asked to be.
        let sync_interval = Duration::from_secs(3_600);
        config.spool = SpoolConfig { reserve: 0, sync_interval, ..config.spool };
        // Whose calls would meet the faults that are meant for segments.
        config.ship.when = When::Never;
        let lock = FolderLock::take(folder.path()).expect("nobody else has it");
        let (rows, objects) = (Arc::clone(&catalogue) as _, Arc::clone(&store) as _);
        let opened = Recorder::open_on(Arc::new(disk), config, lock, rows, objects).await;
        let recorder = opened.expect("a recorder");
        let new = NewSegments {
            session_id: "s".to_owned(),
            guild_id: String::new(),
            channel_id: String::new(),
            details: "{}".to_owned(),
            begun_at: UtcMicros(BEGIN),
        };
        let recording = recorder.begin_segments(TENANT, new).await.expect("it begins");
        Self { _folder: folder, store, catalogue, recorder, recording }
    }

    /// Announces a second of sound, `index` seconds after the begin.
    async fn announce(&self, index: u32) -> Segment {
        let starts_at = UtcMicros(BEGIN + i64::from(index) * 1_000_000);
        let announcement = Announcement {
            user_id: "u".to_owned(),
            username: "alice".to_owned(),
            segment_index: index,
            file_name: String::new(),
            format: Container::Wav,
            size: Some(second(index).len() as u64),
            starts_at,
            ends_at: UtcMicros(starts_at.0 + 1_000_000),
        };
        self.recorder.announce_segment(TENANT, self.recording, announcement).await.expect("it is announced")
    }

    async fn send(&self, segment: &Segment) -> Result<Segment, ReceiveError> {
        let mut upload = self.recorder.upload_segment(TENANT, self.recording, segment.upload).await?;
        for piece in second(segment.segment_index).chunks(4_096) {
            upload.write(piece).await?;
        }
        upload.finish().await
    }

    async fn finalize(&self) -> Result<SegmentsStatus, ReceiveError> {
        let ended = self.recorder.finalize_segments(TENANT, self.recording, Vec::new()).await;
        ended.map(|(row, _)| row.status)
    }

    /// The client has an address of the store's own.
    async fn let_write(&self, segment: &Segment) {
        let object = NewObject {
            tenant: TENANT.to_owned(),
            recording: self.recording,
            track: Some(TrackId(segment.id)),
            kind: ObjectKind::Master,
            key: segment.key.clone(),
            mime_type: segment.format.mime().to_owned(),
            created_at: UtcMicros(BEGIN),
        };
        self.catalogue.stage(&object).await.expect("it is staged");
    }

    async fn put(&self, key: &ObjectKey, bytes: impl Into<Bytes>) {
        self.store.put(key, ByteStream::from_bytes(bytes.into())).await.expect("it is stored");
    }

    /// What became of each segment.
    async fn states(&self) -> Vec<&'static str> {
        let segments = self.recorder.segments(TENANT, self.recording).await.expect("readable");
        segments.iter().map(|segment| segment.state.as_str()).collect()
    }

    async fn bytes(&self, key: &ObjectKey) -> Vec<u8> {
        let body = self.store.get(key, None).await.expect("it is there");
        body.map(|chunk| chunk.expect("it can be read").to_vec()).collect::<Vec<_>>().await.concat()
    }

    /// The samples of the published recording's one track.
    async fn heard(&self) -> Vec<u8> {
        tokio::time::timeout(Duration::from_secs(20), self.recorder.published())
            .await
            .expect("it is published");
        let row = self.catalogue.get(TENANT, self.recording).await.expect("readable").expect("it is there");
        assert_eq!(row.state, RecordingState::Complete);
        self.bytes(&row.key.expect("something was recorded")).await.split_off(44)
    }
}

fn samples(index: u32) -> Vec<u8> {
    (0..8_000_u32).flat_map(|sample| ((index * 8_000 + sample) as i16 | 1).to_le_bytes()).collect()
}

/// A second of sound as a file.
fn second(index: u32) -> Vec<u8> {
    let head = Head { coding: Coding::S16le, rate: 8_000, channels: 1, samples: Some(8_000) };
    [head.to_bytes(), samples(index)].concat()
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_promised_and_the_same_address_is_good_afterwards() {
    let bench = Bench::begin().await;
    let segment = bench.announce(0).await;
    bench.store.set_away(true);
    assert!(matches!(bench.send(&segment).await, Err(ReceiveError::StoreAway)));
    bench.store.set_away(false);
    for fault in [Fault::Away, Fault::ReplyLost] {
        bench.store.meet([fault]);
        assert!(matches!(bench.send(&segment).await, Err(ReceiveError::StoreAway)), "{fault:?}");
    }
    let kept = bench.send(&segment).await.expect("the store is back");
    assert_eq!(kept.key, segment.key, "what was stored without an answer is found");
    assert_eq!(bench.bytes(&kept.key).await, second(0));
    assert!(matches!(bench.send(&segment).await, Err(ReceiveError::Used)));
    assert_eq!(bench.finalize().await.expect("all is there"), SegmentsStatus::Finalized);
    assert!(bench.heard().await == samples(0));
}

#[tokio::test]
async fn what_lies_in_the_store_under_the_same_key_is_left_as_it_is() {
    let bench = Bench::begin().await;
    let segment = bench.announce(0).await;
    let foreign = Bytes::from_static(b"somebody else's");
    bench.store.put(&segment.key, ByteStream::from_bytes(foreign.clone())).await.expect("it is stored");
    let kept = bench.send(&segment).await.expect("another key is free");
    assert_eq!(kept.key.as_str(), "recordings/s/alice/segment_000-2.wav");
    assert_eq!(bench.bytes(&segment.key).await, foreign);
    assert_eq!(bench.bytes(&kept.key).await, second(0));
}

#[tokio::test]
async fn what_came_out_of_turn_waits_in_the_store_and_is_finalized_when_that_is_back() {
    let bench = Bench::begin().await;
    for index in [2, 0, 1] {
        let segment = bench.announce(index).await;
        bench.send(&segment).await.expect("it is kept");
    }
    bench.store.set_away(true);
    assert!(matches!(bench.finalize().await, Err(ReceiveError::Unfinished)));
    let row = bench.recorder.segments_of(TENANT, bench.recording).await.expect("readable").expect("known");
    assert_eq!(row.status, SegmentsStatus::Finalizing);
    bench.store.set_away(false);
    let tried = bench.recorder.retry_segments(TENANT).await.expect("the catalogue is there");
    assert!(matches!(tried.as_slice(), [(row, Ok(()))] if row.recording == bench.recording));
    tokio::time::timeout(Duration::from_secs(20), bench.recorder.published()).await.expect("it is published");
    let row = bench.catalogue.get(TENANT, bench.recording).await.expect("readable").expect("it is there");
    let mix = bench.bytes(&row.key.expect("it has a main object")).await.split_off(44);
    assert!(mix == [samples(0), samples(1), samples(2)].concat(), "all of it, each where it belongs");
}

#[tokio::test]
async fn a_segment_that_went_to_the_store_itself_is_found_at_the_end() {
    let bench = Bench::begin().await;
    let (one, other) = (bench.announce(0).await, bench.announce(1).await);
    for segment in [&one, &other] {
        bench.let_write(segment).await;
    }
    bench.put(&one.key, second(0)).await;
    bench.put(&other.key, &b"half"[..]).await;
    assert_eq!(bench.finalize().await.expect("the store is there"), SegmentsStatus::Finalized);
    assert_eq!(bench.states().await, ["logged", "missing"]);
    assert!(bench.heard().await == [samples(0), vec![0; 16_000]].concat(), "silence where one never came");
}

/// As after the catalogue was lost: the session has the name of one that this catalogue knows nothing of.
#[tokio::test]
async fn what_lay_in_the_store_before_is_no_segment_of_a_recording_and_outlives_it() {
    let bench = Bench::begin().await;
    let segment = bench.announce(0).await;
    bench.put(&segment.key, second(0)).await;
    assert_eq!(bench.finalize().await.expect("the store is there"), SegmentsStatus::Finalized);
    assert_eq!(bench.states().await, ["missing"]);
    tokio::time::timeout(Duration::from_secs(20), bench.recorder.published()).await.expect("it is published");
    bench.recorder.delete(TENANT, bench.recording).await.expect("it is deleted");
    assert!(bench.bytes(&segment.key).await == second(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_lost_of_a_segment_is_logged_again_from_the_store() {
    let disk = SimDisk::default();
    disk.read_back(ReadBack::Fails);
    let bench = Bench::begin_on(disk.clone()).await;
    for index in 0..3 {
        if index == 1 {
            disk.fail(Call::Sync, 1, 1);
        }
        let segment = bench.announce(index).await;
        bench.send(&segment).await.expect("it is in the store");
    }
    assert_eq!(bench.states().await, ["logged", "stored", "stored"]);
    assert_eq!(bench.finalize().await.expect("the store is there"), SegmentsStatus::Finalized);
    assert_eq!(bench.states().await, ["logged"; 3]);
    // Behind the sound the file tells of the gap that is in the first log.
    assert!(bench.heard().await.starts_with(&[samples(0), samples(1), samples(2)].concat()));
}
