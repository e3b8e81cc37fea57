//! Pull and push, and the blobs a server has.
//!
//! Downloads of one digest are shared: a second request follows the first. A download without
//! followers stops and keeps what it has; the next one goes on from there.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use dashmap::{DashMap, Entry};
use http::Response;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::Model;
use crate::answer::Family;
use crate::fault::{Fault, Stage};
use crate::go::go_object;
use crate::name::ModelName;
use crate::node::Node;
use crate::wire::Body;

use super::blobs::no_space;
use super::infer::find;
use super::problem::Problem;
use super::progress::{Progress, Stopped, report};
use super::remote::{self, Part};
use super::reply::{meant, parse, read};

/// Between two lines about the same layer.
pub(super) const TICK: Duration = Duration::from_millis(60);
/// Bytes of the layer that follows the weights.
const SMALL_LAYER: u64 = 561;

/// Blobs that are there, in part there, and being downloaded. Keys are `sha256:` and 64 hex digits.
#[derive(Default)]
pub struct BlobStore {
    pub blobs: DashMap<String, ()>,
    partial: DashMap<String, u64>,
    /// How large those are that another registry gave.
    pub sizes: DashMap<String, u64>,
    /// What has come so far of those that another registry gives.
    pub parts: DashMap<String, Vec<Part>>,
    downloading: DashMap<String, watch::Sender<u64>>,
}

impl BlobStore {
    pub fn clear(&self) {
        self.blobs.clear();
        self.partial.clear();
        self.sizes.clear();
        self.parts.clear();
    }
}

go_object! {
    struct Request {
        model: String = "model",
        name: String = "name",
        insecure: bool = "insecure",
        stream: Option<bool> = "stream",
    }
}

/// A line about one layer.
#[derive(Serialize)]
pub(super) struct Layer<'a> {
    pub(super) status: &'a str,
    pub(super) digest: &'a str,
    pub(super) total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) completed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

pub async fn pull(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    let (request, name) = match named(body).await {
        Ok(named) => named,
        Err((problem, _)) => return problem.respond(Family::Ollama),
    };
    let fault = node.faults.take(Stage::Answer, Some(&name));
    let worker = node.clone();
    let stream = request.stream.unwrap_or(true);
    report(node, stream, fault, |mut progress| async move {
        progress.status("pulling manifest").await?;
        let full = match worker.faults.take(Stage::Disk, Some(&name)) {
            Some(Fault::DiskFull { after }) => after,
            _ => u64::MAX,
        };
        let is_remote = request.insecure && remote::registry(&request.model).is_some();
        if is_remote && listed(&worker, &name).is_none() {
            let model = remote::pull(&worker, &mut progress, &request.model, full).await?;
            worker.add_model(&model);
            return progress.status("success").await;
        }
        let model = match offered(&worker, &request, &name) {
            Ok(model) => model,
            Err(refused) => {
                progress.fail(&refused).await;
                return Err(Stopped);
            }
        };
        let digest = model.digest(name.as_str(), worker.config.seed);
        let small = Model::named(format!("{digest} config")).digest("", worker.config.seed);
        layer(
            &worker,
            &mut progress,
            &format!("sha256:{digest}"),
            model.size,
            full,
        )
        .await?;
        layer(
            &worker,
            &mut progress,
            &format!("sha256:{small}"),
            SMALL_LAYER,
            u64::MAX,
        )
        .await?;
        progress.status("verifying sha256 digest").await?;
        progress.status("writing manifest").await?;
        worker.add_model(&Model {
            modified: worker.clock.unix(),
            ..model
        });
        progress.status("success").await
    })
    .await
}

pub async fn push(node: &Arc<Node>, body: Incoming) -> Response<Body> {
    let (request, name) = match named(body).await {
        Ok(named) => named,
        Err((_, true)) => {
            return Problem::bad_request("model is required").respond(Family::Ollama);
        }
        Err((problem, false)) => return problem.respond(Family::Ollama),
    };
    let entry = find(node, &request.model);
    let fault = node.faults.take(Stage::Answer, Some(&name));
    report(
        node,
        request.stream.unwrap_or(true),
        fault,
        |mut progress| async move {
            progress.status("retrieving manifest").await?;
            let Some(entry) = entry else {
                progress.status("couldn't retrieve manifest").await?;
                let file = name.full().replace(':', "/");
                let missing = format!("open /models/manifests/{file}: no such file or directory");
                progress.fail(&missing).await;
                return Err(Stopped);
            };
            let line = Layer {
                status: &format!("pushing {}", &entry.digest.get(..12).unwrap_or_default()),
                digest: &format!("sha256:{}", entry.digest),
                total: entry.model.size,
                completed: entry.model.size,
            };
            progress.write(&line).await?;
            progress.status("pushing manifest").await?;
            progress.status("success").await
        },
    )
    .await
}

/// What is asked for, and its name; with a problem, whether the name is only missing.
async fn named(body: Incoming) -> Result<(Request, ModelName), (Problem, bool)> {
    let body = read(body).await.map_err(|problem| (problem, false))?;
    let mut request: Request =
        parse(&body, "api.PullRequest").map_err(|problem| (problem, false))?;
    request.model = meant(request.model, take(&mut request.name));
    match ModelName::parse(&request.model) {
        Ok(name) => Ok((request, name)),
        Err(_) => Err((
            Problem::bad_request("invalid model name"),
            request.model.is_empty(),
        )),
    }
}

/// What the configuration offers under this name.
fn listed(node: &Node, name: &ModelName) -> Option<Model> {
    let is = |model: &&Model| ModelName::parse(&model.name).as_ref() == Ok(name);
    let models = node.config.registry.as_deref();
    models.unwrap_or_default().iter().find(is).cloned()
}

/// What its registry has under this name, or the words of the refusal.
fn offered(node: &Node, request: &Request, name: &ModelName) -> Result<Model, String> {
    if let Some(model) = listed(node, name) {
        return Ok(model);
    }
    match (unreachable(request), &node.config.registry) {
        (Some(refused), _) => Err(refused),
        (None, None) => Ok(Model::named(&request.model)),
        (None, Some(_)) => Err("pull model manifest: file does not exist".to_owned()),
    }
}

/// It speaks no TLS: a registry with a port is asked without, or refuses the connection.
fn unreachable(request: &Request) -> Option<String> {
    let (host, path, tag) = remote::registry(&request.model)?;
    Some(format!(
        "pull model manifest: Get \"https://{host}/v2/{path}/manifests/{tag}\": dial tcp {host}: \
         connect: connection refused"
    ))
}

/// Downloads one layer, alone or with others, and says how far it is.
async fn layer(
    node: &Arc<Node>,
    progress: &mut Progress,
    digest: &str,
    total: u64,
    full: u64,
) -> Result<(), Stopped> {
    let status = format!("pulling {}", digest.get(7..19).unwrap_or_default());
    let line = |completed| Layer {
        status: &status,
        digest,
        total,
        completed,
    };
    let mut completed = if node.blob_store.blobs.contains_key(digest) {
        return progress.write(&line(total)).await;
    } else {
        follow(node, digest, total)
    };
    loop {
        let now = *completed.borrow_and_update();
        progress.write(&line(now)).await?;
        if now > full {
            progress.fail(&no_space(digest)).await;
            return Err(Stopped);
        }
        if now >= total {
            return Ok(());
        }
        tokio::select! {
            () = progress.abandoned() => return Err(Stopped),
            changed = completed.changed() => if changed.is_err() { return Err(Stopped) },
        }
    }
}

/// The progress of a download that runs already or starts now.
fn follow(node: &Arc<Node>, digest: &str, total: u64) -> watch::Receiver<u64> {
    match node.blob_store.downloading.entry(digest.to_owned()) {
        Entry::Occupied(entry) => entry.get().subscribe(),
        Entry::Vacant(entry) => {
            let begun = node
                .blob_store
                .partial
                .get(digest)
                .map_or(0, |bytes| *bytes);
            let (sender, receiver) = watch::channel(begun);
            entry.insert(sender.clone());
            let download = download(node.clone(), digest.to_owned(), total, sender);
            let stop = node.stop.clone();
            node.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = download => {}
                }
            });
            receiver
        }
    }
}

async fn download(node: Arc<Node>, digest: String, total: u64, completed: watch::Sender<u64>) {
    let blob_store = &node.blob_store;
    let begun = *completed.borrow();
    let whole = node
        .config
        .time_for(total - begun.min(total), node.config.pull_bytes_per_second);
    let started = Instant::now();
    loop {
        let elapsed = started.elapsed();
        let share = if elapsed >= whole {
            1.0
        } else {
            elapsed.as_secs_f64() / whole.as_secs_f64()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of it"
        )]
        let now = begun + ((total - begun.min(total)) as f64 * share) as u64;
        if share >= 1.0 {
            blob_store.blobs.insert(digest.clone(), ());
            blob_store.partial.remove(&digest);
            blob_store.downloading.remove(&digest);
            completed.send_replace(total);
            return;
        }
        completed.send_replace(now);
        // In one step with the map, so that no request follows a stopped download.
        let unfollowed = |_: &String, sender: &watch::Sender<u64>| sender.receiver_count() == 0;
        if blob_store
            .downloading
            .remove_if(&digest, unfollowed)
            .is_some()
        {
            blob_store.partial.insert(digest, now);
            return;
        }
        sleep(TICK.min(whole.saturating_sub(elapsed))).await;
    }
}
