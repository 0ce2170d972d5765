//! Units of time. Two clocks exist and are never mixed: a recording's own clock, which is monotonic and
//! places media, and UTC, which only labels.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds on a recording's clock: 0 is the arrival of the first packet of its first session.
/// Monotonic; a jump of the wall clock does not move it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// How long after `earlier` this is; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The number of samples at `rate` that fit before this time, rounded down.
    pub const fn to_samples(self, rate: u32) -> u64 {
        (self.0 as u128 * rate as u128 / 1_000_000) as u64
    }

    /// The time at which sample `samples` begins at `rate`, rounded down.
    pub const fn from_samples(samples: u64, rate: u32) -> Self {
        Self((samples as u128 * 1_000_000 / rate as u128) as u64)
    }
}

impl Add<Duration> for Micros {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Micros {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since the Unix epoch, UTC. A label for people; never used to place media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    /// As a calendar time; out of range values are clamped to the Unix epoch.
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Whole seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time, `offset` later.
    pub const fn plus(self, offset: Micros) -> Self {
        Self(self.0.saturating_add_unsigned(offset.0))
    }
}

/// RFC 3339, in UTC with microseconds: `2025-01-02T03:04:05.000006Z`.
impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}
