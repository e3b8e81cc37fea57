//! Whether this router may use the database beside those that do.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::Identity;
use super::state::{GRACE, described, stranger};
use crate::store::{Error, Joined, Joining, MAX_ROUTERS, Store};

/// How long a database that is away may keep the start waiting.
const ANSWER: Duration = Duration::from_secs(3);
/// How often one is looked at that may be gone.
const LOOK: Duration = Duration::from_millis(250);

/// Why this router may not use the database.
#[derive(Debug, Error)]
pub enum Occupied {
    /// Another router uses it, and the two would account apart.
    #[error(
        "another router uses this database: {0}. Limits and budgets of several routers are accounted for in Redis, and \
         without [redis] on all of them each would count for itself. Give every router the same [redis] databases, or \
         this one a store.url of its own"
    )]
    Apart(String),
    /// So many share it.
    #[error(
        "{MAX_ROUTERS} routers share this database, and that is the most there may be. One that has ended without a word \
         counts for ten seconds"
    )]
    Full,
}

/// Registers this router, unless another is there that accounts apart, or too many are. One that died leaves its registration
/// for its term at most, so one that is not renewed is waited for that long. A database that is away refuses
/// nobody.
///
/// # Errors
/// [`Occupied`], when another is there.
pub async fn claim(store: &Store, identity: &Identity) -> Result<(), Occupied> {
    let until = Instant::now() + GRACE;
    let mut seen = None;
    let mut registered = false;
    loop {
        let Some(Ok(rows)) = answered(Box::pin(store.instances())).await else {
            return Ok(());
        };
        let other = stranger(&rows, identity);
        match other {
            None if registered => return Ok(()),
            None => {
                // Then once more: another may have done the same at this moment.
                let joining = identity.joining();
                match answered(Box::pin(store.join_instance(&joining))).await {
                    Some(Ok(Joined::Full)) => return Err(Occupied::Full),
                    Some(Ok(_)) => registered = true,
                    _ => return Ok(()),
                }
                continue;
            }
            // Of two that start at once one stays.
            Some(other) if registered && identity.folder < other.key.name => return Ok(()),
            Some(other) => {
                let renewed = seen.is_some_and(|seen| seen != other.seen_at);
                if registered || renewed || Instant::now() >= until {
                    let other = described(other);
                    if registered {
                        leave(store, identity).await;
                    }
                    return Err(Occupied::Apart(other));
                }
                if seen.is_none() {
                    let other = described(other);
                    tracing::warn!(
                        other,
                        "another router uses this database; if it is gone, its registration ends soon"
                    );
                }
                seen = Some(other.seen_at);
            }
        }
        sleep(LOOK).await;
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, Error>>) -> Option<Result<T, Error>> {
    let answered = timeout(ANSWER, asked).await.ok();
    if !matches!(answered, Some(Ok(_))) {
        tracing::warn!("the database does not say whether another router uses it");
    }
    answered
}

async fn leave(store: &Store, identity: &Identity) {
    let joining: Joining = identity.joining();
    drop(answered(Box::pin(store.remove_instance(&joining.key))).await);
}
