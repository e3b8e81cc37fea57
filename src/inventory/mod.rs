//! Which servers there should be, and who says so.
//!
//! Owns the one list of wanted servers: those of the configuration, those that operators added while
//! routers ran, those whose agents have registered, those that were found, and what operators keep new requests from. What
//! operators say is kept in the database and read again and again, so that what is said to one router reaches all that share it. An actor merges them into one
//! [`Desired`](crate::fleet::Desired) and applies it; nobody else does. Of two that are the same server, the
//! configuration's counts, then the one that was added, then the one that was registered first; one that is named by its host here
//! and by its address there is found out by look-ups that nobody waits for ([`names`]).
//!
//! It must not know whether a server is up, nor any request: no request waits for it.
//!
//! It fails into what was known. With the database away the servers of the configuration serve, and those
//! that were read before; a change that has to be kept is refused. Restarted, the actor goes on with the list it
//! had, reads the database, and applies both.

mod actor;
mod change;
mod entry;
mod found;
mod held;
mod hold;
mod message;
mod names;
mod refused;
mod registered;
mod resolve;
mod row;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use change::Change;
pub use entry::{Entry, Source};
pub use found::Found;
pub use refused::Refused;
pub use registered::registered_endpoint;
pub use spec::{InvalidEndpoint, desired};

use crate::clock;
use crate::config::{Endpoint, Slots};
use crate::fleet::{Applied, Fleet};
use crate::registrar::Registered;
use crate::store::{self, Ended, MAX_DRAINS, Saved, Store};
use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{InventoryActor, Setup};
use change::Step;
use message::Message;
use state::Wanted;

/// It changes seldom, and nothing waits for it but operators.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};
/// How often a change is tried again when another change of the same server came first.
const ATTEMPTS: usize = 5;
/// How long the start waits for the servers that were added. Without them those of the configuration serve.
const FIRST_READ: Duration = Duration::from_secs(2);

/// What is wanted at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers of the configuration.
    pub configured: Vec<Endpoint>,
    /// The slots of those that do not say.
    pub slots: Slots,
    /// Where this router listens: it is not its own server.
    pub listen: SocketAddr,
    /// This router, as the others know it.
    pub router: String,
    /// Servers whose agents have registered.
    pub registered: Option<watch::Receiver<Arc<[Registered]>>>,
}

/// The way to the list of wanted servers. Clones share it.
#[derive(Clone, Debug)]
pub struct Inventory {
    wanted: Arc<ArcSwap<Wanted>>,
    /// Nothing is kept without it.
    store: Option<Store>,
    /// This router, as the others know it.
    router: Arc<str>,
    tasks: TaskTracker,
    mailbox: Mailbox<Message>,
    supervisor: Arc<Supervisor>,
}

impl Inventory {
    /// Goes on with a fleet that has the servers of the configuration. Without a store servers can be added
    /// all the same, until the end of the program. Returns when those that are stored are in the fleet, or
    /// when that takes too long: then they come later.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        options: Options,
        fleet: Fleet,
        store: Option<Store>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let wanted = Arc::new(ArcSwap::from_pointee(Wanted::new(
            options.configured,
            options.slots,
            options.listen,
        )));
        let mailbox = Mailbox::new();
        let setup = Setup {
            wanted: Arc::clone(&wanted),
            store: store.clone(),
            fleet,
            registered: options.registered,
        };
        let child = Child::new::<InventoryActor>("inventory", &mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker.clone(), vec![child]).await?;
        let inventory = Self {
            wanted,
            store,
            router: options.router.into(),
            tasks: tracker,
            mailbox,
            supervisor: Arc::new(supervisor),
        };
        let read = async {
            inventory.end_drains().await;
            inventory.refresh().await;
        };
        if timeout(FIRST_READ, read).await.is_err() {
            tracing::warn!(
                "servers that were added are not read yet: those of the configuration serve"
            );
        }
        Ok(inventory)
    }

    /// Another router has changed something. Returns when the fleet shows it, or when the database does not say.
    pub async fn changed(&self) {
        drop(timeout(FIRST_READ, self.refresh()).await);
    }

    /// All that are wanted, in the order in which they are shown.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.wanted.load().entries()
    }

    /// The one of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Entry> {
        let entries = self.entries();
        entries
            .into_iter()
            .find(|entry| entry.endpoint.name == name)
    }

    /// Where the router listens, once that is known.
    pub fn listens_at(&self, address: SocketAddr) {
        self.mailbox.cast(Message::Listening(address));
    }

    /// The servers of the configuration, from this moment on. What operators keep from servers of the file, or from
    /// some that were found, ends, unless other routers share it.
    ///
    /// # Errors
    /// [`InvalidEndpoint`], when one of them cannot be used: then nothing is changed.
    pub async fn configure(
        &self,
        configured: Vec<Endpoint>,
        slots: Slots,
    ) -> Result<Applied, InvalidEndpoint> {
        spec::desired(&configured, slots)?;
        let ends_holds = self.store.is_none();
        if !ends_holds {
            // Nobody waits long for a database that is slow: they end when it has done it.
            drop(timeout(FIRST_READ, self.end_drains()).await);
            drop(timeout(FIRST_READ, self.refresh()).await);
        }
        let applied = self.mailbox.call(|reply| Message::Configure {
            configured,
            slots,
            ends_holds,
            reply,
        });
        // Without a reply the actor is being restarted, and applies what there is.
        Ok(applied.await.unwrap_or_default())
    }

    /// What was found, all of it, in place of what was found before. `None`: say it again, it may be lost.
    pub async fn set_found(&self, found: Arc<[Found]>) -> Option<Applied> {
        let applied = self.mailbox.call(|reply| Message::Found { found, reply });
        applied.await
    }

    /// Makes the change, keeps it where it has to be kept, and returns when the fleet shows it.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// [`Refused`], the reason why it was not made.
    pub async fn change(&self, change: Change) -> Result<(), Refused> {
        if let Change::Add(endpoint) | Change::Set { endpoint, .. } = &change {
            // What can be seen without looking up a name is said first.
            self.wanted.load().plan(&change, clock::unix_seconds())?;
            resolve::check(&self.wanted.load_full(), endpoint).await?;
        }
        for _ in 0..ATTEMPTS {
            let now = clock::unix_seconds();
            let step = self.wanted.load().plan(&change, now)?;
            let Some(step) = self.keep(step, now).await? else {
                self.refresh().await;
                continue;
            };
            let alone = matches!(step, Step::Hold { is_kept: false, .. });
            let is_kept = !alone && self.store.is_some();
            let done = self.mailbox.call(|reply| Message::Do { step, reply }).await;
            // What is kept is found by the actor's successor.
            return match done.is_some() || is_kept {
                true => Ok(()),
                false => Err(Refused::Restarting),
            };
        }
        match change {
            // Whatever was in its way and is understood would have been named by now.
            Change::Add(_) => Err(Refused::NotUnderstood),
            _ => Err(Refused::Contended),
        }
    }

    /// Writes it down, if that is needed. `None`: somebody else made a change first.
    async fn keep(&self, step: Step, now: i64) -> Result<Option<Step>, Refused> {
        let Some(store) = &self.store else {
            return match step {
                Step::Remove { name, is_known } if !is_known => Err(Refused::Missing(name)),
                step => Ok(Some(step)),
            };
        };
        match step {
            Step::Hold {
                name,
                lasting,
                before,
                drain,
                ..
            } => {
                let change = hold::change(&name, lasting, &before, &drain);
                let is_kept = match store.change_drains(&change, now).await {
                    Ok(true) => true,
                    Ok(false) => return Err(Refused::TooManyDrains(MAX_DRAINS)),
                    Err(store::Error::Unavailable(_)) => false,
                    Err(error) => return Err(error.into()),
                };
                if !is_kept {
                    tracing::warn!(
                        name,
                        "drained or resumed here alone until the database answers"
                    );
                }
                Ok(Some(Step::Hold {
                    name,
                    lasting,
                    before,
                    drain,
                    is_kept,
                }))
            }
            Step::Put { added, before } => {
                match store.save_endpoint(&row::of(&added), before, now).await? {
                    Saved::As(version) => Ok(Some(Step::Put {
                        added: Box::new(added.with_version(version)),
                        before,
                    })),
                    Saved::Stale | Saved::Lacks(..) => Ok(None),
                }
            }
            Step::Remove { name, is_known } => {
                if !store.delete_endpoint(&name).await? && !is_known {
                    return Err(Refused::Missing(name));
                }
                Ok(Some(Step::Remove { name, is_known }))
            }
        }
    }

    /// What operators keep from servers of the file and from some that were found holds until all routers that share it
    /// have been started or configured anew.
    async fn end_drains(&self) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let router = Arc::clone(&self.router);
        let ended = self
            .tasks
            .spawn(async move { store.end_drains(&router).await });
        match ended.await {
            Ok(Ok(Ended { names, stay: false })) => say_ended(&names),
            Ok(Ok(Ended { names, stay: true })) => {
                tracing::info!(?names, "drains go on: other routers have them too");
            }
            Ok(Err(error)) => tracing::warn!(%error, "drains go on until the database answers"),
            // The program ends.
            Err(_) => {}
        }
    }

    /// Reads what is stored; returns when the fleet has it, or when it cannot be read now.
    async fn refresh(&self) {
        self.mailbox.call(Message::Refresh).await;
    }

    /// Changes nothing any more.
    pub async fn stop(&self) {
        self.supervisor.stop().await;
    }
}

/// A log that is rotated has the configuration read again as well, so nobody is to find this out by the requests that come.
fn say_ended(ended: &[String]) {
    if !ended.is_empty() {
        tracing::warn!(?ended, "the configuration is read again: drains have ended");
    }
}
