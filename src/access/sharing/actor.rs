//! The actor around the shares' state, and the tasks that ask the shared ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::message::Message;
use super::state::{Next, State};
use super::{PATIENCE, Plan, Short, TERMS};
use crate::access::clock::Moment;
use crate::access::meter::Taken;
use crate::access::rule::{Call, Failure};
use crate::supervision::{Actor, Context, Reply};

/// How often idle shares and applied spending are looked at.
const TICK: Duration = Duration::from_millis(250);

pub(super) struct Sharing {
    plan: Arc<Plan>,
    state: State<Reply<Result<Vec<Taken>, Short>>>,
}

impl Actor for Sharing {
    type Message = Message;
    type Timer = ();
    type Setup = Arc<Plan>;

    fn start(plan: Arc<Plan>, context: &mut Context<Self>) -> Self {
        let me = Arc::clone(&plan.me);
        let state = State::new(TERMS, me, plan.policy, plan.shared.is_some());
        let mut sharing = Self { plan, state };
        // At once, so that the others know of this router before its first request.
        sharing.due((), context);
        sharing
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let now = self.plan.clock.now();
        match message {
            Message::Take { wants, reply } => self.state.ask(now, wants, reply),
            Message::Touched(cell) => self.state.touch(cell),
            Message::Answered(Ok(reply)) => {
                self.plan.clock.learn(now, reply.now_ms);
                // Who left meanwhile is not to be given what somebody else waits for.
                self.state.forget_asks(Reply::is_closed);
                self.state.replied(now, &reply);
            }
            Message::Answered(Err(failure)) => {
                if self.state.failed(now) {
                    tracing::warn!(%failure, "limits are not shared any more: Redis is away");
                }
            }
        }
        self.act(now, context);
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let now = self.plan.clock.now();
        let until = (self.plan.applied_until)();
        self.state.applied(self.plan.clock.ledger_ms(now), until);
        context.arm((), TICK);
        self.act(now, context);
    }
}

impl Sharing {
    /// What follows from whatever has happened.
    fn act(&mut self, now: Moment, context: &Context<Self>) {
        let ledger_ms = self.plan.clock.ledger_ms(now);
        if let Next::Send(call) = self.state.next(now, ledger_ms) {
            self.send(call, context);
        }
        let (sharers, waits) = (self.state.sharers(), self.state.waits());
        self.plan.sharers.store(sharers, Ordering::Relaxed);
        self.plan.waits.store(waits, Ordering::Relaxed);
        for (reply, answer) in self.state.answers() {
            // Who is gone gives back what it would have got, by dropping it.
            drop(reply.send(answer));
        }
    }

    /// The command has a task of its own, which nobody ends: only the waiting does, at [`PATIENCE`].
    /// What becomes of a command is how the client of Redis learns that a database is dead; dropped
    /// each time, it would never know.
    fn send(&self, call: Arc<Call>, context: &Context<Self>) {
        let Some(shared) = &self.plan.shared else {
            return;
        };
        let Ok(place) = Arc::clone(&self.plan.out).try_acquire_owned() else {
            context.cast(Message::Answered(Err(Failure::Late)));
            return;
        };
        let settling = shared.settle(call);
        let settling = context.tracker().spawn(async move {
            let answer = settling.await;
            drop(place);
            answer
        });
        context.spawn(async move {
            Message::Answered(match timeout(PATIENCE, settling).await {
                Ok(Ok(answer)) => answer,
                // Not in time, or the program ends.
                Ok(Err(_)) | Err(_) => Err(Failure::Late),
            })
        });
    }
}
