//! The timers of one incarnation.

use tokio::task::AbortHandle;

/// At most one timer of each name. They end with this.
pub(super) struct Timers<T> {
    /// Few, so searched.
    armed: Vec<Armed<T>>,
    /// How many have been armed so far: tells a timer from one of the same name before it.
    count: u64,
}

struct Armed<T> {
    timer: T,
    number: u64,
    task: AbortHandle,
}

impl<T: Copy + PartialEq> Timers<T> {
    pub(super) fn new() -> Self {
        Self {
            armed: Vec::new(),
            count: 0,
        }
    }

    /// `start` gets the number of the new timer, which takes the place of an armed one of that name.
    pub(super) fn arm(&mut self, timer: T, start: impl FnOnce(u64) -> AbortHandle) {
        self.disarm(timer);
        self.count += 1;
        self.armed.push(Armed {
            timer,
            number: self.count,
            task: start(self.count),
        });
    }

    pub(super) fn disarm(&mut self, timer: T) {
        self.armed.retain(|armed| armed.timer != timer);
    }

    /// The timer of that number says that it is time; `None` when it has been replaced or disarmed
    /// since.
    pub(super) fn fired(&mut self, number: u64) -> Option<T> {
        let at = self.armed.iter().position(|one| one.number == number)?;
        Some(self.armed.swap_remove(at).timer)
    }
}

impl<T> Drop for Armed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_timer_that_fired_before_it_was_replaced_or_disarmed_is_none() {
        let tracker = TaskTracker::new();
        let mut timers = Timers::new();
        for timer in ["a", "a", "b"] {
            timers.arm(timer, |_| {
                tracker.spawn(std::future::pending::<()>()).abort_handle()
            });
        }
        timers.disarm("b");
        let fired = [1, 2, 2, 3].map(|number| timers.fired(number));
        assert_eq!(fired, [None, Some("a"), None, None]);
        // None of the tasks is left behind.
        tracker.close();
        tracker.wait().await;
    }
}
