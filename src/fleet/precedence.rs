//! Which server's entry of a model is shown.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::protocol::{self, ListedModel};

/// Which of several servers' entries of one model stands for all of them: the greatest. One with a
/// digest says more than one of a server that knows only a name, a newer one more than an older.
/// Among equals the name of the server decides, so that every router answers alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    has_digest: bool,
    modified: Option<i64>,
    server: Reverse<Arc<str>>,
}

impl Precedence {
    pub(super) fn of(entry: &ListedModel, server: &Arc<str>) -> Self {
        Self {
            has_digest: !entry.digest.is_empty(),
            modified: protocol::unix_seconds(&entry.modified_at),
            server: Reverse(Arc::clone(server)),
        }
    }

    /// Of a model that the server has and does not list.
    pub(super) fn unlisted(server: &Arc<str>) -> Self {
        Self {
            has_digest: false,
            modified: None,
            server: Reverse(Arc::clone(server)),
        }
    }

    pub(super) fn modified(&self) -> Option<i64> {
        self.modified
    }
}
