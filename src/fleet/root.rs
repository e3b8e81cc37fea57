//! The registry's keeper: the smallest actor there can be, so that it has nothing to die of.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};
use tokio::time::{Instant, sleep};

use super::registry::{RegistryActor, Setup};
use crate::supervision::Restarts;

#[derive(Debug)]
pub(super) struct Root {
    actor: Option<ActorRef<()>>,
}

struct RootActor;

struct Shell {
    setup: Setup,
    restarts: Restarts,
    registry: Arc<ArcSwapOption<ractor::ActorCell>>,
}

impl Actor for RootActor {
    type Msg = ();
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        let shell = Shell {
            setup,
            restarts: Restarts::default(),
            registry: Arc::default(),
        };
        shell.spawn(&myself)?;
        Ok(shell)
    }

    /// The pause is over.
    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        shell.spawn(&myself)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorFailed(_, why) => why.to_string(),
            SupervisionEvent::ActorTerminated(_, _, why) => why.unwrap_or_default(),
            _ => return Ok(()),
        };
        let pause = shell.restarts.pause(Instant::now());
        tracing::error!(why, ?pause, "registry died; restarting it");
        shell.setup.tracker.spawn(async move {
            sleep(pause).await;
            let _ = myself.cast(());
        });
        Ok(())
    }
}

impl Shell {
    fn spawn(&self, myself: &ActorRef<()>) -> Result<(), ActorProcessingErr> {
        let setup = self.setup.clone();
        let (actor, _) =
            ActorRuntime::spawn_linked_instant(None, RegistryActor, setup, myself.get_cell())?;
        self.registry.store(Some(Arc::new(actor.get_cell())));
        Ok(())
    }
}

// === impl Root ===

impl Root {
    pub(super) fn start(setup: Setup) -> Self {
        let born = ActorRuntime::spawn_instant(None, RootActor, setup);
        Self {
            actor: born
                .map(|(actor, _)| actor)
                .inspect_err(|error| {
                    tracing::error!(%error, "the herd's root did not start");
                })
                .ok(),
        }
    }

    /// Stops everything below, then itself. A parent's death kills its children, which hold
    /// nothing that is not rebuilt from the servers.
    pub(super) async fn stop(&self) {
        if let Some(actor) = &self.actor {
            let _ = actor.stop_and_wait(None, None).await;
        }
    }
}
