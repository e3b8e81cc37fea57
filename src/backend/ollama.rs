//! Ollama: its probes and what its statuses mean. It serves every call the router has.
//!
//! Liveness is asked apart from the lists: `/api/ps` and `/api/tags` take locks on the server and
//! may stall for seconds exactly when it is busy, which says nothing about its health.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::probe::{ALIVE_PATIENCE, LIST_PATIENCE};
use super::{Answer, Call, Fault, Outgoing, Probe, Question, Unusable, Verdict, spliced};
use crate::protocol::{AskUsage, Version, parse_ps, parse_tags};

pub(super) fn question(probe: Probe) -> Question {
    let (method, path, patience) = match probe {
        Probe::Alive => (Method::HEAD, "/", ALIVE_PATIENCE),
        Probe::Loaded => (Method::GET, "/api/ps", LIST_PATIENCE),
        Probe::Models => (Method::GET, "/api/tags", LIST_PATIENCE),
        Probe::Version => (Method::GET, "/api/version", LIST_PATIENCE),
    };
    Question {
        method,
        path,
        patience,
    }
}

pub(super) fn read(probe: Probe, status: StatusCode, body: &[u8]) -> Result<Answer, Unusable> {
    if probe == Probe::Alive {
        // Any answer is a sign of life, but one that says it is broken is not one of health.
        return match status.is_server_error() {
            true => Err(Unusable::status(status)),
            false => Ok(Answer::Alive),
        };
    }
    if status != StatusCode::OK {
        return Err(Unusable::status(status));
    }
    let path = question(probe).path;
    let garbled = |error: &dyn std::fmt::Display| Unusable(format!("{path}: {error}"));
    match probe {
        Probe::Loaded => match parse_ps(body) {
            Ok(list) => Ok(Answer::Loaded(list.models)),
            Err(error) => Err(garbled(&error)),
        },
        Probe::Models => match parse_tags(body) {
            Ok(list) => Ok(Answer::Models(list.models)),
            Err(error) => Err(garbled(&error)),
        },
        Probe::Version | Probe::Alive => version(body)
            .map(Answer::Version)
            .ok_or_else(|| garbled(&"no version")),
    }
}

/// `{"version":"0.12.6"}`
fn version(body: &[u8]) -> Option<Version> {
    #[derive(serde::Deserialize)]
    struct Said {
        version: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    Version::parse(&said.version).ok()
}

pub(super) fn request(call: &Call) -> Outgoing<'_> {
    let (body, hides_usage) = match &call.usage {
        AskUsage::Splice(splice) => (spliced(call, std::slice::from_ref(splice)), true),
        AskUsage::Unasked | AskUsage::Asked => (call.body.clone(), false),
    };
    Outgoing {
        api: call.api,
        headers: Cow::Borrowed(&call.headers),
        body,
        hides_usage,
    }
}

/// The statuses that another server may not give. Not 400: the request itself is wrong.
pub(super) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        404 => Verdict::Elsewhere(Fault::Missing),
        429 | 503 => Verdict::Elsewhere(Fault::Busy),
        // 499 is Ollama's own, when a load was aborted; not our client, which is still here.
        499..=599 => Verdict::Elsewhere(Fault::Status),
        _ => Verdict::Pass,
    }
}
