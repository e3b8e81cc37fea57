//! What the mirror has, and what it fetches for whom.
//!
//! Owns which blobs are in the cache and which are coming, who wants each, when a download ends, and what makes
//! room. So there is one download of a blob, however many servers want it. It must not know how a registry is
//! asked ([`registry`](super::registry)) or how bytes are read and written. It fails by being restarted: downloads
//! end with it, their readers see that nothing more comes, and the next incarnation begins with what is on
//! the disk.

mod actor;
mod known;
mod message;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use actor::Downloads;
pub(super) use actor::Setup;
pub(super) use known::Source;
use message::Message;
pub(super) use message::{Pinning, Reading, Wanted};

use super::error::Error;
use super::manifest::Manifest;
use super::repository::{Reference, Repository};
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
        setup: Setup,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let children = vec![Child::new::<Downloads>("mirror/downloads", &mailbox, setup)];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// Returns when the blobs of this manifest can be asked for.
    pub(super) async fn learned(&self, repository: Repository, manifest: Arc<Manifest>) {
        let learned = self.mailbox.call(|done| Message::Learned {
            repository,
            manifest,
            done,
        });
        learned.await;
    }

    /// The manifest that a pull which runs has of this model.
    pub(super) async fn pinned(&self, reference: Reference) -> Option<Arc<Manifest>> {
        let pinned = self
            .mailbox
            .call(|reply| Message::Pinned { reference, reply });
        pinned.await.flatten()
    }

    /// Pins the blobs of a model for a pull.
    pub(super) async fn pin(
        &self,
        reference: Reference,
        manifest: Arc<Manifest>,
    ) -> Result<Pinning, Error> {
        let pinned = self.mailbox.call(|reply| Message::Pin {
            reference,
            manifest,
            reply,
        });
        pinned.await.unwrap_or(Err(Error::Interrupted))
    }

    /// How long a blob is.
    pub(super) async fn size(&self, source: Source) -> Result<u64, Error> {
        let size = self.mailbox.call(|reply| Message::Size { source, reply });
        size.await.unwrap_or(Err(Error::Interrupted))
    }

    /// One more reader of a blob, which is fetched if it is not there.
    pub(super) async fn read(&self, source: Source) -> Result<Reading, Error> {
        let wanted = |reply| Message::Read(Wanted { source, reply });
        let reading = self.mailbox.call(wanted);
        reading.await.unwrap_or(Err(Error::Interrupted))
    }

    /// Kills the actor as a panic would. For fault injection.
    pub(super) fn kill(&self) {
        self.mailbox.kill();
    }
}
