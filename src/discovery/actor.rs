//! The actor: has places looked at again and again, and tells the inventory what was found.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::dns::Dns;
use super::file::File;
use super::message::Message;
use super::state::{Place, State};
use crate::inventory::{Found, Inventory, Source};
use crate::mdns::{Ear, Mdns, Said};
use crate::supervision::{Actor, Context, Reply};

/// A name is looked up again when its answer holds no longer, and between these.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(3);
/// Behind these ports proxies tell servers apart by their names.
const PORTS_OF_PROXIES: [u16; 2] = [80, 443];

/// What every incarnation begins with.
#[derive(Clone)]
pub(super) struct Setup {
    /// Written by the actor. What was found outlives it.
    pub(super) state: Arc<ArcSwap<State>>,
    /// If there are names to look up.
    pub(super) dns: Option<Dns>,
    /// If the local network is listened to.
    pub(super) mdns: Option<Mdns>,
    pub(super) inventory: Inventory,
}

/// Its timers; there are as many places as the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Look up this name.
    Look(usize),
    /// Look up the hosts by which servers are named.
    Named,
    /// Tell the inventory once more.
    Tell,
}

pub(super) struct DiscoveryActor {
    setup: Setup,
    /// What the inventory has heard, and what it is being told.
    told: Option<Arc<[Found]>>,
    telling: Option<Arc<[Found]>>,
    /// Those who wait until everything has been looked at.
    waiting: Vec<Reply<()>>,
}

impl Actor for DiscoveryActor {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let state = setup.state.load_full();
        for (at, place) in state.places().enumerate() {
            match place {
                Place::File(path) => look(at, File::new(path), context),
                Place::Network(_) => listen(at, setup.mdns.as_ref(), context),
                Place::Host(..) | Place::Service(_) => context.arm(Timer::Look(at), Duration::ZERO),
            }
        }
        if setup.dns.is_some() {
            context.arm(Timer::Named, Duration::ZERO);
        }
        Self {
            setup,
            told: None,
            telling: None,
            waiting: Vec::new(),
        }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::LookedUp { at, answer } => {
                let ttl = answer.as_ref().map(|answer| answer.ttl).unwrap_or_default();
                context.arm(Timer::Look(at), ttl.clamp(SOONEST, LATEST));
                let now = context.now();
                self.change(|state| state.looked_up(at, answer, now));
            }
            Message::Named(found) => {
                context.arm(Timer::Named, LATEST);
                self.change(|state| state.set_named(found));
            }
            Message::Read { at, file, listed } => {
                look(at, file, context);
                if let Some(listed) = listed {
                    self.change(|state| state.was_read(at, listed));
                }
            }
            Message::Heard { at, ear, said } => {
                if let Some(ear) = ear {
                    hear(at, ear, context);
                }
                self.change(|state| state.heard(at, said));
            }
            Message::Told(is_heard) => {
                let told = self.telling.take();
                if !is_heard {
                    return context.arm(Timer::Tell, SOONEST);
                }
                self.told = told;
            }
            Message::Known(reply) => self.waiting.push(reply),
        }
        self.tell(context);
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        match timer {
            Timer::Look(at) => self.look_up(at, context),
            Timer::Named => self.look_up_named(context),
            Timer::Tell => self.tell(context),
        }
    }
}

impl DiscoveryActor {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = State::clone(&self.setup.state.load());
        change(&mut state);
        self.setup.state.store(Arc::new(state));
    }

    fn look_up(&self, at: usize, context: &Context<Self>) {
        let place = self.setup.state.load().places().nth(at).cloned();
        if let (Some(dns), Some(place)) = (self.setup.dns.clone(), place) {
            context.spawn(async move {
                let answer = dns.look_up(&place).await;
                Message::LookedUp { at, answer }
            });
        }
    }

    /// A server that is named by its host, and found by an address of that, is one server.
    fn look_up_named(&self, context: &Context<Self>) {
        let Some(dns) = self.setup.dns.clone() else {
            return;
        };
        let entries = self.setup.inventory.entries();
        let named = entries.iter().filter(|entry| entry.source != Source::Found);
        let hosts = named.filter_map(|entry| entry.endpoint.url.host_to_look_up());
        let hosts = hosts.filter(|(_, port)| !PORTS_OF_PROXIES.contains(port));
        let hosts: Vec<(String, u16)> = hosts.collect();
        context.spawn(async move { Message::Named(dns.hosts(hosts).await) });
    }

    /// One telling at a time, so that what is told last is heard last.
    fn tell(&mut self, context: &Context<Self>) {
        if self.telling.is_some() {
            return;
        }
        let state = self.setup.state.load();
        let found = state.found();
        if self.told.as_deref() == Some(&*found) {
            if state.is_known() {
                for reply in self.waiting.drain(..) {
                    // Whoever waited may have given up.
                    let _ = reply.send(());
                }
            }
            return;
        }
        let found: Arc<[Found]> = found.into();
        self.telling = Some(Arc::clone(&found));
        let inventory = self.setup.inventory.clone();
        context.spawn(async move { Message::Told(inventory.set_found(found).await.is_some()) });
    }
}

fn look(at: usize, mut file: File, context: &Context<DiscoveryActor>) {
    context.spawn(async move {
        let listed = file.look().await;
        Message::Read { at, file, listed }
    });
}

fn listen(at: usize, mdns: Option<&Mdns>, context: &Context<DiscoveryActor>) {
    match mdns.map(Mdns::listen) {
        Some(Ok(ear)) => hear(at, ear, context),
        Some(Err(error)) => context.cast(Message::Heard {
            at,
            ear: None,
            said: Said::Nothing(error.to_string()),
        }),
        None => {}
    }
}

fn hear(at: usize, ear: Ear, context: &Context<DiscoveryActor>) {
    context.spawn(async move {
        let said = ear.next().await;
        let is_over = matches!(said, Said::Nothing(_));
        let ear = (!is_over).then_some(ear);
        Message::Heard { at, ear, said }
    });
}
