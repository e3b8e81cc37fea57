//! Which models are loaded, and who may use them: Ollama's scheduler.
//!
//! A request for a loaded model with the same options never enters a queue here: it joins the
//! runner by one atomic step and waits for a slot, in order and without a bound. Every other
//! request goes into one bounded queue, and one task loads for all of them, one after another; that
//! is how a hot model stays quick beside a slow load, and how one slow load blocks all cold
//! requests. Only that task changes what is loaded. It knows nothing of HTTP. A client that leaves
//! is a dropped future; the load is aborted when its first requester leaves.

mod decide;
mod lease;
mod loader;
mod runner;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::name::ModelName;

use super::catalogue::Entry;
use super::clock::Clock;
use super::counters::Totals;
use super::fault::Plan;
use super::{Config, go};

pub use lease::Lease;
pub use runner::Runner;
pub use signature::Signature;

use loader::Loader;

/// How long a runner stays when idle: nanoseconds, [`KeepAlive::FOREVER`] and 0 included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeepAlive(pub i64);

impl KeepAlive {
    /// What a negative `keep_alive` means.
    pub const FOREVER: Self = Self(i64::MAX);

    /// Seconds, as a number says it.
    pub fn seconds(seconds: f64) -> Self {
        if seconds < 0.0 {
            return Self::FOREVER;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` saturates, which is for ever"
        )]
        Self((seconds * 1e9) as i64)
    }

    /// A duration, as a string says it.
    pub fn text(text: &str) -> Option<Self> {
        let nanos = go::parse_duration(text)?;
        Some(if nanos < 0 {
            Self::FOREVER
        } else {
            Self(nanos)
        })
    }
}

impl From<Duration> for KeepAlive {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Why a request gets no runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full.
    Busy,
    /// The load failed.
    LoadFailed,
    /// The server is stopping.
    Closed,
}

/// What a request wants of a model.
pub struct Want {
    pub entry: Arc<Entry>,
    pub signature: Signature,
    pub keep_alive: Option<KeepAlive>,
}

/// A cold request on its way to the loader.
struct LoadRequest {
    want: Want,
    reply: oneshot::Sender<Result<Lease, Refusal>>,
}

/// What the loader is told beside its queue.
enum Command {
    /// A runner may be due earlier than the last check found.
    Recheck,
    /// Unload as soon as it has no user; acknowledged when it has been noted.
    Unload(ModelName, oneshot::Sender<()>),
    /// Unload everything, the busy ones when they are done.
    UnloadAll,
    /// As after a restart: nothing is loaded, no request waits.
    Clear(oneshot::Sender<()>),
}

/// The loaded runners, oldest first.
type Loaded = Arc<ArcSwap<Vec<Arc<Runner>>>>;

/// The handle, cheap to call from any request.
pub struct Scheduler {
    loaded: Loaded,
    queue: mpsc::Sender<LoadRequest>,
    commands: mpsc::UnboundedSender<Command>,
    totals: Arc<Totals>,
}

impl Scheduler {
    /// Starts the loader on `tracker`; it ends with `stop`.
    pub fn start(
        config: &Arc<Config>,
        clock: Clock,
        faults: &Arc<Plan>,
        totals: &Arc<Totals>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let loaded = Loaded::default();
        let (queue, requests) = mpsc::channel(config.max_queue.max(1));
        let (commands, inbox) = mpsc::unbounded_channel();
        let loader = Loader::new(
            config.clone(),
            clock,
            faults.clone(),
            totals.clone(),
            loaded.clone(),
            commands.clone(),
            inbox,
        );
        tracker.spawn(loader.run(requests, stop));
        Self {
            loaded,
            queue,
            commands,
            totals: totals.clone(),
        }
    }

    /// A lease of a runner that fits, loaded now if need be. Dropping the future gives the place
    /// in the queue back, and aborts the load if it was the first for it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn lease(&self, mut want: Want) -> Result<Lease, Refusal> {
        want.entry = self.loaded_as(want.entry);
        if let Some(lease) = self.hot(&want) {
            return Ok(lease);
        }
        let _waiting = self.totals.waiting.hold();
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(LoadRequest { want, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Refusal::Busy,
                mpsc::error::TrySendError::Closed(_) => Refusal::Closed,
            })?;
        answer.await.unwrap_or(Err(Refusal::Closed))
    }

    fn hot(&self, want: &Want) -> Option<Lease> {
        let loaded = self.loaded.load();
        let runner = loaded
            .iter()
            .find(|runner| runner.name() == &want.entry.name)?;
        if *runner.signature() != want.signature {
            return None;
        }
        Lease::join(runner, want.keep_alive)
    }

    /// The model whose runner serves this one: names with the same weights share one, which has the name that
    /// it was loaded under.
    pub fn loaded_as(&self, entry: Arc<Entry>) -> Arc<Entry> {
        let loaded = self.loaded.load();
        let is_itself = |runner: &Arc<Runner>| *runner.name() == entry.name;
        let shares = |runner: &&Arc<Runner>| runner.entry().digest == entry.digest;
        match loaded.iter().find(shares) {
            Some(runner) if !loaded.iter().any(is_itself) => runner.entry().clone(),
            _ => entry,
        }
    }

    /// The loaded runners.
    pub fn loaded(&self) -> Arc<Vec<Arc<Runner>>> {
        self.loaded.load_full()
    }

    /// Unloads a model when its last request is done.
    pub async fn unload(&self, name: &ModelName) {
        let (noted, done) = oneshot::channel();
        if self
            .commands
            .send(Command::Unload(name.clone(), noted))
            .is_ok()
        {
            // A loader that is gone has unloaded everything.
            let _ = done.await;
        }
    }

    /// Unloads everything when the last requests are done.
    pub fn unload_all(&self) {
        // A loader that is gone has nothing loaded.
        let _ = self.commands.send(Command::UnloadAll);
    }

    /// Clears everything, as after a restart.
    pub async fn clear(&self) {
        let (noted, done) = oneshot::channel();
        if self.commands.send(Command::Clear(noted)).is_ok() {
            let _ = done.await;
        }
    }
}
