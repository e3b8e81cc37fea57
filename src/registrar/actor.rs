//! The registrar's actor: reads the registrations, and keeps this router's own.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::timeout;

use super::message::Message;
use super::state::{Registered, Registrations};
use super::view::View;
use super::{Identity, RENEWAL};
use crate::store::{Error, InstanceKind, InstanceRow, Joined, Joining, Renewed, Store};
use crate::supervision::{Actor, Context, Reply};

/// How often the registrations are read.
const READ: Duration = Duration::from_secs(1);
/// A reading that takes longer is one that failed.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How often those are looked for that nobody has heard of for long.
const COLLECT: Duration = Duration::from_secs(60);
/// An agent or a worker is shown as gone for so long; a router is not.
const REMEMBERED_MS: i64 = 60 * 60 * 1_000;

/// What every incarnation begins with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) identity: Identity,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) servers: Arc<watch::Sender<Arc<[Registered]>>>,
    pub(super) store: Store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Timer {
    Read,
    Renew,
    Collect,
}

pub(super) struct RegistrarActor {
    setup: Setup,
    state: Registrations,
    /// The reading that counts: one that began before a change does not.
    reading: Option<u64>,
    readings: u64,
    /// This router's registration, once it has one.
    incarnation: Option<i64>,
    is_renewing: bool,
    is_leaving: bool,
}

impl Actor for RegistrarActor {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let mut state = Registrations::new(context.now());
        state.read(setup.view.load().rows.clone());
        let mut actor = Self {
            setup,
            state,
            reading: None,
            readings: 0,
            incarnation: None,
            is_renewing: false,
            is_leaving: false,
        };
        actor.due(Timer::Read, context);
        actor.due(Timer::Renew, context);
        context.arm(Timer::Collect, COLLECT.mul_f64(context.random()));
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Changed { done: true } => self.read(context),
            Message::Changed { done: false } => self.state.failed(context.now()),
            Message::Read { number, rows } if self.reading == Some(number) => {
                self.reading = None;
                self.take(rows, context);
            }
            Message::Read { .. } => {}
            Message::Entered(entered) => {
                self.is_renewing = false;
                match entered {
                    Ok(Joined::As(incarnation)) => self.incarnation = Some(incarnation),
                    Ok(Joined::Taken(_) | Joined::Full) => {
                        tracing::error!("this router cannot be registered: the list is full");
                    }
                    Err(_) => self.state.failed(context.now()),
                }
            }
            Message::Renewed(renewed) => {
                self.is_renewing = false;
                match renewed {
                    Ok(Renewed::Yes) => {}
                    Ok(Renewed::Unknown) => self.incarnation = None,
                    Ok(Renewed::Over) => {
                        let folder = &self.setup.identity.folder;
                        tracing::error!(
                            folder,
                            "another router has registered with a copy of this one's data folder"
                        );
                    }
                    Err(_) => self.state.failed(context.now()),
                }
            }
            // There may be more.
            Message::Collected(Ok(1..)) => context.arm(Timer::Collect, READ),
            Message::Collected(_) => {}
            Message::Leave(reply) => self.leave(reply, context),
            Message::Left(reply) => {
                let _ = reply.send(());
            }
        }
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        match timer {
            Timer::Read => {
                if self.reading.is_none() {
                    self.read(context);
                }
                context.arm(Timer::Read, READ);
            }
            Timer::Renew => {
                self.renew(context);
                // So that routers that started together do not go on together.
                let pause = RENEWAL.mul_f64(0.8 + 0.4 * context.random());
                context.arm(Timer::Renew, pause);
            }
            Timer::Collect => {
                let store = self.setup.store.clone();
                context.spawn_detached(async move { Message::Collected(collect(&store).await) });
                context.arm(Timer::Collect, COLLECT);
            }
        }
    }
}

impl RegistrarActor {
    fn read(&mut self, context: &Context<Self>) {
        let number = self.readings;
        self.readings += 1;
        self.reading = Some(number);
        let store = self.setup.store.clone();
        context.spawn(async move {
            let silent = || Error::Unavailable("no answer in time".to_owned());
            let rows = timeout(READ_LIMIT, store.instances()).await;
            let rows = rows.unwrap_or_else(|_| Err(silent()));
            Message::Read { number, rows }
        });
    }

    fn take(&mut self, rows: Result<Vec<InstanceRow>, Error>, context: &Context<Self>) {
        let now = context.now();
        let mut view = View::clone(&self.setup.view.load());
        match rows {
            Ok(rows) => {
                if view.away.take().is_some() {
                    tracing::info!("registrations can be read again");
                }
                view.rows.clone_from(&rows);
                view.read_at = Some(now);
                self.state.read(rows);
                if let Some(other) = self.state.new_conflict(&self.setup.identity) {
                    tracing::error!(
                        other,
                        "another router uses this database, and the two account apart: give both the same [redis]"
                    );
                }
            }
            Err(error) => {
                self.state.failed(now);
                if view.away.is_none() {
                    tracing::warn!(%error, "registrations cannot be read; those known before count");
                }
                view.away = Some(error.to_string());
            }
        }
        self.setup.view.store(Arc::new(view));
        let servers = self.state.servers(now);
        self.setup.servers.send_if_modified(|known| {
            let differ = **known != *servers;
            if differ {
                *known = servers.into();
            }
            differ
        });
    }

    fn renew(&mut self, context: &Context<Self>) {
        if self.is_leaving {
            return;
        }
        if self.is_renewing {
            // The database is slow to write, and others wait for it as well.
            return self.state.failed(context.now());
        }
        self.is_renewing = true;
        let (store, joining) = (self.setup.store.clone(), self.setup.identity.joining());
        match self.incarnation {
            None => context.spawn_detached(async move {
                Message::Entered(store.join_instance(&joining).await)
            }),
            Some(incarnation) => context.spawn_detached(async move {
                Message::Renewed(store.renew_instance(&joining, incarnation).await)
            }),
        }
    }

    fn leave(&mut self, reply: Reply<()>, context: &Context<Self>) {
        self.is_leaving = true;
        let Some(incarnation) = self.incarnation else {
            let _ = reply.send(());
            return;
        };
        let store = self.setup.store.clone();
        let end = Joining {
            lease_ms: 0,
            ..self.setup.identity.joining()
        };
        context.spawn_detached(async move {
            drop(store.renew_instance(&end, incarnation).await);
            Message::Left(reply)
        });
    }
}

/// One step for each kind.
async fn collect(store: &Store) -> Result<usize, Error> {
    let mut collected = store.collect_instances(InstanceKind::Router, 0).await?;
    for kind in [InstanceKind::Agent, InstanceKind::Worker] {
        collected += store.collect_instances(kind, REMEMBERED_MS).await?;
    }
    Ok(collected)
}
