//! Steps at which a test may have the process killed, to see what the next one makes of it.
//!
//! In a debug build, `REELTIME_CRASH_AT=step` kills the process (SIGKILL, so nothing is cleaned up) when it comes to
//! that step, `step:3` when it comes there for the third time. In a release build there is nothing.

/// The step `name`: kills the process where the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AT: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let at = AT.get_or_init(|| {
        let text = std::env::var("REELTIME_CRASH_AT").ok()?;
        let (step, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((step.to_owned(), times.parse().unwrap_or(1)))
    });
    let Some((step, times)) = at else { return };
    if step == name && PASSED.fetch_add(1, Ordering::AcqRel) + 1 == *times {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Killing oneself takes effect before the call returns; this keeps every other thread's word for it.
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) const fn point(_name: &str) {}
