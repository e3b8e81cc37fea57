//! The three layers as one tree in which every value remembers where it was written.
//!
//! It knows tables, lists and scalars, and nothing of what they mean; [`super::read`] lets serde
//! look at it. Overlaying is one rule for all layers: tables merge, everything else replaces, and
//! `x` and `x_file` are two spellings of one value, so the later layer's removes the other.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Step};
use super::problem::Place;

pub(super) type Table = BTreeMap<String, Node>;

/// The ending of a key whose value is the path of a file that holds the secret.
pub(super) const FILE_SUFFIX: &str = "_file";

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// From a variable or a flag, where nobody writes quotes: a number or a switch, unless text is
    /// expected; then it is the text as it was written.
    Bare(String, Box<Value>),
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    pub(super) fn empty_table(place: Place) -> Self {
        Self {
            value: Value::Table(Table::new()),
            place,
        }
    }

    pub(super) fn text(text: impl Into<String>, place: Place) -> Self {
        Self {
            value: Value::Text(text.into()),
            place,
        }
    }

    /// A parsed value; `place` turns a range of bytes into a place, and `key` is where its key stands.
    pub(super) fn of(
        value: &DeValue<'_>,
        span: Range<usize>,
        place: &dyn Fn(Range<usize>) -> Place,
    ) -> Self {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            // What does not fit stays text, so that it is refused with its own digits.
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Value::Text(integer.to_string()), Value::Integer),
            DeValue::Float(float) => float
                .as_str()
                .parse()
                .map_or_else(|_| Value::Text(float.to_string()), Value::Float),
            DeValue::Boolean(switch) => Value::Bool(*switch),
            DeValue::Datetime(datetime) => Value::Text(datetime.to_string()),
            DeValue::Array(entries) => Value::List(
                entries
                    .iter()
                    .map(|entry| Self::of(entry.get_ref(), entry.span(), place))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(Self::entries(table, place)),
        };
        Self {
            value,
            place: place(span),
        }
    }

    /// The entries of a parsed table, each placed from the beginning of its key.
    pub(super) fn entries(table: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Table {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let (key_span, value_span) = (key.span(), value.span());
            let whole = key_span.start..key_span.end.max(value_span.end);
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (name.to_string(), Self::of(value.get_ref(), whole, place))
        };
        table.iter().map(entry).collect()
    }

    /// What one variable or flag says: any TOML value, or bare text.
    pub(super) fn bare(written: &str, place: Place) -> Self {
        let parsed = DeValue::parse(written)
            .map(|value| Self::of(value.get_ref(), 0..0, &|_| place.clone()).value);
        let value = match parsed {
            Ok(text @ Value::Text(_)) if written.starts_with(['"', '\'']) => text,
            Ok(nested @ (Value::List(_) | Value::Table(_))) => nested,
            Ok(scalar) => Value::Bare(written.to_owned(), Box::new(scalar)),
            Err(_) => Value::Text(written.to_owned()),
        };
        Self { value, place }
    }

    /// Lays a value over this tree, making the tables and lists on its way.
    ///
    /// Fails when a list would get a hole.
    pub(super) fn overlay(&mut self, steps: &[Step], node: Node) -> Result<(), String> {
        let Some((step, rest)) = steps.split_first() else {
            return self.merge(node);
        };
        self.convert_for(step, &node.place);
        match (&mut self.value, step) {
            (Value::Table(table), Step::Name(name)) => {
                table.remove(&other_spelling(name));
                table
                    .entry(name.clone())
                    .or_insert_with(|| Self::empty_table(node.place.clone()))
                    .overlay(rest, node)
            }
            (Value::List(list), Step::Index(index)) => {
                let length = list.len();
                if *index == length {
                    list.push(Self::empty_table(node.place.clone()));
                }
                list.get_mut(*index)
                    .ok_or_else(|| format!("there are {length} entries; the next one is {length}"))?
                    .overlay(rest, node)
            }
            _ => Ok(()),
        }
    }

    /// A scalar that a later layer treats as a table or list is replaced; serde checks the result.
    fn convert_for(&mut self, step: &Step, place: &Place) {
        match (&self.value, step) {
            (Value::Table(_), Step::Name(_)) | (Value::List(_), Step::Index(_)) => {}
            (_, Step::Name(_)) => *self = Self::empty_table(place.clone()),
            (_, Step::Index(_)) => {
                *self = Self {
                    value: Value::List(Vec::new()),
                    place: place.clone(),
                }
            }
        }
    }

    fn merge(&mut self, node: Node) -> Result<(), String> {
        match (&self.value, node.value) {
            (Value::Table(_), Value::Table(new)) => new
                .into_iter()
                .try_for_each(|(name, node)| self.overlay(&[Step::Name(name)], node)),
            (_, value) => {
                let place = node.place;
                *self = Self { value, place };
                Ok(())
            }
        }
    }

    /// The text of a value that may be text.
    pub(super) fn as_written(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Bare(text, _) => Some(text),
            _ => None,
        }
    }

    pub(super) fn get(&self, step: &Step) -> Option<&Node> {
        match (&self.value, step) {
            (Value::Table(table), Step::Name(name)) => table.get(name),
            (Value::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (&mut self.value, step) {
            (Value::Table(table), Step::Name(name)) => table.get_mut(name),
            (Value::List(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        }
    }

    /// Where the value was written, or the nearest thing around it that was.
    pub(super) fn place_of(&self, key: &Key) -> Place {
        let mut at = self;
        for step in key.steps() {
            match at.get(step) {
                Some(next) => at = next,
                None => break,
            }
        }
        at.place.clone()
    }

    /// Every table of this name: the one, or each of a list, with its key. `a.b` looks inside.
    pub(super) fn tables_mut(&mut self, name: &str) -> Vec<(Key, &mut Node)> {
        let mut found = vec![(Key::default(), self)];
        for part in name.split('.') {
            let step = Step::Name(part.to_owned());
            found = found
                .into_iter()
                .filter_map(|(key, node)| Some((key.join(step.clone()), node.get_mut(&step)?)))
                .flat_map(|(key, node)| node.each(key))
                .collect();
        }
        found
    }

    fn each(&mut self, key: Key) -> Vec<(Key, &mut Node)> {
        match self.value {
            Value::List(ref mut list) => list
                .iter_mut()
                .enumerate()
                .map(|(index, node)| (key.join(Step::Index(index)), node))
                .collect(),
            _ => vec![(key, self)],
        }
    }
}

/// `x` for `x_file`, `x_file` for `x`.
fn other_spelling(name: &str) -> String {
    name.strip_suffix(FILE_SUFFIX)
        .map_or_else(|| format!("{name}{FILE_SUFFIX}"), str::to_owned)
}
