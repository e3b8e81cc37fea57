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
pub struct Stand {
    pub server: Server,
    pub network: Chaos,
}

/// Databases `a`, `b` and so on, each lighter than the one before, and a client over them.
#[derive(Debug)]
pub struct Stage {
    pub stands: Vec<Stand>,
    pub db: MultiDb,
}

impl Stand {
    pub async fn start() -> Self {
        Self::of(Plan::new().durable().start().await).await
    }

    pub async fn of(server: Server) -> Self {
        let network = Chaos::before(server.port()).await;
        Self { server, network }
    }

    pub async fn row(n: usize) -> Vec<Self> {
        let mut stands = Vec::new();
        for _ in 0..n {
            stands.push(Self::start().await);
        }
        stands
    }

    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig::from_url(self.network.url()).grace_period(Duration::from_secs(1))
    }
}

/// Quick to decide, slow to lose patience: a stalled test machine must not look like a dead
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

impl Stage {
    /// `n` databases with quick settings and no fallback.
    pub async fn of(n: usize) -> Self {
        Self::with(n, |config| config).await
    }

    /// The same, with other settings.
    pub async fn with(n: usize, change: impl FnOnce(MultiDbConfig) -> MultiDbConfig) -> Self {
        Self::over(Stand::row(n).await, change).await
    }

    /// Over these databases.
    pub async fn over(
        stands: Vec<Stand>,
        change: impl FnOnce(MultiDbConfig) -> MultiDbConfig,
    ) -> Self {
        let databases = NAMES
            .iter()
            .zip(&stands)
            .zip(1_u8..)
            .map(|((name, stand), i)| stand.config().name(*name).weight(1.0 / f64::from(i)));
        let config = change(quick(databases));
        let db = MultiDb::connect(config).await.expect("a client");
        Self { stands, db }
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
    pub async fn settles(&self, tally: &Tally) {
        tally
            .check(
                &self
                    .stands
                    .iter()
                    .map(|stand| &stand.server)
                    .collect::<Vec<_>>(),
            )
            .await;
    }

    /// The client ends, and leaves no connection behind.
    pub async fn finish(self) {
        self.db.close().await;
        for (i, stand) in self.stands.iter().enumerate() {
            eventually(
                &format!("no connection to {} is left", NAMES[i]),
                async || stand.network.open() == 0,
            )
            .await;
        }
    }
}

impl Index<usize> for Stage {
    type Output = Stand;

    fn index(&self, i: usize) -> &Stand {
        &self.stands[i]
    }
}
