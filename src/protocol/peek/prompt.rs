//! How much there is to read, without reading it.
//!
//! Tokens are counted by the server. Before it has, and for servers that never report them, the router
//! estimates from the length of the text; images travel as base64 and are no text, so they do not
//! count. The length is that of the JSON spelling: an estimate needs no unescaping.

use super::fields::{Field, Fields};
use super::walk;
use crate::protocol::api::Api;

/// Approximate bytes of the text that a request gives a model to read.
pub(super) fn bytes(api: Api, fields: &Fields<'_>) -> usize {
    let texts: &[Field] = match api {
        Api::OllamaChat | Api::OpenAiChat => return chat_bytes(fields),
        Api::OllamaGenerate | Api::OpenAiCompletions => {
            &[Field::Prompt, Field::System, Field::Suffix]
        }
        Api::OllamaEmbed | Api::OpenAiEmbeddings => &[Field::Input],
        Api::OllamaEmbeddings => &[Field::Prompt],
        Api::OllamaShow => &[],
    };
    let texts = texts.iter().filter_map(|field| fields.get(*field));
    texts.map(text_bytes).sum()
}

fn chat_bytes(fields: &Fields<'_>) -> usize {
    let tools = fields.get(Field::Tools).map_or(0, str::len);
    let Some(messages) = fields.get(Field::Messages) else {
        return tools;
    };
    let mut bytes = 0;
    let walked = walk::objects(messages, |key, json| {
        bytes += match key {
            "content" => content_bytes(json),
            "thinking" | "tool_calls" => text_bytes(json),
            _ => 0,
        };
    });
    // What is no list of messages the server will refuse.
    tools + walked.map_or(messages.len(), |()| bytes)
}

/// A text, or OpenAI's list of parts, of which only the texts count.
fn content_bytes(json: &str) -> usize {
    if !json.starts_with('[') {
        return text_bytes(json);
    }
    let mut bytes = 0;
    let texts = walk::objects(json, |key, value| {
        if key == "text" {
            bytes += text_bytes(value);
        }
    });
    texts.map_or(json.len(), |()| bytes)
}

/// The length without the quotes or brackets around it.
fn text_bytes(json: &str) -> usize {
    match json.as_bytes() {
        [b'"' | b'[' | b'{', inner @ .., _] => inner.len(),
        _ => 0,
    }
}
