//! Looking for servers: by names with many addresses, by SRV records, in a file, on the local network.
//!
//! Owns where it is looked (`[discovery]`), again and again, and what was found there last; the inventory is told
//! all of it, and decides what of it counts. It must not know whether a server is up, nor any request: no request
//! waits for a look-up.
//!
//! It fails into what was found before: a nameserver that is away, slow or wrong, a file that is gone or half
//! written take no server away, and are said in the log, in `/health` and by a metric. Restarted, the actor goes on
//! with what was found.

mod actor;
mod dns;
mod file;
mod gauges;
mod message;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use gauges::Gauges;
pub use state::Report;

use crate::config::{self, Endpoint};
use crate::inventory::Inventory;
use crate::mdns::{self, Mdns};
use crate::supervision::{self, Backoff, Child, Mailbox, RestartPolicy, Supervisor};
use actor::{DiscoveryActor, Setup};
use dns::{Dns, NetError};
use message::Message;
use state::{Place, State};

const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};
/// How long the start waits for what is found. Then it comes later.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Looks for servers. Clones share it.
#[derive(Clone)]
pub struct Discovery {
    state: Arc<ArcSwap<State>>,
    /// None when there is nowhere to look.
    supervisor: Option<Arc<Supervisor>>,
}

/// Why it does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system does not say who is to be asked for names.
    #[error("nobody to ask for names: {0}; discovery.nameserver says who")]
    Nameserver(String),
    /// The local network cannot be listened to.
    #[error("mDNS: {0}")]
    Network(String),
    /// The actor.
    #[error("actor did not start: {0}")]
    Actor(#[from] supervision::StartError),
}

impl Discovery {
    /// Begins to look; returns when everything has been looked at once and the fleet has what was found, or
    /// when that takes too long.
    ///
    /// # Errors
    /// When it cannot look at all.
    pub async fn start(
        options: &config::Discovery,
        inventory: Inventory,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let state = Arc::new(ArcSwap::from_pointee(State::new(Place::all(options))));
        if !options.is_used() {
            let supervisor = None;
            return Ok(Self { state, supervisor });
        }
        let nobody = |error: NetError| StartError::Nameserver(error.to_string());
        let dns = options.asks_dns().then(|| Dns::new(options));
        let deaf = |error: mdns::Error| StartError::Network(error.to_string());
        let mdns = options.mdns.then(Mdns::start);
        let setup = Setup {
            state: Arc::clone(&state),
            dns: dns.transpose().map_err(nobody)?,
            mdns: mdns.transpose().map_err(deaf)?,
            inventory,
        };
        let mailbox = Mailbox::new();
        let child = Child::new::<DiscoveryActor>("discovery", &mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        // What is not known by then comes later.
        let _ = timeout(FIRST_LOOK, mailbox.call(Message::Known)).await;
        Ok(Self {
            state,
            supervisor: Some(Arc::new(supervisor)),
        })
    }

    /// Every place, and what was found there.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        self.state.load().report()
    }

    /// What is offered on the local network, whether or not it is used already.
    #[must_use]
    pub fn offers(&self) -> Vec<Endpoint> {
        self.state.load().offers()
    }

    /// Looks no more.
    pub async fn stop(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.stop().await;
        }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}
