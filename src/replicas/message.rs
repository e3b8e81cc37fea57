//! The messages of the actor.

use tokio::sync::watch;

use super::Kept;
use super::state::Copy;

/// By the handle, and by the actor's own tasks.
#[derive(Debug)]
pub enum Message {
    /// From the configuration: these are to be kept.
    Keep(Vec<Kept>),
    /// The fleet is another one.
    Changed(watch::Receiver<u64>),
    /// A load is over.
    Loaded {
        /// Of which copy.
        copy: Copy,
        /// It is loaded.
        done: bool,
    },
}
