//! How far a relay has come, and how its body breaks off.

use bytes::Bytes;
use thiserror::Error;

use crate::spend::Recorded;

/// A body that cannot be ended properly: the connection is closed instead.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Aborted(pub(super) &'static str);

#[derive(Debug)]
pub(super) enum Stage {
    /// Pieces pass.
    Passing,
    /// The answer is whole, its last piece waits for the journal.
    Recording {
        held: Bytes,
        recorded: Recorded,
    },
    /// The last piece is out; what may follow is framing.
    Whole,
    /// One more piece, then nothing.
    Ending(Bytes),
    /// Nothing more, and the client must not take that for the end.
    Broken(Aborted),
    Over,
}
