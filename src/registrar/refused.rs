//! Why a registration was not written.

use thiserror::Error;

use crate::store;

/// The reason, for whoever registers: it comes again, or goes to another router.
#[derive(Debug, Error)]
pub enum Refused {
    /// The database does not answer in time, or others come first.
    #[error("the database does not answer in time: try again, or another router")]
    Busy,
    /// It could not be written.
    #[error("the database did not take it: {0}")]
    Store(#[from] store::Error),
}
