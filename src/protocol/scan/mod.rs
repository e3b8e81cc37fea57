//! An incremental scanner for one JSON value after another, in constant memory.
//!
//! An answer passes in chunks cut anywhere, one line of it may be 100 MB long, and nearly all of it
//! does not matter to the router. So this is not a parser: it follows strings, escapes and depth
//! byte for byte, and looks closer only at the keys of a few objects ([`Level`]): the outermost one, each of its
//! `choices`, its `usage`, and where events say what they are (`type`), their `delta`, `message` or `response`.
//! Nothing inside a string or deeper down can therefore pass for a marker, be it text
//! that quotes `"done":true` or the arguments of a tool call.
//!
//! Its whole state is a few words, so its answer cannot depend on where the bytes were cut. It does
//! not check that brackets match; it counts them. On bytes that are not JSON it finds nothing or
//! something, without harm: an answer is only ever *finished* by its marker, and a server that
//! breaks JSON in an answer breaks the client first.

mod choices;
mod document;
mod kind;
mod level;
mod piece;
mod texts;
mod word;

pub(super) use choices::Finishes;
pub(super) use document::{Choices, Document};
pub(super) use kind::Kind;
pub(super) use word::Word;

use super::skip;
use choices::Choice;
use document::Field;
use level::Level;

/// As long as the longest key that is looked for.
const KEY: usize = "cache_creation_input_tokens".len();
/// Longer than any count worth reading, and as long as the longest type of an event.
const SCALAR: usize = kind::LONGEST;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    /// Outermost objects say in their `type` what they are.
    typed: bool,
    depth: usize,
    place: Place,
    /// The outermost value is an object, so its keys mean something.
    object: bool,
    /// Between `{` or `,` and `:`, on a level that is looked at.
    before_colon: bool,
    /// The innermost of the objects that are looked at; what is open may lie deeper.
    level: Level,
    /// The element of `choices` that has begun.
    choice: Option<Choice>,
    /// Behind the bracket of the object or array under `error`, in which nothing has come.
    in_error: bool,
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
    /// Behind the first quote of a text that counts if it is not empty: of an error, or a reason to end.
    Beginning,
    /// In a text that is compared with words.
    Word,
}

impl Scanner {
    pub(super) const fn new() -> Self {
        Self::of(false)
    }

    /// For objects that say in their `type` what they are, if they do.
    pub(super) const fn of(typed: bool) -> Self {
        Self {
            typed,
            depth: 0,
            place: Place::Structure,
            object: false,
            before_colon: false,
            level: Level::Top,
            choice: None,
            in_error: false,
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
        self.level = Level::Top;
        self.choice = None;
        self.in_error = false;
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
            && let Some((document, behind)) = piece::read(rest, self.typed)
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
                Place::Beginning => {
                    self.says(rest[0] != b'"');
                    self.place = Place::Text;
                }
                Place::Word => self.word(&mut rest),
            }
        }
        *bytes = rest;
        if !closed {
            return None;
        }
        let mut document = self.document;
        if document.kind == Kind::Piece {
            // A piece ends nothing, whatever is in it.
            document.finishes = Finishes::NONE;
        }
        self.reset();
        Some(document)
    }

    /// A text that counts if it is not empty begins, and it is not, or it is.
    const fn says(&mut self, something: bool) {
        match (&mut self.choice, self.field) {
            (Some(choice), _) => choice.ended = something,
            (None, Field::StopReason) if something => self.document.finishes.note(Choice::ENDED),
            (None, Field::StopReason) => {}
            (None, _) => self.document.error |= something,
        }
    }

    /// On a level whose keys are looked at.
    const fn looks(&self) -> bool {
        self.object && self.depth == self.level.depth() && !matches!(self.level, Level::Choices)
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
                b' ' | b'\t' | b'\r' | b'\n' if self.in_error => {}
                _ if !looks => {
                    self.element();
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
        } else if looks {
            match self.field {
                Field::FinishReason | Field::StopReason | Field::Error => {
                    self.place = Place::Beginning;
                }
                Field::Object | Field::Kind => {
                    self.scalar.clear();
                    self.place = Place::Word;
                }
                _ => {}
            }
        } else {
            self.choice();
        }
    }

    fn open(&mut self, looks: bool, byte: u8) {
        if self.depth == 0 {
            self.object = byte == b'{';
            self.enter(Level::Top);
        } else if looks {
            self.document.begins(self.field, byte);
            if let (Field::FinishReason, Some(choice)) = (self.field, &mut self.choice) {
                choice.ended = false;
            }
            self.in_error = self.level == Level::Top && self.field == Field::Error;
            if let Some(inner) = self.level.inner(self.field, byte) {
                self.enter(inner);
            }
        } else {
            self.choice();
            if self.depth == 2 && self.level == Level::Choices && byte == b'{' {
                self.choice = Some(Choice::default());
                self.enter(Level::Choice);
            }
        }
        self.depth += 1;
    }

    /// Something begins that is looked at.
    const fn enter(&mut self, level: Level) {
        self.level = level;
        self.before_colon = true;
        self.field = Field::Other;
    }

    /// Something begins that is not looked at: it may be an element of `choices`, or what an error says.
    fn choice(&mut self) {
        if self.depth == 2 && self.level == Level::Choices {
            self.document.choices = Some(Choices::Some);
        }
        self.element();
    }

    /// There is something in the object or array, if it is that of an error.
    const fn element(&mut self) {
        if self.in_error {
            self.in_error = false;
            self.document.error = true;
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
            depth if depth == self.level.depth() => {
                if let Some(choice) = self.choice.take() {
                    self.document.finishes.note(choice);
                }
                self.level = self.level.parent();
                self.before_colon = false;
                self.field = Field::Other;
            }
            depth if depth == self.level.depth() + 1 => self.field = Field::Other,
            _ => {}
        }
        self.in_error = false;
        self.depth -= 1;
        false
    }
}
