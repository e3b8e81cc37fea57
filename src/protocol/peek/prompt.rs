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
        Api::OllamaChat | Api::OpenAiChat | Api::AnthropicMessages => {
            return chat_bytes(fields, Field::Messages, Field::System);
        }
        Api::OpenAiResponses => return chat_bytes(fields, Field::Input, Field::Instructions),
        Api::OllamaGenerate | Api::OpenAiCompletions => {
            &[Field::Prompt, Field::System, Field::Suffix]
        }
        Api::OllamaEmbed | Api::OpenAiEmbeddings => &[Field::Input],
        Api::OllamaEmbeddings => &[Field::Prompt],
        // The prompt of a transcription stands in a form.
        Api::OllamaShow | Api::OpenAiTranscriptions => &[],
    };
    let texts = texts.iter().filter_map(|field| fields.get(*field));
    texts.map(text_bytes).sum()
}

/// A conversation under one key, what is said before it under another, and tools.
fn chat_bytes(fields: &Fields<'_>, messages: Field, before: Field) -> usize {
    let tools = fields.get(Field::Tools).map_or(0, str::len);
    let before = fields.get(before).map_or(0, content_bytes);
    let Some(messages) = fields.get(messages) else {
        return tools + before;
    };
    if !messages.starts_with('[') {
        return tools + before + text_bytes(messages);
    }
    let mut bytes = 0;
    let walked = walk::objects(messages, |key, json| {
        bytes += match key {
            "content" => content_bytes(json),
            // Of the one kind, and of the other: what a tool was given, and what it said.
            "thinking" | "tool_calls" | "arguments" | "output" => text_bytes(json),
            _ => 0,
        };
    });
    // What is no list of messages the server will refuse.
    tools + before + walked.map_or(messages.len(), |()| bytes)
}

/// A text, or a list of parts, of which the texts count, and what tools were given and said.
fn content_bytes(json: &str) -> usize {
    parts_bytes(json, |key, value| match key {
        "text" | "thinking" | "input" => text_bytes(value),
        // The result of a tool is a text or a list of parts itself, of which no other is part.
        "content" => parts_bytes(value, |key, value| match key {
            "text" => text_bytes(value),
            _ => 0,
        }),
        _ => 0,
    })
}

fn parts_bytes(json: &str, part: impl Fn(&str, &str) -> usize) -> usize {
    if !json.starts_with('[') {
        return text_bytes(json);
    }
    let mut bytes = 0;
    let texts = walk::objects(json, |key, value| bytes += part(key, value));
    texts.map_or(json.len(), |()| bytes)
}

/// The length without the quotes or brackets around it.
fn text_bytes(json: &str) -> usize {
    match json.as_bytes() {
        [b'"' | b'[' | b'{', inner @ .., _] => inner.len(),
        _ => 0,
    }
}
