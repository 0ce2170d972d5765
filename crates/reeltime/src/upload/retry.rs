//! How long to wait before what failed is tried again.

use std::time::Duration;

/// Waits that grow and are random, so that those who lost the same store do not all come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most that the first wait takes.
    pub first: Duration,
    /// The most that any wait takes.
    pub most: Duration,
    /// The wait after a refusal: it does not pass by itself, but somebody may have mended it.
    pub refused: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            most: Duration::from_secs(30),
            refused: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The wait after so many `failures` in a row, from 1: anything up to a bound that doubles each time ("full
    /// jitter", AWS Architecture Blog, Exponential Backoff And Jitter). `chance` is a number from 0 to 1.
    pub fn wait(&self, failures: u32, chance: f64) -> Duration {
        let doubled = 1_u32 << failures.saturating_sub(1).min(16);
        self.first.saturating_mul(doubled).min(self.most).mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_wait_and_any_part_of_it_is_waited() {
        let retry = Retry::default();
        let bounds: Vec<_> = (1..=9).map(|failures| retry.wait(failures, 1.0).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(retry.wait(u32::MAX, 1.0), retry.most);
        assert_eq!((retry.wait(3, 0.0), retry.wait(3, 0.5)), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!((retry.wait(0, 1.0), retry.wait(1, 7.0)), (retry.first, retry.first));
    }
}
