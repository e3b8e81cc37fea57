//! The messages of the inventory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::Found;
use super::change::Step;
use super::names::LookedUp;
use crate::config::{Endpoint, Slots};
use crate::fleet::{Applied, Drain};
use crate::registrar::Registered;
use crate::store::{DrainRow, EndpointRow, Error};
use crate::supervision::Reply;

/// What is stored of it.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// The servers that operators added.
    pub endpoints: Vec<EndpointRow>,
    /// What they keep from others.
    pub drains: Vec<DrainRow>,
}

/// The mailbox of the inventory.
#[derive(Debug)]
pub(super) enum Message {
    /// From a reload: the servers of the configuration are these now.
    Configure {
        /// All of them.
        configured: Vec<Endpoint>,
        /// The slots of those that do not say.
        slots: Slots,
        /// What operators keep from servers ends: it is not stored.
        ends_holds: bool,
        /// Answered when the fleet shows it.
        reply: Reply<Applied>,
    },
    /// From whoever looks for servers: these were found.
    Found {
        /// All of them.
        found: Arc<[Found]>,
        /// Answered when the fleet shows it.
        reply: Reply<Applied>,
    },
    /// From an operator, and kept where it has to be: do this.
    Do {
        /// What.
        step: Step,
        /// Answered when the fleet shows it.
        reply: Reply<Applied>,
    },
    /// Read what is stored.
    Refresh(Reply<Applied>),
    /// From the task that read it.
    Read {
        /// Which reading.
        number: u64,
        /// What it found.
        rows: Result<Stored, Error>,
    },
    /// From the task that stored what operators drain: these, as they are stored now.
    Kept(BTreeMap<String, Drain>),
    /// From the task that looked up hosts: where they lead.
    LookedUp(Vec<LookedUp>),
    /// From the task that watches who registers: something is other than it was.
    Registered(watch::Receiver<Arc<[Registered]>>),
    /// From the task that applied the list to the fleet.
    Applied(Applied),
    /// From the start of the router: it listens there.
    Listening(SocketAddr),
}
