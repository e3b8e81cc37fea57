//! Whether records gather behind a write before the next one. Pure: time is an argument.
//!
//! A pause between two writes saves wake-ups and writes when many requests end at about the same
//! time, and only delays the next record when one client asks, waits, and asks again. Which of the
//! two it is shows in what a pause brings. So a pause that brought too little is not repeated for a
//! number of writes, which doubles each time, and then it is tried again.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

/// How long records gather. Less than half of what a frame may be delayed.
const PERIOD: Duration = Duration::from_micros(400);

/// A pause has to bring so many records, or it costs their requests more than it saves.
const WORTH: usize = 4;

/// So many writes follow one another without a pause after the first that brought too little, and
/// at most: of many clients one pause may bring little by chance.
const SKIPS: RangeInclusive<u32> = 1..=512;

/// See the module.
#[derive(Debug)]
pub(super) struct Gathering {
    written: Option<Instant>,
    /// There was a pause since.
    paused: bool,
    /// So many writes are yet to be made without a pause.
    left: u32,
    /// So many there were to be.
    skips: u32,
}

impl Gathering {
    pub(super) fn new() -> Self {
        Self {
            written: None,
            paused: false,
            left: 0,
            skips: *SKIPS.start(),
        }
    }

    /// At `now` so many records wait to be written. Says how long to pause after the write.
    pub(super) fn found(&mut self, waiting: usize, now: Instant) -> Option<Duration> {
        let last = self.written.replace(now);
        let paused = std::mem::take(&mut self.paused);
        if waiting >= WORTH {
            (self.left, self.skips) = (0, *SKIPS.start());
        } else if paused {
            self.left = self.skips;
            self.skips = (self.skips * 2).min(*SKIPS.end());
        } else {
            self.left = self.left.saturating_sub(1);
        }
        let close = last.is_some_and(|last| now.duration_since(last) < 2 * PERIOD);
        (close && self.left == 0).then_some(PERIOD)
    }

    /// The pause was made.
    pub(super) fn paused(&mut self) {
        self.paused = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes that follow one another as closely as they can; `brings` is what each finds, given
    /// whether there was a pause. Returns before how many there was one.
    fn pauses(gathering: &mut Gathering, writes: usize, brings: impl Fn(bool) -> usize) -> usize {
        let (mut now, mut paused, mut pauses) = (Instant::now(), false, 0);
        for _ in 0..writes {
            let pause = gathering.found(brings(paused), now);
            paused = pause.is_some();
            if let Some(pause) = pause {
                gathering.paused();
                pauses += 1;
                now += pause;
            }
            now += PERIOD / 4;
        }
        pauses
    }

    #[test]
    fn many_clients_are_written_together() {
        let mut gathering = Gathering::new();
        let found = |paused| if paused { 6 } else { 1 };
        assert_eq!(pauses(&mut gathering, 1_000, found), 999);
    }

    #[test]
    fn a_pause_that_brings_little_by_chance_is_made_again_soon() {
        let (mut gathering, number) = (Gathering::new(), std::cell::Cell::new(0));
        let found = |paused| {
            number.set(number.get() + 1);
            if paused && number.get() % 5 != 0 {
                6
            } else {
                1
            }
        };
        let seen = pauses(&mut gathering, 1_000, found);
        assert!(seen > 750, "{seen}");
    }

    #[test]
    fn one_client_does_not_wait_for_others() {
        let mut gathering = Gathering::new();
        let seen = pauses(&mut gathering, 10_000, |_| 1);
        assert!((10..40).contains(&seen), "{seen}");
    }

    #[test]
    fn clients_that_come_later_are_seen() {
        let mut gathering = Gathering::new();
        pauses(&mut gathering, 10_000, |_| 1);
        let found = |paused| if paused { 6 } else { 1 };
        let seen = pauses(&mut gathering, 1_000, found);
        assert!(seen >= 1_000 - *SKIPS.end() as usize - 1, "{seen}");
    }

    #[test]
    fn records_that_come_one_by_one_never_wait() {
        let (mut gathering, mut now) = (Gathering::new(), Instant::now());
        for _ in 0..1_000 {
            assert_eq!(gathering.found(1, now), None);
            now += 2 * PERIOD;
        }
    }

    #[test]
    fn a_disk_that_is_slow_enough_to_gather_for_itself_counts_as_many() {
        let mut gathering = Gathering::new();
        pauses(&mut gathering, 100, |_| 1);
        let now = Instant::now();
        gathering.found(WORTH, now);
        assert_eq!(gathering.found(WORTH, now), Some(PERIOD));
    }
}
