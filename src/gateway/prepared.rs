//! A request as far as it is known before a server is chosen.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{Error, Gateway, Inbound};
use crate::access::{self, Caller};
use crate::backend::ClientRequest;
use crate::domain::ModelName;
use crate::fleet::{AliasTarget, LeaseRequest};
use crate::protocol::{Api, BadRequest, Peek, Unload, peek, peek_form, settle};

/// What an error quotes of a name that is none is no longer.
const QUOTED: usize = 1024;

/// What is known of a request before a server is chosen.
pub(super) struct Prepared {
    pub(super) request: Arc<ClientRequest>,
    pub(super) lease_request: LeaseRequest,
    /// What else its alias stands for, in order of preference.
    pub(super) alternatives: Vec<AliasTarget>,
    /// The servers that its caller is limited to, as [`LeaseRequest::within`] has them.
    pub(super) servers: Vec<Arc<[String]>>,
    pub(super) id: HeaderValue,
    pub(super) prompt_bytes: usize,
    /// It takes a slot.
    pub(super) computes: bool,
    pub(super) caller: Caller,
    /// The end user that the client names.
    pub(super) user: Option<String>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) max_output: Option<u64>,
}

impl Gateway {
    pub(super) fn prepare(&self, inbound: Inbound) -> Result<Prepared, Error> {
        let Inbound {
            api,
            headers,
            body,
            id,
            caller,
            tags,
            only,
        } = inbound;
        if self.cutting.is_cancelled() {
            return Err(Error::Closing);
        }
        let settled;
        let (body, peeked) = match read(api, &headers, &body) {
            Ok(peeked) => (&body, peeked),
            Err(refused) if refused.can_be_settled() => {
                settled = settle(api, &body);
                (&settled, peek(api, &settled)?)
            }
            Err(refused) => return Err(refused.into()),
        };
        let model = self.model(api, &peeked.model)?;
        let (tags, only) = (access::tags(&tags)?, only?);
        let computes = api.takes_slot() && peeked.unload != Unload::Only;
        if computes && !self.journal.admits(&self.spend, Instant::now()) {
            return Err(Error::JournalDown);
        }
        let lease_request = LeaseRequest {
            model,
            api,
            arrival: self.fleet.arrive(),
            deadline: Instant::now(),
            only,
            within: Vec::new(),
            tried: Vec::new(),
        };
        let request = ClientRequest {
            api,
            headers,
            model_at: peeked.model_at,
            model: peeked.model.into_owned(),
            aliased: false,
            streamed: peeked.stream,
            choices: peeked.choices,
            usage: peeked.usage,
            unload: peeked.unload,
            load_options: peeked.load_options,
            replaced: Vec::new(),
            keep_alive: None,
            body: body.clone(),
        };
        Ok(Prepared {
            request: Arc::new(request),
            lease_request,
            alternatives: Vec::new(),
            servers: Vec::new(),
            id,
            prompt_bytes: peeked.prompt_bytes,
            computes,
            caller,
            user: peeked.user.map(std::borrow::Cow::into_owned),
            tags,
            max_output: peeked.max_output.bound(|| self.fleet.view().has_ollama()),
        })
    }

    /// A name that Ollama would refuse may be one on another kind of server. Only chats look at the form of the name
    /// first; for all others it is one that no server has.
    fn model(&self, api: Api, named: &str) -> Result<ModelName, Error> {
        ModelName::parse(named)
            .or_else(|invalid| {
                if self.fleet.view().has_other_than_ollama() {
                    ModelName::parse_any(named)
                } else {
                    Err(invalid)
                }
            })
            .map_err(|_| match api {
                Api::OllamaChat
                | Api::OpenAiChat
                | Api::OpenAiResponses
                | Api::OpenAiTranscriptions
                | Api::AnthropicMessages => Error::InvalidModelName,
                _ if named.len() > QUOTED => Error::InvalidModelName,
                _ => Error::UnknownModel(api, named.to_owned()),
            })
    }
}

/// What the router must know of a request, from its body.
fn read<'a>(api: Api, headers: &HeaderMap, body: &'a Bytes) -> Result<Peek<'a>, BadRequest> {
    if !api.takes_form() {
        return peek(api, body);
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
    peek_form(kind.and_then(Result::ok).unwrap_or_default(), body)
}
