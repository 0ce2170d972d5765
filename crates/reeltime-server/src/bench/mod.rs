//! `reeltime bench`: what recording costs, measured on this machine and held to the product's bars.
//!
//! Both sides of a ratio are measured in the same run, one after the other, under the same load. Every server is a
//! process of its own, and its load comes from another; all of it talks on the loopback interface and ends by
//! itself. What is written lies in one folder that is removed at the end, however that comes.

mod append;
mod client;
mod figure;
mod formats;
pub(crate) mod load;
mod loader;
mod machine;
mod pcm;
mod process;
mod receive;
mod recovery;
mod remote;
mod render;
mod scratch;
pub(crate) mod sink;
mod slope;
mod speech;
mod spooled;
mod sync;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::print;
use figure::{Document, Figure};
use scratch::Scratch;

/// `reeltime bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    /// Shorter runs with fewer sessions: to see that it works, not to judge by
    #[arg(long)]
    quick: bool,
    /// Only this figure, and what is measured with it; can be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<Group>,
    /// A store that lies elsewhere, to be measured too (as --store-url of serve), with its keys in the environment. What is
    /// written there stays there
    #[arg(long, value_name = "URL", env = "REELTIME_BENCH_STORE_URL")]
    store_url: Option<String>,
    /// Where to put what is written meanwhile, up to 26 GB (--quick: 2 GB); by default the system's folder for
    /// temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What is measured together, named after its first figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Group {
    /// CPU and memory of 1,000 sessions against a sink
    #[value(alias = "memory_per_session")]
    ReceiveCpuRatio,
    /// Memory over three hours of media
    MemorySlope,
    /// The append path against a bare loop
    AppendRatio,
    /// CPU of logging and syncing 1,000 logs
    SyncCpuPerSessionSecond,
    /// From a start to ready, with 100 open logs of an hour
    RecoveryTime,
    /// An hour to WAV against ffmpeg
    RenderRatio,
    /// Mixes and formats against ffmpeg, and how soon they are heard
    #[value(alias = "mix_to_wav")]
    Formats,
    /// A store elsewhere: CPU and PUTs (needs --store-url)
    StoreCpuRatio,
    /// A store elsewhere: how soon recordings are whole in it (needs --store-url)
    #[value(alias = "hang_up_worst")]
    HangUpLengthRatio,
    /// A store elsewhere: 1,000 calls that end at once (needs --store-url)
    EndedAtOnce,
}

impl Group {
    /// Whether it needs a store that lies elsewhere.
    const fn is_remote(self) -> bool {
        matches!(self, Self::StoreCpuRatio | Self::HangUpLengthRatio | Self::EndedAtOnce)
    }
}

/// How much to measure, and where.
#[derive(Debug)]
struct Plan {
    quick: bool,
    scratch: Scratch,
    store: Option<String>,
}

impl Plan {
    /// `full`, or `quick` where it is a short run.
    const fn pick(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    async fn measure(&self, group: Group) -> anyhow::Result<Vec<Figure>> {
        match group {
            Group::ReceiveCpuRatio => receive::measure(self).await,
            Group::MemorySlope => slope::measure(self).await,
            Group::AppendRatio => append::measure(self).await,
            Group::SyncCpuPerSessionSecond => sync::measure(self).await,
            Group::RecoveryTime => recovery::measure(self).await,
            Group::RenderRatio => render::measure(self).await,
            Group::Formats => formats::measure(self).await,
            Group::StoreCpuRatio => remote::costs(self, self.store()?).await,
            Group::HangUpLengthRatio => remote::hang_ups(self, self.store()?).await,
            Group::EndedAtOnce => remote::all_at_once(self, self.store()?).await,
        }
    }

    fn store(&self) -> anyhow::Result<&str> {
        self.store.as_deref().context("name a store with --store-url")
    }
}

/// Measures, shows the figures, and fails where a bar is not held.
pub(crate) fn run(command: Bench) -> anyhow::Result<()> {
    crate::serve::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(measure(&command));
    // A signal may have come in the middle of a measurement on a thread: it has nothing left to write to.
    runtime.shutdown_background();
    let (document, failed) = done?;
    match command.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?,
        false => print(&document.to_string())?,
    }
    if failed {
        bail!("not everything could be measured; see above");
    }
    let missed = document.missed();
    if !missed.is_empty() {
        bail!("bars not held: {}", missed.join(", "));
    }
    Ok(())
}

/// All figures asked for; true where some could not be had.
async fn measure(command: &Bench) -> anyhow::Result<(Document, bool)> {
    let folder = command.dir.clone().unwrap_or_else(std::env::temp_dir);
    let store = command.store_url.clone();
    let plan = Plan { quick: command.quick, scratch: Scratch::create(&folder)?, store };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // What is dropped here takes its processes and files with it.
    tokio::select! {
        measured = measure_all(&plan, &command.only) => Ok(measured),
        _ = terminate.recv() => bail!("told to stop"),
        _ = interrupt.recv() => bail!("told to stop"),
    }
}

async fn measure_all(plan: &Plan, only: &[Group]) -> (Document, bool) {
    let mut document = Document::new(machine::describe(), plan.quick);
    let mut failed = false;
    let asked = |group: &&Group| match only {
        [] => !group.is_remote() || plan.store.is_some(),
        only => only.contains(group),
    };
    for group in Group::value_variants().iter().filter(asked) {
        match plan.measure(*group).await {
            Ok(figures) => document.figures.extend(figures),
            Err(error) => {
                progress(&format!("{group:?} could not be measured: {error:#}"));
                failed = true;
            }
        }
    }
    (document, failed)
}

/// One line for whoever waits.
fn progress(text: &str) {
    eprintln!("bench: {text}");
}
