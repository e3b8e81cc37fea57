//! The inventory's actor: the one that applies to the fleet what is wanted.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::message::Message;
use super::row;
use super::state::Wanted;
use crate::fleet::{Applied, Fleet};
use crate::registrar::Registered;
use crate::store::{EndpointRow, Error, Store};
use crate::supervision::{Actor, Context, Reply};

/// How often the database is asked what others have added: it is to be everywhere within a second.
const POLL: Duration = Duration::from_millis(900);

/// What every incarnation begins with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) wanted: Arc<ArcSwap<Wanted>>,
    pub(super) store: Option<Store>,
    pub(super) fleet: Fleet,
    pub(super) registered: Option<watch::Receiver<Arc<[Registered]>>>,
}

pub(super) struct InventoryActor {
    setup: Setup,
    /// What was read last.
    rows: Option<Vec<EndpointRow>>,
    /// The reading that counts: one that began before a change does not.
    reading: Option<u64>,
    readings: u64,
    /// The database could not be read.
    away: bool,
    /// Those who wait for what is read.
    refreshing: Vec<Reply<Applied>>,
    /// The list differs from what was last applied, or is being applied.
    is_changed: bool,
    is_applying: bool,
    /// Those who wait for the list as it is being applied, and those for the next one.
    applying: Vec<Reply<Applied>>,
    waiting: Vec<Reply<Applied>>,
}

impl Actor for InventoryActor {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let mut actor = Self {
            setup,
            rows: None,
            reading: None,
            readings: 0,
            away: false,
            refreshing: Vec::new(),
            is_changed: true,
            is_applying: false,
            applying: Vec::new(),
            waiting: Vec::new(),
        };
        if let Some(registered) = actor.setup.registered.clone() {
            actor.register(registered, context);
        }
        actor.apply(context);
        actor.due((), context);
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Configure {
                configured,
                slots,
                reply,
            } => {
                self.change(|wanted| wanted.configure(configured, slots));
                self.waiting.push(reply);
                self.apply(context);
            }
            Message::Found { found, reply } => {
                if self.setup.wanted.load().found != found {
                    self.change(|wanted| wanted.found = found);
                }
                self.waiting.push(reply);
                self.apply(context);
            }
            Message::Do { step, reply } => {
                self.change(|wanted| wanted.make(step));
                // What is being read may be older.
                self.rows = None;
                if self.reading.take().is_some() {
                    self.read(context);
                }
                self.waiting.push(reply);
                self.apply(context);
            }
            Message::Refresh(reply) => {
                if self.setup.store.is_none() {
                    self.waiting.push(reply);
                    self.is_changed = true;
                    return self.apply(context);
                }
                self.refreshing.push(reply);
                // One that began before may not show what is asked for.
                self.read(context);
            }
            Message::Read { number, rows } => {
                if self.reading == Some(number) {
                    self.reading = None;
                    self.take(rows);
                    self.waiting.append(&mut self.refreshing);
                    self.apply(context);
                }
            }
            Message::Registered(registered) => {
                self.register(registered, context);
                self.apply(context);
            }
            Message::Applied(applied) => {
                self.is_applying = false;
                if applied != Applied::default() {
                    let Applied {
                        added,
                        changed,
                        removed,
                    } = &applied;
                    tracing::info!(?added, ?changed, ?removed, "endpoints applied");
                }
                for reply in self.applying.drain(..) {
                    drop(reply.send(applied.clone()));
                }
                self.apply(context);
            }
            Message::Listening(address) => {
                // What is the router itself is known now; mostly nothing is.
                let (before, is_changed) = (self.setup.wanted.load().entries(), self.is_changed);
                self.change(|wanted| wanted.listen = address);
                self.is_changed = is_changed || self.setup.wanted.load().entries() != before;
                self.apply(context);
            }
        }
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        if self.reading.is_none() {
            self.read(context);
        }
        context.arm((), POLL);
    }
}

impl InventoryActor {
    fn change(&mut self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = Wanted::clone(&self.setup.wanted.load());
        change(&mut wanted);
        self.setup.wanted.store(Arc::new(wanted));
        self.is_changed = true;
    }

    /// Takes who has registered, and watches for others.
    fn register(
        &mut self,
        mut registered: watch::Receiver<Arc<[Registered]>>,
        context: &Context<Self>,
    ) {
        let servers = registered.borrow_and_update().clone();
        self.change(|wanted| wanted.register(&servers));
        context.spawn(async move {
            if registered.changed().await.is_err() {
                // Whoever would say so has ended, and the program is about to.
                std::future::pending::<()>().await;
            }
            Message::Registered(registered)
        });
    }

    fn read(&mut self, context: &Context<Self>) {
        let Some(store) = self.setup.store.clone() else {
            return;
        };
        let number = self.readings;
        self.readings += 1;
        self.reading = Some(number);
        context.spawn(async move {
            let rows = store.endpoints().await;
            Message::Read { number, rows }
        });
    }

    fn take(&mut self, rows: Result<Vec<EndpointRow>, Error>) {
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(%error, "servers that were added cannot be read; those known before serve");
                }
                return;
            }
        };
        if std::mem::take(&mut self.away) {
            tracing::info!("servers that were added can be read again");
        }
        if self.rows.as_ref() == Some(&rows) {
            return;
        }
        let added = row::read(&rows);
        self.rows = Some(rows);
        if self.setup.wanted.load().added != added {
            self.change(|wanted| wanted.added = added);
        }
    }

    /// One application at a time, so that the last list is the last that is applied.
    fn apply(&mut self, context: &Context<Self>) {
        if self.is_applying || (!self.is_changed && self.waiting.is_empty()) {
            return;
        }
        self.is_applying = true;
        self.is_changed = false;
        self.applying.append(&mut self.waiting);
        let desired = self.setup.wanted.load().desired();
        let fleet = self.setup.fleet.clone();
        context.spawn(async move { Message::Applied(fleet.apply(&desired).await) });
    }
}
