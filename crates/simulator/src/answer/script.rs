//! The whole content of an answer, known before it is written.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::catalogue::Entry;

use super::write::number;
use super::{Metrics, anthropic, native, openai, responses};

/// Which path was asked, and so the shape of every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Chat,
    Generate,
    OpenAiChat,
    OpenAiText,
    Messages,
    Responses,
}

/// Whose error bodies a path uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ollama,
    OpenAi,
    Anthropic,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Stop,
    Length,
    /// Nothing was asked.
    Load,
}

/// See the module. Byte fields are JSON already.
pub struct Script {
    pub dialect: Dialect,
    pub entry: Arc<Entry>,
    /// The client's own spelling of the model, quoted.
    pub model: Vec<u8>,
    /// What every token begins with: `node-request-`.
    pub mark: Vec<u8>,
    /// The request's number on this server.
    pub request: u64,
    /// Unix seconds of the beginning.
    pub created: i64,
    /// How many tokens it has, thinking included.
    pub tokens: usize,
    /// How many of them are thinking, before the text begins.
    pub thinking: usize,
    /// A tool it calls in the end, quoted.
    pub tool: Option<Vec<u8>>,
    /// Whether an OpenAI stream ends with its usage.
    pub usage: bool,
    /// Whether `/api/generate` returns a context.
    pub context: bool,
    /// Why it ends.
    pub reason: Reason,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of those, what was read before, if the server says so.
    pub cached_tokens: Option<u64>,
    /// How many alternatives of each token are told, where the tokens' probabilities are.
    pub logprobs: Option<usize>,
    /// What `/v1/responses` repeats of the request: its instructions, quoted, and its limit.
    pub instructions: Option<Vec<u8>>,
    pub limit: Option<u64>,
}

impl Dialect {
    /// The family of its errors.
    pub fn family(self) -> Family {
        match self {
            Self::Chat | Self::Generate => Family::Ollama,
            Self::OpenAiChat | Self::OpenAiText | Self::Responses => Family::OpenAi,
            Self::Messages => Family::Anthropic,
        }
    }

    /// The media type of its streams.
    pub fn stream_type(self) -> &'static str {
        match self {
            Self::Chat | Self::Generate => "application/x-ndjson",
            _ => "text/event-stream",
        }
    }

    /// The media type of its whole answers.
    pub fn whole_type(self) -> &'static str {
        match self {
            Self::Chat | Self::Generate => "application/json; charset=utf-8",
            _ => "application/json",
        }
    }
}

impl Script {
    /// The text of one token.
    pub fn token(&self, out: &mut impl BufMut, index: usize) {
        out.put_slice(&self.mark);
        number(out, index as u64);
        out.put_u8(b' ');
        let pieces = &self.entry.pieces;
        if !pieces.is_empty() {
            out.put_slice(&pieces[index % pieces.len()]);
        }
    }

    /// The text of several tokens.
    pub fn tokens(&self, out: &mut impl BufMut, range: std::ops::Range<usize>) {
        for index in range {
            self.token(out, index);
        }
    }

    /// The probabilities of the tokens that were written, as a JSON array; the numbers are made up.
    pub fn probabilities(&self, out: &mut BytesMut, written: usize) {
        let Some(top) = self.logprobs else {
            return;
        };
        let one = |out: &mut BytesMut, index: usize| {
            out.put_slice(br#"{"token":""#);
            self.token(out, index);
            out.put_slice(br#"","logprob":-0.5,"bytes":[32]"#);
        };
        out.put_u8(b'[');
        for index in 0..written {
            if index > 0 {
                out.put_u8(b',');
            }
            one(out, index);
            for other in 0..top {
                out.put_slice(if other == 0 {
                    br#","top_logprobs":["#
                } else {
                    b","
                });
                one(out, index);
                out.put_u8(b'}');
            }
            out.put_slice(if top > 0 { b"]}" } else { b"}" });
        }
        out.put_u8(b']');
    }

    /// Whether a token is thinking, not text.
    pub fn is_thought(&self, index: usize) -> bool {
        index < self.thinking
    }

    /// About how long one streamed token is.
    pub fn line_length(&self) -> usize {
        let piece = self
            .entry
            .pieces
            .iter()
            .map(|piece| piece.len())
            .max()
            .unwrap_or(0);
        160 + self.model.len() + self.mark.len() + piece
    }

    /// Appends the streamed form of one token, with whatever must come before it.
    pub fn write_token(&self, out: &mut BytesMut, wall: i128, index: usize) {
        match self.dialect {
            Dialect::Chat | Dialect::Generate => native::token(self, out, wall, index),
            Dialect::OpenAiChat => openai::chat_token(self, out, index),
            Dialect::OpenAiText => openai::text_token(self, out, index),
            Dialect::Messages => anthropic::token(self, out, index),
            Dialect::Responses => responses::token(self, out, index),
        }
    }

    /// The frames behind the last token of a stream that ends well.
    pub fn ending(&self, wall: i128, metrics: &Metrics) -> VecDeque<Bytes> {
        match self.dialect {
            Dialect::Chat | Dialect::Generate => native::ending(self, wall, metrics),
            Dialect::OpenAiChat => openai::chat_ending(self, metrics),
            Dialect::OpenAiText => openai::text_ending(self, metrics),
            Dialect::Messages => anthropic::ending(self, metrics),
            Dialect::Responses => responses::ending(self, metrics),
        }
    }

    /// The frame of an error inside a stream; `None` where Ollama loses it without a trace.
    pub fn error(&self, text: &str) -> Option<Bytes> {
        match self.dialect {
            Dialect::Chat | Dialect::Generate => Some(native::error(text)),
            Dialect::OpenAiChat => Some(openai::lost_chat_error(self)),
            Dialect::OpenAiText => Some(openai::lost_text_error(self)),
            Dialect::Messages | Dialect::Responses => None,
        }
    }

    /// The answer that is not streamed. `written` tokens of it; `done` is false for one that ended
    /// without its end.
    pub fn whole(&self, wall: i128, metrics: &Metrics, written: usize, done: bool) -> Bytes {
        let written = written.min(self.tokens);
        let mut out = BytesMut::with_capacity(512 + written * (self.line_length() - 120));
        match self.dialect {
            Dialect::Chat | Dialect::Generate => {
                native::whole(self, &mut out, wall, metrics, written, done);
            }
            Dialect::OpenAiChat => openai::chat_whole(self, &mut out, metrics, written, done),
            Dialect::OpenAiText => openai::text_whole(self, &mut out, metrics, written, done),
            Dialect::Messages => anthropic::whole(self, &mut out, metrics, written),
            Dialect::Responses => responses::whole(self, &mut out, metrics, written),
        }
        out.freeze()
    }
}
