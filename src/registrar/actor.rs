//! The registrar's actor: reads the registrations, and keeps this router's own.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::readings::Readings;
use super::state::{Registered, Registrations};
use super::view::View;
use super::{Identity, RENEWAL};
use crate::store::{
    Error, InstanceKind, InstanceRow, Joined, Joining, MAX_ROUTERS, Renewed, Store,
};
use crate::supervision::{Actor, Context, Reply};

/// A reading that takes longer is one that failed.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How often those are looked for that nobody has heard of for long.
const COLLECT: Duration = Duration::from_secs(60);
/// How soon again, while there are more.
const COLLECT_MORE: Duration = Duration::from_secs(1);
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
    readings: Readings,
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
        let now = context.now();
        let rows = Arc::clone(&setup.view.load().rows);
        let mut actor = Self {
            setup,
            state: Registrations::new(rows, now),
            readings: Readings::new(now),
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
            Message::Changed => {
                if let Some(pause) = self.readings.wanted(context.now()) {
                    context.arm(Timer::Read, pause);
                }
            }
            Message::Failed => self.state.failed(context.now()),
            Message::Read { number, rows } => {
                if let Some((began, pause)) = self.readings.ended(number, context.now()) {
                    context.arm(Timer::Read, pause);
                    self.take(rows, began, context);
                }
            }
            Message::Entered(entered) => {
                self.is_renewing = false;
                match entered {
                    Ok(Joined::As(incarnation)) => self.incarnation = Some(incarnation),
                    Ok(Joined::Full) => {
                        tracing::error!(
                            "this router cannot be registered: {MAX_ROUTERS} routers share the database, and that is the most"
                        );
                    }
                    Ok(Joined::Taken(_) | Joined::Held(_)) => {
                        tracing::error!("another router is registered with this one's data folder");
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
            Message::Collected(Ok(1..)) => context.arm(Timer::Collect, COLLECT_MORE),
            Message::Collected(_) => {}
            Message::Leave(reply) => self.leave(reply, context),
            Message::Left(reply) => {
                let _ = reply.send(());
            }
        }
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        match timer {
            Timer::Read => self.read(context),
            Timer::Renew => {
                self.renew(context);
                // So that routers that started together do not go on together.
                let pause = RENEWAL.mul_f64(0.8 + 0.4 * context.random());
                context.arm(Timer::Renew, pause);
            }
            Timer::Collect => {
                context.arm(Timer::Collect, COLLECT);
                // Who could not renew for an hour is about to.
                if !self.state.is_in_grace(context.now()) {
                    let store = self.setup.store.clone();
                    context
                        .spawn_detached(async move { Message::Collected(collect(&store).await) });
                }
            }
        }
    }
}

impl RegistrarActor {
    fn read(&mut self, context: &Context<Self>) {
        let Some(number) = self.readings.begin(context.now()) else {
            return;
        };
        let store = self.setup.store.clone();
        context.spawn(async move {
            let silent = || Error::Unavailable("no answer in time".to_owned());
            let rows = timeout(READ_LIMIT, store.instances()).await;
            let rows = rows.unwrap_or_else(|_| Err(silent()));
            Message::Read { number, rows }
        });
    }

    fn take(
        &mut self,
        rows: Result<Vec<InstanceRow>, Error>,
        began: Instant,
        context: &Context<Self>,
    ) {
        let now = context.now();
        let mut view = View::clone(&self.setup.view.load());
        match rows {
            Ok(rows) => {
                if view.away.take().is_some() {
                    tracing::info!("registrations can be read again");
                }
                view.rows = rows.into();
                view.read_at = Some(now);
                self.state.read(Arc::clone(&view.rows), began, now);
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
