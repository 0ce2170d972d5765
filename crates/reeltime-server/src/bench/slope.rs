//! Memory over the length of a call: nothing may grow with it.

use std::time::{Duration, Instant};

use super::figure::{Better, Figure};
use super::load::Report;
use super::loader::{Amount, FAST, Loader};
use super::process::Server;
use super::{Plan, client, pcm, progress};

/// How often memory is looked at.
const BEAT: Duration = Duration::from_millis(100);

/// Growth while 20 sessions send three hours each, as fast as they are taken.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let seconds = plan.pick(3 * 3_600, 600);
    let amount = Amount { sessions: 20, speakers: 1, frames: seconds * pcm::FRAMES, speed: FAST };
    // The logs, and the files made of them before the logs go.
    let folder = plan.scratch.folder("slope", amount.bytes() * 11 / 5)?;
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let server = Server::start(&arguments, folder.path()).await?;
    let load = Loader::start(&server, amount, folder.path()).await?;
    let (live, report) = watch(&server, load).await?;
    let at = |tenth: usize| live.get(live.len() * tenth / 10).map_or(0.0, |(_, resident)| *resident);
    progress(&format!(
        "20 sessions of {seconds} s were sent in {:.0} s; MiB in RAM after 1, 4, 7 tenths: {:.2}, {:.2}, {:.2}",
        report.seconds,
        at(1),
        at(4),
        at(7)
    ));
    let rendering = peak_until_complete(&server, amount).await?;
    client::verify(&server, &report).await?;
    server.kill().await?;
    let last = live.last().map_or(0.0, |(_, resident)| *resident);
    Ok(vec![
        Figure::new("memory_slope", growth(&live), "MiB over the whole run", Better::Lower).bar(1.0),
        Figure::new(
            "memory_slope_rendering",
            rendering - last,
            "MiB more at most while rendering",
            Better::Lower,
        ),
    ])
}

/// Memory while the load runs: seconds, and MiB.
async fn watch(server: &Server, load: Loader) -> anyhow::Result<(Vec<(f64, f64)>, Report)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    let mut finished = std::pin::pin!(load.finish());
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            report = &mut finished => return Ok((seen, report?)),
            _ = beat.tick() => seen.push((start.elapsed().as_secs_f64(), mebibytes(server)?)),
        }
    }
}

async fn peak_until_complete(server: &Server, amount: Amount) -> anyhow::Result<f64> {
    let mut complete =
        std::pin::pin!(client::wait_complete(server, amount.sessions, Duration::from_secs(600)));
    let mut beat = tokio::time::interval(BEAT);
    let mut peak: f64 = 0.0;
    loop {
        tokio::select! {
            done = &mut complete => return done.map(|()| peak),
            _ = beat.tick() => peak = peak.max(mebibytes(server)?),
        }
    }
}

fn mebibytes(server: &Server) -> anyhow::Result<f64> {
    Ok(server.resident()? as f64 / f64::from(1 << 20))
}

/// The least-squares slope after the first tenth, times the whole run.
fn growth(seen: &[(f64, f64)]) -> f64 {
    let settled = &seen[seen.len() / 10..];
    let count = settled.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| settled.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|seen| seen.0), mean(|seen| seen.1));
    let together: f64 = settled.iter().map(|seen| (seen.0 - time) * (seen.1 - memory)).sum();
    let alone: f64 = settled.iter().map(|seen| (seen.0 - time).powi(2)).sum();
    let run = seen.last().map_or(0.0, |last| last.0);
    if alone > 0.0 { together / alone * run } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_settled_part_over_the_whole_run() {
        let start = (0..10).map(|at| (f64::from(at), 500.0));
        let steady = (10..=100).map(|at| (f64::from(at), 50.0 + f64::from(at) * 0.02));
        let seen: Vec<_> = start.chain(steady).collect();
        assert!((growth(&seen) - 2.0).abs() < 1e-9, "{}", growth(&seen));
        assert!(growth(&[(0.0, 9.0)]).abs() < 1e-9);
    }
}
