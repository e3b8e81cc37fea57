//! When an answer has really ended, and what it used.
//!
//! The relay shows every chunk of a successful answer to a [`Tail`] as it passes. Nothing is
//! buffered: its memory is a constant, and what it says does not depend on how the bytes were cut
//! into chunks. An answer that has not said that it ended is incomplete however cleanly the connection
//! was closed, for several clients would take it for whole.
//!
//! The terminal marker counts as seen with the last byte by which *any* reader could recognise it: the brace
//! that closes the object with `"done":true`, the bracket of `[DONE]`, not the line end behind it.
//! The chunk with that byte is the one to hold back until the usage is written down; were it the
//! line end, a chunk cut just before it would show the end to a client too early. A stream of events that
//! has said why it ended (`finish_reason`), but lacks its marker, is over with its last byte.
//!
//! What it cannot know: whether the bytes have ended. The caller, which knows, calls [`Tail::end`].

mod lines;
#[cfg(test)]
mod tests;

use super::api::{Api, Dialect, Format};
use super::scan::{Choices, Document, Finishes, Scanner};
use super::sse::{Sse, Token};
use crate::domain::TokenCounts;
use lines::Lines;

const DONE: &[u8] = b"[DONE]";
/// About as much of an answer that is one object is not its text.
const ENVELOPE: u64 = 256;

/// What one chunk changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailEvent {
    /// The answer's terminal marker was completed by this chunk: hold it back until the usage is
    /// written down. True once at most.
    pub finished_now: bool,
}

/// Reads one answer as it passes.
#[derive(Clone, Debug)]
pub struct Tail {
    api: Api,
    frame: Frame,
    seen: Seen,
}

/// The state of the framing.
#[derive(Clone, Debug)]
enum Frame {
    Json(Scanner),
    Ndjson(Lines),
    Sse(Events),
    /// In an encoding that is not understood.
    Unread,
}

/// What has been understood so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    finished: bool,
    error: bool,
    pieces: u64,
    tokens: Option<TokenCounts>,
    cached: u64,
    /// Of the whole answer.
    bytes: u64,
    /// `"done":true` inside a stream that has another end.
    done: bool,
    finishes: Finishes,
    /// How many choices were asked for.
    wanted: u32,
}

#[derive(Clone, Debug)]
struct Events {
    sse: Sse,
    scanner: Scanner,
    /// How much of `[DONE]` this line's value has shown; nothing once it differs.
    done: Option<usize>,
}

impl Tail {
    /// For the successful answer of `api`, as it is framed when it comes as it was asked for.
    #[must_use]
    pub const fn new(api: Api, streaming: bool) -> Self {
        Self::framed(api, api.format(streaming))
    }

    /// For the successful answer of `api`, framed like this.
    #[must_use]
    pub const fn framed(api: Api, format: Format) -> Self {
        let frame = match format {
            Format::Json => Frame::Json(Scanner::new()),
            Format::Ndjson => Frame::Ndjson(Lines::new()),
            Format::Sse => Frame::Sse(Events {
                sse: Sse::new(),
                scanner: Scanner::new(),
                done: Some(0),
            }),
            Format::Unread => Frame::Unread,
        };
        let seen = Seen {
            finished: false,
            error: false,
            pieces: 0,
            tokens: None,
            cached: 0,
            bytes: 0,
            done: false,
            finishes: Finishes::NONE,
            wanted: 1,
        };
        Self { api, frame, seen }
    }

    /// The answer of a request for so many choices.
    #[must_use]
    pub const fn of_choices(mut self, wanted: u32) -> Self {
        self.seen.wanted = wanted;
        self
    }

    /// Looks at the next bytes of the body. What follows the terminal marker is not looked at.
    pub fn push(&mut self, chunk: &[u8]) -> TailEvent {
        if self.seen.finished {
            return TailEvent::default();
        }
        let (api, seen) = (self.api, &mut self.seen);
        seen.bytes = seen.bytes.saturating_add(chunk.len() as u64);
        match &mut self.frame {
            Frame::Json(scanner) => {
                let mut rest = chunk;
                while let Some(document) = scanner.next(&mut rest) {
                    if seen.whole(api, &document) {
                        break;
                    }
                }
            }
            Frame::Ndjson(lines) => lines.push(chunk, seen),
            Frame::Sse(events) => events.push(api, chunk, seen),
            Frame::Unread => {}
        }
        TailEvent {
            finished_now: seen.finished,
        }
    }

    /// The body is over, in good order as far as HTTP can tell: a last line needs no line end, and a stream
    /// that has said why it ended needs no marker.
    pub const fn end(&mut self) {
        match &mut self.frame {
            Frame::Json(_) => {}
            Frame::Ndjson(lines) => lines.end(&mut self.seen),
            Frame::Sse(events) => {
                // Behind half an object something is missing, if only the usage.
                let is_over = self.seen.done || self.seen.finishes.is_over(self.seen.wanted);
                self.seen.finished |= is_over && !self.seen.error && events.scanner.is_between();
            }
            Frame::Unread => self.seen.finished = true,
        }
    }

    /// The answer is whole: its terminal marker has been seen, or its end after the reason for it.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.seen.finished
    }

    /// The server said, in the middle of the answer, that it failed.
    #[must_use]
    pub const fn saw_error(&self) -> bool {
        self.seen.error
    }

    /// Whether a stream has begun with something, and its first event or line is not over: it may still say that
    /// there is no answer.
    #[must_use]
    pub const fn is_in_first_event(&self) -> bool {
        let is_open = match &self.frame {
            Frame::Json(_) | Frame::Unread => false,
            Frame::Ndjson(lines) => !lines.at_start() && !self.seen.error,
            Frame::Sse(events) => !events.sse.is_between(),
        };
        is_open && self.seen.pieces == 0 && !self.seen.finished
    }

    /// Events that are over, in good order, without a single object that says something.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Seen {
            finished,
            error,
            pieces,
            ..
        } = self.seen;
        let says_nothing = pieces == 0 && !error && self.seen.tokens.is_none();
        matches!(self.frame, Frame::Sse(_)) && finished && says_nothing
    }

    /// How many pieces with content have passed: about as many as tokens were generated, and the
    /// only count there is when the answer breaks before its usage.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.seen.pieces
    }

    /// About how many bytes of text were generated, where there are no pieces to count: in an answer that is
    /// one object, or that could not be read.
    #[must_use]
    pub const fn text_bytes(&self) -> u64 {
        match &self.frame {
            _ if !self.api.can_stream() || self.seen.error => 0,
            Frame::Json(_) => self.seen.bytes.saturating_sub(ENVELOPE),
            Frame::Unread => self.seen.bytes,
            Frame::Ndjson(_) | Frame::Sse(_) => 0,
        }
    }

    /// What the server said it used; nothing as long as it has not, or never does.
    #[must_use]
    pub const fn tokens(&self) -> Option<TokenCounts> {
        self.seen.tokens
    }

    /// How many of the tokens read the server says it had in its cache.
    #[must_use]
    pub const fn cached(&self) -> u64 {
        self.seen.cached
    }

    /// Whether the next byte would begin a line (or event), so that another may be put there.
    #[must_use]
    pub const fn at_line_start(&self) -> bool {
        match &self.frame {
            Frame::Json(_) | Frame::Unread => false,
            Frame::Ndjson(lines) => lines.at_start(),
            Frame::Sse(events) => events.sse.is_between(),
        }
    }
}

impl Seen {
    /// An answer that is one object is over, unless that is a piece of an answer in lines that was not asked
    /// for, or of one that its server gave up; says whether.
    fn whole(&mut self, api: Api, document: &Document) -> bool {
        if !document.error && is_given_up(api, document) {
            return false;
        }
        self.finished = true;
        self.error = document.error;
        if !document.error {
            self.used(api, document);
        }
        true
    }

    /// An object may have said what was used. Of several the last one counts, whole.
    fn used(&mut self, api: Api, document: &Document) {
        if let Some(tokens) = tokens(api, document) {
            self.tokens = Some(tokens);
            let cached = document.cached_tokens.or(document.prompt_eval_cached_count);
            self.cached = cached.unwrap_or(0).min(tokens.input);
        }
    }
}

impl Events {
    fn push(&mut self, api: Api, mut chunk: &[u8], seen: &mut Seen) {
        while let Some(token) = self.sse.next(&mut chunk) {
            match token {
                Token::Data(data) => {
                    if self.is_done(data) {
                        seen.finished = true;
                        return;
                    }
                    self.data(api, data, seen);
                }
                Token::DataEnd => {
                    self.done = Some(0);
                    if !self.scanner.is_between() {
                        self.data(api, b"\n", seen); // as the rules join the lines of a value
                    }
                }
                Token::NamedError => seen.error = true,
                Token::EventEnd => self.scanner.reset(),
            }
        }
    }

    fn data(&mut self, api: Api, mut data: &[u8], seen: &mut Seen) {
        while let Some(document) = self.scanner.next(&mut data) {
            seen.error |= document.error;
            seen.finishes.add(document.finishes);
            // Ollama's own words, framed by somebody else.
            let done = document.done.filter(|_| api.dialect() == Dialect::Ollama);
            seen.done |= done == Some(true);
            if document.choices == Some(Choices::Some) || done == Some(false) {
                seen.pieces += 1;
            }
            seen.used(api, &document);
        }
    }

    /// Whether the value of this line has shown all of `[DONE]`.
    fn is_done(&mut self, data: &[u8]) -> bool {
        for &byte in data {
            self.done = match self.done {
                None => return false,
                Some(0) if byte == b' ' => Some(0),
                Some(at) if DONE[at] == byte => Some(at + 1),
                Some(_) => None,
            };
            if self.done == Some(DONE.len()) {
                return true;
            }
        }
        false
    }
}

/// Whether an object says that its answer has not been computed to its end. Ollama says so when its runner
/// ends before its answer does: in its own API, and in OpenAI's by neither a reason nor a single token.
fn is_given_up(api: Api, document: &Document) -> bool {
    match api.dialect() {
        Dialect::Ollama => document.done == Some(false),
        Dialect::OpenAi | Dialect::Anthropic => {
            document.choices == Some(Choices::Some)
                && !document.finishes.is_over(1)
                && document.completion_tokens == Some(0)
        }
    }
}

/// The usage an object states. Ollama leaves a zero out, so where it says one number, the one that is absent is
/// zero; OpenAI's servers say nothing at all unless they say it under `usage`.
fn tokens(api: Api, document: &Document) -> Option<TokenCounts> {
    let (input, output) = match api {
        Api::OllamaChat | Api::OllamaGenerate => {
            document.prompt_eval_count.or(document.eval_count)?;
            (document.prompt_eval_count, document.eval_count)
        }
        Api::OllamaEmbed => (Some(document.prompt_eval_count?), None),
        Api::OllamaEmbeddings | Api::OllamaShow => return None,
        Api::OpenAiChat | Api::OpenAiCompletions => {
            document.prompt_tokens.or(document.completion_tokens)?;
            (document.prompt_tokens, document.completion_tokens)
        }
        Api::OpenAiEmbeddings => {
            let total = document.total_tokens.or(document.prompt_tokens)?;
            (Some(total), None)
        }
    };
    Some(TokenCounts {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
    })
}
