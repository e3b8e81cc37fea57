//! One server to send to: where it is, and the connections to it.

use std::sync::Arc;

use super::{Connections, Target};

/// Cheap to clone. The address may be replaced by one with another key; the connections stay.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it is.
    pub target: Arc<Target>,
    /// Connections that are open already.
    pub connections: Arc<Connections>,
}
