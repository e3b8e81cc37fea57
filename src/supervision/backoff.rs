//! How long to wait before trying again.

use std::time::Duration;

/// Doubling waits between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits that begin at `first` and double up to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The wait after `failures` failures in a row (the first is 1). `random`, in `[0, 1)`, takes
    /// away up to half of it, so that those that failed together do not retry together.
    #[must_use]
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.most);
        whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits = [1, 2, 3, 4, 5, u32::MAX].map(|n| backoff.delay(n, 0.0).as_millis());
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay(0, 0.0).as_millis(), 100);
    }

    #[test]
    fn the_random_part_is_at_most_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(backoff.delay(1, 1.0).as_millis(), 50);
        assert_eq!(backoff.delay(1, 0.5).as_millis(), 75);
    }
}
