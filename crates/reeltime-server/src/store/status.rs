//! `reeltime store status`: how a running server's store is, and what waits for it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::cli::SettingFlags;
use crate::client::http::Client;
use crate::client::progress::{Screen, percent};
use crate::client::{Key, Target, clock, printable, size};
use crate::print;
use crate::settings::Settings;

/// How often a watched server is asked.
const EVERY: Duration = Duration::from_secs(1);
/// The longest text of a server's that is shown.
const TEXT: usize = 300;

/// `reeltime store status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// A running server, as http://host:port
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    key: Key,
    /// Show progress until nothing waits any more
    #[arg(long)]
    watch: bool,
    /// One JSON document on stdout, progress on stderr
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Asks, and shows.
pub(crate) fn run(command: Status) -> anyhow::Result<()> {
    let settings = Settings::load(&command.settings.layers())?;
    let named = command.to.map(|to| to.parse::<Target>()).transpose()?;
    let found = tokio::runtime::Runtime::new()?.block_on(async {
        let target = match named {
            Some(target) => target,
            None => match crate::ls::answering(&settings.listen).await {
                Some(target) => target,
                None => bail!("no server answers at {}; name one with --to", settings.listen),
            },
        };
        let client = Client::new(target, command.key)?;
        match command.watch {
            true => watched(&client).await,
            false => ask(&client).await,
        }
    })?;
    if command.json { print(&format!("{found:#}\n")) } else { print(&table(&found)) }
}

async fn ask(client: &Client) -> anyhow::Result<Value> {
    let found = client.json("/api/v1/store", &[]).await?;
    found["place"].as_str().with_context(|| format!("{} is no reeltime server", client.target))?;
    Ok(found)
}

/// Asks until nothing waits.
async fn watched(client: &Client) -> anyhow::Result<Value> {
    let screen = Screen::new();
    let (mut bar, mut most) = (None, 0);
    loop {
        let found = ask(client).await?;
        let waiting = found["backlog"]["recordings"].as_u64().unwrap_or(0);
        if waiting > most {
            // What came meanwhile is part of what there is to do.
            most = waiting;
            bar = Some(screen.bar("backlog", 7, Some(most)));
        }
        let done = most - waiting;
        if waiting == 0 {
            bar.inspect(|bar| bar.end("nothing waits"));
            return Ok(found);
        }
        if let Some(bar) = &bar {
            bar.set(done, || format!("{}{}", backlog(&found["backlog"]), percent(done, Some(most))));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn table(found: &Value) -> String {
    let place = printable(found["place"].as_str().unwrap_or(""), TEXT);
    format!(
        "store    {place}\nhealth   {}\nbacklog  {}\nspool    {}\n",
        health(&found["health"]),
        backlog(&found["backlog"]),
        spool(&found["spool"])
    )
}

fn health(found: &Value) -> String {
    let text = |name: &str| printable(found[name].as_str().unwrap_or("never"), TEXT);
    match found["up"].as_bool() {
        Some(true) if found["last_success_at"].is_null() => "not asked yet".to_owned(),
        Some(true) => format!("answers, last at {}", text("last_success_at")),
        _ if found["failures"] == 0 && found["silent_seconds"].is_number() => format!(
            "has not answered for {:.0} s, and is waited for",
            found["silent_seconds"].as_f64().unwrap_or(0.0)
        ),
        _ => format!(
            "does not answer since {}, {} failures: {}",
            text("away_since"),
            found["failures"],
            text("last_failure")
        ),
    }
}

fn backlog(found: &Value) -> String {
    let bytes = size(found["bytes"].as_u64().unwrap_or(0));
    let rate = size(found["draining_bytes_per_second"].as_f64().unwrap_or(0.0) as u64);
    match found["oldest_seconds"].as_f64() {
        None => "nothing waits".to_owned(),
        Some(oldest) => format!(
            "{} recordings, {bytes}, the oldest for {}; draining {rate}/s",
            found["recordings"],
            clock(oldest)
        ),
    }
}

fn spool(found: &Value) -> String {
    let bytes = |name: &str| size(found[name].as_u64().unwrap_or(0));
    let hours = found["room_hours"].as_f64();
    let hours =
        hours.map_or(String::new(), |hours| format!(", {hours:.1} hours of what is being recorded now"));
    format!("{}, room for {}{hours}", bytes("bytes"), bytes("room_bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_outage_is_told_in_the_stores_own_words_and_what_waits_beside_it() {
        let found = json!({
            "place": "s3://bucket/prefix",
            "health": {"up": false, "failures": 7, "away_since": "2025-01-02T03:04:05Z", "last_failure": "no\u{1b}[2J route"},
            "backlog": {"recordings": 12, "bytes": 3 << 20, "oldest_seconds": 62.0, "draining_bytes_per_second": 2048.0},
            "spool": {"bytes": 4 << 20, "room_bytes": 1 << 30, "room_hours": 3.25},
        });
        assert_eq!(
            table(&found),
            "\
store    s3://bucket/prefix
health   does not answer since 2025-01-02T03:04:05Z, 7 failures: no\u{fffd}[2J route
backlog  12 recordings, 3.0 MiB, the oldest for 1:02.0; draining 2.0 KiB/s
spool    4.0 MiB, room for 1.0 GiB, 3.2 hours of what is being recorded now
"
        );
    }

    #[test]
    fn a_store_that_is_waited_for_is_not_said_to_answer() {
        let found = |failures| {
            health(&json!({
                "up": false, "failures": failures, "last_success_at": "2025-01-02T03:04:05Z", "silent_seconds": 12.4,
                "away_since": "2025-01-02T03:04:06Z", "last_failure": "in its words",
            }))
        };
        assert_eq!(found(0), "has not answered for 12 s, and is waited for");
        assert!(found(3).starts_with("does not answer since 2025-01-02T03:04:06Z, 3 failures"));
    }

    #[test]
    fn a_store_that_nothing_was_asked_of_is_not_called_healthy() {
        let found = json!({
            "place": "file:///x", "health": {"up": true, "last_success_at": null},
            "backlog": {"recordings": 0, "bytes": 0, "oldest_seconds": null},
            "spool": {"bytes": 0, "room_bytes": 1024, "room_hours": null},
        });
        let shown = table(&found);
        assert!(shown.contains("not asked yet") && shown.contains("nothing waits"), "{shown}");
        assert!(shown.ends_with("spool    0 B, room for 1.0 KiB\n"), "{shown}");
    }
}
