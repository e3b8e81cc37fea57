//! What runs an [`Actor`]: the one place where the actor library calls it.

use std::marker::PhantomData;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio_util::task::TaskTracker;

use super::{Actor, Context, Mailbox};

/// What is in a mailbox.
pub(in crate::supervision) enum Envelope<M> {
    Message(M),
    /// The timer of that number has fired.
    Due(u64),
    /// A task of the actor has panicked, with this message.
    TaskPanicked(String),
}

struct Driver<A>(PhantomData<fn() -> A>);

struct Startup<A: Actor> {
    mailbox: Mailbox<A::Message>,
    setup: A::Setup,
    tracker: TaskTracker,
}

struct Running<A: Actor> {
    actor: A,
    context: Context<A>,
}

/// Starts an incarnation, linked to `supervisor`.
///
/// # Errors
/// When it panicked in [`Actor::start`], or the supervisor is about to end.
pub(in crate::supervision) async fn spawn<A: Actor>(
    mailbox: Mailbox<A::Message>,
    setup: A::Setup,
    tracker: TaskTracker,
    supervisor: ActorCell,
) -> Result<ActorCell, SpawnErr> {
    let startup = Startup {
        mailbox,
        setup,
        tracker,
    };
    let driver = Driver::<A>(PhantomData);
    let (actor, _) = ractor::Actor::spawn_linked(None, driver, startup, supervisor).await?;
    Ok(actor.get_cell())
}

impl<A: Actor> ractor::Actor for Driver<A> {
    type Msg = Envelope<A::Message>;
    /// `None` once it has stopped: all it held is dropped before those that wait for the stop go on.
    type State = Option<Running<A>>;
    type Arguments = Startup<A>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        startup: Startup<A>,
    ) -> Result<Self::State, ActorProcessingErr> {
        startup.mailbox.attach(myself.clone());
        let mut context = Context::new(myself, startup.tracker);
        let actor = A::start(startup.setup, &mut context);
        Ok(Some(Running { actor, context }))
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Running { actor, context }) = state else {
            return Ok(());
        };
        match envelope {
            Envelope::Message(message) => actor.handle(message, context),
            Envelope::Due(number) => {
                if let Some(timer) = context.fired(number) {
                    actor.due(timer, context);
                }
            }
            Envelope::TaskPanicked(why) => return Err(format!("a task panicked: {why}").into()),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        *state = None;
        Ok(())
    }
}
