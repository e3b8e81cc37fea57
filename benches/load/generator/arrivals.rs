//! Arrivals at a constant rate, released by the kernel's own timer.
//!
//! The runtime's timer counts whole milliseconds, as coarse as everything measured with it here.
//! A `timerfd` wakes within microseconds and, when the process was late, says how many periods it
//! missed, so that no arrival is ever skipped.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Requests that have become due and wait for a free client, first come, first served.
pub struct Due {
    period: Duration,
    total: u64,
    taken: Cell<u64>,
    origin: Cell<Instant>,
    waiting: Semaphore,
}

impl Due {
    /// `per_second` for `millis`, from the moment of [`Due::release`].
    pub fn new(per_second: u64, millis: u64) -> Self {
        Self {
            period: Duration::from_secs(1).div_f64(per_second as f64),
            total: per_second * millis / 1000,
            taken: Cell::new(0),
            origin: Cell::new(Instant::now()),
            waiting: Semaphore::new(0),
        }
    }

    /// Waits for a request to be due and says since when it is; `None` after the last one.
    pub async fn next(&self) -> Option<Instant> {
        self.waiting.acquire().await.ok()?.forget();
        let index = self.taken.get();
        self.taken.set(index + 1);
        (index < self.total).then(|| self.origin.get() + self.period.mul_f64((index + 1) as f64))
    }

    /// Releases every request at its time, then ends the clients.
    ///
    /// # Errors
    /// When the system has no timer for us.
    pub async fn release(&self, clients: usize) -> io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is `unsafe` for types that lie about their descriptor; an \
                      `OwnedFd` cannot"
        )]
        let timer = AsyncFd::new(timer)?;
        let period = Timespec {
            tv_sec: self.period.as_secs().try_into().unwrap_or_default(),
            tv_nsec: self.period.subsec_nanos().into(),
        };
        self.origin.set(Instant::now());
        let spec = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        let mut released = 0;
        while released < self.total {
            let mut ready = timer.readable().await?;
            let mut periods = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut periods)?)) {
                Ok(read) => read?,
                Err(_not_yet) => continue,
            };
            let fresh = u64::from_ne_bytes(periods).min(self.total - released);
            released += fresh;
            self.waiting
                .add_permits(usize::try_from(fresh).unwrap_or_default());
        }
        self.waiting.add_permits(clients);
        Ok(())
    }
}
