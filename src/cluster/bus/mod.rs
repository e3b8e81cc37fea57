//! What routers tell each other at once, that they would find out later in any case.
//!
//! Owns the messages, what is still to be published, and who listens here. It must not know what news is about, nor
//! how it travels ([`Wire`]: publish and subscribe of Redis, in the product).
//!
//! **Nothing depends on it.** A message that is lost delays what it says until the next reading of the database, the
//! next probe or the next call. So it fails by being silent: without Redis nobody is told anything, what could not
//! be told in time is dropped, and a listener that is too slow, or was cut off for a while, hears of a [`Heard::Gap`].

mod actor;
mod event;
mod message;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use event::{About, Event};

use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{BusActor, Setup};
use message::Message;

/// So far a listener may be behind.
const BEHIND: usize = 4_096;
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// What comes: messages, and where some may be missing nothing.
pub type Messages = BoxStream<'static, Option<Bytes>>;

/// A message and where the next ones come from.
struct Incoming {
    message: Option<Bytes>,
    more: Messages,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// How messages travel.
pub trait Wire: Send + Sync {
    /// Sends one to everybody who listens, this router included.
    fn publish(&self, message: Vec<u8>) -> BoxFuture<'static, Result<(), redis::RedisError>>;
    /// Everything that is published from now on.
    fn listen(&self) -> Messages;
}

/// What is heard of other routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// News.
    Event {
        /// From whom.
        from: Arc<str>,
        /// What.
        event: Event,
    },
    /// Some may be missing.
    Gap,
}

/// The bus. Clones share it; the default one is that of a router that knows no others.
#[derive(Clone, Debug, Default)]
pub struct Bus(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    mailbox: Mailbox<Message>,
    heard: broadcast::Sender<Heard>,
    ended: CancellationToken,
    supervisor: Supervisor,
}

/// What one listener hears.
#[derive(Debug)]
pub struct Listener {
    heard: broadcast::Receiver<Heard>,
    ended: CancellationToken,
}

impl Bus {
    /// One over this wire; `me` is this router's name.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        me: Arc<str>,
        wire: Arc<dyn Wire>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let (heard, _) = broadcast::channel(BEHIND);
        let mailbox = Mailbox::new();
        let setup = Setup {
            me,
            wire,
            heard: heard.clone(),
        };
        let child = Child::new::<BusActor>("cluster/bus", &mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        Ok(Self(Some(Arc::new(Line {
            mailbox,
            heard,
            ended: CancellationToken::new(),
            supervisor,
        }))))
    }

    /// Whether there may be others.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells all other routers. The news is made only if there may be some.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(line) = &self.0 {
            line.mailbox.cast(Message::Tell(event()));
        }
    }

    /// From now on; nothing where there are no others.
    #[must_use]
    pub fn listener(&self) -> Option<Listener> {
        self.0.as_ref().map(|line| Listener {
            heard: line.heard.subscribe(),
            ended: line.ended.clone(),
        })
    }

    /// Nothing is told or heard any more.
    pub async fn stop(&self) {
        if let Some(line) = &self.0 {
            line.ended.cancel();
            line.supervisor.stop().await;
        }
    }
}

impl Listener {
    /// The next that is heard; nothing when the bus has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = self.ended.run_until_cancelled(self.heard.recv()).await;
        match heard? {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Heard::Gap),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
