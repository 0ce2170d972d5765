//! Why a segment, or the word that it was the last, did not get through.

use std::io;
use std::time::Duration;

use crate::store::StoreError;

/// What went wrong on the way to the target.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It asks for patience.
    #[error("{what} is busy")]
    Busy { what: &'static str, wait: Option<Duration> },
    /// It cannot be reached, or fails.
    #[error("{what} is not available: {why}")]
    Unavailable { what: &'static str, why: String },
    /// It says no, and will until somebody changes something.
    #[error("{what} refuses with {status}: {why}; check segments and segments_api_key")]
    Refused { what: &'static str, status: u16, why: String },
    /// It answers something else than its document says.
    #[error("{what} answers without {lacks}")]
    Answer { what: &'static str, lacks: &'static str },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file on this machine.
    #[error("a segment's file cannot be read or its journal not be written: {0}")]
    File(#[from] io::Error),
}

impl SendError {
    /// Whether it says of this very segment that it will never be taken.
    pub(super) const fn is_of_the_segment(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 413 | 415 | 422, .. })
    }

    /// How long to wait before the next attempt, after `tries` that failed; `chance` is 0 to 1.
    pub(super) fn wait(&self, tries: u32, chance: f64) -> Duration {
        let passing = match self {
            Self::Busy { wait: Some(wait), .. } => return *wait,
            Self::Busy { wait: None, .. } | Self::Unavailable { .. } | Self::File(_) => true,
            Self::Refused { .. } | Self::Answer { .. } => false,
            Self::Store(error) => error.is_passing(),
        };
        let longest = Duration::from_secs(60);
        let growing = Duration::from_millis(500) * 2_u32.pow(tries.min(7));
        let wait = if passing { growing.min(longest) } else { longest };
        wait.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_soon_and_then_less_often_what_does_not_each_minute() {
        let away = SendError::Unavailable { what: "x", why: String::new() };
        let waits: Vec<_> = (0..9).map(|tries| away.wait(tries, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        let refused = SendError::Refused { what: "x", status: 401, why: String::new() };
        assert_eq!(refused.wait(0, 1.0), Duration::from_secs(60));
        assert!(!refused.is_of_the_segment());
        let busy = SendError::Busy { what: "x", wait: Some(Duration::from_secs(7)) };
        assert_eq!(busy.wait(3, 0.0), Duration::from_secs(7));
    }
}
