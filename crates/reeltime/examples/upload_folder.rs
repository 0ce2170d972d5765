//! Uploads finished recordings: what a call hands over when it ends, and whatever lies in the folder from before.
//!
//! `cargo run --example upload_folder -- recordings store`

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reeltime::ConversationRecorder;
use reeltime::store::FolderStore;
use reeltime::upload::{RecordingJob, Scan, Uploader, UploaderConfig, build_key};
use reeltime_core::time::UtcMicros;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "recordings".to_owned());
    let store = FolderStore::open(arguments.next().unwrap_or_else(|| "store".to_owned())).await?;
    std::fs::create_dir_all(&folder)?;

    // 2 workers, a queue of 32, 3 retries; what finds the queue full is taken up by the next scan.
    let scan = Some(Scan::new(&folder, "recordings/"));
    let uploader = Uploader::start(Arc::new(store), UploaderConfig { scan, ..UploaderConfig::new(2, 32, 3) });

    let mut call = ConversationRecorder::create(&folder, "session-123", 16_000)?;
    call.write_samples(&[0; 16_000], 16_000)?;
    let info = call.close()?;

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
    let key = build_key("recordings/", "session-123", "wav", UtcMicros(i64::try_from(now)?))?;
    eprintln!("{} goes to {key}", info.path.display());
    if let Err(later) = uploader.enqueue(RecordingJob { local_path: info.path, key }) {
        eprintln!("{later}");
    }
    Ok(uploader.shutdown(Duration::from_secs(10)).await?)
}
