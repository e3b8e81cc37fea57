//! Ollama: its probes and what its statuses mean. It serves every API the router has.
//!
//! Liveness is probed apart from the lists: `/api/ps` and `/api/tags` take locks on the server and
//! may stall for seconds exactly when it is busy, which says nothing about its health.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::probe::{ALIVE_TIMEOUT, LIST_TIMEOUT};
use super::{
    Answer, ClientRequest, ErrorAnswer, KeepOptions, Outgoing, Probe, ProbeRequest, Unusable,
    Verdict, spliced,
};
use crate::faults::Fault;
use crate::protocol::{
    Api, AskUsage, CONTENT_TYPE_JSON, Dialect, Version, parse_ps, parse_tags, peek,
};

const REFUSES: &str = "it refuses this router, or the name it is asked under";

pub(super) fn probe_request(probe: Probe) -> ProbeRequest {
    let (method, path, timeout) = match probe {
        Probe::Alive => (Method::HEAD, "/", ALIVE_TIMEOUT),
        Probe::Loaded => (Method::GET, "/api/ps", LIST_TIMEOUT),
        Probe::Models => (Method::GET, "/api/tags", LIST_TIMEOUT),
        Probe::Version => (Method::GET, "/api/version", LIST_TIMEOUT),
    };
    ProbeRequest {
        method,
        path,
        timeout,
    }
}

pub(super) fn read(probe: Probe, status: StatusCode, body: &[u8]) -> Result<Answer, Unusable> {
    if probe == Probe::Alive {
        // Any answer shows that it runs, but one with a server error does not show that it works, and one
        // that refuses us shows that it will not work for us: Ollama answers 403 to a name it does not know.
        return match status.as_u16() {
            500..=599 => Err(Unusable::Useless(format!("status {status}"))),
            401..=403 | 407 => Err(Unusable::status(status, REFUSES)),
            _ => Ok(Answer::Alive),
        };
    }
    let path = probe_request(probe).path;
    if status != StatusCode::OK {
        return Err(Unusable::status(status, path));
    }
    let garbled = |error: &dyn std::fmt::Display| Unusable::Useless(format!("{path}: {error}"));
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
    struct Body {
        version: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Version::parse(&body.version).ok()
}

pub(super) fn request(request: &ClientRequest, asks_usage: bool) -> Outgoing<'_> {
    let mut splices = request.replaced.clone();
    if request.aliased {
        splices.push(request.named(&request.model));
    }
    let hides_usage = match &request.usage {
        AskUsage::Splice(splice) if asks_usage => {
            splices.push(splice.clone());
            true
        }
        _ => false,
    };
    Outgoing {
        api: request.api,
        headers: Cow::Borrowed(&request.headers),
        body: spliced(request, &splices),
        hides_usage,
    }
}

/// An empty prompt loads and computes nothing. Whoever loads a model for embeddings asks as the request does: one that
/// can do nothing else is refused to the other calls.
/// The headers are the request's own: they say which routers it has passed.
pub(super) fn load_for(request: &ClientRequest) -> Outgoing<'_> {
    let body = spliced(request, &request.replaced);
    let moved = !request.replaced.is_empty();
    // What was put in place of the client's values has moved them.
    let peeked = moved.then(|| peek(request.api, &body).ok()).flatten();
    let options = match &peeked {
        Some(peeked) => &peeked.load_options,
        None => &request.load_options,
    };
    let api = match request.api {
        Api::OllamaEmbeddings => Api::OllamaEmbeddings,
        Api::OllamaEmbed | Api::OpenAiEmbeddings => Api::OllamaEmbed,
        _ => Api::OllamaGenerate,
    };
    let mut said = options.copied(&body);
    if let Some(json) = &request.keep_alive
        && request.api.dialect() != Dialect::Ollama
    {
        said.push_str(&format!(r#","keep_alive":{json}"#));
    }
    load_only(&request.model, &said, api, Cow::Borrowed(&request.headers))
}

pub(super) fn load(spelling: &str, options: &KeepOptions, embeds: bool) -> Outgoing<'static> {
    let mut said = String::new();
    if let Some(json) = &options.keep_alive {
        said.push_str(&format!(r#","keep_alive":{json}"#));
    }
    if let Some(num_ctx) = options.num_ctx {
        said.push_str(&format!(r#","options":{{"num_ctx":{num_ctx}}}"#));
    }
    let json = HeaderValue::from_static(CONTENT_TYPE_JSON);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    let api = match embeds {
        true => Api::OllamaEmbed,
        false => Api::OllamaGenerate,
    };
    load_only(spelling, &said, api, Cow::Owned(headers))
}

/// `options` are further keys.
fn load_only<'a>(
    model: &str,
    options: &str,
    api: Api,
    headers: Cow<'a, HeaderMap>,
) -> Outgoing<'a> {
    let nothing = match api {
        Api::OllamaEmbed => r#""input":[]"#,
        _ => r#""prompt":"""#,
    };
    let model = serde_json::Value::from(model);
    Outgoing {
        api,
        headers,
        body: format!(r#"{{"model":{model},{nothing}{options}}}"#).into(),
        hides_usage: false,
    }
}

/// Another server may do better, but for what is wrong with the request itself.
pub(super) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        // 499 is Ollama's own, when a load was aborted; not our client, which is still here.
        300..=399 | 401..=404 | 407 | 429 | 499..=599 => Verdict::Failover,
        _ => Verdict::Pass,
    }
}

pub(super) fn fault(answer: &ErrorAnswer<'_>) -> Fault {
    match answer.status.as_u16() {
        404 if is_missing(answer.body) => Fault::Missing,
        // A release without the path.
        404 if answer.body.starts_with(b"404 page not found") => Fault::Unsupported,
        404 => Fault::Rejected(404),
        _ => Fault::Status,
    }
}

/// Ollama's own words, in either dialect: `model 'm' not found`. Any other 404 is of something before it.
fn is_missing(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Said,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Said {
        Text(String),
        Object { message: String },
    }
    let Ok(Body { error }) = serde_json::from_slice(body) else {
        return false;
    };
    let (Said::Text(text) | Said::Object { message: text }) = error;
    text.contains("model") && text.contains("not found")
}
