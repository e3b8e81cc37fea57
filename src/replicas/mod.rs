//! Models that are kept loaded: on how many servers, and on which.
//!
//! Owns which copies there are to be (`[[model]]`, `replicas`), and the loads that make them so. A copy that a lost
//! server had is loaded on another one at once; one that somebody unloaded, after a minute. What is
//! kept is renewed before its server lets go of it. It must not know how a model is loaded, nor what
//! a request is. It never unloads anything: a model that is not wanted any more goes when its time is over.
//!
//! It fails by being restarted: what is loaded stays, and is found in the fleet's view; loads that ran go on, and
//! the next incarnation finds their servers loading.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::domain::{KeepAlive, ModelName};
use crate::gateway::Gateway;
use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{ReplicasActor, Setup};
use message::Message;

const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(5)),
};

/// One model that is to be kept loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The model.
    pub model: ModelName,
    /// On so many servers.
    pub replicas: usize,
    /// Only on these, by name or label; without it on any.
    pub within: Option<Arc<[String]>>,
    /// For how long a server is told to keep it, each time.
    pub keep_alive: Option<KeepAlive>,
    /// Its tokens of context, if not as the server has it.
    pub num_ctx: Option<u32>,
    /// Where two do not fit, the one with the lower number stays.
    pub priority: i32,
}

/// Keeps models loaded.
#[derive(Clone, Debug)]
pub struct Replicas {
    mailbox: Mailbox<Message>,
    supervisor: Arc<Supervisor>,
}

impl Replicas {
    /// Starts with these models.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        kept: Vec<Kept>,
        gateway: Arc<Gateway>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let setup = Setup::new(kept, gateway);
        let child = Child::new::<ReplicasActor>("replicas", &mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        Ok(Self {
            mailbox,
            supervisor: Arc::new(supervisor),
        })
    }

    /// From now on these models are kept loaded, and no others.
    pub fn keep(&self, kept: Vec<Kept>) {
        self.mailbox.cast(Message::Keep(kept));
    }

    /// Loads nothing any more.
    pub async fn stop(&self) {
        self.supervisor.stop().await;
    }
}
