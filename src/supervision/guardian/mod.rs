//! An actor that keeps a fixed set of children alive.
//!
//! Owns which children there are, and their record of deaths. It must not know what they do: a
//! [`Child`] is a name for the log and a way to start one more incarnation.
//!
//! It never gives up. A child that dies more often than the policy allows is left dead for one
//! window, with an error in the log, and then starts with a clean record: what it serves is better
//! late than never, and whoever watches the counters sees that nothing moves.

mod actor;
mod message;
mod state;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};

use super::RestartPolicy;
use message::Message;

/// How a child is started, under which supervisor.
pub type Start =
    Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// One child to keep alive.
pub struct Child {
    /// For the log.
    pub name: &'static str,
    /// Starts an incarnation, linked to the supervisor.
    pub start: Start,
}

impl Child {
    /// A child of which every incarnation is a new `actor` and begins with the same `arguments`.
    pub fn of<A>(
        name: &'static str,
        actor: impl Fn() -> A + Send + Sync + 'static,
        arguments: A::Arguments,
    ) -> Self
    where
        A: Actor,
        A::Arguments: Clone + Sync,
    {
        Self {
            name,
            start: Box::new(move |supervisor| {
                let (actor, arguments) = (actor(), arguments.clone());
                Box::pin(async move {
                    let (born, _) = A::spawn_linked(None, actor, arguments, supervisor).await?;
                    Ok(born.get_cell())
                })
            }),
        }
    }
}

/// The guardian. When the last handle is dropped, the guardian and its children end.
#[derive(Debug)]
pub struct Handle(ActorRef<Message>);

impl Handle {
    /// Starts the children in the order given, and keeps them alive from then on.
    ///
    /// # Errors
    /// When one of them cannot be started the first time.
    pub async fn start(policy: RestartPolicy, children: Vec<Child>) -> Result<Self, SpawnErr> {
        let (guardian, _) =
            actor::Guardian::spawn(None, actor::Guardian, (policy, children)).await?;
        Ok(Self(guardian))
    }

    /// From now on children that end stay ended. Returns when that is so; then they can be drained.
    pub async fn retire(&self) {
        // A guardian that is gone restarts nobody either.
        let _ = ractor::call!(self.0, Message::Retire);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}
