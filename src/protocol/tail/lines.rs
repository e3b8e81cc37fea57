//! Ollama's streams: one JSON object per line, the last one with `"done":true`.
//!
//! A line end always begins anew, as it does for every client: a broken line costs itself only.

use memchr::memchr;

use super::{Seen, tokens};
use crate::protocol::api::Api;
use crate::protocol::scan::{Document, Scanner};

#[derive(Clone, Debug)]
pub(super) struct Lines {
    scanner: Scanner,
    line: Line,
}

/// What the line has shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing, not even white space.
    Fresh,
    /// Something that is not yet an object.
    Begun,
    /// A whole object that was a piece of the answer.
    Piece,
    /// An error.
    Failed,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            line: Line::Fresh,
        }
    }

    /// Whether nothing of a line has come.
    pub(super) const fn at_start(&self) -> bool {
        matches!(self.line, Line::Fresh)
    }

    pub(super) fn push(&mut self, mut chunk: &[u8], seen: &mut Seen) {
        while !chunk.is_empty() && !seen.finished {
            let end = memchr(b'\n', chunk);
            let (mut line, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            if !line.is_empty() && self.line == Line::Fresh {
                self.line = Line::Begun;
            }
            while let Some(document) = self.scanner.next(&mut line) {
                self.object(&document, seen);
                if seen.finished {
                    return;
                }
            }
            if end.is_some() {
                self.count(seen);
                self.scanner.reset();
                self.line = Line::Fresh;
            }
            chunk = rest.get(1..).unwrap_or_default();
        }
    }

    /// The line is over, with its line end or with the body.
    pub(super) const fn count(&mut self, seen: &mut Seen) {
        if matches!(self.line, Line::Piece) {
            seen.pieces += 1;
            self.line = Line::Begun;
        }
    }

    fn object(&mut self, document: &Document, seen: &mut Seen) {
        if document.error {
            seen.error = true;
            self.line = Line::Failed;
        } else if document.done {
            seen.finished = true;
            // Only chat and generate stream, and they say their counts alike.
            seen.tokens = tokens(Api::OllamaChat, document);
        } else if self.line != Line::Failed {
            self.line = Line::Piece;
        }
    }
}
