//! The processes that are measured: this binary again, with other arguments and nothing of our environment.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::machine;

/// How long a process may take to say its first word.
const START: Duration = Duration::from_secs(60);

/// This binary with `arguments`, working in `folder`. It dies with the value that holds it.
pub(super) fn command(arguments: &[impl AsRef<OsStr>], folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // Nobody's settings but the defaults.
    command.args(arguments).env_clear().current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// A process that says on stdout where it listens.
pub(super) struct Server {
    child: Child,
    process: u32,
    pub(super) address: SocketAddr,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it and waits until it listens. Its log goes to a file in `folder`.
    pub(super) async fn start(arguments: &[impl AsRef<OsStr>], folder: &Path) -> anyhow::Result<Self> {
        Self::started(command(arguments, folder)?, folder).await
    }

    /// [`Self::start`], with the keys of a store elsewhere.
    pub(super) async fn start_with_store(
        arguments: &[impl AsRef<OsStr>],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = command(arguments, folder)?;
        let keys = |name: &str| name.starts_with("AWS_") || name == "BLOB_READ_WRITE_TOKEN";
        command.envs(std::env::vars().filter(|(name, _)| keys(name)));
        Self::started(command, folder).await
    }

    async fn started(mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("stderr.log");
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn()?;
        let process = child.id().context("the server ended at once")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line =
            tokio::time::timeout(START, stdout.next_line()).await.context("the server does not start")??;
        let Some(line) = line else {
            anyhow::bail!("the server did not start: {}", std::fs::read_to_string(&log)?.trim())
        };
        let address = line.rsplit_once("http://").and_then(|(_, address)| address.trim().parse().ok());
        let address = address.with_context(|| format!("the server says `{line}` and no address"))?;
        Ok(Self { child, process, address, _stdout: stdout })
    }

    /// CPU time it has used so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu_of(self.process)
    }

    /// Bytes it holds in RAM.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        machine::resident(self.process)
    }

    /// Kills it, and waits until it is gone with all that it held.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
