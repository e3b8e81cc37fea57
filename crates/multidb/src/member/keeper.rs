//! Keeps one connection for commands up, for as long as its database is a member.
//!
//! Says when there is one, when it ended, and when none can be made, each at once. Tries again after
//! a pause that doubles, for ever: a database that is not trusted must still be found well one day.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Dialed, Link, LinkId, Member};
use crate::failover::{Mailbox, Message};
use crate::outcome;

/// The first pause between two tries; it doubles, with jitter, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// What a keeper is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Nothing is sent over this connection any more, and another is made. Answers may still come
    /// for so long; then it is dropped.
    Abandon {
        /// Which.
        link: LinkId,
        /// For so long.
        patience: Duration,
    },
    /// Do not wait for the next try.
    Now,
}

pub(crate) struct Keeper {
    pub(crate) member: Arc<Member>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) mailbox: Mailbox,
    pub(crate) ended: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Keeper {
    /// Until cancelled.
    pub(crate) async fn run(mut self) {
        let ended = self.ended.clone();
        ended.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let mut links = 0;
        let mut tries = 0;
        loop {
            let response = self.member.dialer().timeouts().response;
            match self.member.dialer().connect(Some(response)).await {
                Ok(dialed) => {
                    links += 1;
                    self.member.stats().connects.add_one();
                    let began = Instant::now();
                    self.hold(LinkId(links), dialed).await;
                    // At once when a connection has ended that was worth having.
                    if began.elapsed() >= LAST_PAUSE {
                        tries = 0;
                    } else {
                        self.pause(tries).await;
                        tries += 1;
                    }
                }
                Err(error) => {
                    self.member.stats().connect_failures.add_one();
                    let kind = outcome::of_connect_error(&error);
                    let id = self.member.id();
                    let error = error.to_string().into();
                    self.tell(Message::ConnectFailed { id, kind, error }).await;
                    self.pause(tries).await;
                    tries += 1;
                }
            }
        }
    }

    /// While it lasts.
    async fn hold(&mut self, id: LinkId, dialed: Dialed) {
        let link = Arc::new(Link::new(id, dialed.wire));
        let mut driver = dialed.driver;
        let id = self.member.id();
        let up = Message::LinkUp {
            id,
            link: Arc::clone(&link),
        };
        self.tell(up).await;
        loop {
            tokio::select! {
                biased;
                () = &mut driver => {
                    link.end();
                    drop(driver);
                    return self.tell(Message::LinkLost { id, link: link.id() }).await;
                }
                order = self.orders.recv() => match order {
                    Some(Order::Abandon { link: which, patience }) if which == link.id() => {
                        link.end();
                        return self.drain(driver, patience);
                    }
                    Some(_) => {}
                    // Nobody is left to tell; `ended` comes next.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Answers may still come, and the next connection does not wait for them.
    fn drain(&self, driver: BoxFuture<'static, ()>, patience: Duration) {
        if patience.is_zero() {
            return;
        }
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            let _ = ended.run_until_cancelled(timeout(patience, driver)).await;
        });
    }

    async fn pause(&mut self, tries: u32) {
        let pause = FIRST_PAUSE
            .saturating_mul(2u32.saturating_pow(tries))
            .min(LAST_PAUSE)
            .mul_f64(0.5 + 0.5 * fastrand::f64());
        tokio::select! {
            () = sleep(pause) => {}
            _ = self.orders.recv() => {}
        }
    }

    /// Whoever decides may be gone, on the way to the end.
    async fn tell(&self, message: Message) {
        drop(self.mailbox.send(message).await);
    }
}
