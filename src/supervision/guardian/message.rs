//! What a guardian is told.

use ractor::RpcReplyPort;

/// Sent by its handle and by itself; deaths come as supervision events.
#[derive(Debug)]
pub(super) enum Message {
    /// The pause after a death is over: start this child again.
    Restart(usize),
    /// Restart nobody from now on.
    Retire(RpcReplyPort<()>),
}
