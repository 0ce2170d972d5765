//! `reeltime store check`: tries what a recorder needs of its store.

use std::fmt;

use anyhow::bail;
use clap::Args;
use reeltime::spool::FolderLock;
use reeltime::store::check::{self, Outcome, Report, Step};
use serde::Serialize;

use crate::cli::SettingFlags;
use crate::settings::{Settings, StoreUrl};
use crate::{open, print};

/// The store by its address, and what was found.
#[derive(Serialize)]
struct Checked {
    store: String,
    /// Whether recordings can be stored there and read.
    ok: bool,
    #[serde(flatten)]
    report: Report,
}

/// `reeltime store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Tries what a recorder needs.
pub(crate) fn run(command: Check) -> anyhow::Result<()> {
    let settings = Settings::load(&command.settings.layers())?.recording;
    // Opening a folder clears away what was left half written: it must not be a living process's.
    let _lock = match settings.store {
        StoreUrl::Folder(_) => Some(FolderLock::take(&settings.data_dir)?),
        StoreUrl::S3 { .. } | StoreUrl::VercelBlob { .. } => None,
    };
    let report = tokio::runtime::Runtime::new()?.block_on(async {
        let store = open::main_store(&settings).await?;
        Ok::<_, anyhow::Error>(check::check(&*store).await)
    })?;
    let checked = Checked { store: settings.store.to_string(), ok: report.is_ok(), report };
    match command.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&checked)?))?,
        false => print(&checked.to_string())?,
    }
    if !checked.ok {
        bail!("recordings cannot be kept in {} as it is", checked.store);
    }
    Ok(())
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.store)?;
        self.report.steps.iter().try_for_each(|step| line(f, step))
    }
}

fn line(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let word = match step.outcome {
        Outcome::Passed => "ok",
        Outcome::Limited => "LIMITED",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "-",
    };
    match step.why.as_str() {
        "" => writeln!(f, "  {:<16}{word}", step.name)?,
        why => writeln!(f, "  {:<16}{word:<9}{why}", step.name)?,
    }
    if step.follows.is_empty() { Ok(()) } else { writeln!(f, "{:27}so {}", "", step.follows) }
}
