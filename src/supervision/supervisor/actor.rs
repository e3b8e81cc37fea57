//! The shell around [`State`]: starts and stops children, and is notified when one has ended.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::message::Message;
use super::state::{Ended, State};
use super::{Id, StartError};
use crate::supervision::{Reply, RestartPolicy};

/// See the module.
pub(super) struct SupervisorActor;

/// The state, and where the children's tasks run.
pub(super) struct Supervising {
    state: State,
    tracker: TaskTracker,
}

impl Actor for SupervisorActor {
    type Msg = Message;
    type State = Supervising;
    type Arguments = (RestartPolicy, TaskTracker);

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        (policy, tracker): Self::Arguments,
    ) -> Result<Supervising, ActorProcessingErr> {
        let state = State::new(policy);
        Ok(Supervising { state, tracker })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        supervising: &mut Supervising,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(id, child, reply) => {
                supervising.state.add(id, child);
                supervising.start(&myself, id, reply).await;
            }
            Message::Remove(id, reply) => supervising.remove(id, reply),
            Message::Restart(id) => supervising.start(&myself, id, None).await,
            Message::StopRestarting(reply) => {
                supervising.state.stop_restarting();
                let _ = reply.send(());
            }
            Message::Stop(reply) => {
                supervising.state.stop_restarting();
                for incarnation in supervising.state.running() {
                    // An error means that it has ended already.
                    let _ = incarnation.stop_and_wait(None, None).await;
                }
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        supervising: &mut Supervising,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.unwrap_or_default()),
            SupervisionEvent::ActorFailed(who, why) => (who, why.to_string()),
            _ => return Ok(()),
        };
        let (now, random) = (Instant::now(), fastrand::f64());
        let ended = supervising.state.ended(who.get_id(), now, random);
        supervising.restart_later(&myself, ended, &why);
        Ok(())
    }
}

impl Supervising {
    /// With `reply` the caller handles a failed first start; without, it counts as an end like others.
    async fn start(
        &mut self,
        myself: &ActorRef<Message>,
        id: Id,
        reply: Option<Reply<Result<(), StartError>>>,
    ) {
        let Some(child) = self.state.to_start(id) else {
            return;
        };
        let started = child.start(myself.get_cell(), self.tracker.clone()).await;
        let outcome = started.map(|incarnation| self.state.started(id, incarnation));
        match (outcome, reply) {
            (outcome, Some(reply)) => {
                if outcome.is_err() {
                    self.state.remove(id);
                }
                // The caller may have given up.
                let _ = reply.send(outcome);
            }
            (Err(error), None) => {
                let ended = self.state.failed(id, Instant::now(), fastrand::f64());
                self.restart_later(myself, ended, &error.to_string());
            }
            (Ok(()), None) => {}
        }
    }

    fn remove(&mut self, id: Id, reply: Option<Reply<()>>) {
        let incarnation = self.state.remove(id);
        if let Some(incarnation) = &incarnation {
            incarnation.stop(None);
        }
        if let Some(reply) = reply {
            self.tracker.spawn(async move {
                if let Some(incarnation) = incarnation {
                    let _ = incarnation.wait(None).await;
                }
                let _ = reply.send(());
            });
        }
    }

    fn restart_later(&self, myself: &ActorRef<Message>, ended: Option<Ended>, why: &str) {
        let Some(Ended {
            id,
            pause,
            too_often,
        }) = ended
        else {
            return;
        };
        let name = self.state.child(id).map(|child| &**child.name());
        if too_often {
            tracing::error!(actor = name, why, ?pause, "ended again and again");
        } else {
            tracing::warn!(actor = name, why, ?pause, "ended, will be restarted");
        }
        myself.send_after(pause, move || Message::Restart(id));
    }
}
