//! From the start of a server to ready, with open logs in its spool as a killed one leaves them: cut in the middle
//! of a record, and read from the disk, not from memory.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use http::StatusCode;
use reeltime::spool::SpoolConfig;
use rustix::fs::{Advice, fadvise};

use super::figure::{Better, Figure};
use super::process::Server;
use super::spooled::Spooled;
use super::{Plan, client, pcm, progress};

/// Seconds to ready with 100 open logs of an hour.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let (logs, minutes) = (plan.pick(100, 20), plan.pick(60, 6));
    let folder = plan.scratch.folder("recovery", logs * minutes * 2_100_000)?;
    progress(&format!("recovery: writing {logs} logs of {minutes} min"));
    let data = folder.path().join("data");
    let written = data.clone();
    tokio::task::spawn_blocking(move || write(&written, logs, minutes * 60)).await??;
    let start = Instant::now();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let server = Server::start(&arguments, folder.path()).await?;
    let listening = start.elapsed();
    let (status, body) = client::get(server.address, "/readyz").await?;
    let ready = start.elapsed();
    if status != StatusCode::OK {
        bail!("not ready: {}", String::from_utf8_lossy(&body));
    }
    let ready_json: serde_json::Value = serde_json::from_slice(&body)?;
    progress(&format!(
        "recovery: listening after {:.2} s, ready after {:.2} s, {} recordings taken up",
        listening.as_secs_f64(),
        ready.as_secs_f64(),
        ready_json["recordings"]
    ));
    server.kill().await?;
    let unit = format!("s to ready with {logs} open logs of {minutes} min");
    Ok(vec![Figure::new("recovery_time", ready.as_secs_f64(), &unit, Better::Lower).bar(2.0)])
}

fn write(data: &Path, logs: u64, seconds: u64) -> anyhow::Result<()> {
    let config =
        SpoolConfig { flush_interval: Duration::from_millis(20), reserve: 0, ..SpoolConfig::default() };
    let spooled = Spooled::start(data, config, logs, false)?;
    for frame in 0..seconds * pcm::FRAMES {
        spooled.append(frame, &pcm::frame(0, frame))?;
    }
    // Three beats: what was appended last is written.
    std::thread::sleep(Duration::from_millis(100));
    drop(spooled);
    for entry in std::fs::read_dir(reeltime::spool::folder(data)?)? {
        let mut log = OpenOptions::new().append(true).open(entry?.path())?;
        log.write_all(&[0x5a; 300])?;
        log.sync_all()?;
        fadvise(&log, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
