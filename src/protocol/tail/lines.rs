//! Ollama's streams: one JSON object per line, the last one with `"done":true`.
//!
//! A line end always begins anew, as it does for every client: a broken line affects itself only.

use std::sync::LazyLock;

use memchr::{memchr, memmem::Finder};

use super::Seen;
use crate::protocol::api::Api;
use crate::protocol::scan::{Document, Scanner};

#[derive(Clone, Debug)]
pub(super) struct Lines {
    scanner: Scanner,
    line: Line,
    /// How long it is so far.
    length: u64,
}

/// What the line has shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing, not even white space.
    Fresh,
    /// White space only.
    Blank,
    /// Something, but not yet a whole object.
    Begun,
    /// A whole object that is a piece of the answer.
    Whole,
    /// An error, or a piece that has been counted.
    Spent,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            line: Line::Fresh,
            length: 0,
        }
    }

    /// Whether nothing of a line has come.
    pub(super) const fn at_start(&self) -> bool {
        matches!(self.line, Line::Fresh)
    }

    pub(super) fn push(&mut self, mut chunk: &[u8], seen: &mut Seen) {
        while !chunk.is_empty() && !seen.finished {
            let end = memchr(b'\n', chunk);
            let (line, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            chunk = rest.get(1..).unwrap_or_default();
            if end.is_some() && self.line == Line::Fresh && is_plain_piece(line) {
                seen.piece(line.len() as u64);
                continue;
            }
            self.part(line, seen);
            if end.is_some() && !seen.finished {
                if matches!(self.line, Line::Begun | Line::Whole) {
                    seen.piece(self.length);
                }
                self.length = 0;
                self.line = Line::Fresh;
                self.scanner.reset();
            }
        }
    }

    /// The body is over: a whole object needs no line end.
    pub(super) const fn end(&mut self, seen: &mut Seen) {
        if matches!(self.line, Line::Whole) {
            seen.piece(self.length);
            self.line = Line::Spent;
        }
    }

    /// Bytes of one line, without its end.
    fn part(&mut self, mut line: &[u8], seen: &mut Seen) {
        self.length += line.len() as u64;
        if matches!(self.line, Line::Fresh | Line::Blank) && !line.is_empty() {
            let is_blank = line.trim_ascii_start().is_empty();
            self.line = if is_blank { Line::Blank } else { Line::Begun };
        }
        while let Some(document) = self.scanner.next(&mut line) {
            self.object(&document, seen);
            if seen.finished {
                return;
            }
        }
    }

    fn object(&mut self, document: &Document, seen: &mut Seen) {
        if document.error {
            seen.error = true;
            self.line = Line::Spent;
        } else if document.done == Some(true) {
            seen.finished = true;
            seen.measured(self.length);
            // Only chat and generate stream, and they say their counts alike.
            seen.used(Api::OllamaChat, document);
        } else if self.line != Line::Spent {
            self.line = Line::Whole;
        }
    }
}

/// Whether a whole line is, for certain, a piece like nearly all of them, so that it need not be
/// scanned: it ends as they do and could not say `done` or `error` anywhere else. A key can only be
/// spelt otherwise with a backslash, so without one the scanner would find neither.
fn is_plain_piece(line: &[u8]) -> bool {
    static DONE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"done\""));
    static ERROR: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"error\""));
    line.strip_suffix(b"\"done\":false}").is_some_and(|head| {
        head.starts_with(b"{")
            && memchr(b'\\', head).is_none()
            && DONE.find(head).is_none()
            && ERROR.find(head).is_none()
    })
}
