//! What is refused: by an endpoint to a request that wants a slot, and by its server.

use std::fmt;

use super::Endpoint;
use crate::fleet::refusals::Refusals;

/// Why an endpoint did not give a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is down.
    Down,
    /// All slots of the model are taken.
    Full,
    /// It is loading another model.
    Loading,
    /// Its actor is being restarted.
    Restarting,
    /// It takes nothing new any more.
    Draining,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "it is down",
            Self::Full => "all slots of the model are taken",
            Self::Loading => "it is loading another model",
            Self::Restarting => "it is being taken up again",
            Self::Draining => "it drains",
        })
    }
}

impl Endpoint {
    /// What its server refuses for every model.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The server is back, and may be another program by now.
    pub(super) fn forget_refusals(&self) {
        self.refusals.forget();
        for pool in self.pools() {
            pool.refusals().forget();
        }
    }
}
