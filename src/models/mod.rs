//! Which models the servers have, changed over the whole fleet: pull, push, create, copy, delete, and the blobs
//! that models are created from.
//!
//! Owns which servers a call is for ([`targets`]), the calls that take long, each with its readers ([`jobs`]), how
//! the progress of several servers becomes that of one ([`merge`]), and where the blobs of a model go ([`places`]).
//! No call takes a slot or a connection of inference. It must not know how inference is routed, who calls, or
//! what an error looks like in HTTP.
//!
//! It fails in parts: a server that fails is named, and what worked on the others stays. A call is never
//! half told: it ends with one `success` or one error.

mod blobs;
mod candidates;
mod each;
mod error;
mod files;
mod follow;
mod jobs;
mod merge;
mod meters;
mod mirrored;
mod ongoing;
mod outcome;
mod places;
mod reader;
mod run;
mod shown;
mod start;
mod targets;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use blobs::Uploaded;
pub use error::Error;
pub use meters::Meters;
pub use ongoing::Ongoing;
pub use shown::{PartShown, PullShown};
pub use start::Asked;
pub use targets::{LeftOut, Meant, Spread};

use crate::fleet::Fleet;
use crate::mirror::Mirror;
use crate::supervision::{Backoff, RestartPolicy, StartError};
use crate::upstream::Client;
use run::Means;
use turns::Turns;

/// Neither actor holds what is expensive to rebuild, and clients wait for both.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// How models are managed.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which servers get a model.
    pub spread: Spread,
    /// How long a server may say nothing.
    pub silence: Duration,
}

/// The interface. Clones share one state.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    means: Means,
    jobs: jobs::Handle,
    places: places::Handle,
    spread: ArcSwap<Spread>,
    /// One permit for each copy and delete that runs.
    changes: Arc<Semaphore>,
    /// Likewise for each blob that is being uploaded.
    uploads: Semaphore,
    /// No new call is taken.
    closing: CancellationToken,
    /// Tracks the calls that are not over.
    open: TaskTracker,
}

// === impl Models ===

impl Models {
    /// Starts it.
    ///
    /// # Errors
    /// When the actors cannot be started.
    pub async fn start(
        rules: Rules,
        fleet: Fleet,
        client: Client,
        meters: Meters,
        mirror: Option<Mirror>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let means = Means {
            fleet,
            client,
            mirror,
            tracker: tracker.clone(),
            silence: rules.silence,
            cutting: CancellationToken::new(),
            meters,
            turns: Turns::default(),
        };
        let closing = CancellationToken::new();
        let meters = means.meters.clone();
        tracker.spawn(meters.forget_removed(means.fleet.clone(), closing.clone()));
        let open = TaskTracker::new();
        let jobs = jobs::Handle::start(RESTARTS, means.clone(), open.clone(), tracker.clone());
        let places = places::Handle::start(RESTARTS, tracker.clone());
        Ok(Self(Arc::new(Inner {
            means,
            jobs: jobs.await?,
            places: places.await?,
            spread: ArcSwap::from_pointee(rules.spread),
            changes: Arc::new(Semaphore::new(each::MOST_RUNNING)),
            uploads: Semaphore::new(blobs::MOST_UPLOADS),
            closing,
            open,
        })))
    }

    /// From now on so many servers get a model.
    pub fn set_spread(&self, spread: Spread) {
        self.0.spread.store(Arc::new(spread));
    }

    /// Takes no new call.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Waits until every call is over.
    pub async fn idle(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }

    /// Ends every call, with an error that its client can see.
    pub fn cut(&self) {
        self.0.means.cutting.cancel();
    }

    /// Kills the actor of the calls as a panic would. For fault injection.
    pub fn kill_jobs(&self) {
        self.0.jobs.kill();
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.0.closing.is_cancelled() {
            true => Err(Error::closing()),
            false => Ok(()),
        }
    }

    /// Does it to its end, whether or not the client waits for it.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.0.open.spawn(work).await;
        done.map_err(|_| Error::interrupted())
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models")
            .field("spread", &self.0.spread)
            .finish_non_exhaustive()
    }
}
