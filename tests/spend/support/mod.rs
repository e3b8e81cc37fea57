//! A stage: one database, one Redis, and routers' pipelines over both, each with a runtime of its own
//! so that it can be ended as a process is.

mod bill;
mod database;
mod router;
mod stage;

pub use bill::{Books, record};
pub use database::{Database, On};
pub use router::{Plan, Router};
pub use stage::Stage;

use std::time::Duration;

/// For what takes as long as it takes.
pub const SOON: Duration = Duration::from_secs(60);
