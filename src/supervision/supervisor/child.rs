//! What a supervisor starts, and how.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use ractor::ActorCell;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::supervision::shell::{self, Actor, Mailbox};

type Start =
    dyn Fn(ActorCell, TaskTracker) -> BoxFuture<'static, Result<ActorCell, StartError>> + Send;

/// One child to keep running.
pub struct Child {
    name: Arc<str>,
    start: Box<Start>,
}

impl Child {
    /// A child of which every incarnation begins with a clone of `setup` and reads `mailbox`. `name` is
    /// for the log.
    pub fn new<A: Actor>(
        name: impl Into<Arc<str>>,
        mailbox: &Mailbox<A::Message>,
        setup: A::Setup,
    ) -> Self {
        let mailbox = mailbox.clone();
        Self {
            name: name.into(),
            start: Box::new(move |supervisor, tracker| {
                let incarnation =
                    shell::spawn::<A>(mailbox.clone(), setup.clone(), tracker, supervisor);
                Box::pin(incarnation)
            }),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Starts an incarnation, linked to the supervisor.
    pub(super) fn start(
        &self,
        supervisor: ActorCell,
        tracker: TaskTracker,
    ) -> BoxFuture<'static, Result<ActorCell, StartError>> {
        (self.start)(supervisor, tracker)
    }
}
