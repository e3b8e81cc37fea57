//! Reading `/v1/models`, and writing its entries as Ollama's clients read a list.
//!
//! Of an entry only what every such server says is taken over: its name and when it was made. Some
//! servers add their own command line, with paths and secrets in it.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::read::{number, object, string};
use super::{BadCatalogue, ListedModel, Listing};
use crate::domain::ModelName;

#[derive(Deserialize)]
struct Models<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    created: Option<&'a RawValue>,
}

/// An entry of `/api/tags`: with these keys, and of these types, because typed clients insist.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    model: &'a str,
    modified_at: &'a str,
    size: u64,
    digest: &'static str,
    details: Details,
}

#[derive(Default, Serialize)]
struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: [&'static str; 0],
    parameter_size: &'static str,
    quantization_level: &'static str,
}

/// Reads an answer of `/v1/models`.
///
/// # Errors
/// [`BadCatalogue`] when it is not an object whose `data` is a list.
pub fn parse_openai_models(body: &[u8]) -> Result<Listing<ListedModel>, BadCatalogue> {
    let list: Models<'_> = serde_json::from_slice(body)?;
    let read = |raw: &&RawValue| {
        let entry: Entry<'_> = object(raw)?;
        listed(&string(entry.id), number(entry.created))
    };
    let models: Vec<_> = list.data.iter().filter_map(read).collect();
    let skipped = list.data.len() - models.len();
    Ok(Listing { models, skipped })
}

/// The entry of a model of which nothing is known but its name; `None` when that cannot be one.
#[must_use]
pub fn listed_by_id(id: &str) -> Option<ListedModel> {
    listed(id, None)
}

fn listed(id: &str, created: Option<u64>) -> Option<ListedModel> {
    let created = i64::try_from(created.unwrap_or(0)).unwrap_or(0);
    let modified_at = jiff::Timestamp::from_second(created)
        .unwrap_or_default()
        .to_string();
    let entry = Listed {
        name: id,
        model: id,
        modified_at: &modified_at,
        size: 0,
        digest: "",
        details: Details::default(),
    };
    Some(ListedModel {
        name: ModelName::parse_any(id).ok()?,
        spelling: id.into(),
        raw: to_raw_value(&entry).ok()?,
        modified_at,
        digest: String::new(),
    })
}
