//! How a request obtains a slot: at once where one is free, else through its model's queue.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Fleet;
use super::considered::{Considered, Reason};
use super::endpoint::Endpoint;
use super::lease::Lease;
use super::queue::{Arrival, NotEntered, Queue};
use super::view::{FleetView, Holder, ModelView, Server};
use crate::domain::ModelName;
use crate::faults::{Closed, Pause};
use crate::protocol::Api;
use crate::routing::{self, Candidate as _, NoCandidate};

/// What a request needs of the fleet. The same value is used for every try of one request.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The model.
    pub model: ModelName,
    /// The API: only servers whose kind has it are considered.
    pub api: Api,
    /// Its arrival number, from [`Fleet::arrive`].
    pub arrival: Arrival,
    /// How long it waits in the queue.
    pub deadline: Instant,
    /// The client's own choice of servers, by name or label; empty for any.
    pub only: Vec<Box<str>>,
    /// What else its servers are limited to: of each list, one name or label has to be theirs.
    pub within: Vec<Arc<[String]>>,
    /// Servers that have failed it already, by address: one that is removed and added again is the same.
    pub tried: Vec<Arc<str>>,
}

/// Why the fleet does not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No server has, or lately had, the model.
    UnknownModel,
    /// Servers have it, none of those allowed is up.
    Unreachable,
    /// Servers have it, but none whose kind has the API.
    Unsupported,
    /// Every server that could serve it has asked for a pause: the shortest of these.
    Paused(Pause),
    /// Servers have it, but none that the request is limited to.
    Restricted,
    /// Too many requests wait for it already.
    QueueFull,
    /// It has waited until its deadline.
    TooLate,
}

/// A slot, and how it was obtained.
#[derive(Debug)]
pub struct Leased {
    /// The slot.
    pub lease: Lease,
    /// True when the request had to wait in the queue for it.
    pub waited: bool,
    /// What spoke for and against each server.
    pub considered: Considered,
}

// === impl Denied ===

impl Denied {
    /// Whether waiting would not help.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::UnknownModel
                | Self::Unreachable
                | Self::Unsupported
                | Self::Restricted
                | Self::Paused(_)
        )
    }
}

// === impl Fleet ===

impl Fleet {
    /// A slot for a request, as soon as it is next.
    ///
    /// # Errors
    /// [`Denied`], the reason why there will be none.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Leased, Denied> {
        // Nearly always no request waits.
        let queue = match self.queues.anyone_waits() {
            true => self.queues.get(&request.model),
            false => None,
        };
        if queue.as_ref().is_none_or(|queue| queue.is_empty())
            && let Some((lease, considered)) = self.try_lease(request).await?
        {
            return Ok(Leased {
                lease,
                waited: false,
                considered,
            });
        }
        // Boxed, because most requests do not wait, and its size would be part of each.
        Box::pin(self.wait(request, queue)).await
    }

    /// A slot that is free now, of a server that has the model in memory and nothing against it; nobody waits for it.
    #[must_use]
    pub fn lease_at_once(&self, request: &LeaseRequest) -> Option<Leased> {
        let queue = self.queues.get(&request.model);
        if queue.is_some_and(|queue| !queue.is_empty()) {
            return None;
        }
        let view = self.view.load_full();
        let model = view.model(&request.model)?;
        let takes = |holder: &Holder| request.allows(holder) && !holder.refuses(request.api);
        let rank = routing::rank(&model.tiers, takes, fastrand::usize(..)).ok()?;
        let lease = rank.iter().find_map(|choice| {
            let holder = choice.candidate;
            let lease = holder
                .endpoint
                .acquire_directly(&holder.pool, &self.queues)?;
            lease.ok()
        })?;
        let considered = Considered::new(model, request, Some(lease.endpoint()));
        Some(Leased {
            lease,
            waited: false,
            considered,
        })
    }

    async fn wait(
        &self,
        request: &LeaseRequest,
        queue: Option<Arc<Queue>>,
    ) -> Result<Leased, Denied> {
        let constrained = request.is_constrained();
        let mut known = queue.or_else(|| self.queues.get(&request.model));
        let entry = loop {
            let queue = match known.take() {
                Some(queue) => queue,
                None => self.open_queue(request).await?,
            };
            match queue.enter(request.arrival, constrained, self.queue_limit) {
                Ok(entry) => break entry,
                Err(NotEntered::Full) => return Err(Denied::QueueFull),
                Err(NotEntered::Closed) => {}
            }
        };
        let late = |_| Denied::TooLate;
        let mut permit = timeout_at(request.deadline, entry.permit())
            .await
            .map_err(late)?;
        loop {
            if let Some((lease, considered)) = self.try_lease(request).await? {
                return Ok(Leased {
                    lease,
                    waited: true,
                    considered,
                });
            }
            permit = timeout_at(request.deadline, entry.again(permit))
                .await
                .map_err(late)?;
        }
    }

    /// What speaks for and against each server now, for a request that has none.
    #[must_use]
    pub fn considered(&self, request: &LeaseRequest) -> Considered {
        let view = self.view.load();
        let considered = |model: &Arc<ModelView>| Considered::new(model, request, None);
        view.model(&request.model)
            .map(considered)
            .unwrap_or_default()
    }

    /// The server whose entry stands for the model in the fleet's lists, for a request that takes no slot:
    /// of a tag with several digests it always answers alike, while that server answers. One that fails such
    /// requests, or fails with the model, or does not have the API, comes after those that do not.
    ///
    /// # Errors
    /// [`Denied`] when no server has it or none is up.
    pub fn pick(&self, request: &LeaseRequest) -> Result<Arc<Endpoint>, Denied> {
        let view = self.view.load();
        let model = view.model(&request.model).ok_or_else(|| unknown(&view))?;
        let works = |holder: &Holder| {
            !holder.is_failing()
                && !holder.endpoint.fails_without_slot()
                && !holder.refuses(request.api)
        };
        let picked = model
            .holders()
            .filter(|holder| holder.is_up() && request.allows(holder))
            .max_by_key(|holder| (works(holder), holder.endpoint.stands(), &holder.precedence))
            .ok_or_else(|| request.unreachable(model))?;
        picked.endpoint.tried_without_slot();
        Ok(Arc::clone(&picked.endpoint))
    }

    /// Whether a server that is up could serve the request, were it for `model`.
    #[must_use]
    pub fn reaches(&self, model: &ModelName, request: &LeaseRequest) -> bool {
        let view = self.view.load();
        let takes = |holder: &Holder| {
            holder.is_up() && request.allows(holder) && !holder.refuses(request.api)
        };
        let model = view.model(model);
        model.is_some_and(|model| model.holders().any(takes))
    }

    /// The servers that have the model, of those the request allows: first those that have it in memory, or load
    /// it, as far as is known, then the others.
    #[must_use]
    pub fn holders(&self, request: &LeaseRequest) -> [Vec<Arc<Endpoint>>; 2] {
        let view = self.view.load();
        let tiers = view.model(&request.model).map(|model| &*model.tiers);
        let tiers = tiers.unwrap_or_default();
        let allowed = |holder: &&Holder| holder.is_up() && request.allows(holder);
        let endpoint = |holder: &Holder| Arc::clone(&holder.endpoint);
        let warm = tiers.iter().flat_map(|tier| tier.warm.iter());
        let cold = tiers.iter().flat_map(|tier| tier.cold.iter());
        [
            warm.filter(allowed).map(endpoint).collect(),
            cold.filter(allowed).map(endpoint).collect(),
        ]
    }

    async fn open_queue(&self, request: &LeaseRequest) -> Result<Arc<Queue>, Denied> {
        loop {
            let mut version = self.version();
            version.mark_unchanged();
            if let Some(queue) = self.registry.open_queue(&request.model).await {
                return Ok(queue);
            }
            // The registry is being restarted; its first act is a new view.
            let changed = timeout_at(request.deadline, version.changed()).await;
            changed
                .map_err(|_| Denied::TooLate)?
                .map_err(|_| Denied::Unreachable)?;
        }
    }

    /// One try: `None` when servers are there but none has room.
    async fn try_lease(
        &self,
        request: &LeaseRequest,
    ) -> Result<Option<(Lease, Considered)>, Denied> {
        let view = self.view.load_full();
        let model = view.model(&request.model).ok_or_else(|| unknown(&view))?;
        let allowed = |holder: &Holder| request.allows(holder);
        let takes = |holder: &Holder| allowed(holder) && !holder.refuses(request.api);
        let random = fastrand::usize(..);
        let ranked = match routing::rank(&model.tiers, takes, random) {
            // It is refused wherever it could go: the server's own refusal is better than the router's.
            Err(NoCandidate::Unreachable) => routing::rank(&model.tiers, allowed, random),
            ranked => ranked,
        };
        let rank = match ranked {
            Ok(rank) => rank,
            Err(NoCandidate::Busy) => {
                self.ask_for_more(request, model, takes, random);
                return request
                    .paused(model)
                    .map_or(Ok(None), |pause| Err(Denied::Paused(pause)));
            }
            Err(NoCandidate::Unreachable) => return Err(request.unreachable(model)),
        };
        for choice in rank.iter() {
            let holder = choice.candidate;
            if let Ok(lease) = holder.endpoint.acquire(&holder.pool, &self.queues).await {
                let considered = Considered::new(model, request, Some(lease.endpoint()));
                return Ok(Some((lease, considered)));
            }
        }
        Ok(None)
    }
}

/// A model that no server lists is unknown only if a server is up, and all have sent their lists.
fn unknown(view: &FleetView) -> Denied {
    let silent = |server: &Server| !server.report.is_settled() && !server.endpoint.is_draining();
    if view.up().next().is_some() && !view.servers.iter().any(silent) {
        Denied::UnknownModel
    } else {
        Denied::Unreachable
    }
}

// === impl LeaseRequest ===

impl LeaseRequest {
    /// Whether a server that answers has the model, and may be asked.
    #[must_use]
    pub fn is_served_by(&self, view: &FleetView) -> bool {
        let model = view.model(&self.model);
        model.is_some_and(|model| {
            let mut holders = model.holders();
            holders.any(|holder| holder.is_up() && self.allows(holder))
        })
    }

    fn allows(&self, holder: &Holder) -> bool {
        self.may_ask(&holder.endpoint) && self.is_of_kind(holder)
    }

    /// Whether the server is one of those that the request may go to, and has not failed it.
    #[must_use]
    pub fn may_ask(&self, endpoint: &Endpoint) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| endpoint.is_called(name));
        named && self.is_within(endpoint) && !self.tried.contains(endpoint.url())
    }

    /// Why the request must not be sent there, whatever the state of the server, if it must not.
    pub(super) fn disallows(&self, holder: &Holder) -> Option<Reason> {
        if self.allows(holder) {
            None
        } else if !self.is_of_kind(holder) {
            Some(Reason::Unsupported)
        } else if self.tried.contains(holder.endpoint.url()) {
            Some(Reason::Tried)
        } else {
            Some(Reason::NotAllowed)
        }
    }

    fn is_within(&self, endpoint: &Endpoint) -> bool {
        let is_called = |name: &String| endpoint.is_called(name);
        self.within.iter().all(|names| names.iter().any(is_called))
    }

    /// Whether there may be a server with room that it must not be sent to.
    fn is_constrained(&self) -> bool {
        !(self.only.is_empty() && self.within.is_empty() && self.tried.is_empty())
    }

    fn is_of_kind(&self, holder: &Holder) -> bool {
        holder.kind.serves(self.api)
    }

    /// The shortest pause, when every server that could serve the request has asked for one: a request that
    /// waited would wait for nothing else.
    fn paused(&self, model: &ModelView) -> Option<Pause> {
        let now = Instant::now();
        let holders = || {
            model
                .holders()
                .filter(|holder| holder.is_up() && self.allows(holder))
        };
        let refuses = |holder: &Holder| holder.refuses(self.api);
        // As in the ranking: those that refuse the API count where no other is left.
        let all_refuse = holders().all(refuses);
        let mut first = None;
        for holder in holders().filter(|holder| all_refuse || !refuses(holder)) {
            let closed = holder.pool.closed().filter(|closed| now < closed.until)?;
            if first.is_none_or(|first: Closed| closed.until < first.until) {
                first = Some(closed);
            }
        }
        first.map(|Closed { until, status }| Pause {
            status,
            length: until - now,
        })
    }

    /// Why no holder of the model can be asked.
    fn unreachable(&self, model: &ModelView) -> Denied {
        let mut serving = model
            .holders()
            .filter(|holder| self.is_of_kind(holder))
            .peekable();
        if serving.peek().is_none() {
            Denied::Unsupported
        } else if serving.any(|holder| self.is_within(&holder.endpoint)) {
            Denied::Unreachable
        } else {
            Denied::Restricted
        }
    }
}
