//! The composition root: builds everything, and stops it in order.
//!
//! The only module that knows all the others. It decides nothing about requests; it fails only at
//! the start, with an [`Error`] that says what could not be started.

mod build;
mod certificate;
mod error;
mod given;
mod lock;
mod migrate;
mod mirror;
mod redis;
mod reload;
mod sharing;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;

pub use certificate::check;
pub use error::Error;
pub use reload::Reload;

use crate::access::Access;
use crate::cluster::bus::Bus;
use crate::config::{Config, Problem};
use crate::discovery::Discovery;
use crate::fleet::Fleet;
use crate::gateway::{AccessLog, Gateway};
use crate::http::{Admin, Joiners, Managers, Server, Tls};
use crate::inventory::Inventory;
use crate::mirror::Mirror;
use crate::models::Models;
use crate::registrar::Registrar;
use crate::replicas::Replicas;
use crate::spend::{Retention, Spend};
use crate::system::files::raise_limit;
use crate::system::signals::{Event, Signals};
use herdsman_multidb::MultiDb;
use lock::DirLock;

/// How long pending records may take to reach the database at the end. What does not is in the
/// journal, and goes there at the next start.
const LAST_FLUSH: Duration = Duration::from_secs(5);
/// How long clients may take to read the error their cut stream ends with.
const LAST_ERRORS: Duration = Duration::from_secs(2);
/// How long whoever has just been given a connection has to send the first request over it.
const FIRST_REQUESTS: Duration = Duration::from_secs(2);
/// How long probes may take to notice that they are no longer needed.
const LAST_PROBES: Duration = Duration::from_secs(1);

/// A running router.
#[derive(Debug)]
pub struct App {
    server: Server,
    gateway: Arc<Gateway>,
    fleet: Fleet,
    inventory: Inventory,
    registrar: Registrar,
    joiners: Joiners,
    discovery: Discovery,
    replicas: Replicas,
    spend: Spend,
    bus: Bus,
    retention: Retention,
    models: Models,
    mirror: Option<Mirror>,
    access: Access,
    admin: Admin,
    tls: Option<Tls>,
    managers: Managers,
    redis: Option<MultiDb>,
    access_log: Option<AccessLog>,
    grace: Duration,
    lead_in: Duration,
    tracker: TaskTracker,
    _lock: DirLock,
}

/// Where the configuration comes from, to be read again while running.
pub struct Source {
    /// Reads and validates all of it.
    pub read: Box<dyn Fn() -> Result<Config, Vec<Problem>> + Send>,
    /// The file that is part of it; it need not be there.
    pub file: PathBuf,
}

/// Serves until the process is told to stop. What can change while running does so when the process gets
/// SIGHUP, or when the file has changed.
///
/// # Errors
/// [`Error`] when it cannot start.
pub async fn run(config: Config, source: Source) -> Result<(), Error> {
    raise_limit();
    let mut signals = Signals::listen()?;
    let mut certificate = certificate::Certificate::new(&config);
    let mut reload = reload::Reload::new(config.clone(), source);
    let app = App::start(config).await?;
    tracing::info!(address = %app.addr(), "listening");
    let announced = loop {
        tokio::select! {
            event = signals.next() => match event {
                Event::Terminate => break true,
                Event::Interrupt => break false,
                Event::Reload => {
                    app.reopen_log().await;
                    certificate.now(&app);
                    reload.now(&app).await;
                }
            },
            () = reload.changed() => reload.now(&app).await,
            () = certificate.changed() => certificate.now(&app),
        }
    };
    tracing::info!("stopping; a second signal stops at once");
    let stopped = async move {
        if announced {
            app.lead_in().await;
        }
        app.shutdown().await;
    };
    tokio::select! {
        () = stopped => {}
        () = signals.stop() => tracing::warn!("stopped at once; the journal keeps the pending records"),
    }
    Ok(())
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Builds and starts everything; returns when requests are served.
    ///
    /// Boxed: what it awaits is compiled with this library, and not once more with each caller.
    ///
    /// # Errors
    /// [`Error`] when something cannot be started.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Self, Error>> {
        build::build(config).boxed()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The fleet, for fault injection and tests.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The spend counting, for fault injection and tests.
    #[must_use]
    pub fn spend(&self) -> &Spend {
        &self.spend
    }

    /// The access log goes on in the file that has its name now.
    pub async fn reopen_log(&self) {
        if let Some(log) = &self.access_log {
            log.reopen().await;
        }
    }

    /// The calls that manage models, for fault injection and tests.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Where servers get models from, for fault injection and tests.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// Open connections of clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.connections().saturating_sub(1)
    }

    /// Says that it is not ready, and goes on serving until whoever asks that has sent clients elsewhere. Then it
    /// refuses new connections, so that whoever has not asked goes elsewhere as well, and serves what is on its way.
    pub async fn lead_in(&self) {
        self.gateway.announce_close();
        if !self.lead_in.is_zero() {
            tracing::info!(lead_in = ?self.lead_in, "not ready any more; work is still taken");
            sleep(self.lead_in).await;
        }
        self.server.refuse();
        let _ = timeout(FIRST_REQUESTS, self.server.heard()).await;
    }

    /// Stops in the order in which nothing is lost.
    pub async fn shutdown(self) {
        // 1. No more connections; those that are open end after the answer they are sending. A client that asks now is
        //    refused at once, and can ask elsewhere. Nothing is loaded any more.
        self.server.close();
        self.gateway.close();
        self.models.close();
        self.replicas.stop().await;
        // 2. Open streams and requests that wait finish, until the grace is over; then each gets its error.
        let deadline = Instant::now() + self.grace;
        let idle = async {
            // Whatever a connection has brought at this moment is known when the connection has ended, or runs.
            let _ = timeout(LAST_ERRORS, self.server.closed()).await;
            tokio::join!(self.gateway.idle(), self.models.idle())
        };
        if timeout_at(deadline, idle).await.is_err() {
            tracing::warn!(
                connections = self.connections(),
                "grace is over, cutting open streams"
            );
            self.gateway.cut();
            self.models.cut();
            let idle = async { tokio::join!(self.gateway.idle(), self.models.idle()) };
            let _ = timeout(LAST_ERRORS, idle).await;
        }
        self.fleet.leave_slots().await;
        // 3. What clients still have to read.
        let _ = timeout(LAST_ERRORS, self.server.closed()).await;
        // 4. What produces: probes and the fleet's actors, children first.
        self.discovery.stop().await;
        self.inventory.stop().await;
        self.registrar.stop().await;
        self.fleet.stop().await;
        self.bus.stop().await;
        self.retention.stop().await;
        // 5. Pending records: sealed, journaled, flushed.
        if let Err(unflushed) = self.spend.shutdown(Instant::now() + LAST_FLUSH).await {
            tracing::warn!("{unflushed}; they are in the journal until the next start");
        }
        // 6. The connection to the other routers.
        if let Some(redis) = &self.redis {
            let _ = timeout(LAST_PROBES, redis.close()).await;
        }
        if let Some(log) = &self.access_log {
            log.close().await;
        }
        // 7. What still runs in the background holds nothing.
        self.tracker.close();
        let _ = timeout(LAST_PROBES, self.tracker.wait()).await;
        tracing::info!("stopped");
    }
}
