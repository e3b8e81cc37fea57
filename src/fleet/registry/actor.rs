//! The registry's actor: writes the view, and adds and removes the actors of servers and queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Handle;
use super::message::Message;
use super::state::State;
use crate::cluster::bus::Bus;
use crate::domain::ModelName;
use crate::fleet::RESTARTS;
use crate::fleet::desired::{Applied, Desired, EndpointId};
use crate::fleet::endpoint::{self, EndpointActor, Intervals, Locks};
use crate::fleet::first_bytes::FirstBytes;
use crate::fleet::queue::{Queue, QueueActor, Queues};
use crate::fleet::shares;
use crate::fleet::view::FleetView;
use crate::supervision::{Actor, Child, ChildGuard, Context, Supervisor};
use crate::upstream::Client;

/// What every incarnation of the registry begins with.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Setup {
    pub(in crate::fleet) view: Arc<ArcSwap<FleetView>>,
    pub(in crate::fleet) version: watch::Sender<u64>,
    pub(in crate::fleet) removals: watch::Sender<u64>,
    pub(in crate::fleet) intervals: Intervals,
    pub(in crate::fleet) stale_after: Duration,
    pub(in crate::fleet) hidden: Option<Arc<str>>,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) queues: Arc<Queues>,
    pub(in crate::fleet) handle: Handle,
    /// How long loads take, over all servers.
    pub(in crate::fleet) loads: Arc<FirstBytes>,
    /// What slots of them this router may use.
    pub(in crate::fleet) shares: shares::Handle,
    pub(in crate::fleet) bus: Bus,
    pub(in crate::fleet) locks: Option<Locks>,
}

/// Its one timer: the models of a server that is down may have to disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fleet) struct Expiry;

pub(in crate::fleet) struct Registry {
    setup: Setup,
    state: State,
    supervisor: Supervisor,
    /// The actors of the servers, by generation; one that is dropped is stopped.
    endpoints: HashMap<u64, ChildGuard>,
    queues: HashMap<ModelName, ChildGuard>,
    /// A view is due, behind the reports that are queued already.
    publishing: bool,
}

impl Actor for Registry {
    type Message = Message;
    type Timer = Expiry;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let view = setup.view.load_full();
        let mut registry = Self {
            state: State::new(&view, setup.stale_after, setup.shares.clone()),
            supervisor: Supervisor::new(RESTARTS, context.tracker().clone()),
            endpoints: HashMap::new(),
            queues: HashMap::new(),
            publishing: false,
            setup,
        };
        for id in registry.state.ids() {
            registry.add_endpoint(&id);
        }
        for queue in registry.setup.queues.all() {
            registry.add_queue(&queue);
        }
        registry.publish(context);
        registry
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Reported { id, report } => {
                self.state.reported(&id, *report);
                // One view for all reports that are queued already.
                if !std::mem::replace(&mut self.publishing, true) {
                    context.cast(Message::Publish);
                }
            }
            Message::Apply { desired, reply } => {
                let applied = self.apply(&desired, context);
                // The caller may be gone; it is done all the same.
                drop(reply.send(applied));
            }
            Message::Name { aliases, reply } => {
                self.state.name(aliases);
                self.publish(context);
                let _ = reply.send(());
            }
            Message::Found {
                model,
                spelling,
                reply,
            } => {
                self.state.found(model, spelling);
                self.publish(context);
                let _ = reply.send(());
            }
            Message::Drained(id) => self.drained(&id, context),
            Message::Publish => self.publish(context),
            Message::Settle(reply) => {
                if self.publishing {
                    self.publish(context);
                }
                let _ = reply.send(());
            }
            Message::OpenQueue { model, reply } => drop(reply.send(self.open_queue(&model))),
        }
    }

    fn due(&mut self, Expiry: Expiry, context: &mut Context<Self>) {
        self.publish(context);
    }
}

impl Registry {
    fn apply(&mut self, desired: &Desired, context: &mut Context<Self>) -> Applied {
        let now = context.now();
        let changes = self.state.apply(desired, &self.setup.client, now);
        for id in &changes.started {
            self.add_endpoint(id);
        }
        self.publish(context);
        changes.applied
    }

    /// It may have been wanted again, and used, since it said so.
    fn drained(&mut self, id: &EndpointId, context: &mut Context<Self>) {
        if !self.state.remove_drained(id) {
            return;
        }
        tracing::info!(endpoint = %id, "endpoint removed");
        self.endpoints.remove(&id.generation);
        self.publish(context);
        self.setup.removals.send_modify(|removals| *removals += 1);
    }

    fn publish(&mut self, context: &mut Context<Self>) {
        self.publishing = false;
        let now = context.now();
        let next = self.state.expire(now);
        self.setup.view.store(Arc::new(self.state.view()));
        if self.state.take_dropped() {
            self.close_queues();
        }
        self.setup.version.send_modify(|version| *version += 1);
        // A server that came back, or a load that ended, may have free slots.
        self.setup.queues.freed();
        match next {
            Some(at) => context.arm(Expiry, at.saturating_duration_since(now)),
            None => context.disarm(Expiry),
        }
    }

    fn add_endpoint(&mut self, id: &EndpointId) {
        let Some(server) = self.state.server(id) else {
            return;
        };
        let setup = endpoint::Setup {
            endpoint: Arc::clone(&server.endpoint),
            intervals: self.setup.intervals,
            hidden: self.setup.hidden.clone(),
            client: self.setup.client.clone(),
            registry: self.setup.handle.clone(),
            queues: Arc::clone(&self.setup.queues),
            loads: Arc::clone(&self.setup.loads),
            bus: self.setup.bus.clone(),
            locks: self.setup.locks.clone(),
        };
        let name = format!("fleet/endpoint {id}");
        let child = Child::new::<EndpointActor>(name, server.endpoint.mailbox(), setup);
        let guard = self.supervisor.add(child);
        self.endpoints.insert(id.generation, guard);
    }

    fn open_queue(&mut self, model: &ModelName) -> Arc<Queue> {
        let queue = self.setup.queues.open(model);
        if !self.queues.contains_key(model) {
            self.add_queue(&queue);
        }
        queue
    }

    fn add_queue(&mut self, queue: &Arc<Queue>) {
        let model = queue.model();
        let name = format!("fleet/queue {model}");
        let child = Child::new::<QueueActor>(name, queue.mailbox(), Arc::clone(queue));
        self.queues
            .insert(model.clone(), self.supervisor.add(child));
    }

    /// A model that no server has any more needs no queue.
    fn close_queues(&mut self) {
        for queue in self.setup.queues.all() {
            if !self.state.knows(queue.model()) && self.setup.queues.close(&queue) {
                self.queues.remove(queue.model());
            }
        }
    }
}
