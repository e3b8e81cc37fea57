//! The messages of the actor.

use std::net::SocketAddr;

use super::file::File;
use super::state::Answer;
use crate::config::Endpoint;
use crate::mdns::{Ear, Said};
use crate::supervision::Reply;

/// By the handle, and by the actor's own tasks.
#[derive(Debug)]
pub enum Message {
    /// A name was looked up.
    LookedUp {
        /// Which place.
        at: usize,
        /// What it leads to, or why that is not known.
        answer: Result<Answer, String>,
    },
    /// The hosts by which servers are named were looked up.
    Named(Vec<(String, Option<Vec<SocketAddr>>)>),
    /// A file was looked at.
    Read {
        /// Which place.
        at: usize,
        /// It, as it was seen.
        file: File,
        /// What it names, or why that is not known; `None`: nothing has happened.
        listed: Option<Result<Vec<Endpoint>, String>>,
    },
    /// Something was heard on the local network.
    Heard {
        /// Which place.
        at: usize,
        /// Where more will be heard; none when nothing will.
        ear: Option<Ear>,
        /// What.
        said: Said,
    },
    /// The inventory has been told; whether it has heard it.
    Told(bool),
    /// Everything has been looked at once, and the fleet shows it.
    Known(Reply<()>),
}
