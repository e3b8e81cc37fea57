//! A stage: one database, one Redis, and routers' pipelines over both, each with a runtime of its own
//! so that it can be ended as a process is.

mod bill;
mod books;
mod database;
mod process;
mod router;
mod stage;

pub use bill::record;
pub use books::{Books, DaySums, Posting};
pub use database::{Database, On};
pub use process::{OF_A_LIFE, Process, be_a_router};
pub use router::{Plan, Router};
pub use stage::Stage;

use std::time::Duration;

use herdsman::store::Error;
use tokio::time::{Instant, sleep};

/// For what takes as long as it takes.
pub const SOON: Duration = Duration::from_secs(60);

/// No machine is slower than this, and a test is ended after two minutes without saying why.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `holds`. For what can only be seen by asking again.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    // Where a slow test spends its time is seen without a debugger.
    println!("{what}: after {:?}", began.elapsed());
}

/// What the test itself asks a database is asked until it answers: the product has bounds on how long
/// it waits for one, and a busy machine may be beyond them.
pub async fn looked<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}
