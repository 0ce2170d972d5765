//! A recorder on a store in memory, and what is sent to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use reeltime::catalogue::{Catalogue, RecordingState, SqliteCatalogue};
use reeltime::recorder::{Ingest, Recorder, RecorderConfig, SessionRequest};
use reeltime::ship::When;
use reeltime::spool::FolderLock;
use reeltime::store::Store;
use reeltime_core::id::RecordingId;
use reeltime_core::log::{Counting, Purpose};
use reeltime_core::media::{Codec, Format};
use reeltime_testkit::remote::RemoteStore;
use tempfile::TempDir;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub(crate) const TENANT: &str = "default";
pub(crate) const FORMAT: Format = Format { codec: Codec::S16le, rate: 48_000, channels: 2 };
pub(crate) const HEAD: usize = 44;

/// A recorder with all that it needs; what lies in the folder and the store outlives it.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<RemoteStore>,
}

impl Bench {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self { folder: TempDir::new()?, store: Arc::default() })
    }

    pub(crate) fn config(&self) -> RecorderConfig {
        let mut config = RecorderConfig::new(self.folder.path());
        config.call_linger = Duration::ZERO;
        // Whose calls would stand between those that are counted.
        config.ship.when = When::Never;
        config.spool.reserve = 0;
        config.spool.sync_interval = Duration::from_millis(100);
        config
    }

    pub(crate) async fn catalogue(&self) -> Outcome<SqliteCatalogue> {
        Ok(SqliteCatalogue::open(self.folder.path().join("catalogue.db")).await?)
    }

    pub(crate) async fn open(&self, config: RecorderConfig) -> Outcome<Recorder> {
        let lock = FolderLock::take(self.folder.path())?;
        let catalogue = Arc::new(self.catalogue().await?);
        Ok(Recorder::open(config, lock, catalogue, Arc::clone(&self.store) as Arc<dyn Store>).await?)
    }

    /// The object whose key ends in this.
    pub(crate) async fn object(&self, end: &str) -> Outcome<Vec<u8>> {
        let all = self.store.list("recordings/").await?;
        let meta =
            all.iter().find(|meta| meta.key.as_str().ends_with(end)).ok_or("there is no such object")?;
        let chunks: Vec<_> = self.store.get(&meta.key, None).await?.try_collect().await?;
        Ok(chunks.concat())
    }

    /// Parts that the catalogue knows to be in the store, of all uploads.
    pub(crate) async fn parts_noted(&self) -> Outcome<usize> {
        let (catalogue, mut parts) = (self.catalogue().await?, 0);
        for upload in catalogue.uploads(TENANT).await? {
            parts += catalogue.upload(TENANT, &upload.key).await?.map_or(0, |(_, known)| known.len());
        }
        Ok(parts)
    }

    /// What was done to such an object since `calls` calls, without its key.
    pub(crate) fn verbs(&self, calls: usize, end: &str) -> Vec<String> {
        let calls = self.store.calls().into_iter().skip(calls);
        let of = calls.filter_map(|call| {
            let (verb, key) = call.rsplit_once(' ')?;
            key.ends_with(end).then(|| verb.to_owned())
        });
        of.collect()
    }
}

/// No two parts of it are alike.
pub(crate) fn sound(bytes: usize, seed: u64) -> Vec<u8> {
    let mut sound = vec![0; bytes / 4 * 4];
    fastrand::Rng::with_seed(seed).fill(&mut sound);
    sound
}

pub(crate) async fn session(
    recorder: &Recorder,
    call: &str,
    participant: &str,
) -> Outcome<(Ingest, RecordingId)> {
    session_in(FORMAT, recorder, call, participant).await
}

pub(crate) async fn session_in(
    format: Format,
    recorder: &Recorder,
    call: &str,
    participant: &str,
) -> Outcome<(Ingest, RecordingId)> {
    let request = SessionRequest {
        tenant: TENANT.to_owned(),
        call: Some(call.to_owned()),
        participant: Some(participant.to_owned()),
        format,
        counting: Counting::Samples,
        purpose: Purpose::Plain,
        speaks_v1: true,
    };
    let (ingest, info) = recorder.open_session(request).await?;
    Ok((ingest, info.recording))
}

pub(crate) async fn send(ingest: &mut Ingest, sound: &[u8]) -> Outcome {
    for message in sound.chunks(32 << 10) {
        ingest.audio(message).await?;
    }
    Ok(())
}

/// Waits for what comes about by itself.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> Outcome<bool>) -> Outcome {
    for _ in 0..600 {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("this has not come about in a minute: {what}").into())
}

pub(crate) async fn complete(recorder: &Recorder, recording: RecordingId) -> Outcome {
    until("the recording is complete", async || {
        let view = recorder.recording(TENANT, recording).await?;
        Ok(view.is_some_and(|view| view.state == RecordingState::Complete))
    })
    .await
}

pub(crate) async fn publish(recorder: &Recorder, ingest: Ingest, recording: RecordingId) -> Outcome {
    ingest.stop("over").await;
    complete(recorder, recording).await
}

pub(crate) fn is_wav_of(file: &[u8], sound: &[u8]) -> bool {
    file.len() == HEAD + sound.len() && file.starts_with(b"RIFF") && file[HEAD..] == *sound
}

/// What was done to an object after its recording was over, each once, in any order.
pub(crate) fn tail(parts: &[&str]) -> std::collections::BTreeSet<String> {
    parts.iter().map(|&part| part.to_owned()).collect()
}
