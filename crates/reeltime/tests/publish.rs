//! What has ended reaches the store once, whatever the store does meanwhile.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::catalogue::{
    Catalogue, DEFAULT_TENANT, NewObject, NewRecording, ObjectKind, ObjectState, RecordingState,
    SqliteCatalogue, StateChange,
};
use reeltime::recorder::{Ingest, Recorder, RecorderConfig, SessionInfo, SessionRequest};
use reeltime::ship::{Shipping, When};
use reeltime::spool::FolderLock;
use reeltime::store::Store;
use reeltime::upload::Retry;
use reeltime_core::id::RecordingId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::log::{Counting, Purpose};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::UtcMicros;
use reeltime_testkit::remote::{Fault, RemoteStore};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

const FORMAT: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };

struct Bench {
    folder: TempDir,
    store: Arc<RemoteStore>,
    catalogue: Arc<SqliteCatalogue>,
}

impl Bench {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let folder = TempDir::new()?;
        let catalogue = Arc::new(SqliteCatalogue::open(folder.path().join("catalogue.db")).await?);
        Ok(Self { folder, store: Arc::default(), catalogue })
    }

    async fn recorder(&self, workers: usize) -> Result<Recorder, Box<dyn Error>> {
        let config = RecorderConfig {
            // Whose calls would stand between those that are counted.
            ship: Shipping { when: When::Never, ..Shipping::default() },
            upload_workers: Some(workers),
            retry: Retry {
                first: Duration::from_millis(5),
                most: Duration::from_millis(50),
                refused: Duration::from_millis(300),
            },
            ..RecorderConfig::new(self.folder.path())
        };
        let lock = FolderLock::take(self.folder.path())?;
        let store: Arc<dyn Store> = Arc::<RemoteStore>::clone(&self.store);
        let catalogue: Arc<dyn Catalogue> = Arc::<SqliteCatalogue>::clone(&self.catalogue);
        Ok(Recorder::open(config, lock, catalogue, store).await?)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Vec<u8>, Box<dyn Error>> {
        let chunks: Vec<Bytes> = self.store.get(key, None).await?.try_collect().await?;
        Ok(chunks.concat())
    }

    /// The recordings' files, by the order in which they were put.
    fn files_put(&self) -> Vec<String> {
        let puts = self.store.calls();
        let keys = puts.iter().filter_map(|call| call.strip_prefix("put "));
        keys.filter(|key| key.ends_with(".wav")).map(str::to_owned).collect()
    }

    async fn rows(&self, state: ObjectState) -> Result<Vec<ObjectKey>, Box<dyn Error>> {
        let before = UtcMicros(i64::MAX);
        let rows = self.catalogue.objects_in(DEFAULT_TENANT, state, before, 10_000).await?;
        Ok(rows.into_iter().map(|row| row.key).collect())
    }
}

async fn open(recorder: &Recorder) -> Result<(Ingest, SessionInfo), Box<dyn Error>> {
    let request = SessionRequest {
        tenant: DEFAULT_TENANT.to_owned(),
        call: None,
        participant: Some("anna".to_owned()),
        format: FORMAT,
        counting: Counting::Samples,
        purpose: Purpose::Plain,
        speaks_v1: false,
    };
    Ok(recorder.open_session(request).await?)
}

/// The samples of recording `n`.
fn samples(n: u16) -> Vec<u8> {
    (0..320_u16).flat_map(|at| at.wrapping_mul(7).wrapping_add(n).to_le_bytes()).collect()
}

async fn record(recorder: &Recorder, n: u16) -> Result<RecordingId, Box<dyn Error>> {
    let (mut session, info) = open(recorder).await?;
    session.audio(&samples(n)).await?;
    session.stop("over").await;
    Ok(info.recording)
}

async fn until(what: &str, check: impl AsyncFn() -> Result<bool, Box<dyn Error>>) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check().await? {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_ended_while_the_store_was_away_are_stored_once_each_in_order() -> Outcome {
    const COUNT: u16 = 1_000;
    let bench = Bench::new().await?;
    let recorder = bench.recorder(1).await?;
    bench.store.set_away(true);
    let (mut live, _) = open(&recorder).await?;
    let mut recordings = Vec::new();
    for n in 0..COUNT {
        recordings.push(record(&recorder, n).await?);
        live.audio(&samples(n)).await?;
    }
    let status = recorder.store_status();
    assert_eq!(status.backlog.recordings, usize::from(COUNT));
    assert!(status.backlog.bytes > u64::from(COUNT) * 640 && status.backlog.outage.is_some(), "{status:?}");
    assert!(status.health.away_since.is_some() && status.place == "memory://remote", "{status:?}");
    let words = status.health.last_failure.map(|(_, words)| words).unwrap_or_default();
    assert!(words.contains("told to be away"), "{words}");
    assert!(bench.store.calls().is_empty(), "{:?}", bench.store.calls().first());
    bench.store.set_away(false);
    until("all but the live one to be published", async || Ok(recorder.readiness().recordings == 1)).await?;
    let put = bench.files_put();
    let place = |id: &RecordingId| put.iter().position(|key| key.contains(&id.to_string()));
    let mut places: Vec<_> = recordings.iter().filter_map(place).collect();
    assert_eq!((put.len(), places.len()), (usize::from(COUNT), usize::from(COUNT)), "each once");
    // The one that found the store back comes first; it may be any.
    let first = places.iter().position(|place| *place == 0).expect("one was the first");
    places.remove(first);
    assert!(places.is_sorted(), "not in the order in which they ended");
    for n in [0, 1, 499, 999] {
        let file = put.iter().find(|key| key.contains(&recordings[usize::from(n)].to_string()));
        let bytes = bench.read(&ObjectKey::new(file.expect("it was put").clone())?).await?;
        assert_eq!(bytes[44..], samples(n), "recording {n}");
    }
    let status = recorder.store_status();
    assert_eq!((status.backlog.recordings, status.backlog.bytes, status.health.failures), (0, 0, 0));
    assert_eq!((status.backlog.oldest, status.backlog.outage), (None, None));
    assert!(bench.rows(ObjectState::Staged).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_store_refuses_keeps_no_other_from_it() -> Outcome {
    let bench = Bench::new().await?;
    let recorder = bench.recorder(1).await?;
    bench.store.meet([Fault::Refused]);
    let mut recordings = Vec::new();
    for n in 0..10 {
        recordings.push(record(&recorder, n).await?);
    }
    recorder.published().await;
    let put = bench.files_put();
    let order: Vec<_> =
        put.iter().map(|key| recordings.iter().position(|id| key.contains(&id.to_string()))).collect();
    let expected: Vec<_> = (1..10).chain([0]).map(Some).collect();
    assert_eq!(order, expected, "the refused one was looked at again, after the others");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_nothing_twice() -> Outcome {
    let bench = Bench::new().await?;
    let recorder = bench.recorder(4).await?;
    bench.store.set_keeps(true);
    bench.store.meet(std::iter::repeat_n(Fault::ReplyLost, 9));
    let mut recordings = Vec::new();
    for n in 0..6 {
        recordings.push(record(&recorder, n).await?);
    }
    recorder.published().await;
    let objects = bench.store.list("").await?;
    assert_eq!(objects.len(), 12, "a file and a manifest each: {objects:?}");
    assert!(!bench.store.calls().iter().any(|call| call.starts_with("delete ")), "nothing had to go");
    assert_eq!(bench.rows(ObjectState::Published).await?.len(), 12);
    for (n, id) in (0..).zip(&recordings) {
        let mut of_it = objects.iter().filter(|meta| meta.key.as_str().contains(&id.to_string()));
        let wav = of_it.find(|meta| meta.key.as_str().ends_with(".wav")).expect("its file");
        assert_eq!(bench.read(&wav.key).await?[44..], samples(n));
    }
    Ok(())
}

fn manifest_key(recording: RecordingId, form: u32) -> Result<ObjectKey, Box<dyn Error>> {
    Ok(ObjectKey::new(format!("_reeltime/manifests/{recording}.json"))?.unique(form)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_under_a_key_stays_whatever_fails() -> Outcome {
    for call in 0..3 {
        let bench = Bench::new().await?;
        let recorder = bench.recorder(1).await?;
        let (mut session, SessionInfo { recording, .. }) = open(&recorder).await?;
        session.audio(&samples(1)).await?;
        let key = manifest_key(recording, 1)?;
        bench.store.put(&key, Bytes::from_static(b"somebody else's").into()).await?;
        bench.store.meet_after(call, Fault::Away);
        session.stop("over").await;
        recorder.published().await;
        assert_eq!(bench.read(&key).await?, b"somebody else's", "call {call}");
        let published = bench.rows(ObjectState::Published).await?;
        assert!(published.contains(&manifest_key(recording, 2)?), "call {call}: {published:?}");
        assert!(!published.contains(&key) && bench.rows(ObjectState::Staged).await?.is_empty());
    }
    Ok(())
}

/// An earlier attempt stored a manifest, and another one comes of the recording now.
async fn with_another_manifest(bench: &Bench, recorder: &Recorder) -> Result<RecordingId, Box<dyn Error>> {
    let (mut session, SessionInfo { recording, .. }) = open(recorder).await?;
    session.audio(&samples(1)).await?;
    until("it is entered", async || Ok(bench.catalogue.get(DEFAULT_TENANT, recording).await?.is_some()))
        .await?;
    let earlier = NewObject {
        tenant: DEFAULT_TENANT.to_owned(),
        recording,
        track: None,
        kind: ObjectKind::Manifest,
        key: manifest_key(recording, 1)?,
        mime_type: "application/json".to_owned(),
        created_at: UtcMicros(1),
    };
    bench.catalogue.stage(&earlier).await?;
    bench.store.put(&earlier.key, Bytes::from_static(b"earlier").into()).await?;
    session.stop("over").await;
    recorder.published().await;
    Ok(recording)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_left_is_replaced_where_it_is_another() -> Outcome {
    let bench = Bench::new().await?;
    let recorder = bench.recorder(1).await?;
    let key = manifest_key(with_another_manifest(&bench, &recorder).await?, 1)?;
    assert!(bench.rows(ObjectState::Published).await?.contains(&key));
    assert!(bench.read(&key).await?.starts_with(b"{"));
    assert_eq!(bench.store.list("").await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_may_be_deleted_it_stays_and_another_key_is_taken() -> Outcome {
    let bench = Bench::new().await?;
    let recorder = bench.recorder(1).await?;
    bench.store.set_keeps(true);
    let recording = with_another_manifest(&bench, &recorder).await?;
    assert_eq!(bench.read(&manifest_key(recording, 1)?).await?, b"earlier");
    assert!(bench.read(&manifest_key(recording, 2)?).await?.starts_with(b"{"));
    assert!(bench.rows(ObjectState::Published).await?.contains(&manifest_key(recording, 2)?));
    assert_eq!(bench.rows(ObjectState::MarkedForDeletion).await?, [manifest_key(recording, 1)?]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_searched_for_segments_of_what_is_deleted_only_where_there_were_any() -> Outcome {
    let bench = Bench::new().await?;
    let recorder = bench.recorder(1).await?;
    let (plain, cut) = (record(&recorder, 1).await?, record(&recorder, 2).await?);
    recorder.published().await;
    std::fs::create_dir_all(bench.folder.path().join("segments").join(cut.to_string()))?;
    let key = ObjectKey::new(format!("recordings/{cut}/anna/segment_000.flac"))?;
    bench.store.put(&key, Bytes::from_static(b"a segment").into()).await?;
    recorder.delete(DEFAULT_TENANT, plain).await?;
    assert_eq!(bench.store.listed(), [] as [String; 0]);
    recorder.delete(DEFAULT_TENANT, cut).await?;
    assert_eq!(bench.store.listed(), [format!("recordings/{cut}/")]);
    assert_eq!(bench.store.list("").await?, []);
    Ok(())
}

/// An object of a recording that nobody works on: its row, and its bytes.
async fn left_over(bench: &Bench) -> Result<ObjectKey, Box<dyn Error>> {
    let (id, at) = (RecordingId(uuid::Uuid::now_v7()), UtcMicros(1));
    let (tenant, call) = (DEFAULT_TENANT.to_owned(), id.to_string());
    bench.catalogue.begin(&NewRecording { id, tenant: tenant.clone(), call, created_at: at }).await?;
    let key = ObjectKey::new(format!("recordings/{id}.wav"))?;
    let object = NewObject {
        tenant,
        recording: id,
        track: None,
        kind: ObjectKind::Master,
        key: key.clone(),
        mime_type: "audio/wav".to_owned(),
        created_at: at,
    };
    bench.catalogue.stage(&object).await?;
    let aborted = StateChange { state: RecordingState::Aborted, at, reason: None };
    bench.catalogue.change_state(DEFAULT_TENANT, id, &aborted).await?;
    bench.store.put(&key, Bytes::from_static(b"left over").into()).await?;
    Ok(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_staged_for_nobody_is_removed_and_what_is_published_stays() -> Outcome {
    let bench = Bench::new().await?;
    let key = left_over(&bench).await?;
    let recorder = bench.recorder(4).await?;
    let kept = record(&recorder, 1).await?;
    recorder.published().await;
    until("the left-over object to go", async || Ok(bench.store.head(&key).await?.is_none())).await?;
    until("its row to go", async || Ok(bench.rows(ObjectState::MarkedForDeletion).await?.is_empty())).await?;
    assert_eq!(bench.store.list("recordings/").await?.len(), 1);
    assert!(bench.files_put().iter().any(|put| put.contains(&kept.to_string())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_nothing_be_deleted_is_asked_no_more_than_once_a_sweep() -> Outcome {
    let bench = Bench::new().await?;
    let key = left_over(&bench).await?;
    bench.store.meet([Fault::Refused]);
    let recorder = bench.recorder(4).await?;
    until("the refusal", async || Ok(recorder.store_status().health.failures == 1)).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(recorder.store_status().health.failures, 1);
    assert_eq!(bench.rows(ObjectState::MarkedForDeletion).await?, std::slice::from_ref(&key));
    assert!(bench.store.head(&key).await?.is_some() && bench.rows(ObjectState::Staged).await?.is_empty());
    Ok(())
}
