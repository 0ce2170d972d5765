//! How a command ends: 0, 1 failed, 2 wrong usage.

use std::process::ExitCode;

/// The command was called, or configured, wrongly: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Says on stderr what went wrong, and with which status to leave.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("reeltime: {error:#}");
    if error.chain().any(|cause| cause.is::<Usage>()) { ExitCode::from(2) } else { ExitCode::from(1) }
}
