//! When to make a snapshot: at once after a quiet time, then at most every tenth of a second.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct State {
    last: Option<Instant>,
}

impl State {
    /// How long to wait before the next snapshot; zero for now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| {
            (last + PAUSE).saturating_duration_since(now)
        })
    }

    pub(super) fn published(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_is_shown_at_once_and_the_next_ones_ten_times_a_second() {
        let start = Instant::now();
        let mut state = State::default();
        assert!(state.wait(start).is_zero());
        state.published(start);
        assert_eq!(state.wait(start + PAUSE / 4), PAUSE * 3 / 4);
        assert!(state.wait(start + PAUSE).is_zero());
    }
}
