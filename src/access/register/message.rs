//! Messages of the register.

use super::Unreadable;
use super::state::{Bases, Read};
use crate::supervision::Reply;

pub(super) type Waiter = Reply<Result<(), Unreadable>>;

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// From whoever changed something: read whether the view is current.
    Refresh(Option<Waiter>),
    /// From the task that read the changes.
    ChangesRead(Result<Read, Unreadable>),
    /// From the task that asked what is spent.
    Swept(Result<Bases, Unreadable>),
    /// From whoever read the configuration again.
    Priced,
}
