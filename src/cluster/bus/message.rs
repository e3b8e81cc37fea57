//! The messages of the bus.

use super::Incoming;
use super::event::Event;

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// For all other routers.
    Tell(Event),
    /// From the task that published the last message.
    Published(Result<(), redis::RedisError>),
    /// From the task that listens: what came, and where more comes from. Nothing more will come without that.
    Came(Option<Incoming>),
}
