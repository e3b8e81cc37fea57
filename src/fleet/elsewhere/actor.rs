//! The actor around [`State`], which passes news of a server on to that server's actor.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::message::Message;
use super::state::State;
use crate::cluster::bus::{Bus, Event, Heard, Listener};
use crate::fleet::endpoint::Endpoint;
use crate::fleet::view::FleetView;
use crate::supervision::{Actor, Context};

/// How often it is told what runs here, when that changes.
const TELL: Duration = Duration::from_millis(250);

/// What every incarnation begins with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) bus: Bus,
    pub(super) view: Arc<ArcSwap<FleetView>>,
}

pub(super) struct Elsewhere {
    setup: Setup,
    state: State,
    /// By what all routers call them; as of the last look, at so many.
    servers: HashMap<Box<str>, Weak<Endpoint>>,
    looked_at: usize,
}

impl Actor for Elsewhere {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        // What a predecessor has heard is told again.
        for server in &setup.view.load().servers {
            for pool in server.endpoint.pools() {
                server.endpoint.set_elsewhere(&pool, 0);
            }
        }
        if let Some(listener) = setup.bus.listener() {
            listen(listener, context);
        }
        let mut actor = Self {
            state: State::new(context.now()),
            setup,
            servers: HashMap::new(),
            looked_at: 0,
        };
        actor.due((), context);
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Heard(Some((heard, listener))) => {
                if let Heard::Event { from, event } = heard {
                    self.heard(&from, event, context);
                }
                listen(listener, context);
            }
            // The program ends.
            Message::Heard(None) => {}
        }
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let now = context.now();
        let view = self.setup.view.load_full();
        let mut running = BTreeMap::new();
        self.know(&view);
        for server in &view.servers {
            let endpoint = &server.endpoint;
            if endpoint.total_in_flight() == 0 {
                continue;
            }
            for pool in endpoint.pools() {
                if pool.in_flight() > 0 {
                    running.insert(Arc::clone(pool.share().key()), pool.in_flight());
                }
            }
        }
        if let Some(pools) = self.state.tell(&running, now) {
            self.setup.bus.tell(|| Event::Running { pools });
        }
        for (pool, count) in self.state.pass(now) {
            self.show(&pool, count);
        }
        // A server that is new here may have requests of others already.
        for (pool, count) in self.state.totals() {
            self.show(pool, count);
        }
        context.arm((), TELL);
    }
}

impl Elsewhere {
    fn know(&mut self, view: &FleetView) {
        self.looked_at = view.servers.len();
        self.servers.clear();
        for server in &view.servers {
            // Of two the one that is wanted comes first, before one that drains.
            let known = self.servers.entry(server.endpoint.identity().into());
            known.or_insert_with(|| Arc::downgrade(&server.endpoint));
        }
    }

    fn heard(&mut self, from: &Arc<str>, event: Event, context: &Context<Self>) {
        let server = match &event {
            Event::Running { .. } | Event::Changed | Event::Unknown => None,
            Event::Down { server }
            | Event::Probed { server, .. }
            | Event::Loads { server, .. }
            | Event::Loaded { server, .. } => Some(server),
        };
        if let Some(server) = server {
            let view = self.setup.view.load();
            if self.looked_at != view.servers.len() {
                self.know(&view);
            }
            if let Some(endpoint) = self.servers.get(&**server).and_then(Weak::upgrade) {
                endpoint.heard(event);
            }
        } else if let Event::Running { pools } = event {
            for (pool, count) in self.state.heard(from, pools, context.now()) {
                self.show(&pool, count);
            }
        }
    }

    fn show(&self, pool: &str, count: u32) {
        let server = pool.split_once(' ').map(|(_, server)| server);
        let endpoint = server.and_then(|server| self.servers.get(server));
        if let Some(endpoint) = endpoint.and_then(Weak::upgrade)
            && let Some(pool) = endpoint.pool_of(pool)
        {
            endpoint.set_elsewhere(&pool, count);
        }
    }
}

fn listen(mut listener: Listener, context: &Context<Elsewhere>) {
    context.spawn(async move {
        let heard = listener.next().await;
        Message::Heard(heard.map(|heard| (heard, listener)))
    });
}
