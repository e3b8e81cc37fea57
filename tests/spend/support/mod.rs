//! A fixture: one database, one Redis, and routers' pipelines over both, each with a runtime of its own
//! so that it can be ended as a process is.

mod database;
mod fixture;
mod known_record;
mod process;
mod router;
mod tables;

pub use database::{Database, On};
pub use fixture::Fixture;
pub use known_record::record;
pub use process::{Process, RECORDS_PER_RUN, run_router_process};
pub use router::{Plan, Router};
pub use tables::{DaySums, Posting, Tables};

use std::time::Duration;

use herdsman::store::Error;
use tokio::time::{Instant, sleep};

/// For what takes as long as it takes.
pub const SOON: Duration = Duration::from_secs(60);

/// No machine is slower than this, and a test is ended after two minutes without saying why.
const TEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Waits until `holds`. For what can only be seen by asking again.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < TEST_TIMEOUT, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    // Where a slow test spends its time is seen without a debugger.
    println!("{what}: after {:?}", began.elapsed());
}

/// What the test itself asks a database is asked until it answers: the product has bounds on how long
/// it waits for one, and a busy machine may be beyond them.
pub async fn retried<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}
