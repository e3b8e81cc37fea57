//! The fleet as everyone sees it: immutable, replaced whole.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::aliases::Aliases;
use super::considered::MOST_CONSIDERED;
use super::endpoint::{Endpoint, Phase, Report};
use super::observed::Observed;
use super::precedence::Precedence;
use super::refusals::Refusable;
use super::slot_pool::SlotPool;
use crate::backend::Kind;
use crate::domain::ModelName;
use crate::protocol::{self, Api, ListedModel, Version};
use crate::routing::{self, Tier};

/// Which servers hold which model. Its keys come from the servers, so clients cannot cause collisions in it.
pub(super) type Models = HashMap<ModelName, Arc<ModelView>, RandomState>;

/// One consistent view of all servers and models.
#[derive(Debug, Default)]
pub struct FleetView {
    /// Every server that is wanted, in the order given; behind them those that drain.
    pub servers: Box<[Server]>,
    pub(super) models: Models,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) aliases: Arc<Aliases>,
    running: OnceLock<Bytes>,
    running_details: OnceLock<Bytes>,
    routers: OnceLock<String>,
}

/// One server and its last report.
#[derive(Clone, Debug)]
pub struct Server {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// Its last report.
    pub report: Report,
}

/// The servers that hold a model.
#[derive(Debug)]
pub struct ModelView {
    /// The holders, by priority.
    pub(super) tiers: Box<[Tier<Holder>]>,
    /// The names of the first of them, in their order.
    names: Arc<[Arc<str>]>,
}

/// One server that holds the model.
#[derive(Clone, Debug)]
pub struct Holder {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) pool: Arc<SlotPool>,
    pub(super) weight: f64,
    pub(super) kind: Kind,
    pub(super) precedence: Precedence,
}

/// The union of what the servers list, and its renderings, made once when first asked for.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) entries: Box<[ListedModel]>,
    tags: OnceLock<Bytes>,
    openai: OnceLock<Bytes>,
}

// === impl FleetView ===

impl FleetView {
    pub(super) fn new(
        servers: Box<[Server]>,
        models: Models,
        catalogue: Arc<Catalogue>,
        aliases: Arc<Aliases>,
    ) -> Self {
        Self {
            servers,
            models,
            catalogue,
            aliases,
            ..Self::default()
        }
    }

    /// The servers that hold `model`, if any does or did lately.
    #[must_use]
    pub fn model(&self, model: &ModelName) -> Option<&Arc<ModelView>> {
        self.models.get(model)
    }

    /// Whether a server has the model that is in each of these lists, by its name or a label.
    #[must_use]
    pub fn is_within(&self, model: &ModelName, servers: &[Arc<[String]>]) -> bool {
        let is_in = |holder: &Holder| {
            let is_called = |name: &String| holder.endpoint.is_called(name);
            servers.iter().all(|names| names.iter().any(is_called))
        };
        let model = self.model(model);
        model.is_some_and(|model| model.holders().any(is_in))
    }

    /// Every model that a server has, in the order of their names.
    #[must_use]
    pub fn model_names(&self) -> Vec<ModelName> {
        let mut names: Vec<_> = self.models.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// `/api/tags` of the whole fleet.
    #[must_use]
    pub fn tags(&self) -> Bytes {
        let catalogue = &self.catalogue;
        catalogue
            .tags
            .get_or_init(|| protocol::render_tags(&catalogue.entries))
            .clone()
    }

    /// `/api/tags` of these models.
    #[must_use]
    pub fn tags_of(&self, shown: impl Fn(&ModelName) -> bool) -> Bytes {
        let entries = self.catalogue.entries.iter();
        protocol::render_tags(entries.filter(|entry| self.shows(&entry.name, &shown)))
    }

    /// `/v1/models` of these models.
    #[must_use]
    pub fn openai_models_of(&self, shown: impl Fn(&ModelName) -> bool) -> Bytes {
        let entries = self.catalogue.entries.iter();
        protocol::render_openai_models(entries.filter(|entry| self.shows(&entry.name, &shown)))
    }

    /// `/v1/models` of the whole fleet.
    #[must_use]
    pub fn openai_models(&self) -> Bytes {
        let catalogue = &self.catalogue;
        catalogue
            .openai
            .get_or_init(|| protocol::render_openai_models(&catalogue.entries))
            .clone()
    }

    /// `/v1/models/:id`, if the fleet has it; `id` is the client's spelling.
    #[must_use]
    pub fn openai_model(&self, model: &ModelName, id: &str) -> Option<Bytes> {
        let entry = self
            .catalogue
            .entries
            .iter()
            .find(|entry| entry.name == *model)?;
        Some(protocol::render_openai_model(entry, id))
    }

    /// `/api/ps` of the whole fleet: one entry per server and model.
    #[must_use]
    pub fn running(&self) -> Bytes {
        let running = self.running.get_or_init(|| self.running_of(|_| true));
        running.clone()
    }

    /// `/api/ps` of these models.
    #[must_use]
    pub fn running_of(&self, shown: impl Fn(&ModelName) -> bool) -> Bytes {
        let running = self.up().flat_map(|server| server.report.running.iter());
        protocol::render_ps(running.filter(|model| shown(&model.name)))
    }

    /// `/api/ps_details`: the same, each entry with its endpoint.
    #[must_use]
    pub fn running_details(&self) -> Bytes {
        let running = self
            .running_details
            .get_or_init(|| self.running_details_of(|_, _| true));
        running.clone()
    }

    /// `/api/ps_details` of these models on these servers.
    #[must_use]
    pub fn running_details_of(&self, shown: impl Fn(&Endpoint, &ModelName) -> bool) -> Bytes {
        let running = self.up().flat_map(|server| {
            let endpoint = &*server.endpoint;
            server
                .report
                .running
                .iter()
                .map(move |model| (endpoint, model))
        });
        let shown = running.filter(|(endpoint, model)| shown(endpoint, &model.name));
        protocol::render_ps_details(shown.map(|(endpoint, model)| (&**endpoint.name(), model)))
    }

    /// The routers behind which servers of the fleet are, or which they are themselves, by their ids as one
    /// list; mostly empty.
    #[must_use]
    pub fn routers(&self) -> &str {
        self.routers.get_or_init(|| {
            let up = self.up();
            protocol::united(up.map(|server| &*server.report.routers))
        })
    }

    /// Every server as it is now; `now` and `unix` are the same moment on two clocks.
    pub fn observed(&self, now: Instant, unix: i64) -> impl Iterator<Item = Observed> {
        self.servers
            .iter()
            .map(move |server| Observed::new(&server.endpoint, &server.report, now, unix))
    }

    /// The oldest Ollama that serves: what every server can do. While none serves, the oldest of those
    /// that did: a version that exists nowhere would be none.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        let serving = oldest(self.up());
        serving.or_else(|| oldest(self.servers.iter()))
    }

    /// True when a server is an Ollama, and so has a version.
    #[must_use]
    pub fn has_ollama(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.endpoint.settings().backend.kind() == Kind::Ollama)
    }

    /// True when every server that answers has said what it has loaded since it last loaded or unloaded
    /// something for this router.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.up()
            .all(|server| server.report.loaded_as_of >= server.endpoint.changes())
    }

    /// True when a server follows other rules for names than Ollama's.
    #[must_use]
    pub fn has_other_than_ollama(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.endpoint.settings().backend.kind() != Kind::Ollama)
    }

    /// True once every server has answered, or been found missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.all(|server| server.endpoint.is_draining() || server.report.is_settled())
    }

    /// The servers that answer and take new requests.
    pub fn up(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| server.report.phase == Phase::Up && server.takes_requests())
    }
}

impl Server {
    /// Neither drains for good nor is kept from new requests for now.
    fn takes_requests(&self) -> bool {
        !self.endpoint.is_draining() && !self.endpoint.is_on_hold()
    }
}

fn oldest<'a>(servers: impl Iterator<Item = &'a Server>) -> Option<&'a Version> {
    servers
        .filter_map(|server| server.report.version.as_ref())
        .min_by(|a, b| a.cmp_release(b))
}

// === impl ModelView ===

impl ModelView {
    pub(super) fn new(tiers: Box<[Tier<Holder>]>) -> Self {
        let mut view = Self {
            tiers,
            names: Arc::default(),
        };
        let first = view.holders().take(MOST_CONSIDERED);
        view.names = first
            .map(|holder| Arc::clone(holder.endpoint.name()))
            .collect();
        view
    }

    /// How many servers that answer have it loaded.
    pub(super) fn warm(&self) -> usize {
        let tiers = self.tiers.iter();
        let warm = tiers.flat_map(|tier| tier.warm.iter());
        warm.filter(|holder| holder.endpoint.is_up()).count()
    }

    /// The names of the first holders, in their order.
    pub(super) fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
    }

    /// Every server that has it, and whether it has it loaded, in the same order.
    pub(super) fn ranked_holders(&self) -> impl Iterator<Item = (bool, &Holder)> {
        self.tiers.iter().flat_map(|tier| {
            let warm = tier.warm.iter().map(|holder| (true, holder));
            warm.chain(tier.cold.iter().map(|holder| (false, holder)))
        })
    }

    /// Every server that has it: the first tier first, and in each those that have it loaded.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        let tiers = self.tiers.iter();
        tiers.flat_map(|tier| tier.warm.iter().chain(&tier.cold))
    }
}

// === impl Catalogue ===

impl Catalogue {
    pub(super) fn new(entries: Box<[ListedModel]>) -> Self {
        Self {
            entries,
            ..Self::default()
        }
    }
}

// === impl Holder ===

impl Holder {
    /// Whether it said lately that it does not have the API, for this model or at all.
    pub(super) fn refuses(&self, api: Api) -> bool {
        let api = Refusable::Api(api);
        self.pool.refusals().holds(api) || self.endpoint.refusals().holds(api)
    }
}

impl routing::Candidate for Holder {
    fn is_up(&self) -> bool {
        // Not whether it drains: then it is in an old view only, and refuses by itself. A request that is refused
        // waits for the next view, which has its successor.
        self.endpoint.is_up() && !self.endpoint.is_on_hold() && !self.pool.hold().is_on()
    }

    fn in_flight(&self) -> u32 {
        self.pool.in_flight()
    }

    fn slots(&self) -> u32 {
        self.pool.limit()
    }

    fn total_in_flight(&self) -> u32 {
        self.endpoint.total_in_flight() + self.endpoint.elsewhere()
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn is_failing(&self) -> bool {
        self.pool.is_failing() || self.endpoint.refuses_probes()
    }

    fn is_suspected(&self) -> bool {
        self.pool.is_suspected()
    }

    fn is_refusing(&self) -> bool {
        self.pool.is_refusing()
    }

    fn is_loading_other(&self) -> bool {
        self.endpoint.is_loading_other(&self.pool)
    }
}
