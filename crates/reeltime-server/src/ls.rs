//! `reeltime ls`: the recordings of a running server, or of a data folder that no server holds.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reeltime::catalogue::{Catalogue, Filter, Page, SqliteCatalogue};
use reeltime::recorder::RecordingView;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::recordings::{known_states, states};
use crate::api::view::Recording;
use crate::cli::SettingFlags;
use crate::client::http::Client;
use crate::client::{Key, Target, clock, printable, size};
use crate::exit::Usage;
use crate::security::TENANT;
use crate::settings::Settings;
use crate::{open, print};

/// The most that a server gives at once.
const PAGE: u32 = 100;
/// How long a server that nobody named may take to accept a connection.
const GLANCE: Duration = Duration::from_millis(500);
/// The longest name of a call in the table; JSON has it whole.
const NAME: usize = 36;
const HEAD: [&str; 6] = ["ID", "CALL", "STATE", "START (UTC)", "LENGTH", "SIZE"];

/// `reeltime ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// A running server, as http://host:port
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    key: Key,
    /// Those of this call
    #[arg(long, value_name = "NAME")]
    call: Option<String>,
    /// Those in this state, such as complete or failed; several with commas between
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Those with this text in the name of the call or of a participant
    #[arg(short = 'q', long = "query", value_name = "TEXT")]
    text: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What to list.
struct Wanted {
    call: Option<String>,
    state: Option<String>,
    text: Option<String>,
    limit: u32,
}

/// Recordings in the API's shape, newest first, and how many there are in all.
struct Found {
    items: Vec<Value>,
    total: u64,
}

/// Lists what there is.
pub(crate) fn run(command: Ls) -> anyhow::Result<()> {
    let Ls { to, key, call, state, text, limit, json, settings: flags } = command;
    let wanted = Wanted { call, state, text: text.filter(|text| !text.is_empty()), limit };
    wanted.check()?;
    let named = to.map(|to| to.parse::<Target>()).transpose()?;
    let in_folder = ["data_dir", "database_url"].into_iter().find(|name| flags.given(name));
    if let (Some(_), Some(flag)) = (&named, in_folder) {
        let flag = flag.replace('_', "-");
        return Err(Usage(format!("--to asks a server and --{flag} reads a folder: give one of them")).into());
    }
    let settings = Settings::load(&flags.layers())?;
    let found = tokio::runtime::Runtime::new()?.block_on(async {
        let target = match named {
            None if in_folder.is_none() => answering(&settings.listen).await,
            named => named,
        };
        match target {
            Some(target) => of_server(&Client::new(target, key)?, &wanted).await,
            None => of_folder(&settings, &wanted).await,
        }
    })?;
    match json {
        true => print(&format!("{:#}\n", json!({ "items": found.items, "total": found.total }))),
        false => print(&found.table(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())),
    }
}

/// The server at the address of the settings, if there is one.
pub(crate) async fn answering(listen: &str) -> Option<Target> {
    let local = listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    let target: Target = local.parse().ok()?;
    let stream = timeout(GLANCE, TcpStream::connect(target.address())).await.ok()?;
    stream.is_ok().then_some(target)
}

impl Wanted {
    /// The same words are known to a server and to a folder.
    fn check(&self) -> Result<(), Usage> {
        self.filter().map(|_| ())
    }

    fn filter(&self) -> Result<Filter, Usage> {
        let each = self.state.iter().flat_map(|all| all.split(','));
        let known: Option<Vec<_>> = each.map(states).collect();
        let known = known.ok_or_else(|| Usage(format!("--state: a state is one of {}", known_states())))?;
        Ok(Filter {
            call: self.call.clone(),
            states: known.concat(),
            text: self.text.clone(),
            ..Filter::default()
        })
    }
}

async fn of_server(client: &Client, wanted: &Wanted) -> anyhow::Result<Found> {
    let mut found = Found { items: Vec::new(), total: 0 };
    for number in 1.. {
        let (page, page_size) = (number.to_string(), wanted.limit.min(PAGE).to_string());
        let mut query = vec![("page", page.as_str()), ("page_size", page_size.as_str())];
        query.extend(wanted.call.as_deref().map(|call| ("call_id", call)));
        query.extend(wanted.state.as_deref().map(|state| ("state", state)));
        query.extend(wanted.text.as_deref().map(|text| ("q", text)));
        let mut list = client.json("/api/v1/recordings", &query).await?;
        found.total =
            list["total"].as_u64().with_context(|| format!("{} is no reeltime server", client.target))?;
        let Value::Array(items) = list["items"].take() else { break };
        let last = items.is_empty();
        found.items.extend(items);
        if last || found.items.len() as u64 >= found.total.min(u64::from(wanted.limit)) {
            break;
        }
    }
    found.items.truncate(wanted.limit as usize);
    Ok(found)
}

async fn of_folder(settings: &Settings, wanted: &Wanted) -> anyhow::Result<Found> {
    let recording = &settings.recording;
    if !recording.data_dir.exists() {
        bail!(
            "no server answers at {}, and there is no data folder {}; name one with --to or --data-dir",
            settings.listen,
            recording.data_dir.display()
        );
    }
    let _lock = open::folder_to_read(&recording.data_dir)?;
    if !recording.database.exists() {
        return Ok(Found { items: Vec::new(), total: 0 });
    }
    let catalogue = SqliteCatalogue::open(&recording.database).await?;
    let page = Page { number: 1, size: wanted.limit };
    let listing = catalogue.list(TENANT, &wanted.filter()?, page).await?;
    let items = listing.items.iter().map(|row| json!(Recording::from(RecordingView::from(row)))).collect();
    let unfinished = listing.items.iter().filter(|row| !row.state.is_final()).count();
    if unfinished > 0 {
        say_unfinished(unfinished, &recording.data_dir);
    }
    Ok(Found { items, total: listing.total })
}

fn say_unfinished(count: usize, folder: &Path) {
    eprintln!(
        "reeltime: {count} of them were not finished by the server that recorded them; the next start does it, or \
         reeltime recover --data-dir {}",
        folder.display()
    );
}

impl Found {
    fn table(&self, coloured: bool) -> String {
        let rows: Vec<[String; 6]> = self.items.iter().map(row).collect();
        let mut widths = HEAD.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = line(&HEAD.map(str::to_owned), &widths, "");
        for row in &rows {
            table += &line(row, &widths, if coloured { colour(&row[2]) } else { "" });
        }
        let missing = self.total.saturating_sub(rows.len() as u64);
        if missing > 0 {
            table += &format!("{missing} more: --limit {}\n", self.total);
        }
        table
    }
}

/// The last two columns are numbers, and stand to the right.
fn line(cells: &[String; 6], widths: &[usize; 6], colour: &str) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let cell = if column < 4 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        line += &if column == 2 && !colour.is_empty() { format!("{colour}{cell}\x1b[0m") } else { cell };
        line += if column < 5 { "  " } else { "\n" };
    }
    line
}

const fn colour(state: &str) -> &'static str {
    match state.as_bytes() {
        b"complete" => "\x1b[32m",
        b"failed" | b"aborted" => "\x1b[31m",
        _ => "\x1b[33m",
    }
}

fn row(recording: &Value) -> [String; 6] {
    let text = |name: &str, most: usize| printable(recording[name].as_str().unwrap_or(""), most);
    let start = recording["started_at"].as_str().or_else(|| recording["created_at"].as_str());
    let seconds = recording["duration_seconds"].as_f64();
    [
        text("id", NAME),
        text("call_id", NAME),
        text("state", NAME),
        printable(&start.unwrap_or("").replace('T', " ").chars().take(19).collect::<String>(), NAME),
        seconds.map_or("-".to_owned(), clock),
        recording["size_bytes"].as_u64().map_or("-".to_owned(), size),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let recording = |state: &str, call: &str, bytes: Option<u64>| {
            json!({
                "id": "01890a5d-ac96-774b-bcce-b302099a8057", "call_id": call, "state": state,
                "created_at": "2025-01-02T03:04:05.000006Z", "started_at": null,
                "duration_seconds": 62.5, "size_bytes": bytes,
            })
        };
        Found {
            items: vec![recording("complete", "a\x1b[2Jb", Some(2_048)), recording("active", "b", None)],
            total: 5,
        }
    }

    #[test]
    fn the_table_is_aligned_and_says_what_it_leaves_out() {
        assert_eq!(
            found().table(false),
            "\
ID                                    CALL    STATE     START (UTC)          LENGTH     SIZE
01890a5d-ac96-774b-bcce-b302099a8057  a\u{fffd}[2Jb  complete  2025-01-02 03:04:05  1:02.5  2.0 KiB
01890a5d-ac96-774b-bcce-b302099a8057  b       active    2025-01-02 03:04:05  1:02.5        -
3 more: --limit 5
"
        );
    }

    #[test]
    fn colours_are_around_the_state_alone() {
        let table = found().table(true);
        assert!(
            table.contains("  \x1b[32mcomplete\x1b[0m  ") && table.contains("  \x1b[33mactive  \x1b[0m  ")
        );
        assert_eq!(table.matches("\x1b[").count(), 4);
    }

    #[test]
    fn a_state_is_one_that_the_server_knows() {
        let wanted = |state: &str| Wanted { call: None, state: Some(state.into()), text: None, limit: 1 };
        assert_eq!(wanted("completed,active").filter().unwrap().states.len(), 3);
        let refused = wanted("done").filter().unwrap_err().0;
        assert!(refused.contains("complete") && refused.contains("in_progress"), "{refused}");
    }
}
