//! `/v1/models`, with its `null` where there is nothing.

use http::{Response, StatusCode};
use serde::Serialize;

use crate::answer::Family;
use crate::catalogue::Entry;
use crate::fault::Stage;
use crate::node::Node;
use crate::wire::Body;

use super::infer::find;
use super::inspect::with_tag;
use super::problem::Problem;
use super::reply::{empty, json};

pub async fn list(node: &Node) -> Response<Body> {
    if node.refuses_list(Stage::Tags).await {
        return empty(StatusCode::FORBIDDEN);
    }
    let catalogue = node.catalogue.load_full();
    let data: Vec<_> = catalogue
        .newest_first()
        .into_iter()
        .map(|entry| Model::of(entry, &entry.display))
        .collect();
    // A nil slice in Go.
    let data = (!data.is_empty()).then_some(data);
    json(&List {
        object: "list",
        data,
    })
}

pub fn one(node: &Node, spelling: &str) -> Response<Body> {
    match find(node, spelling) {
        Some(entry) => json(&Model::of(&entry, spelling)),
        None => Problem::no_model(&with_tag(spelling)).respond(Family::OpenAi),
    }
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Option<Vec<Model<'a>>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

impl<'a> Model<'a> {
    fn of(entry: &'a Entry, id: &'a str) -> Self {
        let namespace = entry.name.as_str().rsplit('/').nth(1);
        Self {
            id,
            object: "model",
            created: entry.model.modified,
            owned_by: namespace.unwrap_or("library"),
        }
    }
}
