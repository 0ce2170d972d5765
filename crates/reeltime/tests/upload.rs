//! The uploader: what it promises for each file, whatever the store and the process do.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::ConversationRecorder;
use reeltime::store::{Store, Throttled, Watched};
use reeltime::upload::{EnqueueError, RecordingJob, Retry, Scan, Uploader, UploaderConfig};
use reeltime_core::keys::ObjectKey;
use reeltime_testkit::remote::{Fault, RemoteStore};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

const LONG: Duration = Duration::from_secs(30);

fn config(scan: Option<Scan>) -> UploaderConfig {
    let retry = Retry {
        first: Duration::from_millis(2),
        most: Duration::from_millis(20),
        refused: Duration::from_millis(100),
    };
    UploaderConfig { retry, scan, ..UploaderConfig::default() }
}

fn scan(folder: &TempDir) -> Scan {
    Scan { interval: Duration::from_millis(20), ..Scan::new(folder.path(), "recordings/") }
}

/// A file that was written long enough ago to be complete.
fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes)?;
    // 2025-01-02T03:44:05Z
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_789_445);
    std::fs::File::options().write(true).open(&path)?.set_modified(time)?;
    Ok(path)
}

fn job(path: &Path, key: &str) -> RecordingJob {
    RecordingJob { local_path: path.to_owned(), key: ObjectKey::new(key).expect("a test names a key") }
}

fn start(store: &Arc<RemoteStore>, config: UploaderConfig) -> Uploader {
    Uploader::start(Arc::<RemoteStore>::clone(store), config)
}

async fn read(store: &RemoteStore, key: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let chunks: Vec<Bytes> = store.get(&ObjectKey::new(key)?, None).await?.try_collect().await?;
    Ok(chunks.concat())
}

async fn gone(path: &Path) {
    let deadline = Instant::now() + LONG;
    while path.exists() {
        assert!(Instant::now() < deadline, "{} is still there", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn values_that_are_not_above_zero_become_the_defaults() {
    for value in [0, -1, i32::MIN] {
        let config = UploaderConfig::new(value, value, value);
        assert_eq!((config.workers, config.queue, config.retries), (2, 32, 3));
    }
    let config = UploaderConfig::new(5, 6, 7);
    assert_eq!((config.workers, config.queue, config.retries), (5, 6, 7));
}

#[tokio::test]
async fn a_file_goes_once_the_store_has_it_byte_for_byte() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let sent: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = file(&folder, "a.wav", &sent)?;
    let uploader = start(&store, config(None));
    uploader.enqueue(job(&path, "x/a.wav"))?;
    uploader.shutdown(LONG).await?;
    assert!(!path.exists());
    assert_eq!(read(&store, "x/a.wav").await?, sent);
    Ok(())
}

#[tokio::test]
async fn answers_that_are_lost_and_a_store_that_is_away_make_nothing_twice() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let path = file(&folder, "a.wav", b"bytes")?;
    store.meet([Fault::Away, Fault::ReplyLost]);
    let uploader = start(&store, config(None));
    uploader.enqueue(job(&path, "a.wav"))?;
    uploader.shutdown(LONG).await?;
    assert_eq!(store.list("").await?.len(), 1);
    assert_eq!(read(&store, "a.wav").await?, b"bytes");
    assert!(!path.exists());
    Ok(())
}

#[tokio::test]
async fn what_has_the_key_already_stays_and_the_file_gets_a_suffix() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    // As long as the file, so that only its bytes tell.
    store.put(&ObjectKey::new("a.wav")?, Bytes::from_static(b"other").into()).await?;
    let path = file(&folder, "a.wav", b"bytes")?;
    let uploader = start(&store, config(None));
    uploader.enqueue(job(&path, "a.wav"))?;
    uploader.shutdown(LONG).await?;
    assert_eq!(
        (read(&store, "a.wav").await?, read(&store, "a-2.wav").await?),
        (b"other".to_vec(), b"bytes".to_vec())
    );
    Ok(())
}

#[tokio::test]
async fn what_an_earlier_process_left_is_taken_up_and_not_sent_twice() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let path = file(&folder, "session-123.wav", b"bytes")?;
    let other = file(&folder, "notes.txt", b"not a recording")?;
    let key = "recordings/2025/01/02/session-123.wav";
    // Its process died between the store's answer and the removal.
    store.put(&ObjectKey::new(key)?, Bytes::from_static(b"bytes").into()).await?;
    let uploader = start(&store, config(Some(scan(&folder))));
    gone(&path).await;
    assert_eq!(store.list("").await?.len(), 1);
    assert!(other.exists());
    uploader.shutdown(LONG).await?;
    Ok(())
}

#[tokio::test]
async fn what_finds_the_queue_full_is_told_so_and_taken_up_later_under_its_key() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    store.set_away(true);
    let waiting = Scan { interval: Duration::from_millis(200), ..scan(&folder) };
    let uploader = start(&store, UploaderConfig { workers: 1, queue: 2, ..config(Some(waiting)) });
    // The first look finds nothing.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut refused = 0;
    let mut paths = Vec::new();
    for n in 0..40 {
        let path = file(&folder, &format!("{n}.wav"), format!("bytes of {n}").as_bytes())?;
        match uploader.enqueue(job(&path, &format!("mine/{n}.wav"))) {
            Err(EnqueueError::QueueFull { path: told, capacity }) => {
                assert_eq!((told, capacity), (path.clone(), 2));
                refused += 1;
            }
            taken => taken?,
        }
        paths.push(path);
    }
    assert!(refused >= 37, "{refused}");
    assert!(paths.iter().all(|path| path.exists()));
    store.set_away(false);
    for (n, path) in paths.iter().enumerate() {
        gone(path).await;
        assert_eq!(read(&store, &format!("mine/{n}.wav")).await?, format!("bytes of {n}").as_bytes());
    }
    assert_eq!(store.list("").await?.len(), 40);
    Ok(())
}

#[tokio::test]
async fn one_that_is_refused_stays_and_is_looked_at_again() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let (first, second) = (file(&folder, "1.wav", b"first")?, file(&folder, "2.wav", b"second")?);
    store.meet([Fault::Refused]);
    let uploader = start(&store, UploaderConfig { workers: 1, ..config(Some(scan(&folder))) });
    gone(&second).await;
    assert!(first.exists(), "it was refused");
    gone(&first).await;
    let puts: Vec<_> = store.calls().into_iter().filter(|call| call.starts_with("put")).collect();
    assert_eq!(puts, ["put recordings/2025/01/02/2.wav", "put recordings/2025/01/02/1.wav"]);
    uploader.shutdown(LONG).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_beside_those_who_enqueue_loses_no_file() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let uploader = Arc::new(start(&store, UploaderConfig { queue: 1_000, ..config(None) }));
    let paths: Vec<_> =
        (0..200).map(|n| file(&folder, &format!("{n}.wav"), b"bytes")).collect::<Result<_, _>>()?;
    let tasks: Vec<_> = paths
        .chunks(50)
        .map(|mine| {
            let (uploader, mine) = (Arc::clone(&uploader), mine.to_vec());
            tokio::spawn(async move {
                let mut closed = 0;
                for path in mine {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    closed += usize::from(uploader.enqueue(job(&path, &name)).is_err());
                    tokio::task::yield_now().await;
                }
                closed
            })
        })
        .collect();
    tokio::task::yield_now().await;
    uploader.shutdown(LONG).await?;
    let mut closed = 0;
    for task in tasks {
        closed += task.await?;
    }
    let left = paths.iter().filter(|path| path.exists()).count();
    assert_eq!((left, store.list("").await?.len()), (closed, 200 - closed));
    let refused = uploader.enqueue(job(&paths[0], "late.wav"));
    assert!(matches!(refused, Err(EnqueueError::Closed { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_shutdown_that_runs_out_of_time_says_how_many_and_keeps_their_files() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    store.set_away(true);
    let path = file(&folder, "a.wav", b"bytes")?;
    let uploader = start(&store, UploaderConfig { retries: usize::MAX, ..config(None) });
    uploader.enqueue(job(&path, "a.wav"))?;
    let late = uploader.shutdown(Duration::from_millis(50)).await.expect_err("the store is away");
    assert_eq!(late.jobs, 1);
    assert!(path.exists());
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_being_recorded_is_left_alone_until_it_is_over() -> Outcome {
    let (folder, store) = (TempDir::new()?, Arc::<RemoteStore>::default());
    let mut recorder = ConversationRecorder::create(folder.path(), "call", 16_000)?;
    recorder.write_samples(&[1; 1_600], 16_000)?;
    let uploader = start(&store, config(Some(scan(&folder))));
    // Longer than a file has to be quiet.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert!(store.list("").await?.is_empty());
    let info = recorder.close()?;
    gone(&info.path).await;
    let objects = store.list("recordings/").await?;
    assert_eq!(objects.iter().map(|meta| meta.size).collect::<Vec<_>>(), [44 + 3_200]);
    uploader.shutdown(LONG).await?;
    Ok(())
}

#[tokio::test]
async fn uploads_in_parts_pass_through_a_watched_and_throttled_store() -> Outcome {
    let remote = Arc::<RemoteStore>::default();
    let throttled = Throttled::new(Arc::<RemoteStore>::clone(&remote), 1 << 30);
    let store = Watched::new(Arc::new(throttled));
    let (parts, key) = store.parts(&ObjectKey::new("a/b.wav")?).expect("it takes parts");
    let upload = parts.begin(&key).await?;
    let second = parts.put_part(&key, &upload, 2, Bytes::from(vec![2; 200_000])).await?;
    let first = parts.put_part(&key, &upload, 1, Bytes::from(vec![1; 100_000])).await?;
    let meta = parts.complete(&key, &upload, &[first, second]).await?;
    assert_eq!((meta.key.as_str(), meta.size), ("a/b.wav", 300_000));
    assert_eq!(read(&remote, "a/b.wav").await?, [vec![1; 100_000], vec![2; 200_000]].concat());
    assert!(store.health().last_success.is_some() && store.health().away_since.is_none());
    remote.set_away(true);
    parts.begin(&key).await.expect_err("the store is away");
    let health = store.health();
    assert_eq!(health.failures, 1);
    assert!(health.away_since.is_some());
    remote.set_away(false);
    store.head(&key).await?;
    assert_eq!((store.health().failures, store.health().away_since), (0, None));
    Ok(())
}
