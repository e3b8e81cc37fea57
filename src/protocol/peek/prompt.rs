//! How much there is to read, and to which conversation it belongs, without reading it.
//!
//! Tokens are counted by the server. Before it has, and for servers that never say, the router
//! estimates from the length of the text; images travel as base64 and are no text, so they do not
//! count. The length is that of the JSON spelling: an estimate needs no unescaping.

use super::digest::Digest;
use super::fields::{Field, Fields};
use super::walk;
use crate::protocol::api::Api;

/// What a request gives a model to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// Approximate bytes of text.
    pub(super) bytes: usize,
    /// False when there is nothing to answer: Ollama then only loads or unloads.
    pub(super) given: bool,
    /// See [`Peek::conversation`](super::Peek::conversation).
    pub(super) conversation: Option<u64>,
}

impl Prompt {
    pub(super) fn of(api: Api, fields: &Fields<'_>) -> Self {
        match api {
            Api::OllamaChat | Api::OpenAiChat => Self::of_chat(fields),
            Api::OllamaGenerate | Api::OpenAiCompletions => Self::of_text(
                fields,
                Field::Prompt,
                &[Field::Prompt, Field::System, Field::Suffix],
            ),
            Api::OllamaEmbed | Api::OpenAiEmbeddings => {
                Self::of_text(fields, Field::Input, &[Field::Input]).without_conversation()
            }
            Api::OllamaEmbeddings => {
                Self::of_text(fields, Field::Prompt, &[Field::Prompt]).without_conversation()
            }
            Api::OllamaShow => Self::default(),
        }
    }

    fn of_text(fields: &Fields<'_>, main: Field, all: &[Field]) -> Self {
        let main = fields.get(main).unwrap_or_default();
        let texts = all.iter().filter_map(|field| fields.get(*field));
        Self {
            bytes: texts.map(text_bytes).sum(),
            given: !is_empty(main),
            conversation: (!is_empty(main)).then(|| {
                let mut hash = Digest::new();
                hash.write_ends(main.as_bytes());
                hash.finish()
            }),
        }
    }

    fn of_chat(fields: &Fields<'_>) -> Self {
        let tools = fields.get(Field::Tools).map_or(0, str::len);
        let Some(messages) = fields.get(Field::Messages) else {
            return Self {
                bytes: tools,
                ..Self::default()
            };
        };
        let mut chat = Chat::default();
        let bytes = match walk::objects(messages, |index, key, json| chat.entry(index, key, json)) {
            Some(()) => chat.bytes,
            None => messages.len(), // not messages: the server will say so
        };
        Self {
            bytes: bytes + tools,
            given: !is_empty(messages),
            conversation: chat.conversation(),
        }
    }

    const fn without_conversation(self) -> Self {
        Self {
            conversation: None,
            ..self
        }
    }
}

/// What has been read of `messages`.
struct Chat<'a> {
    bytes: usize,
    index: usize,
    role: &'a str,
    content: &'a str,
    hash: Option<Digest>,
    conversation: Option<u64>,
}

impl Default for Chat<'_> {
    fn default() -> Self {
        Self {
            bytes: 0,
            index: 0,
            role: "",
            content: "",
            hash: Some(Digest::new()),
            conversation: None,
        }
    }
}

impl<'a> Chat<'a> {
    fn entry(&mut self, index: usize, key: &str, json: &'a str) {
        if index != self.index {
            self.end_of_message();
            (self.index, self.role, self.content) = (index, "", "");
        }
        match key {
            "role" => self.role = json,
            "content" => {
                self.content = json;
                self.bytes += content_bytes(json);
            }
            "thinking" | "tool_calls" => self.bytes += text_bytes(json),
            _ => {}
        }
    }

    /// Leading system messages and the first message of the user are the conversation.
    fn end_of_message(&mut self) {
        let Some(mut hash) = self.hash.take() else {
            return;
        };
        hash.write(self.role.as_bytes());
        hash.write_ends(self.content.as_bytes());
        match self.role {
            r#""user""# => self.conversation = Some(hash.finish()),
            r#""system""# | r#""developer""# => self.hash = Some(hash),
            _ => {}
        }
    }

    fn conversation(mut self) -> Option<u64> {
        self.end_of_message();
        self.conversation
    }
}

/// A text, or OpenAI's list of parts, of which only the texts count.
fn content_bytes(json: &str) -> usize {
    if !json.starts_with('[') {
        return text_bytes(json);
    }
    let mut bytes = 0;
    let texts = walk::objects(json, |_, key, value| {
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

fn is_empty(json: &str) -> bool {
    match json.as_bytes() {
        [b'[' | b'{', inner @ .., _] => inner.trim_ascii().is_empty(),
        _ => matches!(json, "" | "\"\""),
    }
}
