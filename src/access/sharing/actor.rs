//! The shell around the shares' state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::message::Message;
use super::state::{Next, State};
use super::{PATIENCE, Plan, Short, TERMS};
use crate::access::meter::Taken;
use crate::access::rule::{Call, Failure};
use crate::supervision::{Slot, guardian};

/// How often idle shares and applied spending are looked at.
const TICK: Duration = Duration::from_millis(250);

type Reply = oneshot::Sender<Result<Vec<Taken>, Short>>;

#[derive(Clone)]
pub(super) struct Setup {
    plan: Arc<Plan>,
    mailbox: Slot<Message>,
}

impl Setup {
    pub(super) fn new(plan: Plan, mailbox: Slot<Message>) -> Self {
        Self {
            plan: Arc::new(plan),
            mailbox,
        }
    }

    pub(super) fn into_child(self) -> guardian::Child {
        guardian::Child::of("shares of limits", || SharingActor, self)
    }
}

pub(super) struct SharingActor;

pub(super) struct Shell {
    plan: Arc<Plan>,
    state: State<Reply>,
}

impl Actor for SharingActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        setup.mailbox.occupy(myself.clone());
        let plan = setup.plan;
        let state = State::new(
            TERMS,
            Arc::clone(&plan.me),
            plan.policy,
            plan.shared.is_some(),
        );
        // At once, so that the others know of this router before its first request.
        let _ = myself.cast(Message::Tick);
        Ok(Shell { plan, state })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let now = shell.plan.clock.now();
        match message {
            Message::Take { wants, reply } => shell.state.ask(now, wants, reply),
            Message::Touched(cell) => shell.state.touch(cell),
            Message::Answered(Ok(reply)) => {
                shell.plan.clock.learn(now, reply.now_ms);
                // Who left meanwhile is not to be given what somebody else waits for.
                shell.state.forget_asks(Reply::is_closed);
                shell.state.replied(now, &reply);
            }
            Message::Answered(Err(failure)) => {
                if shell.state.failed(now) {
                    tracing::warn!(%failure, "limits are not shared any more: Redis is away");
                }
            }
            Message::Tick => {
                let until = (shell.plan.applied_until)();
                shell.state.applied(shell.plan.clock.ledger_ms(now), until);
                tick(&myself);
            }
        }
        if let Next::Send(call) = shell.state.next(now, shell.plan.clock.ledger_ms(now)) {
            shell.send(call, myself);
        }
        let sharers = shell.state.sharers();
        shell.plan.sharers.store(sharers, Ordering::Relaxed);
        let waits = shell.state.waits();
        shell.plan.waits.store(waits, Ordering::Relaxed);
        for (reply, answer) in shell.state.answers() {
            // Who is gone gives back what it would have got, by dropping it.
            drop(reply.send(answer));
        }
        Ok(())
    }
}

impl Shell {
    /// The command has a task of its own, which nobody ends: only the waiting does, at [`PATIENCE`].
    /// What becomes of a command is how the client of Redis learns that a database is dead; dropped
    /// each time, it would never know.
    fn send(&self, call: Arc<Call>, myself: ActorRef<Message>) {
        let Some(shared) = &self.plan.shared else {
            return;
        };
        let Ok(place) = Arc::clone(&self.plan.out).try_acquire_owned() else {
            let _ = myself.cast(Message::Answered(Err(Failure::Late)));
            return;
        };
        let settling = shared.settle(call);
        let settling = self.plan.tracker.spawn(async move {
            let answer = settling.await;
            drop(place);
            answer
        });
        self.plan.tracker.spawn(async move {
            let answer = match timeout(PATIENCE, settling).await {
                Ok(Ok(answer)) => answer,
                // Not in time, or the program ends.
                Ok(Err(_)) | Err(_) => Err(Failure::Late),
            };
            let _ = myself.cast(Message::Answered(answer));
        });
    }
}

fn tick(myself: &ActorRef<Message>) {
    drop(myself.send_after(TICK, || Message::Tick));
}
