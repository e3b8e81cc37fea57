//! Everything that can end a request without a server's answer.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use super::inbound::NoEndpoints;
use super::server_error::ServerError;
use crate::access::Refused;
use crate::fleet::{Denied, Outcome};
use crate::protocol::{Api, BadRequest, with_tag};

/// Why a request has no answer of its own.
#[derive(Debug, Error)]
pub enum Error {
    /// The client's mistake.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// Not a name by Ollama's rules.
    #[error("invalid model name")]
    InvalidModelName,
    /// Nobody knows which servers are meant.
    #[error(transparent)]
    NoEndpoints(#[from] NoEndpoints),
    /// The caller may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No server has it. The API, because Ollama's messages differ; the model as the client spelt it.
    #[error("{}", unknown(*.0, .1))]
    UnknownModel(Api, String),
    /// Only Ollama's cloud has it.
    #[error("ollama cloud is disabled: {}", no_cloud(*.0))]
    NoCloud(Api),
    /// The fleet does not serve it now; the model as the client spelt it.
    #[error("{}", denied(*.0, .1))]
    Denied(Denied, String),
    /// Every server that could be tried failed before its first byte; the last one's error.
    #[error("{0}")]
    Exhausted(Box<ServerError>),
    /// The router has run out of file descriptors or ports.
    #[error("server busy, please try again.  the router has no resources to connect: {0}")]
    Exhaustion(String),
    /// An operator has ended it.
    #[error("the request was cancelled by an operator")]
    Cancelled,
    /// The router is shutting down.
    #[error("server is shutting down, please try again.")]
    Closing,
    /// The usage journal cannot be written, so that an answer could not be counted.
    #[error("the usage journal cannot be written; no request is taken that could not be counted")]
    JournalDown,
}

/// Ollama's own message, two spaces included: clients match on them.
const BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";

fn unknown(api: Api, model: &str) -> String {
    match api {
        Api::OllamaEmbed | Api::OllamaEmbeddings | Api::OpenAiEmbeddings => {
            format!("model \"{model}\" not found, try pulling it first")
        }
        Api::OllamaShow => format!("model '{}' not found", with_tag(model)),
        _ => format!("model '{model}' not found"),
    }
}

/// Never too early, and never at once.
fn whole_seconds(length: Duration) -> u32 {
    let seconds = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

const fn no_cloud(api: Api) -> &'static str {
    match api {
        Api::OllamaShow => "remote model details are unavailable",
        _ => "remote model is unavailable",
    }
}

fn denied(denied: Denied, model: &str) -> String {
    match denied {
        Denied::UnknownModel => format!("model '{model}' not found"),
        Denied::Unreachable => format!("no server that has model '{model}' can be reached"),
        Denied::Unsupported => {
            format!("model '{model}' does not support this call on any server that has it")
        }
        Denied::Paused(_) => {
            format!(
                "server busy, please try again.  every server that has model '{model}' has asked for a pause"
            )
        }
        Denied::Restricted => {
            format!("model '{model}' is on no server that may be used with this key")
        }
        Denied::QueueFull | Denied::TooLate => BUSY.to_owned(),
    }
}

impl Error {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(error) => error.status(),
            Self::Refused(refused) => refused.status(),
            // Clients do not repeat it.
            Self::NoCloud(_) | Self::Denied(Denied::Restricted, _) | Self::Cancelled => {
                StatusCode::FORBIDDEN
            }
            Self::InvalidModelName
            | Self::NoEndpoints(_)
            | Self::Denied(Denied::Unsupported, _) => StatusCode::BAD_REQUEST,
            Self::UnknownModel(..) | Self::Denied(Denied::UnknownModel, _) => StatusCode::NOT_FOUND,
            Self::Denied(Denied::Unreachable, _) => StatusCode::BAD_GATEWAY,
            Self::Denied(Denied::Paused(pause), _) => {
                StatusCode::from_u16(pause.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Denied(Denied::QueueFull | Denied::TooLate, _)
            | Self::Exhaustion(_)
            | Self::Closing
            | Self::JournalDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Exhausted(server_error) => server_error.status(),
        }
    }

    /// When to try again, in seconds, where that can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        let said = match self {
            Self::Refused(refused) => return refused.retry_after(),
            Self::Exhausted(server_error) => server_error.retry_after(),
            Self::Denied(Denied::Paused(pause), _) => Some(whole_seconds(pause.length)),
            _ => None,
        };
        let busy = (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        said.or(busy)
    }

    /// What it says of the server that was being tried: only an answer of its own says anything.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Exhausted(_) => Outcome::Done,
            _ => Outcome::Left,
        }
    }
}
