//! What the router must know of a request, read from its body in one pass.
//!
//! The body goes to the server as it came, so nothing is built from it: the top-level object is
//! walked once, and a handful of values are looked at as raw text. The rules of reading are the
//! server's (Go's `encoding/json`): keys in any case, `null` like nothing. Where servers could still read
//! differently, which is a key given twice, bytes that are no text or something behind the object, [`settle()`]
//! makes of the body one that all read alike, as Ollama reads it.
//!
//! Knows nothing of routing. Fails with a [`BadRequest`], which is the client's fault always.

mod ask_usage;
mod bad_request;
mod depth;
mod fields;
mod form;
mod length;
mod load_options;
mod parameters;
mod prompt;
mod settle;
mod splice;
#[cfg(test)]
mod tests;
mod unload;
mod walk;

use std::borrow::Cow;
use std::ops::Range;

use serde::de::{Deserialize as _, IgnoredAny};

pub use ask_usage::AskUsage;
pub use bad_request::BadRequest;
pub use form::peek_form;
pub use length::MaxOutput;
pub use load_options::LoadOptions;
pub use settle::settle;
pub use splice::{Splice, splice};
pub use unload::Unload;

use super::api::Api;
use super::surrogates::without_lone_surrogates;
pub(in crate::protocol) use fields::folded;
use fields::{Field, Fields};
pub(in crate::protocol) use walk::entries;

/// What a request asks for, as far as a router needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The model in the client's spelling; never empty, not yet checked to be a name.
    pub model: Cow<'a, str>,
    /// Where its text stands in the body, in JSON with its quotes.
    pub model_at: Range<usize>,
    /// Whether the answer is to come in pieces.
    pub stream: bool,
    /// Whether the answer will say what it used.
    pub usage: AskUsage,
    /// Approximate bytes of text to read, images left out.
    pub prompt_bytes: usize,
    /// The most tokens the answer may have, if the client says so.
    pub max_output: MaxOutput,
    /// How many answers are wanted (OpenAI's `n`).
    pub choices: u32,
    /// Whether the model is to leave the memory (Ollama's `keep_alive: 0`).
    pub unload: Unload,
    /// Where the body says how the model is to be loaded.
    pub load_options: LoadOptions,
    /// The end user, where the client names one (OpenAI's `user`, Anthropic's `metadata.user_id`).
    pub user: Option<Cow<'a, str>>,
}

/// Reads a request's body.
///
/// # Errors
/// [`BadRequest`] when no server would take it, or when it can be read in two ways.
pub fn peek(api: Api, body: &[u8]) -> Result<Peek<'_>, BadRequest> {
    let body =
        std::str::from_utf8(body).map_err(|error| BadRequest::NotUtf8(error.valid_up_to()))?;
    let first = body.trim_ascii_start().as_bytes().first();
    let first = *first.ok_or(BadRequest::MissingBody)?;
    if depth::is_too_deep(body.as_bytes()) {
        return Err(BadRequest::TooDeep);
    }
    if first != b'{' {
        return Err(not_an_object(api, body, first));
    }
    let fields = Fields::read(body, api.dialect());
    let fields = fields.map_err(|error| BadRequest::not_json(&error))?;
    fields.ends_body()?;
    let (model, json) = model(api, &fields)?;
    let model_at = splice::range_in(body, json);
    let stream = stream(api, &fields)?;
    let usage = match api {
        Api::OpenAiChat | Api::OpenAiCompletions if stream => AskUsage::of_stream(body, &fields)?,
        _ => AskUsage::Unasked,
    };
    Ok(Peek {
        model,
        model_at,
        stream,
        usage,
        prompt_bytes: prompt::bytes(api, &fields),
        max_output: length::max_output(api, &fields),
        choices: length::choices(api, &fields),
        unload: Unload::of(api, &fields),
        load_options: LoadOptions::of(api, body, &fields),
        user: user(&fields),
    })
}

/// OpenAI's `user`, or Anthropic's `metadata.user_id`.
fn user<'a>(fields: &Fields<'a>) -> Option<Cow<'a, str>> {
    if let Some(json) = fields.get(Field::User) {
        return text(json).ok()?;
    }
    let mut user = None;
    let metadata = fields.get(Field::Metadata)?;
    walk::entries(metadata, |key, value| {
        if key == b"user_id" {
            user = Some(value.get());
        }
    })
    .ok()?;
    text(user?).ok()?
}

/// `/api/show`, alone, also takes `name`, where there is no `model`: older clients send it.
fn model<'a>(api: Api, fields: &Fields<'a>) -> Result<(Cow<'a, str>, &'a str), BadRequest> {
    let model = named(api, fields, Field::Model, "model")?;
    let model = match model {
        None if api == Api::OllamaShow => named(api, fields, Field::Name, "name")?,
        model => model,
    };
    model.ok_or(BadRequest::ModelRequired)
}

/// The text under `field`, unless it is empty, and its JSON.
fn named<'a>(
    api: Api,
    fields: &Fields<'a>,
    field: Field,
    key: &'static str,
) -> Result<Option<(Cow<'a, str>, &'a str)>, BadRequest> {
    fields.once(field)?;
    let Some(json) = fields.get(field) else {
        return Ok(None);
    };
    let text = text(json).map_err(|error| BadRequest::not_json(&error))?;
    match text {
        Some(text) => Ok(Some((text, json)).filter(|(text, _)| !text.is_empty())),
        None => Err(wrong_type(api, json, key, "string")),
    }
}

fn stream(api: Api, fields: &Fields<'_>) -> Result<bool, BadRequest> {
    if !api.can_stream() {
        return Ok(false);
    }
    fields.once(Field::Stream)?;
    match fields.get(Field::Stream) {
        None => Ok(api.streams_when_omitted()),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(json) => Err(wrong_type(api, json, "stream", "bool")),
    }
}

/// A string, borrowed where nothing in it is escaped; nothing when it is no string.
fn text(json: &str) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let Some(inner) = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
    else {
        return Ok(None);
    };
    Ok(Some(match inner.contains('\\') {
        false => Cow::Borrowed(inner),
        true => Cow::Owned(unescaped(json)?),
    }))
}

/// Half a surrogate pair is no text; it is read as Go reads it.
fn unescaped(json: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str(json).or_else(|error| match without_lone_surrogates(json) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(json) => serde_json::from_str(&json),
    })
}

fn wrong_type(api: Api, json: &str, key: &'static str, wanted: &'static str) -> BadRequest {
    BadRequest::WrongType {
        found: kind(json.as_bytes().first().copied().unwrap_or_default()),
        request: api.request_type(),
        key,
        wanted,
    }
}

fn not_an_object(api: Api, body: &str, first: u8) -> BadRequest {
    match IgnoredAny::deserialize(&mut serde_json::Deserializer::from_str(body)) {
        Err(error) => BadRequest::not_json(&error),
        Ok(_) if first == b'n' => BadRequest::ModelRequired, // `null` is an object without keys
        Ok(_) => BadRequest::NotAnObject {
            found: kind(first),
            package: api.request_package(),
            request: api.request_type(),
        },
    }
}

/// What Go calls the value that starts with `first`.
pub(in crate::protocol) const fn kind(first: u8) -> &'static str {
    match first {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        _ => "number",
    }
}
