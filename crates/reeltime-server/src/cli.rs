//! The command line. Flags for settings are made from the table of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

use crate::bench::Bench;
use crate::bench::load::Load;
use crate::bench::sink::Sink;
use crate::catalogue::Catalogue;
use crate::export::Export;
use crate::ls::Ls;
use crate::send::Send;
use crate::settings::{Layers, SETTINGS, Setting};
use crate::store::Store;

/// Records live conversations, every speaker, losing nothing that was received.
#[derive(Debug, Parser)]
#[command(
    name = "reeltime",
    bin_name = "reeltime",
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  reeltime serve                     record on http://127.0.0.1:7400, into ./reeltime-data
  reeltime send anna.wav ben.wav     play two speakers of a call into it
  reeltime ls                        list what there is
  reeltime config                    show each setting and where it came from
  reeltime recover --dry-run         show what a start would recover

Exit status: 0 done, 1 failed, 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Record what comes in over WebSockets and serve it over HTTP
    #[command(after_help = "\
Examples:
  reeltime serve
  reeltime serve --listen 127.0.0.1:0 --data-dir /srv/reeltime
  REELTIME_API_KEYS=$(openssl rand -hex 32) reeltime serve --listen 0.0.0.0:7400")]
    Serve(SettingFlags),
    /// Play files or stdin into a server, as the speakers of one call
    #[command(after_help = "\
Each file is one participant; all begin together. WAV of 16-bit or G.711 samples is sent as it is; everything else
is decoded by ffmpeg, where that is installed; stdin that begins as no file does is raw. After a lost connection, or a restart of the server, it sends on from
where the server says, so that nothing is missing. Ctrl-C stops cleanly.

Examples:
  reeltime send call.wav
  reeltime send anna.wav ben.mp3 --as anna --as ben --call standup --fast
  arecord -q -f S16_LE -r 16000 | reeltime send - --as anna
  reeltime send call.ulaw --codec mulaw --rate 8000 --to http://recorder:7400 --json")]
    Send(Send),
    /// List recordings
    #[command(after_help = "\
Without --to it asks the server at the address of the settings, if one answers there; else, or with --data-dir, it
reads the data folder.

Examples:
  reeltime ls
  reeltime ls --call standup --state complete --limit 5
  reeltime ls -q anna --to http://recorder:7400 --json")]
    Ls(Ls),
    /// Show each setting and where it came from
    #[command(after_help = "\
Examples:
  reeltime config
  REELTIME_LISTEN=127.0.0.1:0 reeltime config --json")]
    Config(Config),
    /// Recover what a crash left in the spool, without serving
    #[command(after_help = "\
Examples:
  reeltime recover --dry-run
  reeltime recover --data-dir /srv/reeltime --json")]
    Recover(Recover),
    /// Rebuild the catalogue from the store
    Catalogue(Catalogue),
    /// Write a recording to a file: from the data folder, or from a running server
    #[command(after_help = "\
Examples:
  reeltime export 01890a5d-ac96-774b-bcce-b302099a8057 -o call.wav
  reeltime export 01890a5d-ac96-774b-bcce-b302099a8057 -o - | ffplay -
  reeltime export 01890a5d-ac96-774b-bcce-b302099a8057 -o anna.wav --participant anna --to http://127.0.0.1:7400")]
    Export(Export),
    /// Look after the store that recordings go to
    #[command(after_help = "\
Examples:
  reeltime store check
  reeltime store check --store-url s3://bucket/prefix --json")]
    Store(Store),
    /// Measure what recording costs on this machine
    #[command(after_help = "\
Examples:
  reeltime bench
  reeltime bench --quick --only receive_cpu_ratio --json")]
    Bench(Bench),
    /// Read and throw away: what `bench` compares with
    #[command(hide = true)]
    BenchSink(Sink),
    /// Send to a server of this machine, for `bench`
    #[command(hide = true)]
    BenchLoad(Load),
}

/// `reeltime config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `reeltime recover`.
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Only show what would be recovered; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// The flags of all settings, and of the file they may stand in.
#[derive(Debug, Default)]
pub(crate) struct SettingFlags {
    flags: BTreeMap<&'static str, String>,
    config: Option<PathBuf>,
}

impl SettingFlags {
    /// Whether this setting was given as a flag.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }

    /// These flags over the process's environment.
    pub(crate) fn layers(self) -> Layers {
        Layers { flags: self.flags, environment: std::env::vars().collect(), file: self.config }
    }
}

const HEADING: &str = "Settings (flag, else environment, else file, else default)";

fn flag(setting: &Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        text => format!(" [default: {text}]"),
    };
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.placeholder)
        .help(format!("{} [env: {}]{default}", setting.help, setting.variable()))
        .help_heading(HEADING)
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("REELTIME_CONFIG")
            .hide_env_values(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help("The config file (TOML); by default reeltime.toml where there is one")
            .help_heading(HEADING);
        command.arg(config).args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |setting: &Setting| matches.get_one::<String>(setting.name).cloned();
        Ok(Self {
            flags: SETTINGS.iter().filter_map(|setting| Some((setting.name, value(setting)?))).collect(),
            config: matches.get_one::<PathBuf>("config").cloned(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_reaches_its_setting() {
        let cli = Cli::try_parse_from(["reeltime", "serve", "--flush-interval", "1s"]).unwrap();
        let Verb::Serve(flags) = cli.command else { panic!("not serve: {cli:?}") };
        assert_eq!(flags.flags.get("flush_interval").map(String::as_str), Some("1s"));
    }
}
