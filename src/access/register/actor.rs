//! The shell around the register's state.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::message::{Message, Waiter};
use super::state::{Bases, Read, Round, State};
use super::{Board, POLL, Plan, Unreadable};
use crate::access::meter::Cell;
use crate::access::view::Change;
use crate::domain::format_usd;
use crate::store::{AccountChange, BudgetKey, Store};
use crate::supervision::{Slot, guardian};

#[derive(Clone)]
pub(super) struct Setup {
    plan: Arc<Plan>,
    board: Arc<Board>,
    mailbox: Slot<Message>,
}

impl Setup {
    pub(super) fn new(plan: Plan, board: Arc<Board>, mailbox: Slot<Message>) -> Self {
        Self {
            plan: Arc::new(plan),
            board,
            mailbox,
        }
    }

    pub(super) fn into_child(self) -> guardian::Child {
        guardian::Child::of("register of accounts", || RegisterActor, self)
    }
}

pub(super) struct RegisterActor;

pub(super) struct Shell {
    setup: Setup,
    state: State,
    /// A look is out; these wait for the next one, since theirs may have come too late for it.
    looking: bool,
    waiting: Vec<Waiter>,
    served: Vec<Waiter>,
    again: bool,
    swept: Instant,
    round: Round,
}

impl Actor for RegisterActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        setup.mailbox.occupy(myself.clone());
        let _ = myself.cast(Message::Tick);
        Ok(Shell {
            state: State::new((**setup.board.configured.load()).clone()),
            setup,
            looking: false,
            waiting: Vec::new(),
            served: Vec::new(),
            again: false,
            swept: Instant::now(),
            round: Round::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Refresh(waiter) => {
                shell.waiting.extend(waiter);
                shell.look(&myself);
            }
            Message::Looked(Ok(read)) => shell.take(read, &myself),
            Message::Looked(Err(error)) => {
                tracing::warn!(%error, "serving what was known");
                shell.done(Err(error), &myself);
            }
            Message::Swept(Ok(bases)) => {
                shell.sweep_done(bases);
                shell.done(Ok(()), &myself);
            }
            Message::Swept(Err(error)) => {
                tracing::warn!(%error, "budgets go on with what was known to be spent");
                shell.done(Err(error), &myself);
            }
            Message::Priced => {
                let configured = (**shell.setup.board.configured.load()).clone();
                let prices = Arc::new(shell.state.configure(configured));
                let mut view = (**shell.setup.board.view.load()).clone();
                view.prices = prices;
                shell.setup.board.view.store(Arc::new(view));
            }
            Message::Tick => {
                shell.look(&myself);
                drop(myself.send_after(POLL, || Message::Tick));
            }
        }
        Ok(())
    }
}

impl Shell {
    fn look(&mut self, myself: &ActorRef<Message>) {
        if mem::replace(&mut self.looking, true) {
            self.again = true;
            return;
        }
        self.served.append(&mut self.waiting);
        let (store, version) = (self.setup.plan.store.clone(), self.state.version);
        let (asked_ms, myself) = (self.setup.plan.clock.local_ms(), myself.clone());
        self.setup.plan.tracker.spawn(async move {
            let read = read(&store, version, asked_ms).await;
            let _ = myself.cast(Message::Looked(read));
        });
    }

    fn take(&mut self, read: Read, myself: &ActorRef<Message>) {
        let board = &self.setup.board;
        let asked_ms = read.asked_ms;
        let mut asked = Vec::new();
        let unix = self.setup.plan.clock.now().unix();
        if read.version != self.state.version || board.read_ms.load(Ordering::Acquire) < 0 {
            let (view, cells) = self.state.read(&board.view.load(), read);
            board.view.store(Arc::new(view));
            let unreadable = self.state.unreadable_prices();
            board.unreadable_prices.store(unreadable, Ordering::Relaxed);
            asked = State::question(cells.iter().cloned(), unix);
            self.setup.plan.sharing.changed(cells);
        }
        board.read_ms.store(asked_ms, Ordering::Release);
        if self.round.is_over() && self.swept.elapsed() >= self.setup.plan.sweep {
            self.swept = Instant::now();
            let view = board.view.load();
            let cells = view.all().flat_map(|entry| &entry.cells).cloned();
            let looks = self.setup.plan.sweep.as_secs() / POLL.as_secs();
            self.round = Round::new(cells, usize::try_from(looks).unwrap_or(1));
        }
        asked.extend(State::question(self.round.next().into_iter(), unix));
        if asked.is_empty() {
            self.done(Ok(()), myself);
        } else {
            self.sweep(asked, myself);
        }
    }

    fn sweep(&self, asked: Vec<(Arc<Cell>, BudgetKey)>, myself: &ActorRef<Message>) {
        let plan = &self.setup.plan;
        let asked_ms = plan.clock.ledger_ms(plan.clock.now());
        let store = plan.store.clone();
        let myself = myself.clone();
        plan.tracker.spawn(async move {
            let swept = spent(&store, asked, asked_ms).await;
            let _ = myself.cast(Message::Swept(swept));
        });
    }

    fn sweep_done(&mut self, bases: Bases) {
        let view = self.setup.board.view.load();
        // What the database has now need not be counted here any more.
        let spent = bases.of.iter().map(|(cell, _)| cell);
        let spent: Vec<_> = spent.filter(|cell| cell.has_spent()).cloned().collect();
        let loud = self.state.swept(&view, bases);
        self.setup.plan.sharing.changed(spent);
        for (cell, amount) in loud {
            self.setup.board.soft.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                kind = %cell.owner().kind,
                id = %cell.owner().id,
                spent_usd = format_usd(amount),
                "budget is above its soft limit"
            );
        }
    }

    fn done(&mut self, outcome: Result<(), Unreadable>, myself: &ActorRef<Message>) {
        self.looking = false;
        for waiter in self.served.drain(..) {
            let _ = waiter.send(outcome.clone());
        }
        if mem::take(&mut self.again) {
            self.look(myself);
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
