//! Shipping into a store that is away, loses its answers or refuses: what is in the store is what the logs say, each byte
//! once, and nothing of it stays longer than it is needed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use reeltime::catalogue::{Catalogue, RecordingState, SqliteCatalogue};
use reeltime::recorder::{Ingest, Recorder, RecorderConfig, SessionRequest};
use reeltime::ship::{NotShipping, Shipping, When};
use reeltime::spool::{FolderLock, SpoolConfig};
use reeltime::store::Store;
use reeltime_core::bundle::{self, File, Index, Kind, MOST};
use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::log::Purpose;
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::UtcMicros;
use reeltime_core::timeline::Counting;
use reeltime_testkit::remote::{Fault, RemoteStore};
use tempfile::TempDir;
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const TENANT: &str = "default";
const FORMAT: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };
/// Longer than any test should take; only a hang reaches it.
const HANG: Duration = Duration::from_secs(30);

/// A node: its folder, and what it records into.
struct Node {
    folder: TempDir,
    store: Arc<RemoteStore>,
}

impl Node {
    fn new() -> Outcome<Self> {
        Ok(Self { folder: TempDir::new()?, store: Arc::default() })
    }

    fn catalogue(&self) -> std::path::PathBuf {
        self.folder.path().join("catalogue.db")
    }

    async fn start(&self) -> Outcome<Recorder> {
        let mut config = RecorderConfig::new(self.folder.path());
        config.spool = SpoolConfig {
            flush_interval: Duration::from_millis(4),
            sync_interval: Duration::from_millis(10),
            reserve: 0,
            ..SpoolConfig::default()
        };
        config.ship = Shipping { when: When::Auto, interval: Duration::from_millis(20) };
        config.call_linger = Duration::ZERO;
        let lock = FolderLock::take(self.folder.path())?;
        let catalogue = SqliteCatalogue::open(self.catalogue()).await?;
        Ok(Recorder::open(config, lock, Arc::new(catalogue), Arc::clone(&self.store) as _).await?)
    }

    /// Every byte of every file that the bundles hold; none may be there twice.
    async fn shipped(&self) -> Outcome<BTreeMap<File, Vec<u8>>> {
        let mut files: BTreeMap<File, Vec<u8>> = BTreeMap::new();
        for meta in self.store.list(bundle::PREFIX).await? {
            let chunks: Vec<_> = self.store.get(&meta.key, None).await?.try_collect().await?;
            let bytes = chunks.concat();
            let index = Index::read(&bytes, meta.size)?;
            assert!(bytes.len() < MOST + (64 << 10), "{} bytes in one bundle", bytes.len());
            for range in &index.ranges {
                let file = files.entry(range.file).or_default();
                assert_eq!(file.len() as u64, range.offset, "{range:?} follows what is there");
                file.extend(index.bytes(range, &bytes)?);
            }
        }
        Ok(files)
    }

    /// What lies in the spool of these files.
    fn on_disk(&self, files: &BTreeMap<File, Vec<u8>>) -> Outcome<BTreeMap<File, Vec<u8>>> {
        let read = |file: &File| {
            let ext = if file.kind == Kind::Log { "log" } else { "wav" };
            let name = format!("spool/{}-{}.{ext}", file.track, file.number);
            Ok((*file, std::fs::read(self.folder.path().join(name))?))
        };
        files.keys().map(read).collect()
    }
}

fn request(call: &str) -> SessionRequest {
    SessionRequest {
        tenant: TENANT.to_owned(),
        call: Some(call.to_owned()),
        participant: Some("anna".to_owned()),
        format: FORMAT,
        counting: Counting::Samples,
        purpose: Purpose::Plain,
        speaks_v1: true,
    }
}

async fn say(session: &mut Ingest, seconds: u64) -> Outcome {
    for frame in 0..seconds * 50 {
        session.audio(&[(frame % 250) as u8 + 1; 640]).await?;
    }
    Ok(())
}

async fn until_shipped(session: &Ingest, samples: u64) -> Outcome {
    let mut shipped = session.shipped();
    tokio::time::timeout(HANG, shipped.wait_for(|shipped| *shipped >= samples)).await??;
    Ok(())
}

async fn until(what: &str, check: impl AsyncFn() -> Outcome<bool>) -> Outcome {
    let began = Instant::now();
    while !check().await? {
        assert!(began.elapsed() < HANG, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn until_complete(recorder: &Recorder, id: RecordingId) -> Outcome {
    until("it to be complete", async || {
        let view = recorder.recording(TENANT, id).await?.ok_or("it is gone")?;
        Ok(view.state == RecordingState::Complete)
    })
    .await
}

async fn until_empty(node: &Node) -> Outcome {
    until("the bundles to go", async || Ok(node.store.list(bundle::PREFIX).await?.is_empty())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_store_is_what_the_logs_say_and_goes_once_it_is_published() -> Outcome {
    let node = Node::new()?;
    let recorder = node.start().await?;
    let (mut first, info) = recorder.open_session(request("one")).await?;
    let (mut second, other) = recorder.open_session(request("two")).await?;
    for _ in 0..5 {
        say(&mut first, 1).await?;
        say(&mut second, 2).await?;
        until_shipped(&first, first.position()).await?;
    }
    until_shipped(&second, 160_000).await?;
    let shipped = node.shipped().await?;
    assert_eq!(shipped.len(), 4, "two tracks, each with its log and its sound");
    assert_eq!(shipped, node.on_disk(&shipped)?);
    let figures = recorder.readiness();
    assert_eq!(
        (figures.shipped.payload, figures.usage.synced, figures.received),
        (480_000, 480_000, 480_000)
    );
    let raw: usize = shipped.values().map(Vec::len).sum();
    let told = [info.recording, other.recording].map(|id| recorder.shipped_bytes(TENANT, id).unwrap_or(0));
    assert_eq!(told.iter().sum::<u64>(), raw as u64);

    first.stop("done").await;
    until_complete(&recorder, info.recording).await?;
    assert!(!node.store.list(bundle::PREFIX).await?.is_empty(), "the other is still being recorded");
    second.stop("done").await;
    until_complete(&recorder, other.recording).await?;
    until_empty(&node).await?;
    recorder.drain(Duration::ZERO).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_recording_goes_on_and_the_backlog_follows_in_order_once() -> Outcome {
    let node = Node::new()?;
    let recorder = node.start().await?;
    let (mut session, _) = recorder.open_session(request("one")).await?;
    say(&mut session, 1).await?;
    until_shipped(&session, 16_000).await?;
    node.store.set_away(true);
    // More than one bundle takes.
    say(&mut session, 600).await?;
    let mut synced = session.synced();
    tokio::time::timeout(HANG, synced.wait_for(|synced| *synced == 601 * 16_000)).await??;
    assert!(*session.shipped().borrow() < 3 * 16_000);
    node.store.set_away(false);
    // Done, and the answer lost; then not done.
    node.store.meet([Fault::ReplyLost, Fault::Away]);
    until_shipped(&session, 601 * 16_000).await?;
    let shipped = node.shipped().await?;
    assert_eq!(shipped, node.on_disk(&shipped)?);
    assert!(shipped.values().map(Vec::len).sum::<usize>() > 2 * MOST);
    assert_eq!(recorder.readiness().shipped.payload, 601 * 32_000);
    session.stop("done").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_while_the_store_hangs_and_not_only_afterwards() -> Outcome {
    let node = Node::new()?;
    let recorder = node.start().await?;
    let (mut session, _) = recorder.open_session(request("one")).await?;
    say(&mut session, 1).await?;
    until_shipped(&session, 16_000).await?;
    until("nothing to wait", async || Ok(recorder.readiness().shipped.lag.is_zero())).await?;
    node.store.set_hangs(true);
    // Nothing is said for a while: that is no waiting.
    let quiet = Duration::from_millis(200);
    tokio::time::sleep(quiet).await;
    assert_eq!(recorder.readiness().shipped.lag, Duration::ZERO);
    let said = Instant::now();
    say(&mut session, 1).await?;
    until("a second's waiting", async || {
        let lag = recorder.readiness().shipped.lag;
        assert!(lag <= said.elapsed(), "{lag:?} is longer than it is there");
        Ok(lag > Duration::from_secs(1))
    })
    .await?;
    node.store.set_hangs(false);
    until("nothing to wait", async || Ok(recorder.readiness().shipped.lag.is_zero())).await?;
    session.stop("done").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_nothing_is_shipped_and_ack_store_is_not_promised() -> Outcome {
    let node = Node::new()?;
    // The probe is put, and cannot be deleted.
    node.store.meet([Fault::ReplyLost, Fault::Refused]);
    let recorder = node.start().await?;
    until("it to be noticed", async || Ok(recorder.ships() == Err(NotShipping::Refused))).await?;
    let (mut session, info) = recorder.open_session(request("one")).await?;
    say(&mut session, 1).await?;
    session.stop("done").await;
    until_complete(&recorder, info.recording).await?;
    assert_eq!(node.store.list(bundle::PREFIX).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_nothing_is_shipped_twice_and_the_earlier_bundles_go_in_the_end() -> Outcome {
    let node = Node::new()?;
    let recorder = node.start().await?;
    let (mut session, info) = recorder.open_session(request("one")).await?;
    say(&mut session, 3).await?;
    until_shipped(&session, 48_000).await?;
    let (token, before) = (info.resume_token.0.clone(), node.shipped().await?);
    session.leave().await;
    recorder.drain(Duration::ZERO).await;
    drop(recorder);
    until("the folder to be free", async || Ok(FolderLock::take(node.folder.path()).is_ok())).await?;

    let recorder = node.start().await?;
    let (mut session, _) = recorder.resume_session(TENANT, &token).await?;
    say(&mut session, 2).await?;
    until_shipped(&session, 80_000).await?;
    let after = node.shipped().await?;
    assert!(before.iter().all(|(file, bytes)| after[file].starts_with(bytes)));
    assert_eq!(after.len(), 4, "the track went on in a second log with its sound");
    assert_eq!(after, node.on_disk(&after)?);
    let epochs = node.store.list(bundle::PREFIX).await?;
    let epochs: std::collections::BTreeSet<_> =
        epochs.iter().filter_map(|meta| Some(bundle::Name::parse(meta.key.as_str())?.1.epoch)).collect();
    assert_eq!(epochs, [1, 2].into());
    session.stop("done").await;
    until_complete(&recorder, info.recording).await?;
    until_empty(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_has_taken_over_is_neither_published_nor_removed_here() -> Outcome {
    let node = Node::new()?;
    let recorder = node.start().await?;
    let (mut session, info) = recorder.open_session(request("one")).await?;
    say(&mut session, 1).await?;
    until_shipped(&session, 16_000).await?;
    let other = SqliteCatalogue::open(node.catalogue()).await?;
    let by = NodeId(Uuid::from_u128(7));
    let (_, now) = (other.start_node(by, UtcMicros(i64::MAX)).await?, UtcMicros(i64::MAX));
    assert_eq!(other.claim(by, now).await?.len(), 1);
    assert!(other.take_recording(TENANT, info.recording, by, now).await?);
    say(&mut session, 1).await?;
    session.stop("done").await;
    until("it to be left", async || Ok(recorder.readiness().recordings == 0)).await?;
    assert_eq!(other.owner(TENANT, info.recording).await?, Some(by));
    let row = other.get(TENANT, info.recording).await?.ok_or("the row is gone")?;
    assert!(!row.state.is_final(), "it is the other's to finish");
    let name = format!("spool/{}-0.log", info.track);
    assert!(node.folder.path().join(name).exists(), "it may hold more than was taken over");
    assert_eq!(node.store.list("recordings/").await?, []);
    Ok(())
}
