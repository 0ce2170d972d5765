//! What recording costs beside receiving alone: CPU and memory of a full recorder and of sinks, under the same load.

use std::time::Duration;

use super::figure::{Better, Figure};
use super::loader::{Amount, Loader};
use super::process::Server;
use super::{Plan, client, machine, pcm, progress};

/// What one server cost.
struct Cost {
    /// The server's own CPU time.
    cpu: Duration,
    /// The whole machine's, load and kernel included.
    busy: Duration,
    /// Bytes of memory while all sessions were live.
    resident: u64,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    Sink,
    LowWaterSink,
    Recorder,
}

impl Receiver {
    const fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::LowWaterSink => "low-water-sink",
            Self::Recorder => "recorder",
        }
    }

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Sink => &["bench-sink"],
            Self::LowWaterSink => &["bench-sink", "--low-water", "3240"],
            Self::Recorder => &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"],
        }
    }
}

/// CPU and memory of 1,000 sessions for a minute.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let seconds = plan.pick(60, 10);
    let amount =
        Amount { sessions: plan.pick(1_000, 200), speakers: 1, frames: seconds * pcm::FRAMES, speed: 1 };
    plan.scratch.touch_memory(2 * amount.bytes())?;
    let sink = cost(plan, Receiver::Sink, amount).await?;
    let recorder = cost(plan, Receiver::Recorder, amount).await?;
    let low = cost(plan, Receiver::LowWaterSink, amount).await?;
    let each = |time: Duration| time.as_secs_f64() * 1_000.0 / amount.session_seconds();
    let unit = "ms CPU a session-second";
    let figure = |name: &str, of: Duration| Figure::new(name, each(of), unit, Better::Lower);
    let over = (recorder.resident as f64 - sink.resident as f64) / 1_024.0 / amount.sessions as f64;
    Ok(vec![
        figure("receive_cpu_ratio", recorder.cpu).against("sink", each(sink.cpu)).bar(1.0),
        figure("receive_cpu_ratio_low_water", recorder.cpu).against("sink with SO_RCVLOWAT", each(low.cpu)),
        figure("receive_machine_ratio", recorder.busy).against("sink", each(sink.busy)),
        figure("receive_machine_ratio_low_water", recorder.busy)
            .against("sink with SO_RCVLOWAT", each(low.busy)),
        Figure::new("memory_per_session", over, "KiB over the sink's own", Better::Lower).bar(64.0),
    ])
}

/// Starts a server, loads it, and waits until all it has to do is done.
async fn cost(plan: &Plan, receiver: Receiver, amount: Amount) -> anyhow::Result<Cost> {
    let folder = plan.scratch.folder(receiver.name(), 3 * amount.bytes())?;
    // What an earlier measurement wrote is not to be written out during this one.
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    let server = Server::start(receiver.arguments(), folder.path()).await?;
    let (cpu, busy) = (server.cpu()?, machine::busy()?);
    let load = Loader::start(&server, amount, folder.path()).await?;
    tokio::time::sleep(Duration::from_millis(amount.frames * 1_000 / pcm::FRAMES / 2)).await;
    let resident = server.resident()?;
    let report = load.finish().await?;
    if receiver == Receiver::Recorder {
        client::wait_complete(&server, amount.sessions, Duration::from_secs(180)).await?;
    }
    let cost = Cost { cpu: server.cpu()? - cpu, busy: machine::busy()? - busy, resident };
    if receiver == Receiver::Recorder {
        client::verify(&server, &report).await?;
    }
    progress(&format!(
        "{}: {} sessions for {:.0} s took {:.2} s of CPU, the machine {:.2} s; {} MiB in RAM",
        receiver.name(),
        amount.sessions,
        report.seconds,
        cost.cpu.as_secs_f64(),
        cost.busy.as_secs_f64(),
        resident >> 20
    ));
    server.kill().await?;
    Ok(cost)
}
