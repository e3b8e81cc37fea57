//! What other routers do with the same servers.
//!
//! Owns what is known of their requests, and tells them of this router's: where they run, by pool, a few times a
//! second as it changes. Servers that others keep busy are chosen last ([`routing`](crate::routing)). News of
//! one server, what it has answered to another router's probe or what another router has it load, is passed on to
//! that server's actor.
//!
//! It must not know what news means for a server. It fails by being restarted, knowing nothing of others until they
//! tell it again, which they do within seconds. All of it is advice: who may use which slot is decided by
//! [`shares`](super::shares).

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::view::FleetView;
use crate::cluster::bus::Bus;
use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{Elsewhere, Setup};

const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// Follows the others, if there may be some, until what is returned is stopped.
pub(super) async fn follow(
    bus: &Bus,
    view: &Arc<ArcSwap<FleetView>>,
    tracker: TaskTracker,
) -> Result<Option<Arc<Supervisor>>, StartError> {
    if !bus.is_on() {
        return Ok(None);
    }
    let setup = Setup {
        bus: bus.clone(),
        view: Arc::clone(view),
    };
    let child = Child::new::<Elsewhere>("fleet/elsewhere", &Mailbox::new(), setup);
    let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
    Ok(Some(Arc::new(supervisor)))
}
