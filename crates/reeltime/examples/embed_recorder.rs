//! The whole recorder inside another program, without a server: a session by library calls, synced to the spool,
//! published to a folder with its row in SQLite, and read back.
//!
//! `cargo run --example embed_recorder -- [folder] > call.wav`

use std::f32::consts::TAU;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use reeltime::catalogue::{RecordingState, SqliteCatalogue};
use reeltime::recorder::{Recorder, RecorderConfig, Selection, SessionRequest};
use reeltime::spool::FolderLock;
use reeltime::store::FolderStore;
use reeltime_core::id::RecordingId;
use reeltime_core::log::{Counting, Purpose};
use reeltime_core::media::{Codec, Format};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const TENANT: &str = "default";
const FORMAT: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "reeltime-data".to_owned());
    let recorder = open(Path::new(&folder)).await?;
    let recording = record(&recorder).await?;
    wait_until_complete(&recorder, recording).await?;
    read(&recorder, recording).await?;
    recorder.drain(Duration::ZERO).await;
    Ok(())
}

/// Takes the data folder; what an earlier run left in its spool is published too.
async fn open(folder: &Path) -> Outcome<Recorder> {
    let lock = FolderLock::take(folder)?;
    let catalogue = SqliteCatalogue::open(folder.join("catalogue.db")).await?;
    let store = FolderStore::open(folder.join("store")).await?;
    Ok(Recorder::open(RecorderConfig::new(folder), lock, Arc::new(catalogue), Arc::new(store)).await?)
}

/// One session: two seconds of a tone, in frames of 20 ms.
async fn record(recorder: &Recorder) -> Outcome<RecordingId> {
    let request = SessionRequest {
        tenant: TENANT.to_owned(),
        call: Some("call-42".to_owned()),
        participant: Some("caller".to_owned()),
        format: FORMAT,
        counting: Counting::Samples,
        purpose: Purpose::Plain,
        speaks_v1: false,
    };
    let (mut session, info) = recorder.open_session(request).await?;
    let tone = |n: u32| ((n as f32 * 440.0 * TAU / FORMAT.rate as f32).sin() * 8_000.0) as i16;
    for frame in 0..100 {
        let samples = (frame * 320..(frame + 1) * 320).map(tone);
        let bytes: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
        session.audio(&bytes).await?;
    }
    session.stop("the call is over").await;
    Ok(info.recording)
}

/// A call waits two seconds for another session (`call_linger`) before its recording ends and is published.
async fn wait_until_complete(recorder: &Recorder, recording: RecordingId) -> Outcome<()> {
    loop {
        let view = recorder.recording(TENANT, recording).await?.ok_or("the recording is gone")?;
        if view.state == RecordingState::Complete {
            eprintln!("{} is complete: {} s, {:?} bytes", view.id, view.duration_seconds, view.size_bytes);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Streams the recording to standard output, in constant memory.
async fn read(recorder: &Recorder, recording: RecordingId) -> Outcome<()> {
    let media = recorder.media(TENANT, recording, &Selection::default()).await?;
    let mut chunks = media.read(None).await?;
    let mut out = std::io::stdout().lock();
    while let Some(chunk) = chunks.try_next().await? {
        out.write_all(&chunk)?;
    }
    Ok(())
}
