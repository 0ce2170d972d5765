//! The server binary `reeltime`: settings, an accept loop, the recordings API and the ingest WebSockets around the
//! `reeltime` library, the commands that talk to it, and those that work on a data folder without a server.

mod api;
mod app;
mod bench;
mod catalogue;
mod cli;
mod client;
mod exit;
mod export;
mod logging;
mod ls;
mod memory;
mod open;
mod page;
mod problem;
mod recover;
mod secret;
mod security;
mod send;
mod serve;
mod settings;
mod store;
mod traces;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};
use settings::Overview;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Verb::Config(command) => config(command),
        Verb::Serve(flags) => {
            memory::share_heaps();
            serve::run(flags)
        }
        Verb::Send(command) => send::run(command),
        Verb::Ls(command) => ls::run(command),
        Verb::Store(command) => store::run(command),
        Verb::Recover(command) => recover::run(command),
        Verb::Catalogue(command) => catalogue::run(command),
        Verb::Export(command) => export::run(command),
        Verb::Bench(command) => bench::run(command),
        Verb::BenchSink(sink) => bench::sink::run(sink),
        Verb::BenchLoad(load) => bench::load::run(load),
    }
}

fn config(command: cli::Config) -> anyhow::Result<()> {
    let overview = Overview::load(&command.settings.layers())?;
    if command.json {
        return print(&format!("{:#}\n", overview.json()));
    }
    print(&overview.to_string())
}

/// A reader that went away (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The wall clock: for labels and for links that expire, never to place media.
fn now() -> reeltime_core::time::UtcMicros {
    reeltime_core::time::UtcMicros(jiff::Timestamp::now().as_microsecond())
}
