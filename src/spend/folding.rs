//! Old minutes into days, when an operator asks for it.
//!
//! In many short transactions, each of which leaves every sum as it was: a flush waits for one of them at
//! most, a crash in between leaves some days folded and others not, and nothing is counted twice. One such
//! call runs at a time in a process; several routers may do it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

use crate::store::{CountRow, Error, Store};

/// Days of one model on one endpoint in a transaction: at most so many times 1,440 rows.
const DAYS: usize = 8;
/// Other writers held the rows: so often a transaction is tried again at once.
const MOST_CONTENDED: u32 = 8;

/// Whether minutes are being folded. Clones are about the same process.
#[derive(Clone, Debug, Default)]
pub struct Folding(Arc<AtomicBool>);

/// What is to become of the minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// They become days.
    Trim,
    /// They stay; only the days they are of are counted.
    Count,
}

/// Why it was not done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Another call does it.
    #[error("minutes are being folded into days already")]
    Busy,
    /// The router stops; what has been folded stays so.
    #[error("the router is stopping: not all minutes were folded into days")]
    Stopping,
    /// The database did not do it.
    #[error("the database did not do it: {0}")]
    Store(#[from] Error),
}

impl Folding {
    /// Does so with all minutes before `before` (Unix seconds), until `over`. Returns how many days of a model
    /// on an endpoint they are of.
    ///
    /// # Errors
    /// [`FoldError`]. Repeating it is safe.
    pub async fn run(
        &self,
        store: &Store,
        before: i64,
        fold: Fold,
        over: &CancellationToken,
    ) -> Result<u64, FoldError> {
        if self.0.swap(true, Relaxed) {
            return Err(FoldError::Busy);
        }
        let _running = Running(&self.0);
        let mut groups = 0;
        for row in store.token_counts().await? {
            let days = store.days_to_fold(&row.endpoint, &row.model, before);
            let days = days.await?;
            match fold {
                Fold::Count => groups += days.len() as u64,
                Fold::Trim => {
                    for days in days.chunks(DAYS) {
                        if over.is_cancelled() {
                            return Err(FoldError::Stopping);
                        }
                        groups += trim(store, &row, days, before).await?;
                    }
                }
            }
        }
        Ok(groups)
    }
}

async fn trim(store: &Store, of: &CountRow, days: &[i64], before: i64) -> Result<u64, Error> {
    until_free(|| store.fold_days(&of.endpoint, &of.model, days, before)).await
}

/// Does `work`, and again at once while others hold its rows, for some time.
pub(super) async fn until_free<F>(work: impl Fn() -> F) -> Result<u64, Error>
where
    F: Future<Output = Result<u64, Error>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match work().await {
            Err(Error::Contended(_)) if tries < MOST_CONTENDED => {}
            done => return done,
        }
    }
}

/// However it ends, the next one may begin.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
