//! What is wrong, with which key, and where it was written.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// One thing that keeps the configuration from being used.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Problem {
    /// In the spelling of `--set`, such as `endpoint.0.url`; empty for a file as a whole.
    pub key: String,
    /// Where the value was written.
    pub place: Place,
    /// What is wrong with it, and what would be right.
    pub what: String,
    /// Whether the line may be shown; the line of a secret may not.
    pub(super) quotable: bool,
}

/// Where a value was written.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file, at these bytes.
    File(Arc<Source>, Range<usize>),
    /// In the environment, by this variable.
    Environment(String),
    /// On the command line, as `--set` of this key.
    Flag(String),
    /// Nowhere: it is a default.
    Default,
    /// Not looked up: the key says it.
    Nowhere,
}

/// A file and its text.
#[derive(Debug)]
pub struct Source {
    /// As it was given.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// A place in a file as people count, from 1.
struct Spot<'a> {
    line: usize,
    column: usize,
    width: usize,
    text: &'a str,
}

impl Problem {
    /// One whose line may be shown.
    pub fn new(key: impl ToString, place: Place, what: impl Into<String>) -> Self {
        Self {
            key: key.to_string(),
            place,
            what: what.into(),
            quotable: true,
        }
    }

    /// The line in the file, from 1, if it was written in one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match &self.place {
            Place::File(source, span) => Some(Spot::of(source, span).line),
            _ => None,
        }
    }

    /// Files first and downwards, then the environment, then the command line.
    pub(super) fn order(&self) -> (u8, usize, String) {
        match &self.place {
            Place::File(_, span) => (0, span.start, self.key.clone()),
            Place::Environment(variable) => (1, 0, variable.clone()),
            Place::Flag(key) => (2, 0, key.clone()),
            Place::Default | Place::Nowhere => (3, 0, self.key.clone()),
        }
    }
}

impl<'a> Spot<'a> {
    fn of(source: &'a Source, span: &Range<usize>) -> Self {
        let text = source.text.as_str();
        let at = text.floor_char_boundary(span.start);
        let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let end = text
            .floor_char_boundary(span.end)
            .clamp(at, (begin + line.len()).max(at));
        Self {
            line: text[..begin].matches('\n').count() + 1,
            column: text[begin..at].chars().count() + 1,
            width: text[at..end].chars().count().max(1),
            text: line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(source, span) => {
                let spot = Spot::of(source, span);
                let path = source.path.display();
                write!(f, "{path}:{}:{}", spot.line, spot.column)
            }
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(key) => write!(f, "--set {key}"),
            Self::Default => f.write_str("default"),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// The place, the key, what is wrong; and for a file the line with a caret under the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        let told = matches!(&self.place, Place::Flag(key) if *key == self.key);
        if !self.key.is_empty() && !told {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if let Place::File(source, span) = &self.place
            && self.quotable
        {
            let spot = Spot::of(source, span);
            let margin = spot.line.to_string().len();
            // Tabs stay tabs, so that the caret stands under its place in any terminal.
            let indent: String = spot
                .text
                .chars()
                .take(spot.column - 1)
                .map(|char| if char == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(spot.width);
            write!(f, "\n{:margin$} |\n{} | {}", "", spot.line, spot.text)?;
            write!(f, "\n{:margin$} | {indent}{carets}", "")?;
        }
        Ok(())
    }
}

/// For programs: `{"key", "place", "line", "what"}`; the line itself is not shown.
impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Problem", 4)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("place", &self.place.to_string())?;
        fields.serialize_field("line", &self.line())?;
        fields.serialize_field("what", &self.what)?;
        fields.end()
    }
}
