//! Who has registered: agents of servers, workers of DB-GPT, and the routers that share the database.
//!
//! Owns the view of all registrations, this router's own registration, and the way in which a registration is written. They are
//! rows of the database ([`Store::instances`]), so it does not matter which router somebody registers with;
//! an actor reads them every second, and soon after one was entered or ended here ([`readings`]). It must not know what a server is
//! used for: which of those that registered are in the fleet is the inventory's.
//!
//! It fails into the last view. While the database is away or this router stands still, and for one term after that,
//! whoever was there counts as there: nobody could renew anything, and whether a server answers is found out by its probes. Whoever registers
//! meanwhile is told to come again; no call waits longer than [`CHANGE`], and one at a time is under way, so
//! that registrations never take both of the connections that write.

mod actor;
mod claim;
mod message;
mod readings;
mod refused;
mod state;
mod view;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use claim::{Occupied, claim};
pub use refused::Refused;
pub use state::Registered;
pub use view::{RouterFacts, View};

use crate::store::{Error, InstanceKey, InstanceKind, Joined, Joining, Renewed, Store};
use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{RegistrarActor, Setup};
use message::Message;

/// How long the registration of an agent and of a router holds; each renews it three times in it.
pub const TERM: Duration = Duration::from_secs(10);
/// How often agents and routers renew theirs, before jitter.
pub const RENEWAL: Duration = Duration::from_secs(3);
/// How long that of a worker of DB-GPT holds, which renews it every 20 s.
pub const WORKER_TERM: Duration = Duration::from_secs(60);
/// How long a call waits for the database.
const CHANGE: Duration = Duration::from_secs(3);
/// How often a change is tried again when another came first.
const ATTEMPTS: usize = 3;
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// This router, among those that share the database.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id of its data folder, which one process has at a time.
    pub folder: String,
    /// This run of it.
    pub run: Arc<str>,
    /// What it says of itself.
    pub facts: RouterFacts,
}

/// The way to the registrations. Clones share it.
#[derive(Clone, Debug)]
pub struct Registrar {
    store: Store,
    view: Arc<ArcSwap<View>>,
    servers: watch::Receiver<Arc<[Registered]>>,
    mailbox: Mailbox<Message>,
    supervisor: Arc<Supervisor>,
    /// One change is under way.
    turn: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Identity {
    /// Its registration.
    fn joining(&self) -> Joining {
        Joining {
            key: self.key(),
            url: String::new(),
            run: self.run.to_string(),
            lease_ms: millis(TERM),
            facts: serde_json::to_string(&self.facts).unwrap_or_default(),
        }
    }

    fn key(&self) -> InstanceKey {
        InstanceKey {
            kind: InstanceKind::Router,
            name: self.folder.clone(),
            host: String::new(),
            port: 0,
        }
    }
}

impl Registrar {
    /// Reads the registrations from now on, and keeps this router's own.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        identity: Identity,
        store: Store,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let view = Arc::new(ArcSwap::from_pointee(View::new(identity.clone())));
        let (sender, servers) = watch::channel(Arc::from([]));
        let mailbox = Mailbox::new();
        let setup = Setup {
            identity,
            view: Arc::clone(&view),
            servers: Arc::new(sender),
            store: store.clone(),
        };
        let child = Child::new::<RegistrarActor>("registrar", &mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker.clone(), vec![child]).await?;
        Ok(Self {
            store,
            view,
            servers,
            mailbox,
            supervisor: Arc::new(supervisor),
            turn: Arc::new(Semaphore::new(1)),
            tasks: tracker,
        })
    }

    /// Everybody who has registered, as last read.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The servers of the agents that are there, and whenever they change.
    #[must_use]
    pub fn servers(&self) -> watch::Receiver<Arc<[Registered]>> {
        self.servers.clone()
    }

    /// Registers, or renews if it is registered already.
    ///
    /// # Errors
    /// [`Refused`], when it is not known to have been done.
    pub async fn join(&self, joining: Joining) -> Result<Joined, Refused> {
        let joined = self.change(true, move |store| {
            let joining = joining.clone();
            async move { store.join_instance(&joining).await }
        });
        joined.await
    }

    /// Renews the registration of this incarnation; a lease of zero ends it.
    ///
    /// # Errors
    /// [`Refused`], when it is not known to have been done.
    pub async fn renew(&self, joined: Joining, incarnation: i64) -> Result<Renewed, Refused> {
        let ends = joined.lease_ms <= 0;
        let renewed = self.change(ends, move |store| {
            let joined = joined.clone();
            async move { store.renew_instance(&joined, incarnation).await }
        });
        renewed.await
    }

    /// The heartbeat of one who knows no incarnations.
    ///
    /// # Errors
    /// [`Refused`], when it is not known to have been done.
    pub async fn beat(&self, joining: Joining) -> Result<Joined, Refused> {
        let is_new = !self.view.load().has(&joining.key);
        let beaten = self.change(is_new, move |store| {
            let joining = joining.clone();
            async move { store.beat_instance(&joining).await }
        });
        beaten.await
    }

    /// Ends the registration of one who knows no incarnations: it is shown as stopped, or not any more.
    ///
    /// # Errors
    /// [`Refused`], when it is not known to have been done.
    pub async fn leave(&self, key: InstanceKey, remove: bool) -> Result<(), Refused> {
        let left = self.change(true, move |store| {
            let key = key.clone();
            async move {
                match remove {
                    true => store.remove_instance(&key).await.map(drop),
                    false => store.stop_instance(&key).await.map(drop),
                }
            }
        });
        left.await
    }

    /// Does it to its end, whether or not the caller waits so long. `shows`: everybody is to see it then, and not
    /// with the next reading.
    async fn change<T, F>(
        &self,
        shows: bool,
        work: impl Fn(Store) -> F + Send + Sync + 'static,
    ) -> Result<T, Refused>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let turn = timeout(CHANGE, Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Refused::Busy);
        };
        let (store, mailbox) = (self.store.clone(), self.mailbox.clone());
        let work = self.tasks.spawn(async move {
            let mut done = work(store.clone()).await;
            for _ in 1..ATTEMPTS {
                if matches!(done, Err(Error::Contended(_))) {
                    done = work(store.clone()).await;
                }
            }
            drop(turn);
            // What the database refuses says nothing against the database.
            match &done {
                Err(Error::Unavailable(_)) => drop(mailbox.cast(Message::Failed)),
                _ if shows => drop(mailbox.cast(Message::Changed)),
                _ => {}
            }
            done
        });
        match timeout(CHANGE, work).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(_)) | Err(_) => Err(Refused::Busy),
        }
    }

    /// Ends this router's registration, and reads nothing any more.
    pub async fn stop(&self) {
        let left = self.mailbox.call(Message::Leave);
        drop(timeout(CHANGE, left).await);
        self.supervisor.stop().await;
    }
}

/// A duration as the database counts it.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
