//! `reeltime catalogue rebuild`: the catalogue out of the store alone.

use anyhow::Context;
use clap::{Args, Subcommand};
use reeltime::catalogue::{Rebuilt, SqliteCatalogue, rebuild};
use reeltime::spool::FolderLock;
use serde_json::json;

use crate::cli::SettingFlags;
use crate::client::progress::Screen;
use crate::settings::Settings;
use crate::{logging, open, print};

/// `reeltime catalogue`.
#[derive(Debug, Args)]
pub(crate) struct Catalogue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Enter what the store has and the catalogue has not
    #[command(after_help = "\
For when the catalogue was lost: recordings come back from their manifests, with the sizes that the store tells; what
lost machines had not finished is taken over at the next start. What the catalogue has stays as it is, so that doing it
again changes nothing. The server must not run meanwhile.

Examples:
  reeltime catalogue rebuild --dry-run
  reeltime catalogue rebuild --store-url s3://bucket/prefix --json")]
    Rebuild(Rebuild),
}

/// `reeltime catalogue rebuild`.
#[derive(Debug, Args)]
struct Rebuild {
    /// Only show what would be entered; nothing is written
    #[arg(long)]
    dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) fn run(command: Catalogue) -> anyhow::Result<()> {
    let Verb::Rebuild(command) = command.verb;
    let settings = Settings::load(&command.settings.layers())?;
    logging::start(&settings.log, None);
    let rebuilt = tokio::runtime::Runtime::new()?.block_on(enter(&settings, command.dry_run))?;
    match command.json {
        true => print(&format!("{:#}\n", document(&rebuilt, command.dry_run)))?,
        false => print(&text(&rebuilt, command.dry_run))?,
    }
    let unusable = rebuilt.unusable.len();
    anyhow::ensure!(unusable == 0, "{unusable} manifests could not be used");
    Ok(())
}

async fn enter(settings: &Settings, dry: bool) -> anyhow::Result<Rebuilt> {
    let recording = &settings.recording;
    // A server that runs may be publishing what its manifest tells already.
    let _lock = FolderLock::take(&recording.data_dir)?;
    let catalogue = SqliteCatalogue::open(&recording.database).await?;
    let store = open::main_store(recording).await.context("cannot open the store (--store-url)")?;
    let bar = Screen::new().bar("manifests", 9, None);
    let rebuilt = rebuild(&catalogue, &*store, dry, |done, total| {
        bar.set(done, || format!("{done} of {total}"));
    })
    .await;
    reeltime::catalogue::Catalogue::close(&catalogue).await;
    Ok(rebuilt?)
}

fn document(rebuilt: &Rebuilt, dry: bool) -> serde_json::Value {
    let unusable = rebuilt.unusable.iter();
    let unusable = unusable.map(|one| json!({ "manifest": one.key.as_str(), "reason": one.why }));
    json!({
        "dry_run": dry,
        "entered": rebuilt.entered,
        "known": rebuilt.known,
        "deleted": rebuilt.deleted,
        "nodes_to_take_over": rebuilt.nodes,
        "unusable": unusable.collect::<Vec<_>>(),
    })
}

fn text(rebuilt: &Rebuilt, dry: bool) -> String {
    let verb = if dry { "would be entered" } else { "entered" };
    let Rebuilt { entered, known, deleted, nodes, unusable } = rebuilt;
    let mut text = format!(
        "{entered} recordings {verb}, {known} were known, {deleted} stay deleted; {nodes} lost nodes to take over from\n"
    );
    for one in unusable {
        text.push_str(&format!("{}: {}\n", one.key, one.why));
    }
    text
}
