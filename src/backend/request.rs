//! A request as the client made it, and as it is sent to one server.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;

use crate::protocol::{Api, AskUsage, Unload};

/// One request of a client, before its server is known.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Which API it is for.
    pub api: Api,
    /// The client's headers, less those that are the router's own.
    pub headers: HeaderMap,
    /// The client's body, unchanged.
    pub body: Bytes,
    /// Where in the body the name of the model stands, quotes included.
    pub model_at: Range<usize>,
    /// The model as the client spelt it.
    pub model: String,
    /// Whether the client asked for the answer in pieces.
    pub streamed: bool,
    /// How many answers are wanted.
    pub choices: u32,
    /// Whether the answer will say what it used.
    pub usage: AskUsage,
    /// Whether the model is to leave the memory: of every server, if that is all, or of the one that answers.
    pub unload: Unload,
}

/// What is sent to one server.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Which API it is sent to.
    pub api: Api,
    /// The headers, less those that belong to one connection.
    pub headers: Cow<'a, HeaderMap>,
    /// The body.
    pub body: Bytes,
    /// The answer will say its usage because the router asked for it: the client is not to see it.
    pub hides_usage: bool,
}
