//! Messages of the hub.

/// The mailbox of the hub.
#[derive(Debug)]
pub enum Message {
    /// From whoever changed a counter.
    Touched,
}
