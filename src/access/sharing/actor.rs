//! The actor around the shares' state, and the tasks that ask the shared ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::message::Message;
use super::state::{Next, State};
use super::{REPLY_TIMEOUT, Setup, Short, TERMS};
use crate::access::clock::Moment;
use crate::access::meter::Taken;
use crate::access::rule::{Call, Failure};
use crate::supervision::{Actor, Context, Reply};

/// How often idle shares and applied spending are looked at.
const TICK: Duration = Duration::from_millis(250);

pub(super) struct Sharing {
    setup: Arc<Setup>,
    state: State<Reply<Result<Vec<Taken>, Short>>>,
}

impl Actor for Sharing {
    type Message = Message;
    type Timer = ();
    type Setup = Arc<Setup>;

    fn start(setup: Arc<Setup>, context: &mut Context<Self>) -> Self {
        let me = Arc::clone(&setup.me);
        let state = State::new(TERMS, me, setup.policy, setup.shared.is_some());
        let mut sharing = Self { setup, state };
        // At once, so that the others count this router before its first request.
        sharing.due((), context);
        sharing
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let now = self.setup.clock.now();
        match message {
            Message::Take { wants, reply } => self.state.ask(now, wants, reply),
            Message::Touched(cell) => self.state.touch(cell),
            Message::Answered(Ok(reply)) => {
                self.setup.clock.learn(now, reply.now_ms);
                // Who left meanwhile is not to be given what somebody else waits for.
                self.state.forget_waiting(Reply::is_closed);
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
        let now = self.setup.clock.now();
        let until = (self.setup.applied_until)();
        self.state.applied(self.setup.clock.ledger_ms(now), until);
        context.arm((), TICK);
        self.act(now, context);
    }
}

impl Sharing {
    /// What follows from whatever has happened.
    fn act(&mut self, now: Moment, context: &Context<Self>) {
        let ledger_ms = self.setup.clock.ledger_ms(now);
        if let Next::Send(call) = self.state.next(now, ledger_ms) {
            self.send(call, context);
        }
        let (sharers, waits) = (self.state.sharers(), self.state.waits());
        self.setup.sharers.store(sharers, Ordering::Relaxed);
        self.setup.waits.store(waits, Ordering::Relaxed);
        for (reply, answer) in self.state.answers() {
            // Who is gone gives back what it would have got, by dropping it.
            drop(reply.send(answer));
        }
    }

    /// The command has a task of its own, which is not cancelled: only the waiting does, at [`REPLY_TIMEOUT`].
    /// What becomes of a command is how the client of Redis detects that a database has failed; dropped
    /// each time, it would never be detected.
    fn send(&self, call: Arc<Call>, context: &Context<Self>) {
        let Some(shared) = &self.setup.shared else {
            return;
        };
        let Ok(place) = Arc::clone(&self.setup.out).try_acquire_owned() else {
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
            Message::Answered(match timeout(REPLY_TIMEOUT, settling).await {
                Ok(Ok(answer)) => answer,
                // Not in time, or the program ends.
                Ok(Err(_)) | Err(_) => Err(Failure::Late),
            })
        });
    }
}
