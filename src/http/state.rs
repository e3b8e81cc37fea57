//! What handlers may reach.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::admin::{Actions, Admin, Ticks};
use super::controller::Joiners;
use super::decode::Decoder;
use super::managers::Managers;
use crate::access::Access;
use crate::discovery::Discovery;
use crate::gateway::Gateway;
use crate::inventory::Inventory;
use crate::metrics::Registry;
use crate::mirror::Mirror;
use crate::models::Models;
use crate::protocol::Instance;
use crate::registrar::Registrar;
use crate::spend::{Folding, Spend};
use crate::store::Store;
use herdsman_multidb::MultiDb;

/// Shared by all handlers; cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// Requests to the servers.
    pub gateway: Arc<Gateway>,
    /// The database, for past usage and spend.
    pub store: Store,
    /// Usage on its way to the database.
    pub spend: Spend,
    /// Whether its minutes are being folded into days.
    pub folding: Folding,
    /// Which models the servers have.
    pub models: Models,
    /// Where servers get models from, if not from their registry.
    pub mirror: Option<Mirror>,
    /// Accounts.
    pub access: Access,
    /// What operators did last.
    pub actions: Actions,
    /// What is shown to those who watch.
    pub ticks: Ticks,
    /// Which servers there should be.
    pub inventory: Inventory,
    /// Who has registered.
    pub registrar: Registrar,
    /// Who may register.
    pub joiners: Joiners,
    /// Where servers are looked for.
    pub discovery: Discovery,
    /// Who may use the admin API.
    pub admin: Admin,
    /// Who may change which models the servers have.
    pub managers: Managers,
    /// The Redis databases, if there are several routers.
    pub redis: Option<MultiDb>,
    /// Work that goes on when its client has left.
    pub tasks: TaskTracker,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// What clients may send.
    pub limits: Limits,
    /// This router among others.
    pub instance: Instance,
}

/// What clients may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest body of an inference request, in bytes.
    pub(super) max_body: u64,
    pub(super) decoder: Decoder,
}

impl Limits {
    /// With this as the largest body of an inference request, in bytes.
    #[must_use]
    pub fn new(max_body: u64) -> Self {
        Self {
            max_body,
            decoder: Decoder::new(max_body),
        }
    }
}
