//! The name of one value, in the spelling that `--set` takes: `endpoint.0.url`.

use std::fmt;

use serde_path_to_error::{Path, Segment};

/// A path from the root of the configuration.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key(Vec<Step>);

/// Numbers sort before names and by value: entry 2 of a list is set before entry 10.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Step {
    /// An entry of a list, from 0.
    Index(usize),
    /// A key of a table.
    Name(String),
}

impl Key {
    /// Reads `table.key`; `None` when a step is empty.
    pub(super) fn parse(dotted: &str) -> Option<Self> {
        Self::from_steps(dotted.split('.'))
    }

    /// Reads steps that are already apart; `None` when one is empty.
    pub(super) fn from_steps<'a>(steps: impl Iterator<Item = &'a str>) -> Option<Self> {
        steps
            .map(|step| match step.trim() {
                "" => None,
                step => Some(Step::from_text(step)),
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This key with one more step.
    pub(super) fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Its names without the numbers of list entries: `endpoint.url` for `endpoint.0.url`.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().filter_map(Step::name).collect();
        names.join(".")
    }

    /// Whether it is one of these keys, each given as its table and its name.
    pub(super) fn is_one_of(&self, keys: &[(&str, &str)]) -> bool {
        let names = self.names();
        keys.iter()
            .any(|(table, name)| names == format!("{table}.{name}"))
    }

    /// The name at its end, if that is one.
    pub(super) fn last_name(&self) -> Option<&str> {
        self.0.last().and_then(Step::name)
    }
}

impl Step {
    fn from_text(step: &str) -> Self {
        step.parse()
            .map_or_else(|_| Self::Name(step.to_owned()), Self::Index)
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Index(_) => None,
        }
    }
}

impl From<&Path> for Key {
    fn from(path: &Path) -> Self {
        let step = |segment: &Segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Name(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        Self(path.iter().filter_map(step).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            match step {
                Step::Index(index) => write!(f, "{index}")?,
                Step::Name(name) => f.write_str(name)?,
            }
        }
        Ok(())
    }
}
