//! A store that lies elsewhere: what it costs to have audio in it while people are still talking, and how soon a
//! recording is whole in it once they hang up.
//!
//! The store is the one that `--store-url` names, with the keys that are in the environment; everything goes below a
//! prefix of this run, and stays there.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::figure::{Better, Figure};
use super::loader::{Amount, FAST, Loader};
use super::process::Server;
use super::{Plan, client, pcm, progress};

/// Hang-ups a second.
const HANG_UPS: u32 = 10;
/// What carries bytes to the store.
const UP: [&str; 2] = ["verb=\"put\"", "verb=\"part\""];
/// Everything goes up at a call's end.
const OFF: &[&str] = &["--ship-interval", "0s", "--live-uploads", "off"];
/// How often a recording is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// How long the store may take to have everything.
const PATIENCE: Duration = Duration::from_secs(600);
/// What AWS asks for a thousand PUTs, in its standard class (`us-east-1`, 2026).
const DOLLARS_PER_1000_PUTS: f64 = 0.005;

/// What it costs while calls go on.
pub(super) async fn costs(plan: &Plan, store: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = safety(plan, store).await?;
    figures.extend(mixes(plan, store).await?);
    Ok(figures)
}

async fn start(
    plan: &Plan,
    store: &str,
    name: &str,
    bytes: u64,
    more: &[&str],
) -> anyhow::Result<(Server, super::scratch::Scratch)> {
    let folder = plan.scratch.folder(name, bytes)?;
    let run = std::process::id();
    let place = format!("{}/{run}/{name}", store.trim_end_matches('/'));
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--store-url", &place];
    arguments.extend_from_slice(more);
    Ok((Server::start_with_store(&arguments, folder.path()).await?, folder))
}

/// CPU with audio going up during the call, against the same recordings uploaded at their end; and how much goes up.
async fn safety(plan: &Plan, store: &str) -> anyhow::Result<Vec<Figure>> {
    let seconds = plan.pick(120, 12);
    let amount =
        Amount { sessions: plan.pick(100, 20), speakers: 1, frames: seconds * pcm::FRAMES, speed: 1 };
    let off = cost(plan, store, "at-the-end", amount, OFF).await?;
    let on = cost(plan, store, "meanwhile", amount, &[]).await?;
    // Long enough for files that are uploaded while they grow; not in real time, since that would take an hour.
    let long = Amount { sessions: 20, speakers: 1, frames: plan.pick(3_600, 600) * pcm::FRAMES, speed: FAST };
    let long_off = cost(plan, store, "long-at-the-end", long, OFF).await?;
    let long_on = cost(plan, store, "long-meanwhile", long, &[]).await?;
    // Bundles of 1,000 calls are as many as those of 100; what goes up at each call's end is not.
    let hour = 3_600.0 / seconds as f64;
    let bundles = on.bundles * hour;
    let own = (on.puts - on.bundles) / amount.sessions as f64 * 1_000.0;
    let bytes = on.bytes * hour * 1_000.0 / amount.sessions as f64;
    let puts = bundles + own * hour;
    // A recorder that stores each track in segments of ten seconds.
    let segments = 1_000.0 * 360.0;
    progress(&format!(
        "1,000 calls: {puts:.0} PUTs an hour, ${:.2}; a segment of 10 s a track: {segments:.0}, ${:.2}",
        puts / 1_000.0 * DOLLARS_PER_1000_PUTS,
        segments / 1_000.0 * DOLLARS_PER_1000_PUTS
    ));
    Ok(vec![
        Figure::new("store_cpu_ratio", on.per_second(amount), "ms CPU a session-second", Better::Lower)
            .against("uploaded at the end", off.per_second(amount))
            .bar(1.5),
        Figure::new(
            "store_cpu_ratio_long",
            long_on.per_second(long),
            "ms CPU a session-second, sent fast",
            Better::Lower,
        )
        .against("uploaded at the end", long_off.per_second(long))
        .bar(1.5),
        Figure::new("store_puts_per_hour", puts, "PUTs an hour at 1,000 calls", Better::Lower)
            .against("segments of 10 s", segments),
        Figure::new("store_bytes_per_hour", bytes / 1e9, "GB an hour at 1,000 calls", Better::Lower),
    ])
}

/// The same for calls of two speakers, whose mix is kept in a format: of these only WAV is made during the call.
async fn mixes(plan: &Plan, store: &str) -> anyhow::Result<Vec<Figure>> {
    let amount = Amount {
        sessions: plan.pick(20, 8),
        speakers: 2,
        frames: plan.pick(1_800, 600) * pcm::FRAMES,
        // Slow enough to be mixed meanwhile.
        speed: 30,
    };
    let mut figures = Vec::new();
    for format in ["wav", "flac", "ogg"] {
        let kept = format!("{format}:mono");
        let kept = ["--renditions", &kept];
        let off = cost(plan, store, &format!("{format}-at-the-end"), amount, &[OFF, &kept].concat()).await?;
        let on = cost(plan, store, &format!("{format}-meanwhile"), amount, &kept).await?;
        let name = format!("store_cpu_ratio_mix_{format}");
        let figure = Figure::new(
            &name,
            on.per_second(amount),
            "ms CPU a session-second, 30 times real time",
            Better::Lower,
        );
        figures.push(figure.against("uploaded at the end", off.per_second(amount)));
    }
    Ok(figures)
}

struct Cost {
    cpu: Duration,
    puts: f64,
    bundles: f64,
    bytes: f64,
}

impl Cost {
    /// Milliseconds of CPU for each second of each session.
    fn per_second(&self, amount: Amount) -> f64 {
        self.cpu.as_secs_f64() * 1_000.0 / amount.session_seconds()
    }
}

async fn cost(plan: &Plan, store: &str, name: &str, amount: Amount, more: &[&str]) -> anyhow::Result<Cost> {
    let (server, folder) = start(plan, store, name, 2 * amount.bytes(), more).await?;
    let before = server.cpu()?;
    let load = Loader::start(&server, amount, folder.path()).await?;
    let report = load.finish().await?;
    client::wait_complete(&server, amount.recordings(), PATIENCE).await?;
    let cpu = server.cpu()? - before;
    let (puts, bytes) = (puts(&server).await?, count(&server, "reeltime_store_bytes_total", &UP).await?);
    let bundles = count(&server, "reeltime_bundles_total", &[""]).await?;
    let kept = count(&server, "reeltime_live_mixes_total", &["\"kept\""]).await?;
    client::verify(&server, &report).await?;
    progress(&format!(
        "{name}: {} sessions took {:.2} s of CPU, {puts:.0} PUTs ({bundles:.0} bundles), {:.1} MB, {kept:.0} live mixes kept",
        amount.sessions,
        cpu.as_secs_f64(),
        bytes / 1e6
    ));
    server.kill().await?;
    Ok(Cost { cpu, puts, bundles, bytes })
}

/// Requests that are charged as PUTs.
async fn puts(server: &Server) -> anyhow::Result<f64> {
    let charged = [UP[0], UP[1], "verb=\"begin\"", "verb=\"complete\""];
    count(server, "reeltime_store_requests_total", &charged).await
}

/// The sum of a counter over those of its labels in which one of `wanted` stands.
async fn count(server: &Server, name: &str, wanted: &[&str]) -> anyhow::Result<f64> {
    let (_, text) = client::get(server.address, "/metrics").await?;
    let text = String::from_utf8_lossy(&text);
    let of = |line: &str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        wanted.iter().any(|wanted| labels.contains(wanted)).then(|| value.parse::<f64>().ok())?
    };
    Ok(text.lines().filter_map(of).fold(0.0, |sum, value| sum + value))
}

/// A call that is held.
struct Call {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    recording: String,
}

impl Call {
    /// Sends `seconds` of audio as fast as it is taken, and waits until it is on the server's disk.
    async fn begin(server: &Server, number: u64, seconds: u64) -> anyhow::Result<Self> {
        let url = format!("ws://{}/v1/ingest/pcm?rate={}&clock=samples&ack=disk", server.address, pcm::RATE);
        let (mut socket, _) = connect_async(url).await?;
        let first = text(&mut socket).await?;
        let recording = first["recording_id"].as_str().context("no recording")?.to_owned();
        for second in 0..seconds {
            let mut audio = Vec::new();
            pcm::append(number, second * pcm::RATE, pcm::RATE, &mut audio);
            socket.send(Message::binary(audio)).await?;
        }
        while text(&mut socket).await?["samples"].as_u64() < Some(seconds * pcm::RATE) {}
        Ok(Self { socket, recording })
    }

    /// Hangs up; the time until the recording is complete.
    async fn hang_up(mut self, server: std::net::SocketAddr) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.socket.send(Message::text(r#"{"type":"stop"}"#)).await?;
        let path = format!("/api/v1/recordings/{}", self.recording);
        while start.elapsed() < PATIENCE {
            let (_, body) = client::get(server, &path).await?;
            let recording: Value = serde_json::from_slice(&body)?;
            if recording["state"] == "complete" {
                return Ok(start.elapsed());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("a recording was not complete in time")
    }
}

async fn text(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> anyhow::Result<Value> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
    bail!("the server hung up")
}

/// From hanging up to the complete object, for long calls and short ones, ten a second.
pub(super) async fn hang_ups(plan: &Plan, store: &str) -> anyhow::Result<Vec<Figure>> {
    let (calls, long, short) = (plan.pick(20, 5), plan.pick(3 * 3_600, 600), plan.pick(600, 60));
    let bytes = calls * (long + short) * pcm::RATE * 2;
    let (server, _folder) = start(plan, store, "hang-ups", bytes, &[]).await?;
    let mut times = Vec::new();
    for (name, seconds) in [("short", short), ("long", long)] {
        let mut held = Vec::new();
        for number in 0..calls {
            held.push(Call::begin(&server, number, seconds).await?);
        }
        settle(&server).await?;
        let mut ending = tokio::task::JoinSet::new();
        for call in held {
            ending.spawn(call.hang_up(server.address));
            tokio::time::sleep(Duration::from_secs(1) / HANG_UPS).await;
        }
        let ended: Vec<_> = ending.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;
        let ended = sorted(ended);
        progress(&format!(
            "{name} calls of {seconds} s: {:.0} ms in the median, {:.0} ms at most",
            middle(&ended),
            worst(&ended)
        ));
        times.push(ended);
    }
    server.kill().await?;
    let (short, long) = (&times[0], &times[1]);
    Ok(vec![
        Figure::new(
            "hang_up_length_ratio",
            middle(long),
            "ms from a long call's end to its complete object",
            Better::Lower,
        )
        .against("a short call", middle(short))
        .bar(1.5),
        Figure::new("hang_up_worst", worst(long), "ms at most, 10 hang-ups a second", Better::Lower)
            .bar(500.0),
    ])
}

fn sorted(mut times: Vec<Duration>) -> Vec<f64> {
    times.sort_unstable();
    times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect()
}

fn middle(times: &[f64]) -> f64 {
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

fn worst(times: &[f64]) -> f64 {
    times.last().copied().unwrap_or(0.0)
}

/// Until nothing more goes up.
async fn settle(server: &Server) -> anyhow::Result<()> {
    let (start, mut last, mut since) = (Instant::now(), -1.0, Instant::now());
    while since.elapsed() < Duration::from_secs(5) {
        let puts = puts(server).await?;
        if puts != last {
            (last, since) = (puts, Instant::now());
        }
        if start.elapsed() > PATIENCE {
            bail!("uploads do not come to an end");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// How long the store takes to have 1,000 calls that end in the same moment.
pub(super) async fn all_at_once(plan: &Plan, store: &str) -> anyhow::Result<Vec<Figure>> {
    let amount = Amount { sessions: plan.pick(1_000, 100), speakers: 1, frames: 30 * pcm::FRAMES, speed: 1 };
    let (server, folder) = start(plan, store, "at-once", 2 * amount.bytes(), &[]).await?;
    let load = Loader::start(&server, amount, folder.path()).await?;
    let report = load.finish().await?;
    let start = Instant::now();
    client::wait_complete(&server, amount.recordings(), PATIENCE).await?;
    let seconds = start.elapsed().as_secs_f64();
    client::verify(&server, &report).await?;
    server.kill().await?;
    Ok(vec![Figure::new(
        "ended_at_once",
        seconds,
        "s until 1,000 calls that end together are in the store",
        Better::Lower,
    )])
}
