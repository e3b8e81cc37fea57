//! Where a model is, and where it could be: for whoever loads and unloads models, not for requests.

use std::cmp::Reverse;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Fleet;
use super::endpoint::{Endpoint, Refusal};
use super::lease::Lease;
use super::slot_pool::SlotPool;
use super::view::{FleetView, Holder};
use crate::domain::ModelName;
use crate::protocol::RunningModel;
use crate::routing::Candidate as _;

/// One server that lists a model.
#[derive(Clone, Debug)]
pub struct Place {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// It answers and takes requests.
    pub is_up: bool,
    /// Its kind loads models; where it does not, every listed one counts as loaded.
    pub loads: bool,
    /// It has the model in memory, under this name or as what it is under another one.
    pub is_loaded: bool,
    /// It loads the model now.
    pub is_loading: bool,
    /// It loads another model now.
    pub is_busy: bool,
    /// How it says that it has it loaded.
    pub running: Option<RunningModel>,
    /// How many models it has loaded.
    pub models: usize,
    /// Requests of all models there.
    pub in_flight: u32,
    /// The model's slots.
    pub pool: Arc<SlotPool>,
}

impl FleetView {
    /// Every server that lists the model, the best for one more copy of it first: one that has it, then
    /// those that have least to do. No server that drains is among them.
    #[must_use]
    pub fn places(&self, model: &ModelName) -> Vec<Place> {
        let view = self.models.get(model);
        let mut places: Vec<_> = view
            .iter()
            .flat_map(|view| view.holders())
            .map(|holder| self.place(holder))
            .collect();
        places.sort_by_key(Place::rank);
        places
    }

    fn place(&self, holder: &Holder) -> Place {
        let endpoint = Arc::clone(&holder.endpoint);
        let mut servers = self.servers.iter();
        let server = servers.find(|server| Arc::ptr_eq(&server.endpoint, &endpoint));
        let report = server.map(|server| &server.report);
        let is_loading = endpoint.is_loading(&holder.pool);
        let is_warm = report.is_some_and(|report| report.is_warm(holder.pool.model()));
        Place {
            is_up: holder.is_up(),
            loads: endpoint.settings().backend.loads_models(),
            is_loaded: is_warm && !is_loading,
            is_loading,
            is_busy: endpoint.is_loading_other(&holder.pool),
            running: report.and_then(|report| report.running_as(holder.pool.model()).cloned()),
            models: report.map_or(0, |report| report.running.len()),
            in_flight: endpoint.total_in_flight(),
            pool: Arc::clone(&holder.pool),
            endpoint,
        }
    }
}

impl Place {
    /// Whether its server has one of these names or labels.
    #[must_use]
    pub fn is_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.endpoint.is_called(name))
    }

    fn rank(&self) -> (Reverse<bool>, Reverse<bool>, bool, usize, u32, Arc<str>) {
        (
            Reverse(self.is_up),
            Reverse(self.is_loaded || self.is_loading),
            self.is_busy,
            self.models,
            self.in_flight,
            Arc::clone(self.endpoint.name()),
        )
    }
}

impl Fleet {
    /// A slot of this server, for a load of the model and not for a request: it does not queue, and waits while
    /// the server loads another model. Nothing when all slots are taken, and so the model is loaded.
    ///
    /// # Errors
    /// [`Refusal`], the reason why there is none.
    pub async fn lease_for_load(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<SlotPool>,
        deadline: Instant,
    ) -> Result<Option<Lease>, Refusal> {
        let mut version = self.version();
        loop {
            version.mark_unchanged();
            let refusal = match endpoint.acquire(pool, &self.queues).await {
                Ok(lease) => return Ok(Some(lease)),
                Err(Refusal::Full) => return Ok(None),
                Err(refusal @ (Refusal::Loading | Refusal::Restarting)) => refusal,
                Err(refusal) => return Err(refusal),
            };
            // Every load that ends, and every restart, is followed by a view.
            match timeout_at(deadline, version.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(refusal),
            }
        }
    }
}
