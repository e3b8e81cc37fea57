//! Where the files of a model go: the servers that were chosen when the first of them was named.
//!
//! A model is made of blobs that are uploaded one by one before it is created, and no call says that they
//! belong together. So the servers that were chosen for a blob are remembered by its digest, for an hour, and the
//! next blobs go to the same ones. It must not know whether a server has a blob: that is asked of the servers.
//! It fails by being restarted empty; then servers are chosen anew, and one that lacks a blob is left out.

mod actor;
mod message;
mod state;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use actor::Places;
use message::Message;
pub(super) use state::Question;

use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};

/// The way to it.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Message>,
    _supervisor: Arc<Supervisor>,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let children = vec![Child::new::<Places>("models/places", &mailbox, ())];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// The servers for a blob, by name: those that were chosen before, or those that would be now.
    pub(super) async fn choose(&self, question: Question) -> Vec<Arc<str>> {
        let now = question.now.clone();
        let chosen = self
            .mailbox
            .call(|reply| Message::Choose { question, reply });
        chosen.await.unwrap_or(now)
    }
}
