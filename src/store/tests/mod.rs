//! One suite for every database: real files and real servers.

mod accounts;
mod audit;
mod contention;
mod endpoint_drains;
mod endpoints;
mod exactly_once;
mod folding;
mod forgetting;
mod instances;
mod migrations;
mod outages;
mod poison;
mod report;
mod sqlite_file;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::domain::{EntityKind, ModelName, TokenCounts};
use herdsman_test_support::sql::{Flavor, Server, shared};

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A migrated database of one test's own.
struct Fixture {
    on: On,
    dir: TempDir,
    database: String,
}

impl Fixture {
    /// With nothing in it.
    fn bare(on: On) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        // The server is that of other processes as well.
        let database = format!("test_{}_{number}", std::process::id());
        let fixture = Self {
            on,
            dir: tempfile::tempdir().unwrap(),
            database,
        };
        if let Some(server) = fixture.server() {
            server.create(&fixture.database);
        }
        fixture
    }

    async fn new(on: On) -> Self {
        let fixture = Self::bare(on);
        fixture.open().await.migrate().await.unwrap();
        fixture
    }

    fn server(&self) -> Option<&'static Server> {
        match self.on {
            On::Sqlite => None,
            On::Postgres => Some(shared(Flavor::Postgres)),
            On::MariaDb => Some(shared(Flavor::MariaDb)),
        }
    }

    fn url(&self) -> String {
        self.server()
            .map(|server| server.url(&self.database))
            .unwrap_or_default()
    }

    /// As another router would.
    async fn open(&self) -> Store {
        Store::open(&self.url(), self.dir.path()).await.unwrap()
    }

    /// As an operator with a client program would.
    fn sql(&self, statement: &str) {
        match self.server() {
            Some(server) => drop(server.sql(&self.database, statement)),
            None => self.file().batch_execute(statement).unwrap(),
        }
    }

    /// The same, for a statement that selects one whole number, called `number`.
    fn number(&self, statement: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        match self.server() {
            Some(server) => server.sql(&self.database, statement).parse().unwrap(),
            None => {
                let row: Row = diesel::sql_query(statement)
                    .get_result(&mut self.file())
                    .unwrap();
                row.number
            }
        }
    }

    fn file(&self) -> SqliteConnection {
        let path = self.dir.path().join(SQLITE_FILE);
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }
}

/// Makes of each function a test for each database.
macro_rules! on_every_database {
    ($($(#[$note:meta])* async fn $name:ident($fixture:ident: &Fixture) $body:block)*) => {
        $(
            $(#[$note])*
            mod $name {
                use super::*;

                async fn test($fixture: &Fixture) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    test(&Fixture::new(On::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    test(&Fixture::new(On::Postgres).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn mariadb() {
                    test(&Fixture::new(On::MariaDb).await).await;
                }
            }
        )*
    };
}

use on_every_database;

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn id(producer: Uuid, seq: u64) -> BatchId {
    BatchId { producer, seq }
}

/// Tokens alone.
fn batch(producer: Uuid, seq: u64, rows: &[(&str, &str, i64, u64)]) -> Arc<SealedBatch> {
    Arc::new(SealedBatch {
        rows: rows
            .iter()
            .map(|&(endpoint, model, minute, input)| BatchRow {
                endpoint: endpoint.into(),
                model: model.into(),
                minute,
                tokens: TokenCounts { input, output: 1 },
            })
            .collect(),
        records: rows.len() as u64,
        ..SealedBatch::empty(id(producer, seq))
    })
}

/// `nano_usd` of one request, charged to a key and its team, with tokens to match.
fn charge(producer: Uuid, seq: u64, key: &str, nano_usd: u64) -> SealedBatch {
    let spent = SpendSums {
        nano_usd,
        input: 10,
        output: 1,
        requests: 1,
    };
    let entities = [(EntityKind::Key, key), (EntityKind::Team, "shepherds")];
    SealedBatch {
        rows: batch(producer, seq, &[("a", "m:latest", 60, 10)])
            .rows
            .clone(),
        spend: entities
            .map(|(kind, entity)| SpendRow {
                kind,
                entity: entity.into(),
                period: 86_400,
                spent,
            })
            .into(),
        daily: entities
            .map(|(kind, entity)| DailyRow {
                kind,
                entity: entity.into(),
                at: 90_000,
                api_key: key.into(),
                model: "m:latest".into(),
                endpoint: "a".into(),
                spent,
                failed_requests: 0,
            })
            .into(),
        records: 1,
        ..SealedBatch::empty(id(producer, seq))
    }
}

/// Writes `batches` without a leader.
async fn apply(store: &Store, batches: &[Arc<SealedBatch>]) -> Result<Applied, Error> {
    let flush = Flush {
        batches,
        ..Flush::default()
    };
    store.apply(flush).await
}

async fn input_total(store: &Store) -> i64 {
    let counts = store.token_counts().await.unwrap();
    counts.iter().map(|row| row.input_tokens).sum()
}
