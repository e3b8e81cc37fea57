//! A request as the client made it, and as it is sent to one server.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;

use crate::protocol::{Api, AskUsage, LoadOptions, Splice, Unload};

/// One request of a client, before its server is known.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Which API it is for.
    pub api: Api,
    /// The client's headers, less those that are the router's own.
    pub headers: HeaderMap,
    /// The client's body, unchanged.
    pub body: Bytes,
    /// Where in the body the name of the model stands, in JSON with its quotes.
    pub model_at: Range<usize>,
    /// The model as the client spelt it, or what its alias stands for.
    pub model: String,
    /// The client named an alias: the name in the body is another one.
    pub aliased: bool,
    /// Whether the client asked for the answer in pieces.
    pub streamed: bool,
    /// How many answers are wanted.
    pub choices: u32,
    /// Whether the answer will say what it used.
    pub usage: AskUsage,
    /// Whether the model is to leave the memory: of every server, if that is all, or of the one that answers.
    pub unload: Unload,
    /// Where the body says how the model is to be loaded.
    pub load_options: LoadOptions,
    /// What the operator decides in place of what the client asks; nearly always nothing.
    pub replaced: Vec<Splice>,
    /// For how long the operator has the model kept, as JSON: a call that cannot say so is loaded for with it.
    pub keep_alive: Option<String>,
}

impl ClientRequest {
    /// Puts this name of the model in place of the client's.
    pub(super) fn named(&self, name: &str) -> Splice {
        let text = match self.api.takes_form() {
            true => name.to_owned(),
            false => serde_json::Value::from(name).to_string(),
        };
        Splice::new(self.model_at.clone(), text)
    }
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

/// How a model is loaded that no client has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepOptions {
    /// For how long it is kept, as JSON; without it as the server keeps it, or kept it so far.
    pub keep_alive: Option<String>,
    /// Tokens of context, if not as the server has it.
    pub num_ctx: Option<u64>,
}
