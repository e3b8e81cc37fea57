//! Any server of OpenAI's API: llama-server, vLLM, LM Studio, a hosted service.
//!
//! It is probed with one path, `/v1/models`, since nothing else is common to all of them: by `HEAD` for
//! its liveness, which costs such a server next to nothing, by `GET` for its models. It has no notion
//! of loading that all of them share, so what it lists counts as loaded.
//!
//! Learnt from a real llama-server: an answer that is not streamed is computed to its end whether or
//! not its client is still there; a kept connection occupies one of a fixed number of threads and is
//! closed after five seconds; `X-Conversation-Id` makes a stream survive its client.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::probe::{ALIVE_TIMEOUT, LIST_TIMEOUT};
use super::{
    Answer, ClientRequest, ErrorAnswer, Outgoing, Plan, Probe, ProbeRequest, Unusable, Verdict,
    spliced,
};
use crate::faults::Fault;
use crate::protocol::{
    Api, AskUsage, ListedModel, REPLACEMENT, Splice, listed_by_id, lone_surrogates,
    parse_openai_models,
};

/// Connections are looked at every half of this, so none is idle for five seconds.
pub(super) const IDLE_LIMIT: Duration = Duration::from_millis(2500);

/// What keeps a stream computing for a client that has left, and whose account a key belongs to: the
/// key that is sent is the router's.
static WITHHELD: [HeaderName; 3] = [
    HeaderName::from_static("x-conversation-id"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// What the configuration says about such a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenAi {
    /// The models it serves, if it cannot list them itself.
    models: Box<[String]>,
}

impl OpenAi {
    pub(super) fn new(models: &[String]) -> Self {
        Self {
            models: models.into(),
        }
    }

    pub(super) fn plan(&self, probe: Probe) -> Option<Plan> {
        let (method, timeout) = match probe {
            Probe::Alive => (Method::HEAD, ALIVE_TIMEOUT),
            Probe::Models if !self.models.is_empty() => return Some(Plan::Known(self.known())),
            Probe::Models => (Method::GET, LIST_TIMEOUT),
            Probe::Loaded | Probe::Version => return None,
        };
        Some(Plan::Send(ProbeRequest {
            method,
            path: "/v1/models",
            timeout,
        }))
    }

    pub(super) fn read(
        &self,
        probe: Probe,
        status: StatusCode,
        body: &[u8],
    ) -> Result<Answer, Unusable> {
        match probe {
            Probe::Alive => self.alive(status),
            _ if status != StatusCode::OK => Err(Unusable::status(status, "its list of models")),
            _ => match parse_openai_models(body) {
                Ok(list) => Ok(Answer::Models(list.models)),
                Err(error) => Err(Unusable::Useless(format!("its list of models: {error}"))),
            },
        }
    }

    /// A server without the path, or without `HEAD`, is there all the same. One that refuses the key
    /// refuses every request, unless the key is only not for listing; and one that says it is broken,
    /// or still loads, serves none.
    fn alive(&self, status: StatusCode) -> Result<Answer, Unusable> {
        match status.as_u16() {
            401..=403 | 407 if self.models.is_empty() => {
                let why = "it refuses the router (its api_key, or its address)";
                Err(Unusable::status(status, why))
            }
            500..=599 if status != StatusCode::NOT_IMPLEMENTED => {
                Err(Unusable::Useless(format!("status {status}")))
            }
            _ => Ok(Answer::Alive),
        }
    }

    fn known(&self) -> Vec<ListedModel> {
        let listed = self.models.iter().filter_map(|id| listed_by_id(id));
        listed.collect()
    }
}

/// What such servers have, all of them or some: one that lacks it says so, which is remembered.
pub(super) const fn serves(api: Api) -> bool {
    matches!(
        api,
        Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiEmbeddings
            | Api::OpenAiResponses
            | Api::OpenAiTranscriptions
            | Api::AnthropicMessages
    )
}

/// The request as the client made it, with the server's own spelling of the model where that differs, and without
/// halves of surrogate pairs, which Ollama takes and such a server may not.
pub(super) fn request<'a>(
    request: &'a ClientRequest,
    spelling: &str,
    asks_usage: bool,
) -> Outgoing<'a> {
    let mut splices = Vec::new();
    let is_named = request.aliased || request.model != spelling;
    if is_named {
        splices.push(request.named(spelling));
    }
    let hides_usage = match &request.usage {
        AskUsage::Splice(splice) if asks_usage => {
            splices.push(splice.clone());
            true
        }
        _ => false,
    };
    let halves = (!request.api.takes_form()).then(|| lone_surrogates(&request.body));
    for half in halves.into_iter().flatten() {
        if !is_named || half.end <= request.model_at.start || half.start >= request.model_at.end {
            splices.push(Splice::new(half, REPLACEMENT));
        }
    }
    let mut headers = Cow::Borrowed(&request.headers);
    for name in &WITHHELD {
        if headers.contains_key(name) {
            headers.to_mut().remove(name);
        }
    }
    Outgoing {
        api: request.api,
        headers,
        body: spliced(request, &splices),
        hides_usage,
    }
}

/// As for Ollama, but that such a server also says with a status that it does not have the API, for
/// this model or at all (404, 405; 501 where another server can do it).
pub(super) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        300..=399 | 401..=405 | 407 | 429 | 500..=599 => Verdict::Failover,
        _ => Verdict::Pass,
    }
}

/// Whether a model is gone is read from the list.
pub(super) fn fault(answer: &ErrorAnswer<'_>) -> Fault {
    match answer.status.as_u16() {
        // A page or a text is of something before the server, or of one without such an API.
        404 if !is_own(answer.body) => Fault::Rejected(404),
        404 | 405 => Fault::Unsupported,
        _ => Fault::Status,
    }
}

/// Whether an error has the form of this API.
fn is_own(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("error").is_some() || body.get("object").is_some_and(|kind| kind == "error")
}
