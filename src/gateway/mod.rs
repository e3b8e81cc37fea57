//! One request: peek, lease, send, relay, finish.
//!
//! Owns the order of these steps and the decision to try another server. It brings access, fleet,
//! spend and usage together, which do not know one another. It must not know SQL, Redis, the
//! configuration, or how an error looks in a dialect.
//!
//! Everything a request holds is held by values that give it back when dropped, so a client that
//! leaves, at whatever step, needs no code: its future is dropped, and with it the queue entry, the slot and the
//! upstream connection. What must happen when an answer ends happens in one place,
//! [`relay`], exactly once.
//!
//! Failures before the first byte move the request to another server; a failure after it ends the
//! stream with an error the client cannot mistake for the end of an answer.

mod account;
mod admit;
mod alias;
mod answer;
mod ask;
mod attempt;
mod blame;
mod error;
mod exchange;
mod failed;
mod families;
mod inbound;
mod infer;
mod journal;
mod kept;
mod load;
mod load_meters;
mod meters;
mod placing;
mod prepared;
mod refusal;
mod relay;
mod requests;
mod respond;
mod server_error;
mod terms;
mod unload;
mod whole;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub use answer::Answer;
pub use error::Error;
pub use inbound::{Inbound, NoEndpoints, endpoint_names, named_endpoints};
pub use load::LoadReason;
pub use meters::{Meter, Meters};
pub use placing::NotPlaced;
use relay::Relay;
pub use requests::{
    AccessLog, LogError, MOST_ENDED, Phase, Request, Requests, Scheme, Sender, Try,
};
pub use server_error::ErrorBody;
pub use terms::ModelTerms;

use crate::access::{Access, Caller};
use crate::domain::ModelName;
use crate::fleet::{Considered, Fleet, LeaseRequest};
use crate::protocol::Api;
use crate::spend::Spend;
use crate::upstream::Client;
use crate::usage::Usage;
use journal::JournalGate;
use kept::Budget;
use terms::Terms;

/// The limits of every request.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many servers one request may be tried on.
    pub attempts: u32,
    /// How long a request may wait in the queue.
    pub queue_timeout: Duration,
    /// How long a server may take to begin an answer that is streamed.
    pub first_byte_timeout: Duration,
    /// How long it may take for one that is not.
    pub answer_timeout: Duration,
    /// How long a server may send nothing inside its answer.
    pub idle_timeout: Duration,
}

/// What every request needs; shared.
pub struct Gateway {
    pub(crate) fleet: Fleet,
    pub(crate) client: Client,
    pub(crate) spend: Spend,
    pub(crate) usage: Usage,
    access: Access,
    pub(crate) meters: Meters,
    rules: Rules,
    terms: Terms,
    journal: JournalGate,
    /// The room for answers that are read whole.
    kept: Budget,
    /// One permit for each answer of the server with an account.
    account_calls: Arc<Semaphore>,
    /// Tracks the requests that are not over.
    open: TaskTracker,
    /// New work is better sent elsewhere.
    leaving: CancellationToken,
    /// No new work is taken.
    closing: CancellationToken,
    /// Open streams are cut, with an error the client can see.
    cutting: CancellationToken,
}

impl Gateway {
    /// Brings the parts together.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        client: Client,
        spend: Spend,
        usage: Usage,
        access: Access,
        meters: Meters,
        rules: Rules,
    ) -> Arc<Self> {
        let (closing, cutting) = (CancellationToken::new(), CancellationToken::new());
        Arc::new(Self {
            fleet,
            client,
            spend,
            usage,
            access,
            meters,
            rules,
            terms: Terms::default(),
            journal: JournalGate::new(Instant::now()),
            kept: Budget::new(),
            account_calls: Arc::new(Semaphore::new(account::MOST_CALLS)),
            open: TaskTracker::new(),
            leaving: CancellationToken::new(),
            closing,
            cutting,
        })
    }

    /// The fleet.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What is used now.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The accounts and their limits.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// From now on these are the terms of single models, and no others.
    pub fn set_models(&self, terms: impl IntoIterator<Item = ModelTerms>) {
        self.terms.replace(terms);
    }

    /// What holds for this model.
    #[must_use]
    pub fn terms(&self, model: &ModelName) -> Option<ModelTerms> {
        self.terms.of(model)
    }

    /// The shutdown waits for a request that has this.
    pub fn enter(&self) -> TaskTrackerToken {
        self.open.token()
    }

    /// A request has arrived, though nothing of it but its path is known: from here on it is
    /// measured, and counted however it ends.
    #[must_use]
    pub fn arrived(&self, api: Api, id: &HeaderValue, sender: Sender) -> Meter {
        self.meters.arrived(api, id, sender)
    }

    /// Every request of this router, and the last that were.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        self.meters.requests()
    }

    /// What speaks for and against each server now, for a request that was sent to none.
    #[must_use]
    pub fn considered(&self, request: &Request) -> Considered {
        let lease_request = request.model().map(|model| LeaseRequest {
            model: model.clone(),
            api: request.api(),
            arrival: request.serial(),
            deadline: Instant::now(),
            only: Vec::new(),
            within: Vec::new(),
            tried: Vec::new(),
        });
        lease_request
            .map(|request| self.fleet.considered(&request))
            .unwrap_or_default()
    }

    /// The caller who sends this key, or none: called before a body is read.
    ///
    /// # Errors
    /// [`Error::Refused`], when a key is needed and this is none.
    pub fn identify(&self, key: Option<&str>) -> Result<Caller, Error> {
        self.access.identify(key).map_err(Error::Refused)
    }

    /// Runs the rest of an exchange whose client has left. The shutdown waits for it as for any other.
    fn continue_detached(&self, exchange: impl Future<Output = ()> + Send + 'static) {
        // Outside of a runtime everything is being dropped.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.open.spawn_on(exchange, &runtime);
        }
    }

    /// Forgets what was measured of servers that have been removed. Ends when the
    /// shutdown begins.
    pub async fn forget_removed(self: Arc<Self>) {
        let mut removals = self.fleet.removals();
        loop {
            tokio::select! {
                changed = removals.changed() => match changed {
                    Ok(()) => self.forget_now(),
                    Err(_) => return,
                },
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// Forgets what was measured of servers that are not there: a request without a lease may have
    /// ended after its server was removed.
    pub fn forget_now(&self) {
        self.meters.keep_only(&self.fleet.view());
    }

    /// From now on it is not ready, and does what it is asked all the same.
    pub fn announce_close(&self) {
        self.leaving.cancel();
    }

    /// Whether new work should be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.closing.is_cancelled() && !self.leaving.is_cancelled()
    }

    /// Begins nothing by itself any more. Requests are served until [`Gateway::cut`]: that there are no more of them is
    /// seen to by whoever has the connections.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Ends when the shutdown has begun.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Waits until every request is over.
    pub async fn idle(&self) {
        self.open.close();
        self.open.wait().await;
    }

    /// Ends every open stream, and every request that waits, with an error.
    pub fn cut(&self) {
        self.cutting.cancel();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
