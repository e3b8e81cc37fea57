//! The messages of the actor.

use std::net::IpAddr;

use crate::supervision::Reply;

/// The mailbox.
#[derive(Debug)]
pub(in crate::mirror) enum Message {
    /// Whether one of these hosts has the address.
    Has {
        address: IpAddr,
        hosts: Vec<String>,
        reply: Reply<bool>,
    },
    /// What names were resolved to, each with all its addresses; none where the resolver has failed.
    Resolved(Vec<(String, Option<Vec<IpAddr>>)>),
}
