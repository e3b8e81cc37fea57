//! Writing the fleet's lists from the entries its members gave.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use super::{ListedModel, RunningModel};
use crate::protocol::quote::quote;
use crate::protocol::timestamp::unix_seconds;

/// `/api/tags`, in the given order.
#[must_use]
pub fn render_tags<'a>(models: impl IntoIterator<Item = &'a ListedModel>) -> Bytes {
    list(models, |out, model| out.push_str(model.raw.get()))
}

/// `/api/ps`, in the given order: one entry per server that has the model loaded.
#[must_use]
pub fn render_ps<'a>(models: impl IntoIterator<Item = &'a RunningModel>) -> Bytes {
    list(models, |out, model| out.push_str(model.raw.get()))
}

/// `/api/ps_details`: each entry with the name of its endpoint before all else.
#[must_use]
pub fn render_ps_details<'a>(
    models: impl IntoIterator<Item = (&'a str, &'a RunningModel)>,
) -> Bytes {
    list(models, |out, (endpoint, model)| {
        // An entry is an object that has at least its name, so a comma is always right.
        let entries = model.raw.get().strip_prefix('{').unwrap_or("}");
        out.push_str(r#"{"endpoint":"#);
        out.push_str(&quote(endpoint));
        out.push(',');
        out.push_str(entries);
    })
}

/// `/v1/models`. Never null, unlike Ollama's own, with which clients have failed.
#[must_use]
pub fn render_openai_models<'a>(models: impl IntoIterator<Item = &'a ListedModel>) -> Bytes {
    between(r#"{"object":"list","data":["#, models, |out, model| {
        openai_model(out, model, &model.spelling);
    })
}

/// `/v1/models/:id`, with the id as the client spelt it.
#[must_use]
pub fn render_openai_model(model: &ListedModel, id: &str) -> Bytes {
    let mut out = String::new();
    openai_model(&mut out, model, id);
    out.into()
}

/// The name as Ollama writes that of an unknown model where it does not repeat what the client wrote.
#[must_use]
pub fn with_tag(model: &str) -> Cow<'_, str> {
    let last = model.rsplit('/').next().unwrap_or(model);
    match last.contains(':') {
        true => Cow::Borrowed(model),
        false => Cow::Owned(format!("{model}:latest")),
    }
}

fn openai_model(out: &mut String, model: &ListedModel, id: &str) {
    // Writing to a `String` cannot fail.
    let _ = write!(
        out,
        r#"{{"id":{},"object":"model","created":{},"owned_by":{}}}"#,
        quote(id),
        unix_seconds(&model.modified_at).unwrap_or(0),
        quote(namespace(model.name.as_str())),
    );
}

/// What stands before the model in `host/namespace/model:tag`.
fn namespace(canonical: &str) -> &str {
    canonical.rsplit('/').nth(1).unwrap_or("library")
}

fn list<T>(items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) -> Bytes {
    between(r#"{"models":["#, items, write)
}

fn between<T>(
    head: &str,
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut String, T),
) -> Bytes {
    let mut out = String::from(head);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(&mut out, item);
    }
    out.push_str("]}");
    out.into()
}
