//! Changing what a server has: copy, delete, create.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::Model;
use crate::answer::Family;
use crate::go::go_object;
use crate::model::hex_sha256;
use crate::name::ModelName;
use crate::node::Node;
use crate::wire::Body;

use super::blobs::canonical;
use super::infer::find;
use super::loose::License;
use super::problem::Problem;
use super::progress::{Progress, Stopped, report};
use super::reply::{empty, meant, parse, read};

go_object! {
    struct Copy {
        source: String = "source",
        destination: String = "destination",
    }
}

go_object! {
    struct Delete {
        model: String = "model",
        name: String = "name",
    }
}

go_object! {
    struct Create {
        model: String = "model",
        name: String = "name",
        from: String = "from",
        files: BTreeMap<String, String> = "files",
        adapters: BTreeMap<String, String> = "adapters",
        system: String = "system",
        template: String = "template",
        license: License = "license",
        parameters: BTreeMap<String, serde_json::Value> = "parameters",
        stream: Option<bool> = "stream",
    }
}

pub async fn copy(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    answer(async {
        let body = read(body).await?;
        let asked: Copy = parse(&body, "api.CopyRequest")?;
        for (what, name) in [
            ("source", &asked.source),
            ("destination", &asked.destination),
        ] {
            if ModelName::parse(name).is_err() {
                return Err(Problem::bad_request(format!("{what} {name:?} is invalid")));
            }
        }
        failing(node, &asked.source).await?;
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
        let asked: Delete = parse(&body, "api.DeleteRequest")?;
        let model = meant(asked.model, asked.name);
        if model.is_empty() {
            return Err(Problem::bad_request("model is required"));
        }
        let name = ModelName::parse(&model)
            .map_err(|_| Problem::bad_request(format!("name {model:?} is invalid")))?;
        failing(node, &model).await?;
        if find(node, &model).is_none() {
            return Err(Problem::no_model(&model));
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
        let mut asked: Create = parse(&body, "api.CreateRequest")?;
        asked.model = meant(asked.model, take(&mut asked.name));
        let name = ModelName::parse(&asked.model)
            .map_err(|_| Problem::bad_request("invalid model name"))?;
        let model = basis(node, &asked)?;
        let fault = node.faults.take(crate::fault::Stage::Answer, Some(&name));
        let worker = node.clone();
        let stream = asked.stream.unwrap_or(true);
        Ok(report(node, stream, fault, |mut progress| async move {
            match asked.from.is_empty() {
                true => convert(&worker, &mut progress, &asked).await?,
                false => {
                    let base = format!("using existing layer sha256:{}", model.digest);
                    progress.status(&base).await?;
                }
            }
            for layer in asked.new_layers() {
                let digest = hex_sha256(layer.as_bytes());
                progress
                    .status(&format!("creating new layer sha256:{digest}"))
                    .await?;
            }
            progress.status("writing manifest").await?;
            worker.add_model(&Model {
                name: asked.model,
                digest: String::new(),
                modified: worker.clock.unix(),
                license: asked.license.0,
                ..model
            });
            progress.status("success").await
        })
        .await)
    })
    .await
}

/// With the fault that is made for it.
async fn failing(node: &Node, model: &str) -> Result<(), Problem> {
    let name = ModelName::parse(model).ok();
    match node.faults.take(crate::fault::Stage::Answer, name.as_ref()) {
        Some(crate::fault::Fault::InternalError) => {
            Err(Problem::internal("unlink: read-only file system"))
        }
        Some(crate::fault::Fault::Stall { .. }) => std::future::pending().await,
        _ => Ok(()),
    }
}

/// Reads the files. One that was not uploaded is found missing then, in the words of the system.
async fn convert(node: &Node, progress: &mut Progress, asked: &Create) -> Result<(), Stopped> {
    progress.status("parsing GGUF").await?;
    for digest in asked.files.values().chain(asked.adapters.values()) {
        let known = canonical(digest).filter(|digest| node.blob_store.blobs.contains_key(digest));
        if known.is_none() {
            let file = digest.replace(':', "-");
            let missing = format!("open /models/blobs/{file}: no such file or directory");
            progress.fail(&missing).await;
            return Err(Stopped);
        }
    }
    progress.status("verifying conversion").await?;
    for digest in asked.files.values() {
        progress
            .status(&format!("creating new layer {digest}"))
            .await?;
    }
    Ok(())
}

impl Create {
    /// What the new model has beside its weights, each a layer.
    fn new_layers(&self) -> Vec<String> {
        let parameters = match self.parameters.is_empty() {
            true => String::new(),
            false => format!("{:?}", self.parameters),
        };
        let layers = [&self.template, &self.system, &self.license.0, &parameters];
        let some = layers.into_iter().filter(|layer| !layer.is_empty());
        some.cloned().collect()
    }
}

/// The model that the new one is made of.
fn basis(node: &Node, asked: &Create) -> Result<Model, Problem> {
    if !asked.from.is_empty() {
        let entry = find(node, &asked.from).ok_or_else(|| Problem::no_model(&asked.from))?;
        return Ok(Model {
            digest: entry.digest.clone(),
            ..entry.model.clone()
        });
    }
    if asked.files.is_empty() {
        return Err(Problem::bad_request(
            "neither 'from' or 'files' was specified",
        ));
    }
    let outside = |file: &String| file.starts_with('/') || file.split('/').any(|part| part == "..");
    if asked.files.keys().chain(asked.adapters.keys()).any(outside) {
        return Err(Problem::bad_request("file path must be relative"));
    }
    Ok(Model::tiny())
}

async fn answer(work: impl Future<Output = Result<Response<Body>, Problem>>) -> Response<Body> {
    work.await
        .unwrap_or_else(|problem| problem.respond(Family::Ollama))
}
