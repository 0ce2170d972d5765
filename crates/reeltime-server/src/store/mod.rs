//! `reeltime store`: what concerns the store alone.

mod check;
mod status;

use clap::{Args, Subcommand};

/// `reeltime store`.
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Write, read, list, sign and delete a probe, and say in plain words what is wrong and what follows
    Check(check::Check),
    /// Show how a running server's store is, and what waits for it
    #[command(after_help = "\
Without --to it asks the server at the address of the settings.

Examples:
  reeltime store status
  reeltime store status --watch
  reeltime store status --to http://recorder:7400 --json")]
    Status(status::Status),
}

/// Does it.
pub(crate) fn run(command: Store) -> anyhow::Result<()> {
    match command.verb {
        Verb::Check(command) => check::run(command),
        Verb::Status(command) => status::run(command),
    }
}
