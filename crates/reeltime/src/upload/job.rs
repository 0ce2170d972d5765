//! What is uploaded, under which key, and what can go wrong with it.

use std::io;
use std::path::PathBuf;

use reeltime_core::keys::{KeyError, ObjectKey, safe_name};
use reeltime_core::time::UtcMicros;

use crate::store::StoreError;

/// A finished file, and where it is to lie in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingJob {
    /// The file. It is removed once the store has it.
    pub local_path: PathBuf,
    /// Its key; one that is taken gets a suffix.
    pub key: ObjectKey,
}

/// The key of a call's file: `{base}/{yyyy}/{mm}/{dd}/{call}.{format}`, by the day of `time` in UTC. Call and format are
/// made safe; `base` is the caller's own, and may end in a slash or be empty.
///
/// ```
/// # use reeltime::upload::build_key;
/// # use reeltime_core::time::UtcMicros;
/// let time = UtcMicros(1_735_789_445_000_000); // 2025-01-02T03:44:05Z
/// let key = build_key("recordings/", "session-123", "wav", time)?;
/// assert_eq!(key.as_str(), "recordings/2025/01/02/session-123.wav");
/// # Ok::<(), reeltime_core::keys::KeyError>(())
/// ```
///
/// # Errors
/// [`KeyError`] where `base` cannot begin a key.
pub fn build_key(base: &str, call: &str, format: &str, time: UtcMicros) -> Result<ObjectKey, KeyError> {
    let day = time.timestamp().strftime("%Y/%m/%d").to_string();
    let name = format!("{day}/{}.{}", safe_name(call), safe_name(format));
    let base = base.trim_end_matches('/');
    ObjectKey::new(if base.is_empty() { name } else { format!("{base}/{name}") })
}

/// Why a job was not taken. Its file stays where it is, and the next scan of its folder finds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// Too many wait already.
    #[error("recording queue full: {} waits for the next scan, {capacity} are before it", path.display())]
    QueueFull {
        /// The file.
        path: PathBuf,
        /// Jobs that may wait.
        capacity: usize,
    },
    /// The uploader was shut down.
    #[error("the uploader is shut down: {} waits for the next start", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

/// Why a file is not in the store. It stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read or removed.
    #[error("cannot {verb} {}", path.display())]
    Local {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the store has is not what was sent.
    #[error("the store has {key}, but {what} is not that of the file; the file is kept")]
    Differs {
        /// Where it was sent to.
        key: ObjectKey,
        /// What differs.
        what: &'static str,
    },
    /// The file was written to meanwhile.
    #[error("{} was still being written while it was uploaded; it is kept", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Every name that was tried is taken.
    #[error("no free key like {key} was found; the file is kept")]
    NoFreeKey {
        /// The key that was wanted.
        key: ObjectKey,
    },
    /// A key with its suffix cannot be one.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl UploadError {
    /// Whether the same may work later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Differs { .. } | Self::Changed { .. } => true,
            Self::Local { source, .. } => source.kind() != io::ErrorKind::NotFound,
            Self::NoFreeKey { .. } | Self::Key(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: UtcMicros = UtcMicros(1_735_776_000_000_000);

    fn key(base: &str, call: &str) -> String {
        build_key(base, call, "wav", DAY).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_key_is_base_day_and_call() {
        assert_eq!(key("recordings/", "session-123"), "recordings/2025/01/02/session-123.wav");
        assert_eq!(key("recordings", "session-123"), "recordings/2025/01/02/session-123.wav");
        assert_eq!(key("", "session-123"), "2025/01/02/session-123.wav");
    }

    #[test]
    fn a_call_leads_nowhere_else_and_two_calls_never_to_one_key() {
        assert_eq!(key("r", "../../etc/passwd"), "r/2025/01/02/~2E.~2F..~2Fetc~2Fpasswd.wav");
        assert_ne!(key("r", "a/b"), key("r", "a_b"));
        assert_ne!(key("r", "a/b"), key("r", "a~2Fb"));
        build_key("../x", "a", "wav", DAY).unwrap_err();
    }
}
