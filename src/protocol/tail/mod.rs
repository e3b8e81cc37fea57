//! When an answer has really ended, and what it used.
//!
//! The relay shows every chunk of a successful answer to a [`Tail`] as it passes. Nothing is
//! buffered: its memory is a constant, and what it says does not depend on how the bytes were cut
//! into chunks. An answer that has not said that it ended is incomplete however cleanly the connection
//! was closed, for several clients would take it for whole.
//!
//! The terminal marker counts as seen with the last byte by which *any* reader could recognise it: the brace
//! that closes the object with `"done":true` or of the last event's type, the bracket of `[DONE]`, not the line end behind it.
//! The chunk with that byte is the one to hold back until the usage is written down; were it the
//! line end, a chunk cut just before it would show the end to a client too early. A stream of events that
//! has said why it ended (`finish_reason`, `stop_reason`), but lacks its marker, is over with its last byte.
//!
//! What it cannot know: whether the bytes have ended. The caller, which knows, calls [`Tail::end`].

mod events;
mod lines;
#[cfg(test)]
mod tests;
mod used;

use super::api::{Api, Format};
use super::scan::{Document, Finishes, Kind, Scanner};
use crate::domain::TokenCounts;
use events::Events;
use lines::Lines;
use used::{all_input, cached_tokens, is_given_up, tokens};

/// About as much of an object is not its text.
const ENVELOPE: u64 = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

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
    /// What the beginning of a message said it has read, and had read before.
    read: (u64, u64),
    /// Of the whole answer.
    bytes: u64,
    /// Of its pieces.
    pieces_bytes: u64,
    /// Of the shortest of them, of which little is text.
    shortest: u64,
    /// Of its text, where that was looked at.
    text: Option<u64>,
    /// An event with data is over.
    begun: bool,
    /// `"done":true` inside a stream that has another end.
    done: bool,
    finishes: Finishes,
    /// How many choices were asked for.
    wanted: u32,
    /// The last event says that the answer has failed.
    failed: bool,
    /// Its pieces say in their type what they are.
    typed: bool,
    /// `[DONE]` has come where it ends nothing.
    cut: bool,
    /// Bytes that have come behind the line of `[DONE]`.
    behind: usize,
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
            Format::Json => Frame::Json(Scanner::of(api.types_its_events())),
            Format::Ndjson => Frame::Ndjson(Lines::new()),
            Format::Sse => Frame::Sse(Events::new(api.types_its_events())),
            Format::Unread => Frame::Unread,
        };
        let seen = Seen {
            finished: false,
            error: false,
            pieces: 0,
            tokens: None,
            cached: 0,
            read: (0, 0),
            bytes: 0,
            pieces_bytes: 0,
            shortest: u64::MAX,
            text: None,
            begun: false,
            done: false,
            finishes: Finishes::NONE,
            wanted: 1,
            failed: false,
            typed: false,
            cut: false,
            behind: 0,
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
    pub fn push(&mut self, mut chunk: &[u8]) -> TailEvent {
        if self.seen.finished || self.seen.cut {
            self.seen.behind = self.seen.behind.saturating_add(chunk.len());
            return TailEvent::default();
        }
        let (api, seen) = (self.api, &mut self.seen);
        if seen.bytes == 0 {
            chunk = chunk.strip_prefix(BYTE_ORDER_MARK).unwrap_or(chunk);
        }
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
                self.seen.finished |= is_over && !self.seen.error && events.is_between_objects();
            }
            Frame::Unread => self.seen.finished = true,
        }
    }

    /// The answer is whole: its terminal marker has been seen, or its end after the reason for it.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.seen.finished
    }

    /// A marker that some clients take for the end has come before the answer had said that it is over: it is not
    /// whole, whatever follows.
    #[must_use]
    pub const fn is_cut_short(&self) -> bool {
        self.seen.cut
    }

    /// How many bytes have come behind the line of `[DONE]`, if there was one.
    #[must_use]
    pub const fn behind_done(&self) -> usize {
        self.seen.behind
    }

    /// The server said, in the middle of the answer, that it failed.
    #[must_use]
    pub const fn saw_error(&self) -> bool {
        self.seen.error
    }

    /// Whether something of the answer itself has come, and not only what keeps a stream of events open: comments, names,
    /// or an error in its place.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        match &self.frame {
            Frame::Sse(_) => self.seen.begun || self.seen.pieces > 0,
            Frame::Json(_) | Frame::Ndjson(_) | Frame::Unread => true,
        }
    }

    /// Whether a stream of events has said all that there is to say but its marker: why it ended, and what it used.
    #[must_use]
    pub const fn lacks_only_its_marker(&self) -> bool {
        let Seen {
            tokens,
            finishes,
            wanted,
            error,
            finished,
            ..
        } = self.seen;
        let said = tokens.is_some() && finishes.is_over(wanted);
        said && !error && !finished && matches!(self.frame, Frame::Sse(_)) && self.at_line_start()
    }

    /// The end that was seen says itself that the server failed.
    #[must_use]
    pub const fn ended_as_failed(&self) -> bool {
        self.seen.failed
    }

    /// Whether a stream has begun with something, and its first event or line is not over: it may still say that
    /// there is no answer.
    #[must_use]
    pub const fn is_in_first_event(&self) -> bool {
        let is_open = match &self.frame {
            Frame::Json(_) | Frame::Unread => false,
            Frame::Ndjson(lines) => !lines.at_start() && !self.seen.error,
            Frame::Sse(events) => {
                let is_silent = events.is_between() && !events.has_fields();
                let is_over = events.is_between() && self.seen.error;
                !(self.seen.begun || is_silent || is_over)
            }
        };
        is_open && self.seen.pieces == 0 && !self.seen.finished && !self.seen.cut
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
        let says_nothing = pieces == 0 && !error && !self.seen.finishes.is_over(1);
        let says_nothing = says_nothing && self.seen.tokens.is_none();
        matches!(self.frame, Frame::Sse(_)) && finished && says_nothing
    }

    /// How many pieces with content have passed: about as many as tokens were generated, and the
    /// only count there is when the answer breaks before its usage.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.seen.pieces
    }

    /// So many bytes of text are in the answer: it has come whole, and was looked at.
    pub const fn set_text_bytes(&mut self, bytes: u64) {
        self.seen.text = Some(bytes);
    }

    /// About how many bytes of text were generated: an object is longer than its text by as much as it is known to be. Of
    /// pieces that are nearly all alike that leaves nothing, and their number says more.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        let seen = &self.seen;
        match (&self.frame, seen.text) {
            _ if !self.api.can_stream() => 0,
            (_, Some(text)) => text,
            (Frame::Json(_), None) if seen.error => 0,
            (Frame::Json(_), None) => seen.bytes.saturating_sub(ENVELOPE),
            (Frame::Unread, None) => seen.bytes,
            (Frame::Ndjson(_) | Frame::Sse(_), None) if seen.shortest == u64::MAX => 0,
            (Frame::Ndjson(_) | Frame::Sse(_), None) => {
                let envelopes = match seen.pieces {
                    0 | 1 => ENVELOPE,
                    pieces => seen.shortest.max(ENVELOPE).saturating_mul(pieces),
                };
                seen.pieces_bytes.saturating_sub(envelopes)
            }
        }
    }

    /// What the server said it used; nothing as long as it has not, or never does.
    #[must_use]
    pub const fn tokens(&self) -> Option<TokenCounts> {
        self.seen.tokens
    }

    /// Whether the server said that it generated nothing, though it did: it says what it has read, and counts no more.
    #[must_use]
    pub fn says_no_output(&self) -> bool {
        self.seen.pieces > 1 && self.seen.tokens.is_some_and(|tokens| tokens.output == 0)
    }

    /// What the beginning of a message says it has read: a count, or a guess of the server's, and all there is to go by as
    /// long as it has not said what it used.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        Some(self.seen.read.0).filter(|read| *read > 0)
    }

    /// How many of the tokens read the server says it had in its cache.
    #[must_use]
    pub const fn cached(&self) -> u64 {
        match self.seen.tokens {
            Some(_) => self.seen.cached,
            None => self.seen.read.1,
        }
    }

    /// Whether the next byte would begin a line (or event), so that another may be put there.
    #[must_use]
    pub const fn at_line_start(&self) -> bool {
        match &self.frame {
            Frame::Json(_) | Frame::Unread => false,
            Frame::Ndjson(lines) => lines.at_start(),
            Frame::Sse(events) => events.is_between(),
        }
    }
}

impl Seen {
    /// A piece of the answer, of so many bytes.
    const fn piece(&mut self, bytes: u64) {
        self.pieces += 1;
        self.measured(bytes);
    }

    const fn measured(&mut self, bytes: u64) {
        self.pieces_bytes = self.pieces_bytes.saturating_add(bytes);
        if bytes < self.shortest {
            self.shortest = bytes;
        }
    }

    /// An answer that is one object is over, unless that is a piece of an answer in lines that was not asked
    /// for, or of one that its server gave up; says whether.
    fn whole(&mut self, api: Api, document: &Document) -> bool {
        if !document.error && is_given_up(api, document) {
            return false;
        }
        self.finished = true;
        self.error = document.error || document.kind == Kind::Error;
        if !self.error {
            self.used(api, document);
        }
        true
    }

    /// An object may have said what was used. Of several the last one counts, whole.
    fn used(&mut self, api: Api, document: &Document) {
        let (read, cached) = self.read;
        if let Some(tokens) = tokens(api, document, read) {
            self.tokens = Some(tokens);
            self.cached = cached_tokens(document).unwrap_or(cached).min(tokens.input);
        }
    }

    /// A message begins. What it says it has read may be a guess of the server's, as it is on Ollama, so it counts
    /// only if the end of the message says nothing else.
    fn begins(&mut self, document: &Document) {
        let read = all_input(document).unwrap_or(0);
        self.read = (read, cached_tokens(document).unwrap_or(0).min(read));
    }

    /// Whether `[DONE]` ends an answer of `api`. Where events say in their type what they are, one of them is the end, and
    /// without it, or a reason before it, something is missing.
    const fn ends_with_done(&self, api: Api) -> bool {
        let says_its_end = match api {
            Api::AnthropicMessages | Api::OpenAiResponses => true,
            // Some stream it as chats.
            Api::OpenAiTranscriptions => self.typed,
            _ => false,
        };
        !says_its_end || self.error || self.finishes.is_over(self.wanted)
    }
}
