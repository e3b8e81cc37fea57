//! How long a connection may be idle, and how long a head may take.
//!
//! hyper has one limit for both: from the end of an answer to the end of the next head. But a connection
//! that waits for its client's next request costs nothing, and load balancers reuse one for as long as they
//! think it open; a head that arrives in drops is an attack. So the clock that hyper is given first waits
//! for the idle limit, and from the first byte on for the head's.

#![expect(
    clippy::disallowed_types,
    reason = "hyper's trait speaks of the standard library's clock"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// The clock of one connection. hyper's own limit is the idle one.
#[derive(Clone, Debug)]
pub(super) struct HeadTimer {
    /// Bytes have come of the client.
    pub(super) heard: Arc<AtomicBool>,
    /// How long a head may take, from its first byte on.
    pub(super) head: Duration,
}

pin_project_lite::pin_project! {
    struct HeadSleep {
        #[pin]
        sleep: time::Sleep,
        timer: HeadTimer,
        begun: bool,
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    /// hyper asks for this when it begins to wait for a head.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.heard.store(false, Ordering::Relaxed);
        Box::pin(HeadSleep {
            sleep: time::sleep_until(deadline.into()),
            timer: self.clone(),
            begun: false,
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    /// hyper asks after every piece of a head that does not end it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.begun && this.timer.heard.load(Ordering::Relaxed) {
            *this.begun = true;
            let deadline = time::Instant::now() + this.timer.head;
            this.sleep.as_mut().reset(deadline);
        }
        this.sleep.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(90);
    const HEAD: Duration = Duration::from_secs(20);

    fn waiting() -> (Arc<AtomicBool>, Pin<Box<dyn Sleep>>) {
        let heard = Arc::new(AtomicBool::new(true));
        let timer = HeadTimer {
            heard: Arc::clone(&heard),
            head: HEAD,
        };
        (heard, timer.sleep(IDLE))
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_the_idle_limit() {
        let began = time::Instant::now();
        let (_heard, sleep) = waiting();
        sleep.await;
        assert_eq!(began.elapsed().as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_own_limit_from_its_first_byte_on() {
        let began = time::Instant::now();
        let (heard, mut sleep) = waiting();
        for _ in 0..10 {
            assert!(
                time::timeout(Duration::from_secs(5), &mut sleep)
                    .await
                    .is_err()
            );
        }
        heard.store(true, Ordering::Relaxed);
        // Byte by byte, as hyper asks.
        let over = async {
            while time::timeout(Duration::from_secs(3), &mut sleep)
                .await
                .is_err()
            {}
        };
        over.await;
        assert_eq!(began.elapsed().as_secs(), 50 + 20);
    }
}
