//! What keeps actors running.
//!
//! Owns which children there are, and how often each has ended of late. Children are given at the start
//! or come and go; in either case each is restarted alone, after a pause that grows. It must not know
//! what they do: a [`Child`] is a name for the log and a way to start one more incarnation.
//!
//! It never gives up. A child that ends more often than the policy allows is left alone for one window,
//! with an error in the log, and then starts with no end on record: late work is better than none,
//! and the counters show that there is no progress.
//!
//! An actor that has children of its own keeps a `Supervisor` among its state: they end with it.

mod actor;
mod child;
mod message;
mod state;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{ActorRef, ActorRuntime};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{Reply, RestartPolicy};
pub use child::Child;
use message::Message;

/// An actor could not be started: it panicked, or its supervisor was about to end.
pub use ractor::SpawnErr as StartError;

/// Tells children apart, in the order they were added.
type Id = u64;

/// Keeps its children running. When it is dropped they end.
pub struct Supervisor {
    actor: Option<ActorRef<Message>>,
    added: AtomicU64,
}

/// A child that was added while running. When this is dropped the child is stopped for good, and its
/// supervisor forgets it.
#[must_use = "a child is stopped when its guard is dropped"]
pub struct ChildGuard {
    supervisor: Option<ActorRef<Message>>,
    id: Id,
}

impl Supervisor {
    /// A supervisor without children. Their tasks run on `tracker`.
    #[must_use]
    pub fn new(policy: RestartPolicy, tracker: TaskTracker) -> Self {
        let arguments = (policy, tracker);
        let actor = match ActorRuntime::spawn_instant(None, actor::SupervisorActor, arguments) {
            Ok((actor, _)) => Some(actor),
            Err(error) => {
                // Only a name that is taken is refused, and it has none.
                tracing::error!(%error, "no supervisor");
                None
            }
        };
        Self {
            actor,
            added: AtomicU64::new(0),
        }
    }

    /// A supervisor with these children, which are started in this order.
    ///
    /// # Errors
    /// When one of them cannot be started the first time.
    pub async fn start(
        policy: RestartPolicy,
        tracker: TaskTracker,
        children: Vec<Child>,
    ) -> Result<Self, StartError> {
        let supervisor = Self::new(policy, tracker);
        for child in children {
            let id = supervisor.next_id();
            let started = supervisor.call(|reply| Message::Add(id, child, Some(reply)));
            started.await.unwrap_or_else(|| {
                Err(StartError::StartupFailed("the supervisor has ended".into()))
            })?;
        }
        Ok(supervisor)
    }

    /// Starts one more child, for as long as the guard is kept. One that cannot be started is tried
    /// again, as one that has ended.
    pub fn add(&self, child: Child) -> ChildGuard {
        let id = self.next_id();
        tell(self.actor.as_ref(), Message::Add(id, child, None));
        ChildGuard {
            supervisor: self.actor.clone(),
            id,
        }
    }

    /// From now on children that end stay ended. Returns when that is so; then they can be drained.
    pub async fn stop_restarting(&self) {
        // A supervisor that has ended restarts none either.
        let _ = self.call(Message::StopRestarting).await;
    }

    /// Stops all children, the one added last first, each when it has done what it is doing, and not
    /// what it has been told beyond that. Returns when they have ended.
    pub async fn stop(&self) {
        let _ = self.call(Message::Stop).await;
    }

    fn next_id(&self) -> Id {
        self.added.fetch_add(1, Ordering::Relaxed)
    }

    async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        tell(self.actor.as_ref(), message(reply));
        answer.await.ok()
    }
}

impl ChildGuard {
    /// Stops the child for good, and returns when it has ended.
    pub async fn remove(self) {
        let (reply, ended) = oneshot::channel();
        let message = Message::Remove(self.id, Some(reply));
        tell(self.supervisor.as_ref(), message);
        // With its supervisor, the child has ended, too.
        let _ = ended.await;
    }
}

fn tell(supervisor: Option<&ActorRef<Message>>, message: Message) {
    if let Some(supervisor) = supervisor {
        // One that has ended has no children.
        drop(supervisor.cast(message));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(actor) = &self.actor {
            actor.stop(None);
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        tell(self.supervisor.as_ref(), Message::Remove(self.id, None));
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

impl fmt::Debug for ChildGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildGuard").finish_non_exhaustive()
    }
}
