//! The shell around the registry's state: the view's writer, the children's keeper.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::Handle;
use super::message::{Child, Message};
use super::state::State;
use crate::fleet::RESTARTS;
use crate::fleet::endpoint::{self, EndpointActor, Intervals};
use crate::fleet::view::FleetView;
use crate::fleet::waiting::{Lines, WaitingActor};
use crate::supervision::{Restart, Verdict, guardian};
use crate::upstream::Client;

/// Everything the registry needs to live, and to live again.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Setup {
    pub(in crate::fleet) view: Arc<ArcSwap<FleetView>>,
    pub(in crate::fleet) version: watch::Sender<u64>,
    pub(in crate::fleet) intervals: Intervals,
    pub(in crate::fleet) stale_after: Duration,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) lines: Arc<Lines>,
    pub(in crate::fleet) handle: Handle,
    pub(in crate::fleet) tracker: TaskTracker,
}

impl Setup {
    /// How the registry is started, every time.
    pub(in crate::fleet) fn into_child(self) -> guardian::Child {
        guardian::Child::of("registry", || RegistryActor, self)
    }
}

pub(in crate::fleet) struct RegistryActor;

pub(in crate::fleet) struct Shell {
    setup: Setup,
    state: State,
    children: HashMap<ActorId, Child>,
    restarts: HashMap<Child, Restart>,
    publishing: bool,
    expiry: Option<AbortOnDropHandle<()>>,
}

impl Actor for RegistryActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        setup.handle.attach(myself.clone());
        let servers = setup.view.load().servers.clone();
        let lines = setup.lines.all();
        let mut shell = Shell {
            state: State::new(servers, setup.stale_after),
            setup,
            children: HashMap::new(),
            restarts: HashMap::new(),
            publishing: false,
            expiry: None,
        };
        for id in 0..shell.state.servers().len() {
            shell.spawn(Child::Endpoint(id), &myself);
        }
        for line in lines {
            shell.spawn(Child::Line(line.model().clone()), &myself);
        }
        shell.publish(&myself);
        Ok(shell)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Reported { id, report } => {
                shell.state.reported(id, *report);
                shell.changed(&myself);
            }
            Message::Publish | Message::Expire => shell.publish(&myself),
            Message::Respawn(child) => shell.spawn(child, &myself),
            Message::OpenLine { model, reply } => {
                let is_new = shell.setup.lines.get(&model).is_none();
                let line = shell.setup.lines.open(&model);
                if is_new {
                    shell.spawn(Child::Line(model), &myself);
                }
                let _ = reply.send(line);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, why) => shell.bury(&who, &why.to_string(), &myself),
            SupervisionEvent::ActorTerminated(who, _, why) => {
                shell.bury(&who, why.as_deref().unwrap_or("stopped"), &myself);
            }
            _ => {}
        }
        Ok(())
    }
}

// === impl Shell ===

impl Shell {
    /// One view for all reports that are queued already.
    fn changed(&mut self, myself: &ActorRef<Message>) {
        if !std::mem::replace(&mut self.publishing, true) {
            let _ = myself.cast(Message::Publish);
        }
    }

    fn publish(&mut self, myself: &ActorRef<Message>) {
        self.publishing = false;
        let next = self.state.expire(Instant::now());
        self.setup.view.store(Arc::new(self.state.view()));
        self.setup.version.send_modify(|version| *version += 1);
        // A server that came back, or a load that ended, is room for those who wait.
        self.setup.lines.freed();
        self.expiry = None;
        if let Some(at) = next {
            let myself = myself.clone();
            let timer = self.setup.tracker.spawn(async move {
                sleep_until(at).await;
                let _ = myself.cast(Message::Expire);
            });
            self.expiry = Some(AbortOnDropHandle::new(timer));
        }
    }

    fn spawn(&mut self, child: Child, myself: &ActorRef<Message>) {
        let supervisor = myself.get_cell();
        let born = match &child {
            Child::Endpoint(id) => {
                let server = &self.state.servers()[*id];
                let setup = endpoint::Setup {
                    endpoint: Arc::clone(&server.endpoint),
                    report: server.report.clone(),
                    intervals: self.setup.intervals,
                    client: self.setup.client.clone(),
                    registry: self.setup.handle.clone(),
                    lines: Arc::clone(&self.setup.lines),
                    tracker: self.setup.tracker.clone(),
                };
                ractor::ActorRuntime::spawn_linked_instant(None, EndpointActor, setup, supervisor)
                    .map(|(actor, _)| actor.get_id())
            }
            Child::Line(model) => {
                let line = self.setup.lines.open(model);
                ractor::ActorRuntime::spawn_linked_instant(None, WaitingActor, line, supervisor)
                    .map(|(actor, _)| actor.get_id())
            }
        };
        match born {
            Ok(id) => {
                self.children.insert(id, child);
            }
            Err(error) => self.rest(child, &error.to_string(), myself),
        }
    }

    /// A child has died: it lives again after a pause that grows with its failures.
    fn bury(&mut self, who: &ActorCell, why: &str, myself: &ActorRef<Message>) {
        if let Some(child) = self.children.remove(&who.get_id()) {
            self.rest(child, why, myself);
        }
    }

    fn rest(&mut self, child: Child, why: &str, myself: &ActorRef<Message>) {
        let now = Instant::now();
        let restart = self
            .restarts
            .entry(child.clone())
            .or_insert_with(|| Restart::new(RESTARTS));
        // A child is never given up: a server is better late than never.
        let pause = match restart.died(now, fastrand::f64()) {
            Verdict::After(pause) => pause,
            Verdict::GiveUp => RESTARTS.within,
        };
        tracing::error!(?child, why, ?pause, "actor died; restarting it");
        let myself = myself.clone();
        self.setup.tracker.spawn(async move {
            sleep_until(now + pause).await;
            let _ = myself.cast(Message::Respawn(child));
        });
    }
}
