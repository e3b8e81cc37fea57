//! Streams of server-sent events: an object in each, the last one `[DONE]`, or one whose `type` says that it is. Where
//! there is such a type, `[DONE]` before it is no end.

use super::Seen;
use crate::protocol::api::{Api, Dialect};
use crate::protocol::scan::{Choices, Finishes, Kind, Scanner};
use crate::protocol::sse::{Sse, Token};

const DONE: &[u8] = b"[DONE]";

#[derive(Clone, Debug)]
pub(super) struct Events {
    sse: Sse,
    scanner: Scanner,
    /// How much of `[DONE]` this line's value has shown; nothing once it differs.
    done: Option<usize>,
    /// How long the value of this event is so far.
    data: u64,
}

impl Events {
    /// Their objects may say in a `type` what they are.
    pub(super) const fn new(typed: bool) -> Self {
        Self {
            sse: Sse::new(),
            scanner: Scanner::of(typed),
            done: Some(0),
            data: 0,
        }
    }

    /// Whether the last event is over and no other has begun.
    pub(super) const fn is_between(&self) -> bool {
        self.sse.is_between()
    }

    /// Whether anything but comments has come.
    pub(super) const fn has_fields(&self) -> bool {
        self.sse.has_fields()
    }

    /// Whether no object has begun that is not over.
    pub(super) const fn is_between_objects(&self) -> bool {
        self.scanner.is_between()
    }

    pub(super) fn push(&mut self, api: Api, mut chunk: &[u8], seen: &mut Seen) {
        while let Some(token) = self.sse.next(&mut chunk) {
            match token {
                Token::Data(data) => {
                    if self.is_done(data) {
                        let ends = seen.ends_with_done(api);
                        (seen.finished, seen.cut) = (ends, !ends);
                        seen.behind = chunk.len();
                        return;
                    }
                    self.data += data.len() as u64;
                    self.data(api, data, seen);
                    if seen.finished {
                        return;
                    }
                }
                Token::DataEnd => {
                    self.done = Some(0);
                    if !self.scanner.is_between() {
                        self.data(api, b"\n", seen); // as the rules join the lines of a value
                    }
                }
                Token::NamedError => seen.error = true,
                Token::EventEnd => {
                    let bytes = std::mem::take(&mut self.data);
                    seen.begun |= bytes > 0 && !seen.error;
                    if bytes > 0 && seen.pieces > 0 {
                        seen.measured(bytes);
                    }
                    self.scanner.reset();
                }
            }
        }
    }

    fn data(&mut self, api: Api, mut data: &[u8], seen: &mut Seen) {
        while let Some(document) = self.scanner.next(&mut data) {
            let kind = document.kind;
            seen.error |= document.error || matches!(kind, Kind::Error | Kind::Failed);
            seen.finishes.add(document.finishes);
            // Ollama's own words, framed by somebody else.
            let done = document.done.filter(|_| api.dialect() == Dialect::Ollama);
            seen.done |= done == Some(true);
            let is_piece = document.choices == Some(Choices::Some) || done == Some(false);
            if is_piece || kind == Kind::Piece {
                seen.pieces += 1;
                seen.typed |= kind == Kind::Piece;
            }
            match kind {
                Kind::Start => seen.begins(&document),
                _ => seen.used(api, &document),
            }
            if matches!(kind, Kind::End | Kind::Failed) {
                seen.finishes.add(Finishes::ENDED);
                seen.failed = kind == Kind::Failed;
                seen.finished = true;
                return;
            }
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
