//! The actor around [`State`], and the task that looks at the clocks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Keeping;
use super::message::Message;
use super::round::{Done, Work};
use super::state::{Clocks, Held, State};
use super::stats::Stats;
use crate::clock;
use crate::spend::SpendStats;
use crate::store::{Error, Store};
use crate::supervision::{Actor, Context};

/// What every incarnation begins with.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) keeping: Keeping,
    pub(super) store: Store,
    /// Says who writes.
    pub(super) spend: Arc<SpendStats>,
    pub(super) stats: Arc<Stats>,
    pub(super) over: CancellationToken,
}

/// See the module.
pub(super) struct RetentionActor {
    setup: Setup,
    state: State,
}

impl Actor for RetentionActor {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        context.arm((), Duration::ZERO);
        let state = State::new(setup.keeping);
        Self { setup, state }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Looked(clocks) => {
                context.arm((), self.setup.keeping.look);
                self.looked(clocks, context);
            }
            Message::Over(done, result) => {
                self.state.over();
                report(done, result);
            }
        }
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let store = self.setup.store.clone();
        context.spawn(async move {
            let clocks = store.clock_ms().await.map(|database_ms| Clocks {
                router_ms: clock::unix_ms(),
                database_ms,
            });
            Message::Looked(clocks)
        });
    }
}

impl RetentionActor {
    fn looked(&mut self, clocks: Result<Clocks, Error>, context: &Context<Self>) {
        let held = match clocks {
            Ok(clocks) => self.state.looked(clocks, context.now()),
            // That it is away others say.
            Err(_) => return,
        };
        let was = self.setup.stats.held.swap(held.is_some(), Relaxed);
        if let (Some(held), false) = (held, was) {
            say(held);
        }
        if !self.setup.spend.leads() {
            return;
        }
        let Some(round) = self.state.begin(context.now()) else {
            return;
        };
        let work = Work {
            store: self.setup.store.clone(),
            stats: Arc::clone(&self.setup.stats),
            over: self.setup.over.clone(),
        };
        context.spawn_detached(async move {
            let (done, result) = work.run(round).await;
            Message::Over(done, result)
        });
    }
}

fn say(held: Held) {
    match held {
        Held::Disagree { by } => tracing::warn!(
            ?by,
            "the database's clock and this router's disagree: nothing old is folded or deleted until they agree"
        ),
        Held::Jumped { by } => tracing::warn!(
            ?by,
            "a clock has jumped: nothing old is folded or deleted for an hour"
        ),
    }
}

fn report(done: Done, result: Result<(), Error>) {
    let Done { days, rows } = done;
    if done != Done::default() {
        tracing::info!(
            days,
            rows,
            "what is old in the database: minutes of so many days folded, so many older rows deleted"
        );
    }
    if let Err(error) = result {
        tracing::warn!(%error, "not all that is old in the database was folded or deleted: in an hour again");
    }
}
