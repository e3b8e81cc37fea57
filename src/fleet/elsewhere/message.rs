//! The messages of the actor that follows the other routers.

use crate::cluster::bus::{Heard, Listener};

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// From the task that listens: what was heard, and where more is. Nothing comes any more without that.
    Heard(Option<(Heard, Listener)>),
}
