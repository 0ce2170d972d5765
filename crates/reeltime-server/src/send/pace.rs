//! When which audio is due.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest message: 20 ms, as a telephone sends.
const FRAME: f64 = 0.02;
/// Audio that is sent ahead of its time, in seconds: what a server waits for before it looks at a socket at all (it takes
/// 200 ms at a time). So every speaker's first message is seen when it is sent, and all begin at one moment.
const LEAD: f64 = 0.25;
/// Longer than any call, and no overflow of a clock: a hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A speaker's clock: from a start that all speakers of a call share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// Samples per second and channel.
    pub(super) rate: u32,
    /// Times real time; None: as fast as it is taken.
    pub(super) speed: Option<f64>,
}

impl Pace {
    /// When the sample at `at` is to be sent.
    pub(super) fn due(&self, at: u64) -> Instant {
        match self.speed {
            None => self.start,
            Some(speed) => self.start + seconds((at as f64 / f64::from(self.rate) - LEAD).max(0.0) / speed),
        }
    }

    /// How many samples to send from `at` on: a frame, or more where the sender is behind; at least, and at most.
    pub(super) fn stretch(&self, at: u64, now: Instant, most: usize) -> (usize, usize) {
        let frame = (f64::from(self.rate) * FRAME) as usize;
        let least = frame.clamp(1, most.max(1));
        let Some(speed) = self.speed else { return (least, most.max(1)) };
        let passed = now.saturating_duration_since(self.start).as_secs_f64() * speed + LEAD;
        let behind = (passed * f64::from(self.rate) - at as f64).max(0.0) as usize;
        (least, behind.clamp(least, most.max(1)))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(FAR).min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(speed: Option<f64>) -> Pace {
        Pace { start: Instant::now(), rate: 16_000, speed }
    }

    #[test]
    fn a_sample_is_sent_a_moment_before_its_time() {
        for (speed, millis) in [(Some(1.0), 2_000), (Some(4.0), 500), (None, 0)] {
            let pace = pace(speed);
            assert_eq!(pace.due(36_000) - pace.start, Duration::from_millis(millis));
        }
        let pace = pace(Some(0.001));
        assert_eq!((pace.due(0), pace.due(4_000)), (pace.start, pace.start));
    }

    #[test]
    fn at_first_the_whole_lead_is_sent_then_frames_and_behind_time_all_that_is_due() {
        let pace = pace(Some(1.0));
        assert_eq!(pace.stretch(0, pace.start, 10_000), (320, 4_000));
        let later = pace.start + Duration::from_secs(1);
        assert_eq!(pace.stretch(20_000, later, 10_000), (320, 320));
        assert_eq!(pace.stretch(16_000, later, 10_000), (320, 4_000));
        assert_eq!(pace.stretch(0, later, 10_000), (320, 10_000));
    }

    #[test]
    fn without_a_speed_as_much_as_fits_is_sent() {
        assert_eq!(pace(None).stretch(5, Instant::now(), 10_000), (320, 10_000));
    }
}
