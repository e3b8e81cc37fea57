//! Keeps one connection for commands up, for as long as its database is a member.
//!
//! Reports when there is one, when it ended, and when none can be made, each at once. Tries again after
//! a pause that doubles, for ever: a database that is not trusted must still be found healthy again.

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

/// Messages to a connector.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConnectorMessage {
    /// Nothing is sent over this connection any more, and another is made. Answers may still come
    /// for so long; then it is dropped.
    Abandon {
        /// Which.
        link: LinkId,
        /// For so long.
        drain_timeout: Duration,
    },
    /// Do not wait for the next try.
    RetryNow,
}

pub(crate) struct Connector {
    pub(crate) member: Arc<Member>,
    pub(crate) inbox: mpsc::Receiver<ConnectorMessage>,
    pub(crate) mailbox: Mailbox,
    pub(crate) ended: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Connector {
    /// Until cancelled.
    pub(crate) async fn run(mut self) {
        let ended = self.ended.clone();
        ended.run_until_cancelled(self.run_until_ended()).await;
    }

    async fn run_until_ended(&mut self) {
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
                    self.notify(Message::ConnectFailed { id, kind, error })
                        .await;
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
        self.notify(up).await;
        loop {
            tokio::select! {
                biased;
                () = &mut driver => {
                    link.end();
                    drop(driver);
                    return self.notify(Message::LinkLost { id, link: link.id() }).await;
                }
                message = self.inbox.recv() => match message {
                    Some(ConnectorMessage::Abandon { link: which, drain_timeout }) if which == link.id() => {
                        link.end();
                        return self.drain(driver, drain_timeout);
                    }
                    Some(_) => {}
                    // The actor is gone; `ended` comes next.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Answers may still come, and the next connection does not wait for them.
    fn drain(&self, driver: BoxFuture<'static, ()>, drain_timeout: Duration) {
        if drain_timeout.is_zero() {
            return;
        }
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            let _ = ended
                .run_until_cancelled(timeout(drain_timeout, driver))
                .await;
        });
    }

    async fn pause(&mut self, tries: u32) {
        let pause = FIRST_PAUSE
            .saturating_mul(2u32.saturating_pow(tries))
            .min(LAST_PAUSE)
            .mul_f64(0.5 + 0.5 * fastrand::f64());
        tokio::select! {
            () = sleep(pause) => {}
            _ = self.inbox.recv() => {}
        }
    }

    /// The actor may be gone, while the client ends.
    async fn notify(&self, message: Message) {
        drop(self.mailbox.send(message).await);
    }
}
