//! What the register is told.

use tokio::sync::oneshot;

use super::Unreadable;
use super::state::{Bases, Read};

pub(super) type Waiter = oneshot::Sender<Result<(), Unreadable>>;

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// From whoever changed something, and the timer: look whether the view is current.
    Refresh(Option<Waiter>),
    /// From the task that looked.
    Looked(Result<Read, Unreadable>),
    /// From the task that asked what is spent.
    Swept(Result<Bases, Unreadable>),
    /// From whoever read the configuration again.
    Priced,
    /// From the timer.
    Tick,
}
