//! Reading `/api/tags` and `/api/ps`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ListedModel, Listing, RunningModel};
use crate::domain::ModelName;

/// The answer is not a list of models.
#[derive(Debug, thiserror::Error)]
#[error("not a list of models: {0}")]
pub struct BadCatalogue(#[from] serde_json::Error);

/// Reads an answer of `/api/tags`.
///
/// # Errors
/// [`BadCatalogue`] when it is not an object, or its `models` is not a list.
pub fn parse_tags(body: &[u8]) -> Result<Listing<ListedModel>, BadCatalogue> {
    entries(body, |raw, entry| {
        let spelling = entry.name()?;
        Some(ListedModel {
            name: ModelName::parse(&spelling).ok()?,
            raw: raw.to_owned(),
            modified_at: string(entry.modified_at),
            digest: string(entry.digest),
            spelling: spelling.into(),
        })
    })
}

/// Reads an answer of `/api/ps`.
///
/// # Errors
/// [`BadCatalogue`] when it is not an object, or its `models` is not a list.
pub fn parse_ps(body: &[u8]) -> Result<Listing<RunningModel>, BadCatalogue> {
    entries(body, |raw, entry| {
        Some(RunningModel {
            name: ModelName::parse(&entry.name()?).ok()?,
            raw: raw.to_owned(),
            expires_at: string(entry.expires_at),
            digest: string(entry.digest),
            size_vram: number(entry.size_vram).unwrap_or(0),
            context_length: number(entry.context_length),
        })
    })
}

#[derive(Deserialize)]
struct Models<'a> {
    #[serde(borrow, default)]
    models: Option<Vec<&'a RawValue>>,
}

/// The keys of either list. Raw, because a value of a strange type is no reason to lose the model.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    modified_at: Option<&'a RawValue>,
    digest: Option<&'a RawValue>,
    expires_at: Option<&'a RawValue>,
    size_vram: Option<&'a RawValue>,
    context_length: Option<&'a RawValue>,
}

impl Entry<'_> {
    fn name(&self) -> Option<String> {
        let name = string(self.name);
        let name = if name.is_empty() {
            string(self.model)
        } else {
            name
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

fn entries<T>(
    body: &[u8],
    read: impl Fn(&RawValue, &Entry<'_>) -> Option<T>,
) -> Result<Listing<T>, BadCatalogue> {
    let list: Models<'_> = serde_json::from_slice(body)?;
    let entries = list.models.unwrap_or_default();
    let models: Vec<T> = entries
        .iter()
        .filter_map(|raw| read(raw, &object(raw)?))
        .collect();
    let skipped = entries.len() - models.len();
    Ok(Listing { models, skipped })
}

/// An object only: serde would read a struct from an array, too.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    raw.get()
        .starts_with('{')
        .then(|| serde_json::from_str(raw.get()).ok())?
}

pub(super) fn string(raw: Option<&RawValue>) -> String {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

pub(super) fn number(raw: Option<&RawValue>) -> Option<u64> {
    raw.and_then(|raw| raw.get().parse().ok())
}
