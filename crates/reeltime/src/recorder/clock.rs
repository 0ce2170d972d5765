//! The process's monotonic clock, and each recording's own on top of it.

use std::time::{Instant, SystemTime};

use reeltime_core::time::{Micros, UtcMicros};

/// The process's clock: monotonic microseconds, and UTC for labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Since the process started.
    pub(crate) fn now(self) -> Micros {
        Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// UTC, as the system says now.
    pub(crate) fn utc() -> UtcMicros {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UtcMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A recording's clock: where its zero lies on the process's clock, and what UTC was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordingClock {
    /// Microseconds of the process's clock; negative for a recording that began in an earlier process.
    zero: i64,
    pub(crate) epoch: UtcMicros,
}

impl RecordingClock {
    /// Begins now.
    pub(crate) fn begin(now: Micros, utc: UtcMicros) -> Self {
        Self { zero: signed(now), epoch: utc }
    }

    /// Goes on in a new process. UTC alone connects the two; where it went back meanwhile, the clock goes on
    /// from `last` instead, since it never runs backwards.
    pub(crate) fn go_on(epoch: UtcMicros, last: Micros, now: Micros, utc: UtcMicros) -> Self {
        let elapsed = utc.0.saturating_sub(epoch.0).max(signed(last));
        Self { zero: signed(now).saturating_sub(elapsed), epoch }
    }

    /// The process's time on this clock.
    pub(crate) fn at(self, now: Micros) -> Micros {
        Micros(u64::try_from(signed(now).saturating_sub(self.zero)).unwrap_or(0))
    }
}

fn signed(micros: Micros) -> i64 {
    i64::try_from(micros.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_goes_on_in_a_new_process_where_utc_says() {
        let epoch = UtcMicros(1_000_000_000);
        let clock = RecordingClock::go_on(
            epoch,
            Micros::from_secs(8),
            Micros::from_secs(1),
            UtcMicros(1_010_000_000),
        );
        assert_eq!(clock.at(Micros::from_secs(1)), Micros::from_secs(10));
        assert_eq!(clock.at(Micros::from_secs(3)), Micros::from_secs(12));
    }

    #[test]
    fn a_wall_clock_set_back_does_not_take_a_recording_back() {
        let epoch = UtcMicros(1_000_000_000);
        let clock =
            RecordingClock::go_on(epoch, Micros::from_secs(8), Micros::from_secs(1), UtcMicros(900_000_000));
        assert_eq!(clock.at(Micros::from_secs(1)), Micros::from_secs(8));
    }
}
