//! How far a blob has come, for all who wait for it.

use std::fs::File;
use std::sync::Arc;

use super::error::Error;

/// What can be read of a blob. Its last byte is not given before its digest has been checked: whoever has all of
/// it has what it asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) file: Option<Arc<File>>,
    /// So many bytes from its beginning on.
    pub(super) available: u64,
    /// Nothing more comes, and why.
    pub(super) failed: Option<Error>,
}
