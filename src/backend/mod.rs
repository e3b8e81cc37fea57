//! What differs between kinds of servers, in one place.
//!
//! A [`Backend`] is owned by its endpoint and used after a request has its lease: how the server is
//! probed ([`Probe`], [`Plan`]), what is sent for a request ([`ClientRequest`], [`Outgoing`]), how the answer is
//! read ([`Backend::reader`]), what an error status means ([`Backend::verdict`], [`Backend::fault`]), and whether the
//! server notices that its client has left. All of it is pure: bytes in, values out.
//!
//! It must not know slots, other servers or clients. It fails by value: an answer of a probe that
//! makes no sense is [`Unusable`], with a message for the operator.
//!
//! One file per kind. A request goes only to servers whose kind [`serves`](Kind::serves) its API.

mod fault;
mod ollama;
mod openai;
mod probe;
mod request;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

pub use fault::{ErrorAnswer, Verdict};
pub use probe::{Answer, Plan, Probe, ProbeRequest, Unusable};
pub use request::{ClientRequest, KeepOptions, Outgoing};

use crate::faults::Fault;
use crate::protocol::{Api, Format, Tail};
use openai::OpenAi;

/// One kind of server, with what the configuration says about servers of that kind alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Ollama.
    Ollama,
    /// Any server of OpenAI's `/v1` API.
    OpenAi(OpenAi),
}

/// The name of a kind, as the configuration and the reports spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `ollama`
    Ollama,
    /// `openai`
    OpenAi,
}

impl Kind {
    /// Whether servers of this kind have the API.
    #[must_use]
    pub const fn serves(self, api: Api) -> bool {
        match self {
            Self::Ollama => true,
            Self::OpenAi => openai::serves(api),
        }
    }
}

impl Backend {
    /// A server of OpenAI's API; `models` are those it serves, if it cannot list them itself.
    #[must_use]
    pub fn openai(models: &[String]) -> Self {
        Self::OpenAi(OpenAi::new(models))
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ollama => Kind::Ollama,
            Self::OpenAi(_) => Kind::OpenAi,
        }
    }

    /// Whether a listed model may have to be loaded before it answers. Where it need not, every
    /// listed model counts as loaded.
    #[must_use]
    pub const fn loads_models(&self) -> bool {
        matches!(self, Self::Ollama)
    }

    /// Whether a server goes on computing an answer that nobody waits for any more. Its slot is then
    /// in use until the answer is complete.
    #[must_use]
    pub const fn completes_without_client(&self, streamed: bool) -> bool {
        matches!(self, Self::OpenAi(_)) && !streamed
    }

    /// How long a connection may be idle and still be used for the next request.
    #[must_use]
    pub const fn idle_limit(&self) -> Duration {
        match self {
            // Before the server's own limit, which could race a new request.
            Self::Ollama => Duration::from_secs(20),
            Self::OpenAi(_) => openai::IDLE_LIMIT,
        }
    }

    /// How `probe` is done, if servers of this kind have something to say to it.
    #[must_use]
    pub fn plan(&self, probe: Probe) -> Option<Plan> {
        match self {
            Self::Ollama => Some(Plan::Send(ollama::probe_request(probe))),
            Self::OpenAi(openai) => openai.plan(probe),
        }
    }

    /// What the answer to `probe` says.
    ///
    /// # Errors
    /// [`Unusable`], when it is none.
    pub fn read(&self, probe: Probe, status: StatusCode, body: &[u8]) -> Result<Answer, Unusable> {
        match self {
            Self::Ollama => ollama::read(probe, status, body),
            Self::OpenAi(openai) => openai.read(probe, status, body),
        }
    }

    /// What is sent for `request` to a server that spells the model `spelling`, and is asked for the usage
    /// that the client did not ask for, or is known not to say it.
    #[must_use]
    pub fn request<'a>(
        &self,
        request: &'a ClientRequest,
        spelling: &str,
        asks_usage: bool,
    ) -> Outgoing<'a> {
        match self {
            Self::Ollama => ollama::request(request, asks_usage),
            Self::OpenAi(_) => openai::request(request, spelling, asks_usage),
        }
    }

    /// What makes the server load the model for `request`, and nothing else; nothing where a model need
    /// not be loaded. It names the model and has the options that decide how it is loaded.
    #[must_use]
    pub fn load_for<'a>(&self, request: &'a ClientRequest) -> Option<Outgoing<'a>> {
        match self {
            Self::Ollama => Some(ollama::load_for(request)),
            Self::OpenAi(_) => None,
        }
    }

    /// What makes the server load, or with a `keep_alive` of `0` unload, the model it spells like this; for
    /// `embeds`, one that is for embeddings alone.
    #[must_use]
    pub fn load(
        &self,
        spelling: &str,
        options: &KeepOptions,
        embeds: bool,
    ) -> Option<Outgoing<'static>> {
        match self {
            Self::Ollama => Some(ollama::load(spelling, options, embeds)),
            Self::OpenAi(_) => None,
        }
    }

    /// A reader for a successful answer of this format: its end, its usage, its errors.
    #[must_use]
    pub const fn reader(&self, api: Api, format: Format) -> Tail {
        match self {
            Self::Ollama | Self::OpenAi(_) => Tail::framed(api, format),
        }
    }

    /// What a status means for the request.
    #[must_use]
    pub fn verdict(&self, status: StatusCode) -> Verdict {
        match self {
            Self::Ollama => ollama::verdict(status),
            Self::OpenAi(_) => openai::verdict(status),
        }
    }

    /// Whether this status, to a request that another server could serve, says that the server does not have the
    /// API. Where none could, it may as well be about the request.
    #[must_use]
    pub fn lacks_what_others_have(&self, status: StatusCode) -> bool {
        matches!(self, Self::OpenAi(_)) && status == StatusCode::NOT_IMPLEMENTED
    }

    /// What an answer that is not passed on says of its server.
    #[must_use]
    pub fn fault(&self, answer: &ErrorAnswer<'_>) -> Fault {
        fault::common(answer).unwrap_or_else(|| match self {
            Self::Ollama => ollama::fault(answer),
            Self::OpenAi(_) => openai::fault(answer),
        })
    }
}

/// The body of a request with these texts put into it.
fn spliced(request: &ClientRequest, splices: &[crate::protocol::Splice]) -> Bytes {
    crate::protocol::splice(&request.body, splices)
}
