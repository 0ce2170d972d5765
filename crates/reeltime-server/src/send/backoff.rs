//! How long to wait before the next attempt: twice as long each time, up to a bound, and never all at once.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer.
const MOST: Duration = Duration::from_secs(5);

/// The wait before attempt `number` (from 0); `chance` from 0 to 1 spreads those who lost the same server.
pub(super) fn wait(number: u32, chance: f64) -> Duration {
    let most = FIRST.saturating_mul(1 << number.min(16)).min(MOST);
    most.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// A number from 0 to 1.
pub(super) fn chance() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread_over_half_of_it() {
        assert_eq!(wait(0, 1.0), FIRST);
        assert_eq!(wait(1, 1.0), FIRST * 2);
        assert_eq!((wait(40, 1.0), wait(u32::MAX, 0.0)), (MOST, MOST / 2));
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }
}
