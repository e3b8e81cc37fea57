//! The register's actor: reads what has changed, and keeps the view.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::message::{Message, Waiter};
use super::state::{Bases, Read, Round, State};
use super::{Dependencies, POLL, Published, Unreadable};
use crate::access::meter::Cell;
use crate::access::view::Change;
use crate::domain::format_usd;
use crate::store::{AccountChange, BudgetKey, Store};
use crate::supervision::{Actor, Context};

#[derive(Clone)]
pub(super) struct Setup {
    pub(super) dependencies: Arc<Dependencies>,
    pub(super) published: Arc<Published>,
}

pub(super) struct Register {
    setup: Setup,
    state: State,
    /// A read is running. Those who ask meanwhile wait for the next one: it may have begun before their
    /// change.
    reading: bool,
    waiting: Vec<Waiter>,
    served: Vec<Waiter>,
    again: bool,
    swept: Instant,
    round: Round,
}

impl Actor for Register {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let mut register = Self {
            state: State::new((**setup.published.configured.load()).clone()),
            setup,
            reading: false,
            waiting: Vec::new(),
            served: Vec::new(),
            again: false,
            swept: context.now(),
            round: Round::default(),
        };
        register.due((), context);
        register
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Refresh(waiter) => {
                self.waiting.extend(waiter);
                self.read_changes(context);
            }
            Message::ChangesRead(Ok(read)) => self.take(read, context),
            Message::ChangesRead(Err(error)) => {
                tracing::warn!(%error, "serving what was known");
                self.done(Err(error), context);
            }
            Message::Swept(Ok(bases)) => {
                self.sweep_done(bases);
                self.done(Ok(()), context);
            }
            Message::Swept(Err(error)) => {
                tracing::warn!(%error, "budgets go on with what was known to be spent");
                self.done(Err(error), context);
            }
            Message::Priced => {
                let configured = (**self.setup.published.configured.load()).clone();
                let prices = Arc::new(self.state.configure(configured));
                let mut view = (**self.setup.published.view.load()).clone();
                view.prices = prices;
                self.setup.published.view.store(Arc::new(view));
            }
        }
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        self.read_changes(context);
        context.arm((), POLL);
    }
}

impl Register {
    fn read_changes(&mut self, context: &Context<Self>) {
        if mem::replace(&mut self.reading, true) {
            self.again = true;
            return;
        }
        self.served.append(&mut self.waiting);
        let (store, version) = (self.setup.dependencies.store.clone(), self.state.version);
        let asked_ms = self.setup.dependencies.clock.local_ms();
        context.spawn(async move { Message::ChangesRead(read(&store, version, asked_ms).await) });
    }

    fn take(&mut self, read: Read, context: &Context<Self>) {
        let published = &self.setup.published;
        let asked_ms = read.asked_ms;
        let mut asked = Vec::new();
        let unix = self.setup.dependencies.clock.now().unix();
        if read.version != self.state.version || published.read_ms.load(Ordering::Acquire) < 0 {
            let (view, cells) = self.state.read(&published.view.load(), read);
            published.view.store(Arc::new(view));
            let unreadable = self.state.unreadable_prices();
            published
                .unreadable_prices
                .store(unreadable, Ordering::Relaxed);
            asked = State::question(cells.iter().cloned(), unix);
            self.setup.dependencies.sharing.changed(cells);
        }
        published.read_ms.store(asked_ms, Ordering::Release);
        if self.round.is_over() && context.now() - self.swept >= self.setup.dependencies.sweep {
            self.swept = context.now();
            let view = published.view.load();
            let cells = view.all().flat_map(|entry| &entry.cells).cloned();
            let slices = self.setup.dependencies.sweep.as_secs() / POLL.as_secs();
            self.round = Round::new(cells, usize::try_from(slices).unwrap_or(1));
        }
        asked.extend(State::question(self.round.next().into_iter(), unix));
        if asked.is_empty() {
            self.done(Ok(()), context);
        } else {
            self.sweep(asked, context);
        }
    }

    fn sweep(&self, asked: Vec<(Arc<Cell>, BudgetKey)>, context: &Context<Self>) {
        let dependencies = &self.setup.dependencies;
        let asked_ms = dependencies.clock.ledger_ms(dependencies.clock.now());
        let store = dependencies.store.clone();
        context.spawn(async move { Message::Swept(spent(&store, asked, asked_ms).await) });
    }

    fn sweep_done(&mut self, bases: Bases) {
        let view = self.setup.published.view.load();
        // What the database has now need not be counted here any more.
        let spent = bases.of.iter().map(|(cell, _)| cell);
        let spent: Vec<_> = spent.filter(|cell| cell.has_spent()).cloned().collect();
        let exceeded = self.state.swept(&view, bases);
        self.setup.dependencies.sharing.changed(spent);
        for (cell, amount) in exceeded {
            self.setup.published.soft.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                kind = %cell.owner().kind,
                id = %cell.owner().id,
                spent_usd = format_usd(amount),
                "budget is above its soft limit"
            );
        }
    }

    fn done(&mut self, outcome: Result<(), Unreadable>, context: &Context<Self>) {
        self.reading = false;
        for waiter in self.served.drain(..) {
            let _ = waiter.send(outcome.clone());
        }
        if mem::take(&mut self.again) {
            self.read_changes(context);
        }
    }
}

async fn read(store: &Store, version: i64, asked_ms: i64) -> Result<Read, Unreadable> {
    let changed = store.account_changes(version).await;
    let changed = changed.map_err(|error| Unreadable(error.to_string()))?;
    let change = |change: AccountChange| match change {
        AccountChange::Put(account) => Change::Put(account),
        AccountChange::Gone(kind, id) => Change::Gone(kind, id.into()),
    };
    Ok(Read {
        version: changed.version,
        changes: changed.accounts.into_iter().map(change).collect(),
        prices: changed.prices,
        asked_ms,
    })
}

async fn spent(
    store: &Store,
    of: Vec<(Arc<Cell>, BudgetKey)>,
    asked_ms: i64,
) -> Result<Bases, Unreadable> {
    let keys: Vec<_> = of.iter().map(|(_, key)| key.clone()).collect();
    let rows = store.spent_of(&keys).await;
    let rows = rows.map_err(|error| Unreadable(error.to_string()))?;
    let spent: HashMap<_, _> = rows.into_iter().collect();
    Ok(Bases {
        of,
        spent,
        asked_ms,
    })
}
