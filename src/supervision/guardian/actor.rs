//! The shell around [`State`]: starts children, hears of their deaths.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::Child;
use super::message::Message;
use super::state::{Death, State};
use crate::supervision::RestartPolicy;

/// See the module.
pub(super) struct Guardian;

/// The pure state, and how to start each child.
pub(super) struct Guarded {
    state: State,
    children: Vec<Child>,
}

impl Actor for Guardian {
    type Msg = Message;
    type State = Guarded;
    type Arguments = (RestartPolicy, Vec<Child>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (policy, children): Self::Arguments,
    ) -> Result<Guarded, ActorProcessingErr> {
        let mut state = State::new(policy, children.len());
        for (at, child) in children.iter().enumerate() {
            state.started(at, (child.start)(myself.get_cell()).await?.get_id());
        }
        Ok(Guarded { state, children })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        guarded: &mut Guarded,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Restart(child) => guarded.restart(&myself, child).await,
            Message::Retire(reply) => {
                guarded.state.retire();
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        guarded: &mut Guarded,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.unwrap_or_default()),
            SupervisionEvent::ActorFailed(who, why) => (who, why.to_string()),
            _ => return Ok(()),
        };
        let death = guarded
            .state
            .died(who.get_id(), Instant::now(), fastrand::f64());
        guarded.mourn(&myself, death, &why);
        Ok(())
    }
}

impl Guarded {
    async fn restart(&mut self, myself: &ActorRef<Message>, child: usize) {
        if !self.state.restarts() {
            return;
        }
        match (self.children[child].start)(myself.get_cell()).await {
            Ok(cell) => self.state.started(child, cell.get_id()),
            Err(error) => {
                let death = self.state.failed(child, Instant::now(), fastrand::f64());
                self.mourn(myself, death, &error.to_string());
            }
        }
    }

    fn mourn(&self, myself: &ActorRef<Message>, death: Option<Death>, why: &str) {
        let Some(death) = death else { return };
        let name = self.children[death.child].name;
        if death.too_often {
            tracing::error!(actor = name, why, pause = ?death.pause, "died again and again");
        } else {
            tracing::warn!(actor = name, why, pause = ?death.pause, "died, will be restarted");
        }
        myself.send_after(death.pause, move || Message::Restart(death.child));
    }
}
