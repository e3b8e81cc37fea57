//! The tables of the database, as this version needs them.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::Error;
use crate::store::{self, Store};
use crate::supervision::Backoff;

/// A database that is away is asked again after half a second, and every ten in the end.
const RETRIES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Makes the tables what this version needs. A server that is away does not keep the router from
/// serving: what is counted is in the journal until it is back, and keys are refused until they can
/// be read.
pub(super) async fn migrate(store: &Store, tracker: &TaskTracker) -> Result<(), Error> {
    match store.migrate().await {
        Ok(_) => return Ok(()),
        Err(away @ store::Error::Unavailable(_)) => {
            tracing::error!(error = %away, "the database is away; starting without it");
        }
        Err(error) => return Err(error.into()),
    }
    let store = store.clone();
    tracker.spawn(async move {
        for failures in 1.. {
            tokio::time::sleep(RETRIES.delay(failures, fastrand::f64())).await;
            match store.migrate().await {
                Ok(migrations) => {
                    tracing::info!(ran = migrations.len(), "the database is available");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the database is not migrated yet"),
            }
        }
    });
    Ok(())
}
