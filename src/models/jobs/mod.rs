//! The calls that take long and are running, each with its readers.
//!
//! Owns which there are, who shares one, and when one ends early: with its last reader, as on Ollama, unless an
//! operator has started it. It must not know what is done on which server ([`run`](super::run)), nor what a reader
//! is told. It fails by being restarted without them: they end with it, and their readers see that
//! nothing more comes.

mod actor;
mod message;
mod state;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use actor::{Jobs, Setup};
use message::Message;
pub(super) use message::{Asked, Listed};
pub(super) use state::{Key, Wanted};

use super::merge::Merge;
use super::run::Means;
use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};

/// The way to it.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Message>,
    _supervisor: Arc<Supervisor>,
}

/// A call and one reader of it. When this is dropped, the reader has left.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) id: u64,
    pub(super) progress: watch::Receiver<Merge>,
    mailbox: Mailbox<Message>,
}

/// Why a call does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotStarted {
    /// So many are running already.
    Full,
    /// There is no actor now, or it ended before it had answered.
    Restarting,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        means: Means,
        open: TaskTracker,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let setup = Setup {
            means,
            open,
            mailbox: mailbox.clone(),
            ids: Arc::default(),
        };
        let children = vec![Child::new::<Jobs>("models/jobs", &mailbox, setup)];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// Begins a call, or joins the one that does the same.
    pub(super) async fn join(&self, asked: Asked) -> Result<Joined, NotStarted> {
        let asked = Box::new(asked);
        let joined = self.mailbox.call(|reply| Message::Join { asked, reply });
        joined.await.unwrap_or(Err(NotStarted::Restarting))
    }

    /// Those that run, and those that ended lately.
    pub(super) async fn list(&self) -> Vec<Listed> {
        self.mailbox.call(Message::List).await.unwrap_or_default()
    }

    /// Ends one that runs, and forgets one that has ended. Says whether there was one.
    pub(super) async fn cancel(&self, id: u64) -> bool {
        let cancelled = self.mailbox.call(|reply| Message::Cancel { id, reply });
        cancelled.await.unwrap_or(false)
    }

    /// Kills the actor as a panic would. For fault injection.
    pub(super) fn kill(&self) {
        self.mailbox.kill();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // An actor that has been restarted knows no call of this number.
        self.mailbox.cast(Message::Left(self.id));
    }
}
