//! A client of the recordings API, to see what became of what was sent.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::load::{Report, participant};
use super::pcm;
use super::process::Server;

/// Recordings that are compared bit for bit.
const COMPARED: usize = 20;

/// One GET, on a connection of its own.
pub(super) async fn get(server: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", server.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// A body that was read and thrown away.
pub(super) struct Drained {
    pub(super) bytes: u64,
    /// From the request to the first of them.
    pub(super) first: Duration,
}

/// Reads all of a body, or a range of it.
pub(super) async fn drain(
    server: SocketAddr,
    path: &str,
    range: Option<std::ops::Range<u64>>,
) -> anyhow::Result<Drained> {
    let start = Instant::now();
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get(path).header("host", server.to_string());
    if let Some(range) = range {
        request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut drained = Drained { bytes: 0, first: Duration::ZERO };
    while let Some(frame) = body.frame().await {
        let read = frame?.data_ref().map_or(0, Bytes::len) as u64;
        if drained.bytes == 0 {
            drained.first = start.elapsed();
        }
        drained.bytes += read;
    }
    connection.abort();
    if !status.is_success() {
        bail!("{path}: {status}");
    }
    Ok(drained)
}

async fn json(server: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let (status, body) = get(server, path).await?;
    if status != StatusCode::OK {
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Waits until `count` recordings are complete.
pub(super) async fn wait_complete(server: &Server, count: u64, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let list = json(server.address, "/api/v1/recordings?state=complete&page_size=1").await?;
        let complete = list["total"].as_u64().unwrap_or(0);
        if complete >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("only {complete} of {count} recordings were complete after {} s", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Checks that every sample that was sent was recorded, and that some recordings are what was sent bit for bit.
pub(super) async fn verify(server: &Server, report: &Report) -> anyhow::Result<()> {
    let mut lost = 0;
    for (number, sent) in report.sessions.iter().enumerate() {
        let id = sent.recording.as_deref().context("a session got no recording")?;
        let recording = json(server.address, &format!("/api/v1/recordings/{id}")).await?;
        let name = participant(number as u64);
        let mut tracks = recording["tracks"].as_array().into_iter().flatten();
        let track = tracks.find(|track| track["participant"] == *name).context("a session has no track")?;
        lost += sent.samples.abs_diff(recorded(track));
    }
    if lost > 0 {
        bail!("{lost} samples were lost");
    }
    let step = report.sessions.len().div_ceil(COMPARED).max(1);
    let mut stalled = 0;
    for (number, sent) in report.sessions.iter().enumerate().step_by(step) {
        let id = sent.recording.as_deref().unwrap_or_default();
        let name = participant(number as u64);
        let path = format!("/api/v1/recordings/{id}/stream?participant={name}&format=wav");
        let (_, wav) = get(server.address, &path).await?;
        stalled += usize::from(!is_whole(&wav, number as u64, sent.samples).with_context(|| path)?);
    }
    if stalled > 0 {
        super::progress(&format!("{stalled} recordings have gaps where the load stalled: not compared"));
    }
    Ok(())
}

/// Samples of a track without those that stand for what is missing: a load that stalls leaves gaps.
fn recorded(track: &Value) -> u64 {
    let missing = track["gaps"].as_array().into_iter().flatten().filter_map(|gap| gap["samples"].as_u64());
    track["samples"].as_u64().unwrap_or(0).saturating_sub(missing.sum())
}

/// Whether a recording is exactly what its session sent; where the load stalled it is longer, by silence.
fn is_whole(wav: &[u8], session: u64, samples: u64) -> anyhow::Result<bool> {
    let data = wav.get(44..).context("the WAV is shorter than its head")?;
    let mut wanted = Vec::new();
    pcm::append(session, 0, samples, &mut wanted);
    if data.len() <= wanted.len() && data != wanted {
        bail!("the recording is not what was sent");
    }
    Ok(data == wanted)
}
