//! The inventory's actor: the one that applies to the fleet what is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::message::{Message, Stored};
use super::state::Wanted;
use super::{hold, names, row, say_ended};
use crate::clock;
use crate::fleet::{Applied, Drain, Fleet};
use crate::registrar::Registered;
use crate::store::{DrainChange, Error, Store};
use crate::supervision::{Actor, Context, Reply};

/// How often the database is asked what others have added: it is to be everywhere within a second.
const POLL: Duration = Duration::from_millis(900);
/// How often hosts are looked up that have been.
const LOOK_UP: Duration = Duration::from_secs(10);

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
    rows: Option<Stored>,
    /// The reading that counts: one that began before a change does not.
    reading: Option<u64>,
    readings: u64,
    /// The database could not be read.
    away: bool,
    /// Drains are being stored that could not be before.
    is_keeping: bool,
    /// Hosts are being looked up, and when they were.
    is_looking_up: bool,
    looked_up: Option<Instant>,
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
            is_keeping: false,
            is_looking_up: false,
            looked_up: None,
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
                ends_holds,
                reply,
            } => {
                let mut ended = Vec::new();
                self.change(|wanted| {
                    if ends_holds {
                        ended = wanted.end_holds();
                    }
                    wanted.configure(configured, slots);
                });
                say_ended(&ended);
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
                    self.take(rows, context);
                    self.waiting.append(&mut self.refreshing);
                    self.apply(context);
                }
            }
            Message::Registered(registered) => {
                self.register(registered, context);
                self.apply(context);
            }
            Message::Kept(kept) => {
                self.is_keeping = false;
                // What was changed meanwhile is not stored yet.
                let as_kept = |name: &String, drain: &Drain| kept.get(name) == Some(drain);
                let mut wanted = Wanted::clone(&self.setup.wanted.load());
                wanted
                    .unkept
                    .retain(|name, (_, drain)| !as_kept(name, drain));
                self.setup.wanted.store(Arc::new(wanted));
            }
            Message::LookedUp(found) => {
                self.is_looking_up = false;
                self.looked_up = Some(context.now());
                let wanted = self.setup.wanted.load_full();
                let names = wanted.names.after(found);
                if *wanted.names != names {
                    self.change(|wanted| wanted.look_up(names));
                }
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
        self.look_up(context);
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
            let rows = async {
                Ok(Stored {
                    endpoints: store.endpoints().await?,
                    drains: store.drains().await?,
                })
            };
            let rows = rows.await;
            Message::Read { number, rows }
        });
    }

    fn take(&mut self, rows: Result<Stored, Error>, context: &Context<Self>) {
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
        let mut wanted = Wanted::clone(&self.setup.wanted.load());
        if self.rows.as_ref() == Some(&rows) && wanted.unkept.is_empty() {
            return;
        }
        let before = (wanted.added, wanted.held);
        wanted.added = row::read(&rows.endpoints);
        wanted.held = before.1.clone();
        let changes = wanted.stored(hold::all(&rows.drains));
        self.rows = Some(rows);
        if before != (wanted.added.clone(), wanted.held.clone()) {
            self.change(|now| *now = wanted);
        }
        self.keep(changes, context);
    }

    /// Stores what operators drained or resumed while the database was away.
    fn keep(&mut self, changes: Vec<DrainChange>, context: &Context<Self>) {
        let Some(store) = self.setup.store.clone() else {
            return;
        };
        if changes.is_empty() || std::mem::replace(&mut self.is_keeping, true) {
            return;
        }
        let unkept = self.setup.wanted.load().unkept.clone();
        context.spawn_detached(async move {
            let mut kept = BTreeMap::new();
            for change in changes {
                let done = store.change_drains(&change, clock::unix_seconds()).await;
                if let (Ok(true), Some((_, drain))) = (done, unkept.get(&change.name)) {
                    kept.insert(change.name, drain.clone());
                }
            }
            Message::Kept(kept)
        });
    }

    /// Where the hosts lead by which servers are named, when one of them is new, and now and then.
    fn look_up(&mut self, context: &Context<Self>) {
        if self.is_looking_up {
            return;
        }
        let wanted = self.setup.wanted.load();
        let hosts = wanted.hosts();
        let is_new = hosts.iter().any(|host| !wanted.names.has(host));
        let now = context.now();
        let is_fresh = self.looked_up.is_some_and(|at| now < at + LOOK_UP);
        if hosts.is_empty() || (is_fresh && !is_new) {
            return;
        }
        self.is_looking_up = true;
        context.spawn(async move { Message::LookedUp(names::look_up(hosts).await) });
    }

    /// One application at a time, so that the last list is the last that is applied.
    fn apply(&mut self, context: &Context<Self>) {
        self.look_up(context);
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
