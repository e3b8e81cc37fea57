//! The database: what is kept permanently, and read by people with SQL clients.
//!
//! Owns the connections, the migrations and every SQL statement of the program: one file per table,
//! and `dialect/` is the only place where databases differ. It must not know who counts or
//! why: it receives sealed batches and adds them, each exactly once, however often it receives
//! the same one ([`flush`]).
//!
//! Fails with an [`Error`] that says what can be done about it, never waits without a bound, and
//! never by itself tries again: the caller knows how long it may wait. After a failure the next
//! call starts from a fresh connection, so an outage of any length needs no restart. The one thing
//! it refuses to repair is a database file that is gone: see `sqlite.rs`.

mod accounts;
mod address;
mod audit;
mod batch;
mod daily_spend;
mod date;
mod dead_letters;
mod dialect;
mod endpoint_drains;
mod endpoints;
mod error;
mod flush;
mod flush_leader;
mod footprint;
mod instances;
mod limits;
mod migrations;
mod mysql;
mod offload;
mod pool;
mod postgres;
mod report;
mod schema;
mod server;
mod spend;
mod spend_batches;
mod spend_producers;
mod sqlite;
mod sums;
mod time_series;
mod token_counts;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub(crate) use offload::offload;

pub use accounts::{
    AccountChange, AccountChanges, BudgetKey, Deleted, Precondition, PriceChange, Saved, Stored,
};
pub use audit::{Compared, MAX_DISAGREEMENTS, Progress};
pub use batch::{BatchId, BatchRow, DailyRow, SealedBatch, SpendRow, SpendSums};
pub use daily_spend::{DaySpentRow, OldDay};
pub use date::{Day, InvalidDay};
pub use dead_letters::DeadLetter;
pub use endpoint_drains::{DrainChange, DrainRow, Ended, MAX_DRAINS};
pub use endpoints::EndpointRow;
pub use error::Error;
pub use flush::{Applied, Flush};
pub use flush_leader::Fence;
pub use footprint::Footprint;
pub use instances::{
    InstanceKey, InstanceKind, InstanceRow, Joined, Joining, MAX_INSTANCE_FACTS, MAX_INSTANCE_HOST,
    MAX_INSTANCE_NAME, MAX_INSTANCE_URL, MAX_INSTANCES, MAX_ROUTERS, Renewed,
};
pub use report::{
    Group, MAX_REPORT_ROWS, Measure, Order, OrderBy, ReportRow, Source, SpendQuery, SpendReport,
};
pub use spend::{PeriodRow, SpentRow};
pub use time_series::{MAX_MINUTES, MinuteRow};
pub use token_counts::CountRow;

use dialect::Dialect;
use pool::{Pool, reading};

/// The name of the SQLite file in the data folder.
pub const SQLITE_FILE: &str = "herdsman.db";

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Arc<Pool>,
}

impl Store {
    /// Opens the database `url` names; the empty one is SQLite in `data_dir`, made if absent. A
    /// server is connected to when it is first needed, and may be away now.
    ///
    /// # Errors
    /// When the kind of database is not supported, or the file cannot be used.
    pub async fn open(url: &str, data_dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            pool: Arc::new(Pool::open(url, data_dir).await?),
        })
    }

    /// The database's clock, in Unix milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn clock_ms(&self) -> Result<i64, Error> {
        let now = reading!(self, |conn| clock(conn))?;
        let silent = || Error::Unavailable("the database does not say what time it is".to_owned());
        now.ok_or_else(silent)
    }
}

async fn clock<C: Dialect>(connection: &mut C) -> Result<Option<i64>, Error> {
    let ask = format!("SELECT {} AS number", C::NOW_MS);
    Ok(connection.numbers(&ask, &[]).await?.pop())
}
