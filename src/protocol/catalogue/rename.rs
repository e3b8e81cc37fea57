//! One entry of a list under another name.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ListedModel, with_tag};
use crate::domain::ModelName;
use crate::protocol::quote::quote;

impl ListedModel {
    /// The same entry for a model of this name; everything else in it stays as its server wrote it.
    #[must_use]
    pub fn renamed(&self, name: &ModelName, spelling: &str) -> Self {
        Self {
            name: name.clone(),
            spelling: spelling.into(),
            raw: renamed(&self.raw, &with_tag(spelling)).unwrap_or_else(|| self.raw.clone()),
            ..self.clone()
        }
    }
}

fn renamed(entry: &RawValue, name: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Names<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        model: Option<&'a RawValue>,
    }
    let names: Names<'_> = serde_json::from_str(entry.get()).ok()?;
    let mut places: Vec<_> = [names.name, names.model]
        .into_iter()
        .flatten()
        .map(|value| place(entry.get(), value.get()))
        .collect();
    places.sort_unstable_by_key(|place| place.start);
    let mut text = entry.get().to_owned();
    for place in places.into_iter().rev() {
        text.replace_range(place, &quote(name));
    }
    RawValue::from_string(text).ok()
}

/// Where `part`, which was borrowed from `whole`, lies in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::super::parse_tags;
    use super::*;

    #[test]
    fn an_entry_gets_another_name_and_keeps_all_else() {
        let listed = br#"{"models":[{"size": 1,"model":"m:latest","details":{"name":"x"},"name":"m:latest","new":[]}]}"#;
        let listed = parse_tags(listed).unwrap().models.remove(0);
        let name = ModelName::parse("GPT-4o").unwrap();
        let renamed = listed.renamed(&name, "GPT-4o");
        assert_eq!(
            renamed.raw.get(),
            r#"{"size": 1,"model":"GPT-4o:latest","details":{"name":"x"},"name":"GPT-4o:latest","new":[]}"#
        );
        assert_eq!((renamed.name, &*renamed.spelling), (name, "GPT-4o"));
    }
}
