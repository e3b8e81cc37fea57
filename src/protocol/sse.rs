//! Server-sent events, cut into what matters, wherever the bytes are cut.
//!
//! Follows the WHATWG rules of lines and fields: `\n`, `\r\n` or `\r` end a line, one space behind
//! the colon is not part of a value, a line that starts with a colon is a comment, an empty line
//! ends the event. Constant memory: values are handed out as the slices they arrive in.
//!
//! A `\r` at the end of a chunk ends its line only when the next byte is seen, because a `\n` may
//! belong to it. No known server ends lines with bare `\r`, so no client waits for that.

use memchr::memchr2;

use super::scan::Word;

/// What comes next in a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A part of the value of a `data` line.
    Data(&'a [u8]),
    /// The end of a `data` line; another one would continue the same value.
    DataEnd,
    /// The event's name is `error`.
    NamedError,
    /// The empty line behind an event.
    EventEnd,
}

/// Where in a stream of events the next byte stands.
#[derive(Clone, Debug)]
pub(super) struct Sse {
    place: Place,
    /// A `\r` has ended the line, unless it is half of `\r\n`.
    after_cr: bool,
    /// Nothing has come since the last event ended.
    between: bool,
    /// There was something else than comments.
    fields: bool,
    word: Word<5>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Name,
    /// Behind the colon, where one space may be.
    Colon(Field),
    Value(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Other,
}

impl Sse {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::LineStart,
            after_cr: false,
            between: true,
            fields: false,
            word: Word::EMPTY,
        }
    }

    /// Whether the last event is over and no other has begun.
    pub(super) const fn is_between(&self) -> bool {
        self.between && !self.after_cr
    }

    /// Whether anything but comments has come.
    pub(super) const fn has_fields(&self) -> bool {
        self.fields
    }

    /// Takes the next token off `bytes`; nothing when they are used up.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Token<'a>> {
        while let Some(&first) = bytes.first() {
            if self.after_cr {
                if first == b'\n' {
                    *bytes = &bytes[1..];
                }
                self.after_cr = false;
                if let Some(token) = self.end_line() {
                    return Some(token);
                }
                continue;
            }
            let line = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
            if line > 0 {
                self.between = false;
                let mut inside = &bytes[..line];
                let token = self.inside(&mut inside);
                *bytes = &bytes[line - inside.len()..];
                if token.is_some() {
                    return token;
                }
                continue;
            }
            *bytes = &bytes[1..];
            if first == b'\r' {
                self.after_cr = true;
            } else if let Some(token) = self.end_line() {
                return Some(token);
            }
        }
        None
    }

    /// Reads on within a line, up to the next token or the line's end.
    fn inside<'a>(&mut self, line: &mut &'a [u8]) -> Option<Token<'a>> {
        while !line.is_empty() {
            match self.place {
                Place::LineStart | Place::Name => self.name(line),
                Place::Colon(field) => {
                    self.place = Place::Value(field);
                    if line[0] == b' ' {
                        *line = &line[1..];
                    }
                }
                Place::Value(field) => {
                    let value = std::mem::take(line);
                    match field {
                        Field::Data => return Some(Token::Data(value)),
                        Field::Event => self.word.push(value),
                        Field::Other => {}
                    }
                }
            }
        }
        None
    }

    fn name(&mut self, line: &mut &[u8]) {
        if self.place == Place::LineStart {
            self.word.clear();
            self.place = Place::Name;
            if let Some(value) = line.strip_prefix(b"data:") {
                *line = value; // nearly every line
                self.fields = true;
                self.place = Place::Colon(Field::Data);
                return;
            }
        }
        let colon = line.iter().position(|&byte| byte == b':');
        self.word.push(&line[..colon.unwrap_or(line.len())]);
        self.fields |= !self.word.is_empty();
        *line = match colon {
            None => &[],
            Some(at) => {
                self.place = Place::Colon(self.field());
                self.word.clear();
                &line[at + 1..]
            }
        };
    }

    fn field(&self) -> Field {
        match self.word.get() {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Other,
        }
    }

    fn end_line(&mut self) -> Option<Token<'static>> {
        let field = match std::mem::replace(&mut self.place, Place::LineStart) {
            Place::LineStart => {
                self.between = true;
                return Some(Token::EventEnd);
            }
            Place::Name => match self.field() {
                Field::Event => return None, // an event without a name
                field => field,
            },
            Place::Colon(field) | Place::Value(field) => field,
        };
        match (field, self.word.get()) {
            (Field::Data, _) => Some(Token::DataEnd),
            (Field::Event, Some(b"error")) => Some(Token::NamedError),
            _ => None,
        }
    }
}
