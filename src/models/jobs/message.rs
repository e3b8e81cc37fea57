//! The messages of the actor.

use std::sync::Arc;

use tokio::sync::watch;

use super::state::{Key, Wanted};
use super::{Joined, NotStarted};
use crate::models::merge::Merge;
use crate::models::run::Work;
use crate::supervision::Reply;

/// The mailbox.
#[derive(Debug)]
pub(in crate::models) enum Message {
    /// From a client or an operator.
    Join {
        /// What is to be done.
        asked: Box<Asked>,
        /// Where the reader is sent; if the client has left meanwhile, it leaves on the way.
        reply: Reply<Result<Joined, NotStarted>>,
    },
    /// From a reader that is dropped.
    Left(u64),
    /// From the task of a call: it has ended.
    Ended(u64),
    /// From an operator.
    List(Reply<Vec<Listed>>),
    /// From an operator.
    Cancel {
        /// Which one.
        id: u64,
        /// Whether there is one.
        reply: Reply<bool>,
    },
}

/// A call that is to begin.
#[derive(Debug)]
pub(in crate::models) struct Asked {
    /// By what another call is known to be the same; without it none is.
    pub(in crate::models) key: Option<Key>,
    /// It goes on without readers.
    pub(in crate::models) kept: bool,
    /// What one has to cover that is joined instead.
    pub(in crate::models) wanted: Wanted,
    pub(in crate::models) work: Work,
}

/// A call as an operator sees it.
#[derive(Clone, Debug)]
pub(in crate::models) struct Listed {
    pub(in crate::models) id: u64,
    /// In its first client's spelling.
    pub(in crate::models) model: Arc<str>,
    pub(in crate::models) kept: bool,
    pub(in crate::models) readers: usize,
    /// In Unix seconds.
    pub(in crate::models) since: i64,
    pub(in crate::models) progress: watch::Receiver<Merge>,
}
