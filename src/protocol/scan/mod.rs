//! An incremental scanner for one JSON value after another, in constant memory.
//!
//! An answer passes in chunks cut anywhere, one line of it may be 100 MB long, and nearly all of it
//! does not matter to the router. So this is not a parser: it follows strings, escapes and depth
//! byte for byte, and looks closer only at the keys of the outermost object, of each of its `choices`,
//! of the object under its `usage`, and of `prompt_tokens_details` in that. Nothing inside a string or deeper down can therefore pass for a marker, be it text
//! that quotes `"done":true` or the arguments of a tool call.
//!
//! Its whole state is a few words, so its answer cannot depend on where the bytes were cut. It does
//! not check that brackets match; it counts them. On bytes that are not JSON it finds nothing or
//! something, without harm: an answer is only ever *finished* by its marker, and a server that
//! breaks JSON in an answer breaks the client first.

mod choices;
mod document;
mod piece;
mod word;

pub(super) use choices::Finishes;
pub(super) use document::{Choices, Document};
pub(super) use word::Word;

use super::skip;
use choices::Choice;
use document::Field;

/// As long as the longest key that is looked for.
const KEY: usize = "prompt_eval_cached_count".len();
/// Longer than any count worth reading.
const SCALAR: usize = 32;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    depth: usize,
    place: Place,
    /// The outermost value is an object, so its keys mean something.
    object: bool,
    /// Between `{` or `,` and `:`, on a level that is looked at.
    before_colon: bool,
    /// Inside the object under `usage`.
    in_usage: bool,
    /// Inside the object under `prompt_tokens_details` there.
    in_details: bool,
    /// Inside the array under `choices`.
    in_choices: bool,
    /// The element of it that has begun.
    choice: Option<Choice>,
    field: Field,
    key: Word<KEY>,
    scalar: Word<SCALAR>,
    document: Document,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between tokens, or in a scalar nobody asks about.
    Structure,
    /// In a string that is passed over.
    Text,
    /// Behind its backslash.
    TextEscape,
    /// In a key that is looked at.
    Key,
    /// Behind its backslash.
    KeyEscape,
    /// In its `\uXXXX`.
    KeyUnicode { left: u8, value: u16 },
    /// In a number, `true`, `false` or `null` that is asked about.
    Scalar,
    /// Behind the first quote of a reason to end.
    Reason,
}

impl Scanner {
    pub(super) const fn new() -> Self {
        Self {
            depth: 0,
            place: Place::Structure,
            object: false,
            before_colon: false,
            in_usage: false,
            in_details: false,
            in_choices: false,
            choice: None,
            field: Field::Other,
            key: Word::EMPTY,
            scalar: Word::EMPTY,
            document: Document::EMPTY,
        }
    }

    /// Forgets an unfinished value: what comes next is the beginning of another.
    pub(super) const fn reset(&mut self) {
        self.depth = 0;
        self.place = Place::Structure;
        self.before_colon = false;
        self.in_usage = false;
        self.in_details = false;
        self.in_choices = false;
        self.choice = None;
        self.document = Document::EMPTY;
    }

    /// Whether no object or array has begun, nor a string outside of one.
    pub(super) const fn is_between(&self) -> bool {
        self.depth == 0 && matches!(self.place, Place::Structure)
    }

    /// Reads on, up to the end of an object or array that stands by itself: then takes it off
    /// `bytes` and returns what it said. Without one, takes all.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Document> {
        let mut rest = *bytes;
        if self.is_between()
            && let Some((document, behind)) = piece::read(rest)
        {
            *bytes = behind;
            return Some(document);
        }
        let mut closed = false;
        while !closed && !rest.is_empty() {
            match self.place {
                Place::Structure => closed = self.structure(&mut rest),
                Place::Text => self.text(&mut rest),
                Place::TextEscape => {
                    rest = &rest[1..];
                    self.place = Place::Text;
                }
                Place::Key => self.key(&mut rest),
                Place::KeyEscape => {
                    self.key_escape(rest[0]);
                    rest = &rest[1..];
                }
                Place::KeyUnicode { left, value } => {
                    self.key_unicode(rest[0], left, value);
                    rest = &rest[1..];
                }
                Place::Scalar => self.scalar(&mut rest),
                Place::Reason => {
                    let is_empty = rest[0] == b'"';
                    if let Some(choice) = &mut self.choice {
                        choice.ended = !is_empty;
                    }
                    self.place = Place::Text;
                }
            }
        }
        *bytes = rest;
        if !closed {
            return None;
        }
        let document = self.document;
        self.reset();
        Some(document)
    }

    /// On a level whose keys are looked at.
    const fn looks(&self) -> bool {
        self.object
            && match self.depth {
                1 => true,
                2 => self.in_usage,
                3 => self.in_details || self.choice.is_some(),
                _ => false,
            }
    }

    /// Passes structure until a string, an asked-for scalar or the outermost end; true for the end.
    fn structure(&mut self, rest: &mut &[u8]) -> bool {
        let bytes = *rest;
        let mut at = 0;
        let mut looks = self.looks();
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    *rest = &bytes[at + 1..];
                    self.string(looks);
                    return false;
                }
                b'{' | b'[' => {
                    self.open(looks, byte);
                    looks = self.looks();
                }
                b'}' | b']' => {
                    if self.close() {
                        *rest = &bytes[at + 1..];
                        return true;
                    }
                    looks = self.looks();
                }
                _ if !looks => {
                    at += skip::bracket_or_quote(&bytes[at..]).unwrap_or(bytes.len() - at);
                    continue;
                }
                b',' => self.before_colon = true,
                b':' => self.before_colon = false,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.field != Field::Other && !self.before_colon => {
                    self.scalar.clear();
                    self.place = Place::Scalar;
                    *rest = &bytes[at..];
                    return false;
                }
                _ => {}
            }
            at += 1;
        }
        *rest = &[];
        false
    }

    fn string(&mut self, looks: bool) {
        self.place = Place::Text;
        if looks && self.before_colon {
            self.key.clear();
            self.place = Place::Key;
        } else if looks && self.field == Field::FinishReason {
            self.place = Place::Reason;
        } else if looks {
            self.document.begins(self.field, b'"');
        } else {
            self.choice();
        }
    }

    fn open(&mut self, looks: bool, byte: u8) {
        if self.depth == 0 {
            self.object = byte == b'{';
            self.before_colon = true;
            self.field = Field::Other;
        } else if looks {
            self.document.begins(self.field, byte);
            match (self.depth, self.field, byte) {
                (1, Field::Usage, b'{') => {
                    self.in_usage = true;
                    self.enter();
                }
                (1, Field::Choices, b'[') => self.in_choices = true,
                (2, Field::PromptDetails, b'{') => {
                    self.in_details = true;
                    self.enter();
                }
                (3, Field::FinishReason, _) => {
                    if let Some(choice) = &mut self.choice {
                        choice.ended = false;
                    }
                }
                _ => {}
            }
        } else {
            self.choice();
            if self.depth == 2 && self.in_choices && byte == b'{' {
                self.choice = Some(Choice::default());
                self.enter();
            }
        }
        self.depth += 1;
    }

    /// An object begins whose keys are looked at.
    const fn enter(&mut self) {
        self.before_colon = true;
        self.field = Field::Other;
    }

    /// Something begins that is not looked at: it may be an element of `choices`.
    fn choice(&mut self) {
        if self.depth == 2 && self.in_choices {
            self.document.choices = Some(Choices::Some);
        }
    }

    /// True when the outermost value is over. A surplus bracket ends nothing.
    const fn close(&mut self) -> bool {
        match self.depth {
            0 => return false,
            1 => {
                self.depth = 0;
                return true;
            }
            2 => {
                self.in_usage = false;
                self.in_choices = false;
                self.before_colon = false;
                self.field = Field::Other;
            }
            3 if self.in_details || self.choice.is_some() => {
                self.in_details = false;
                if let Some(choice) = self.choice.take() {
                    self.document.finishes.note(choice);
                }
                self.before_colon = false;
                self.field = Field::Other;
            }
            _ => {}
        }
        self.depth -= 1;
        false
    }

    fn text(&mut self, rest: &mut &[u8]) {
        match skip::quote_or_escape(rest) {
            None => *rest = &[],
            Some(at) => {
                self.place = match rest[at] {
                    b'"' => Place::Structure,
                    _ => Place::TextEscape,
                };
                *rest = &rest[at + 1..];
            }
        }
    }

    fn key(&mut self, rest: &mut &[u8]) {
        let Some(at) = skip::quote_or_escape(rest) else {
            self.key.push(rest);
            *rest = &[];
            return;
        };
        let part = &rest[..at];
        if rest[at] == b'\\' {
            self.key.push(part);
            self.place = Place::KeyEscape;
        } else if self.key.is_empty() {
            self.end_key(part); // whole, as nearly always
        } else {
            self.key.push(part);
            let key = self.key;
            self.end_key(key.get().unwrap_or_default());
        }
        *rest = &rest[at + 1..];
    }

    fn end_key(&mut self, key: &[u8]) {
        self.field = match (self.in_usage, self.in_details) {
            _ if self.choice.is_some() => Field::in_choice(key),
            (_, true) => Field::in_details(key),
            (true, false) => Field::in_usage(key),
            (false, false) => Field::at_top(key),
        };
        self.place = Place::Structure;
    }

    fn key_escape(&mut self, byte: u8) {
        self.place = match byte {
            b'u' => Place::KeyUnicode { left: 4, value: 0 },
            // No key that is looked for has a quote, slash or control character in it.
            _ => {
                self.key.spoil();
                Place::Key
            }
        };
    }

    fn key_unicode(&mut self, byte: u8, left: u8, value: u16) {
        let digit = char::from(byte).to_digit(16).unwrap_or(0xFFFF) as u16;
        let value = (value << 4) | digit; // no hex digit: spoils, for it is then not ASCII
        self.place = match left {
            1 => Place::Key,
            _ => Place::KeyUnicode {
                left: left - 1,
                value,
            },
        };
        if left == 1 {
            match u8::try_from(value) {
                Ok(ascii) if ascii.is_ascii() => self.key.push(&[ascii]),
                _ => self.key.spoil(),
            }
        }
    }

    fn scalar(&mut self, rest: &mut &[u8]) {
        let end = rest.iter().position(|byte| {
            matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b'"' | b':')
                || matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        });
        self.scalar.push(&rest[..end.unwrap_or(rest.len())]);
        *rest = &rest[end.unwrap_or(rest.len())..];
        if end.is_some() {
            let text = self.scalar.get().unwrap_or_default();
            match &mut self.choice {
                Some(choice) => choice.scalar(self.field, text),
                None => self.document.scalar(self.field, text),
            }
            self.place = Place::Structure;
        }
    }
}
