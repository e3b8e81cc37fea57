//! The actor around [`State`], and the tasks that call the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::state::{Asked, FORGOTTEN, LOOK, Learnt, Pool, State, Want, number};
use super::{Rule, Sharing};
use crate::clock;
use crate::cluster::slots::{Call, Failure, REPLY_TIMEOUT};
use crate::fleet::queue::Queues;
use crate::fleet::slot_pool::SlotPool;
use crate::fleet::view::FleetView;
use crate::supervision::{Actor, Context, Reply};

/// What every incarnation begins with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) sharing: Sharing,
    pub(super) rule: Arc<Rule>,
    pub(super) view: Arc<ArcSwap<FleetView>>,
    pub(super) queues: Arc<Queues>,
    /// The last run of this router.
    pub(super) run: Arc<AtomicI64>,
}

/// What the actor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Timer {
    /// To look at the pools.
    Look,
    /// To make a call that is not to be made before.
    Call,
}

pub(super) struct Shares {
    setup: Setup,
    state: State<Arc<SlotPool>>,
    /// Slots are divided otherwise since the pools were last looked at.
    is_new: bool,
    is_away: bool,
    is_leaving: bool,
}

impl Actor for Shares {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let former = setup.run.load(Ordering::Relaxed);
        let run = clock::unix_ms().max(former + 1);
        let mut shares = Self {
            setup,
            state: State::new(run, context.now()),
            is_new: false,
            is_away: false,
            is_leaving: false,
        };
        shares.begin(run, context.now());
        shares.due(Timer::Look, context);
        shares
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let now = context.now();
        match message {
            Message::Touched(pool) => {
                pool.share().looked_at();
                self.state.touch(pool.share().key(), &pool, now);
            }
            Message::Made(pool) => self.state.made(pool.share().key(), &pool),
            Message::Wake => self.state.wake(now),
            Message::Answered { number, reply } => {
                self.answered(number, reply, now);
            }
            Message::Leave(reply) => return self.leave(reply, context),
            Message::Left(reply) => {
                let _ = reply.send(());
            }
        }
        self.call(context);
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        if timer == Timer::Call {
            return self.call(context);
        }
        let now = context.now();
        if std::mem::take(&mut self.is_new) {
            // Who took a slot while the number changed is seen now.
            self.adopt(now);
        }
        let view = self.setup.view.load();
        let queues = &self.setup.queues;
        self.state.look(now, |pool| want(pool, &view, queues));
        let others = (self.setup.sharing.others)();
        if let Some(others) = &others {
            let divides = self.state.go_on_without_ledger(others.len(), now);
            self.divide(divides, now);
        }
        let isolated = self.state.is_isolated(now, others.is_some());
        let was_isolated = self.setup.rule.set_isolated(isolated);
        if isolated != was_isolated {
            tracing::warn!(
                isolated,
                "neither Redis nor the database: others may use this router's slots"
            );
        }
        let held = self.setup.rule.holds_until(now + FORGOTTEN);
        if was_isolated || !held {
            // What a request found closed may be open.
            self.setup.queues.freed();
        }
        context.arm(Timer::Look, LOOK);
        self.call(context);
    }
}

impl Shares {
    /// As a run of this router that has nothing but what runs.
    fn begin(&mut self, run: i64, now: Instant) {
        self.setup.run.store(run, Ordering::Relaxed);
        self.setup.rule.set_divides(0);
        self.state = State::new(run, now);
        for pool in pools(&self.setup.view.load()) {
            pool.set_watched(false);
            pool.set_share(None);
            pool.set_asked(Asked::No);
            pool.share().looked_at();
        }
        self.adopt(now);
    }

    fn answered(
        &mut self,
        number: i64,
        reply: Result<crate::cluster::slots::Reply, Failure>,
        now: Instant,
    ) {
        let reply = match reply {
            Ok(reply) => reply,
            // The clock was ahead when an earlier run began: this one comes after it all the same.
            Err(Failure::Overtaken(run)) if run > self.setup.run.load(Ordering::Relaxed) => {
                return self.begin(run + 1, now);
            }
            Err(failure) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(%failure, "slots are not shared any more: Redis is away");
                }
                return self.state.failed(number, now);
            }
        };
        if std::mem::take(&mut self.is_away) {
            tracing::info!("slots are shared again");
        }
        let view = self.setup.view.load();
        let find = |key: &str| find(&view, key);
        let Learnt {
            grown,
            refused,
            divides,
        } = self.state.replied(number, &reply, now, find);
        self.divide(divides, now);
        if grown || refused {
            self.setup.queues.freed();
        }
    }

    /// Slots are divided among so many from now on.
    fn divide(&mut self, divides: Option<u32>, now: Instant) {
        if let Some(divides) = divides {
            self.setup.rule.set_divides(divides);
            self.is_new = true;
            self.adopt(now);
            self.setup.queues.freed();
        }
    }

    /// Whatever runs beyond the even share is this router's.
    fn adopt(&mut self, now: Instant) {
        for pool in pools(&self.setup.view.load()) {
            if pool.in_flight() > 0 {
                self.state.adopt(pool.share().key(), &pool, now);
            }
        }
    }

    fn call(&mut self, context: &mut Context<Self>) {
        if self.is_leaving {
            return;
        }
        let view = self.setup.view.load();
        let (queues, others) = (&self.setup.queues, &self.setup.sharing.others);
        let want = |pool: &Arc<SlotPool>| want(pool, &view, queues);
        if let Some(call) = self.state.next(context.now(), || others(), want) {
            let number = call.number;
            let answer = self.settle(call, context);
            context.spawn(async move {
                let reply = answer.await;
                Message::Answered { number, reply }
            });
        } else if let Some(pause) = self.state.pause(context.now()) {
            context.arm(Timer::Call, pause);
        }
    }

    /// The command has a task of its own, which is not cancelled: what becomes of it is how the client of Redis
    /// detects that a database has failed. Only the waiting ends.
    fn settle(
        &self,
        call: Call,
        context: &Context<Self>,
    ) -> impl Future<Output = Result<crate::cluster::slots::Reply, Failure>> + use<> {
        let settling = self.setup.sharing.ledger.settle(Arc::new(call));
        let settling = context.tracker().spawn(settling);
        async move {
            match timeout(REPLY_TIMEOUT, settling).await {
                Ok(Ok(answer)) => answer,
                // Not in time, or the program ends.
                Ok(Err(_)) | Err(_) => Err(Failure::Late),
            }
        }
    }

    fn leave(&mut self, reply: Reply<()>, context: &Context<Self>) {
        self.is_leaving = true;
        let call = self.state.leave();
        let left = self.settle(call, context);
        context.spawn(async move {
            drop(left.await);
            Message::Left(reply)
        });
    }
}

fn pools(view: &FleetView) -> impl Iterator<Item = Arc<SlotPool>> {
    let servers = view.servers.iter();
    servers.flat_map(|server| server.endpoint.pools())
}

fn find(view: &FleetView, key: &str) -> Option<Arc<SlotPool>> {
    let mut servers = view.servers.iter();
    servers.find_map(|server| server.endpoint.pool_of(key))
}

fn want(pool: &Arc<SlotPool>, view: &FleetView, queues: &Queues) -> Want {
    let waiting = queues.get(pool.model()).map_or(0, |queue| queue.len());
    let warm = match waiting {
        0 => 1,
        _ => view.model(pool.model()).map_or(1, |model| model.warm()),
    };
    Want {
        running: pool.running(),
        waiting,
        warm,
    }
}

impl Pool for Arc<SlotPool> {
    fn running(&self) -> i64 {
        number(self.in_flight())
    }

    fn slots(&self) -> i64 {
        number(SlotPool::slots(self))
    }

    fn takes_short(&self) -> bool {
        self.share().takes_short()
    }

    fn set_asked(&self, asked: Asked) {
        self.share().set_asked(asked);
    }

    fn set_share(&self, share: Option<u32>) {
        self.share().set_share(share);
    }

    fn set_watched(&self, watched: bool) {
        self.share().set_watched(watched);
    }
}
