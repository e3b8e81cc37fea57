//! The messages of the retention actor: from its own tasks.

use super::round::Done;
use super::state::Clocks;
use crate::store::Error;

#[derive(Debug)]
pub(super) enum Message {
    /// What time it is.
    Looked(Result<Clocks, Error>),
    /// A round is over; what it did before an error stays done.
    Over(Done, Result<(), Error>),
}
