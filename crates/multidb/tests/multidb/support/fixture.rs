//! Databases behind networks that break, and the client over them.

use std::ops::Index;
use std::time::Duration;

use herdsman_multidb::{DatabaseConfig, DatabaseId, MultiDb, MultiDbConfig};

use super::Tally;
use herdsman_test_support::redis::{Plan, Server};
use herdsman_test_support::{Chaos, eventually};

/// Names of the databases, the heaviest first.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One database: a server and the network before it.
#[derive(Debug)]
pub struct ProxiedServer {
    pub server: Server,
    pub network: Chaos,
}

/// Databases `a`, `b` and so on, each lighter than the one before, and a client over them.
#[derive(Debug)]
pub struct Fixture {
    pub servers: Vec<ProxiedServer>,
    pub db: MultiDb,
}

impl ProxiedServer {
    pub async fn start() -> Self {
        Self::of(Plan::new().durable().start().await).await
    }

    pub async fn of(server: Server) -> Self {
        let network = Chaos::in_front_of(server.port()).await;
        Self { server, network }
    }

    pub async fn start_many(n: usize) -> Vec<Self> {
        let mut servers = Vec::new();
        for _ in 0..n {
            servers.push(Self::start().await);
        }
        servers
    }

    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig::from_url(self.network.url()).grace_period(Duration::from_secs(1))
    }
}

/// Short intervals, long timeouts: a stalled test machine must not look like a failed
/// database.
pub fn quick(databases: impl IntoIterator<Item = DatabaseConfig>) -> MultiDbConfig {
    MultiDbConfig::new(databases)
        .response_timeout(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(2))
        .health_check_interval(Duration::from_millis(200))
        .health_check_probes(1)
        .health_check_delay(Duration::ZERO)
        .auto_fallback_interval(None)
}

impl Fixture {
    /// `n` databases with quick settings and no fallback.
    pub async fn of(n: usize) -> Self {
        Self::with(n, |config| config).await
    }

    /// The same, with other settings.
    pub async fn with(n: usize, change: impl FnOnce(MultiDbConfig) -> MultiDbConfig) -> Self {
        Self::over(ProxiedServer::start_many(n).await, change).await
    }

    /// Over these databases.
    pub async fn over(
        servers: Vec<ProxiedServer>,
        change: impl FnOnce(MultiDbConfig) -> MultiDbConfig,
    ) -> Self {
        let databases = NAMES
            .iter()
            .zip(&servers)
            .zip(1_u8..)
            .map(|((name, proxied), i)| proxied.config().name(*name).weight(1.0 / f64::from(i)));
        let config = change(quick(databases));
        let db = MultiDb::connect(config).await.expect("a client");
        Self { servers, db }
    }

    /// The id of a database, by its name.
    pub fn id(&self, name: &str) -> DatabaseId {
        let status = self.db.status();
        let mut databases = status.databases.iter();
        let found = databases.find(|status| &*status.database.name == name);
        found.expect(name).database.id
    }

    /// The name of the active database, empty when there is none.
    pub fn active(&self) -> String {
        let status = self.db.status();
        let active = status.active();
        active.map_or(String::new(), |active| active.database.name.to_string())
    }

    pub async fn until_active(&self, name: &str) {
        eventually(&format!("{name} is active"), async || self.active() == name).await;
    }

    /// Every acknowledged count is there, and no count that was not asked for.
    pub async fn check_counts(&self, tally: &Tally) {
        tally
            .check(
                &self
                    .servers
                    .iter()
                    .map(|proxied| &proxied.server)
                    .collect::<Vec<_>>(),
            )
            .await;
    }

    /// The client ends, and leaves no connection behind.
    pub async fn finish(self) {
        self.db.close().await;
        for (i, proxied) in self.servers.iter().enumerate() {
            eventually(
                &format!("no connection to {} is left", NAMES[i]),
                async || proxied.network.open() == 0,
            )
            .await;
        }
    }
}

impl Index<usize> for Fixture {
    type Output = ProxiedServer;

    fn index(&self, i: usize) -> &ProxiedServer {
        &self.servers[i]
    }
}
