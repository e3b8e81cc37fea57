//! Changing what a server has: copy, delete, create.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::Model;
use crate::answer::Family;
use crate::go::go_object;
use crate::name::ModelName;
use crate::node::Node;
use crate::wire::Body;

use super::blobs::canonical;
use super::infer::find;
use super::problem::Problem;
use super::progress::report;
use super::reply::{empty, parse, read};

go_object! {
    struct Copy {
        source: String = "source",
        destination: String = "destination",
    }
}

go_object! {
    struct Delete { model: String = "model" | "name", }
}

go_object! {
    struct Create {
        model: String = "model" | "name",
        from: String = "from",
        files: BTreeMap<String, String> = "files",
        adapters: BTreeMap<String, String> = "adapters",
        stream: Option<bool> = "stream",
    }
}

pub async fn copy(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    answer(async {
        let body = read(body).await?;
        let asked: Copy = parse(&body)?;
        for (what, name) in [
            ("source", &asked.source),
            ("destination", &asked.destination),
        ] {
            if ModelName::parse(name).is_err() {
                return Err(Problem::bad_request(format!("{what} {name:?} is invalid")));
            }
        }
        let source = find(node, &asked.source).ok_or_else(|| {
            let text = format!("model {:?} not found", asked.source);
            Problem::new(StatusCode::NOT_FOUND, text)
        })?;
        node.add_model(&Model {
            name: asked.destination,
            digest: source.digest.clone(),
            modified: node.clock.unix(),
            ..source.model.clone()
        });
        Ok(empty(StatusCode::OK))
    })
    .await
}

pub async fn delete(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    answer(async {
        let body = read(body).await?;
        let asked: Delete = parse(&body)?;
        let name = ModelName::parse(&asked.model)
            .map_err(|_| Problem::bad_request(format!("name {:?} is invalid", asked.model)))?;
        if find(node, &asked.model).is_none() {
            return Err(Problem::no_model(&asked.model));
        }
        node.remove_model(&name);
        node.scheduler.unload(&name).await;
        Ok(empty(StatusCode::OK))
    })
    .await
}

pub async fn create(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    answer(async {
        let body = read(body).await?;
        let asked: Create = parse(&body)?;
        let name = ModelName::parse(&asked.model)
            .map_err(|_| Problem::bad_request("invalid model name"))?;
        let model = basis(node, &asked)?;
        let digests: Vec<_> = asked
            .files
            .values()
            .chain(asked.adapters.values())
            .cloned()
            .collect();
        let fault = node.faults.take(crate::fault::Stage::Answer, Some(&name));
        let worker = node.clone();
        let stream = asked.stream.unwrap_or(true);
        Ok(report(node, stream, fault, |mut progress| async move {
            for digest in &digests {
                progress
                    .status(&format!("using existing layer {digest}"))
                    .await?;
            }
            progress.status("writing manifest").await?;
            worker.add_model(&Model {
                name: asked.model,
                digest: String::new(),
                modified: worker.clock.unix(),
                ..model
            });
            progress.status("success").await
        })
        .await)
    })
    .await
}

/// The model that the new one is made of.
fn basis(node: &Node, asked: &Create) -> Result<Model, Problem> {
    if !asked.from.is_empty() {
        let entry = find(node, &asked.from).ok_or_else(|| Problem::no_model(&asked.from))?;
        return Ok(entry.model.clone());
    }
    if asked.files.is_empty() {
        return Err(Problem::bad_request(
            "neither 'from' or 'files' was specified",
        ));
    }
    let known = |digest: &String| {
        canonical(digest).is_some_and(|digest| node.blob_store.blobs.contains_key(&digest))
    };
    match asked
        .files
        .values()
        .chain(asked.adapters.values())
        .find(|digest| !known(digest))
    {
        Some(digest) => Err(Problem::bad_request(format!("blob {digest:?} not found"))),
        None => Ok(Model::default()),
    }
}

async fn answer(work: impl Future<Output = Result<Response<Body>, Problem>>) -> Response<Body> {
    work.await
        .unwrap_or_else(|problem| problem.respond(Family::Ollama))
}
