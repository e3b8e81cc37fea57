//! What a server lists and runs, kept as it sent it.
//!
//! A fleet's `/api/tags` is its members' entries side by side. Each entry is kept as the raw text it
//! came as, so that whatever a newer server adds to it reaches the client, and only the handful of
//! values that routing needs are read. One entry that cannot be read is skipped and counted; it
//! must not hide the others.
//!
//! The caller bounds the size of what it passes in; nothing here recurses into it.

mod openai;
mod read;
mod rename;
mod render;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use openai::{listed_by_id, parse_openai_models};
pub use read::{BadCatalogue, parse_ps, parse_tags};
pub use render::{
    render_openai_model, render_openai_models, render_ps, render_ps_details, render_tags, with_tag,
};

use crate::domain::ModelName;

/// The entries of one answer.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// In the server's order.
    pub models: Vec<T>,
    /// How many entries could not be read, mostly for want of a valid name.
    pub skipped: usize,
}

/// One entry of `/api/tags`.
#[derive(Clone, Debug)]
pub struct ListedModel {
    /// The canonical name.
    pub name: ModelName,
    /// The name in the server's spelling.
    pub spelling: Box<str>,
    /// The entry, unchanged: a JSON object.
    pub raw: Box<RawValue>,
    /// RFC 3339 as the server wrote it; empty if it did not.
    pub modified_at: String,
    /// Hex; empty if the server did not say.
    pub digest: String,
}

impl ListedModel {
    /// Bytes on disk; 0 if the server did not say. Read anew each time: it is seldom wanted.
    #[must_use]
    pub fn size(&self) -> u64 {
        #[derive(Deserialize)]
        struct Sized<'a> {
            #[serde(borrow)]
            size: Option<&'a RawValue>,
        }
        let sized = serde_json::from_str::<Sized<'_>>(self.raw.get()).ok();
        read::number(sized.and_then(|sized| sized.size)).unwrap_or(0)
    }
}

/// One entry of `/api/ps`.
#[derive(Clone, Debug)]
pub struct RunningModel {
    /// The canonical name.
    pub name: ModelName,
    /// The entry, unchanged: a JSON object.
    pub raw: Box<RawValue>,
    /// RFC 3339 as the server wrote it; empty if it did not. May lie in the past while it is busy.
    pub expires_at: String,
    /// Of the model it is; empty if the server did not say.
    pub digest: String,
    /// Bytes of graphics memory; 0 if the server did not say.
    pub size_vram: u64,
    /// Tokens of context it was loaded with; older servers do not say.
    pub context_length: Option<u64>,
}
