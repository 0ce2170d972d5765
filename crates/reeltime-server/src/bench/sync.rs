//! What logging and syncing cost: 1,000 logs in real time through the spool on its defaults, less the same loop
//! without it.

use std::time::{Duration, Instant};

use reeltime::spool::SpoolConfig;

use super::figure::{Better, Figure};
use super::machine::own_cpu;
use super::spooled::Spooled;
use super::{Plan, pcm, progress};

/// CPU of log and sync.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let (logs, seconds) = (plan.pick(1_000, 200), plan.pick(20, 5));
    plan.scratch.touch_memory(logs * seconds * 50_000)?;
    let folder = plan.scratch.folder("sync", logs * seconds * 100_000)?;
    let measured = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let idle = paced(seconds, |_| Ok(()))?;
        let spooled = Spooled::start(folder.path(), SpoolConfig::default(), logs, false)?;
        let sound = pcm::frame(0, 0);
        // The files exist before: what is wanted is the running cost.
        spooled.append(0, &sound)?;
        std::thread::sleep(Duration::from_millis(1_500));
        Ok((paced(seconds, |frame| spooled.append(frame + 1, &sound))?, idle))
    });
    let (busy, idle) = measured.await??;
    progress(&format!(
        "sync: {:.2} s of CPU, {:.2} s of them for the pace",
        busy.as_secs_f64(),
        idle.as_secs_f64()
    ));
    let each = busy.saturating_sub(idle).as_secs_f64() * 1_000.0 / (logs * seconds) as f64;
    let figure = Figure::new("sync_cpu_per_session_second", each, "ms CPU a session-second", Better::Lower);
    Ok(vec![figure.bar(0.12)])
}

/// Does something for each frame in real time; the result is the CPU it took.
fn paced(seconds: u64, mut append: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let (start, cpu) = (Instant::now(), own_cpu());
    for frame in 0..seconds * pcm::FRAMES {
        let due = start + Duration::from_millis(frame * 20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        append(frame)?;
    }
    // The last blocks are written and synced, too.
    std::thread::sleep(Duration::from_millis(1_500));
    Ok(own_cpu() - cpu)
}
