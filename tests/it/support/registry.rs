//! A registry of models, as the router's mirror asks one: it counts what it gives, and fails as it is told.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use dashmap::DashMap;
use futures_util::stream::unfold;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How it fails.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Blobs are redirected to where they were asked for.
    pub redirects_to_itself: bool,
    /// So many bytes more are said of a blob than its manifest says.
    pub longer: u64,
    /// The first byte of a blob is another.
    pub other_bytes: bool,
    /// The next so many answers break off after so many bytes.
    pub cuts: Vec<usize>,
    /// It gives the whole of a blob, whatever part is asked for.
    pub no_parts: bool,
    /// The blobs of models are not there.
    pub no_blobs: bool,
    /// This status for everything.
    pub status: Option<u16>,
}

/// It ends when this is dropped.
pub struct Registry {
    pub url: String,
    inner: Arc<Inner>,
    _serving: AbortOnDropHandle<()>,
}

struct Inner {
    models: DashMap<String, Bytes>,
    blobs: DashMap<String, Bytes>,
    faults: ArcSwap<Faults>,
    /// Answers with blobs since it was told how to fail.
    answers: AtomicUsize,
    /// Bytes of blobs that were sent.
    sent: AtomicU64,
    /// Blobs that were asked for.
    asked: AtomicUsize,
    manifests: AtomicUsize,
    /// Of a blob no more than so many bytes are sent for now.
    open: watch::Sender<usize>,
}

/// As much is sent at once.
const PIECE: usize = 64 << 10;

impl Registry {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner {
            models: DashMap::new(),
            blobs: DashMap::new(),
            faults: ArcSwap::default(),
            answers: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            manifests: AtomicUsize::new(0),
            open: watch::channel(usize::MAX).0,
        });
        let routes = Router::new()
            .route("/v2/{namespace}/{model}/manifests/{tag}", get(manifest))
            .route("/v2/{namespace}/{model}/blobs/{digest}", get(redirect))
            .route("/files/{digest}", get(file))
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = TaskTracker::new().spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Self {
            url: format!("http://{address}"),
            inner,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// A model of these blobs, the last of which is its configuration; bytes of all of them.
    pub fn offer(&self, name: &str, blobs: &[Vec<u8>]) -> u64 {
        let entry = |blob: &Vec<u8>| json!({"digest": digest(blob), "size": blob.len()});
        let (config, layers) = blobs.split_last().unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "config": entry(config),
            "layers": layers.iter().map(entry).collect::<Vec<_>>(),
        });
        let models = &self.inner.models;
        models.insert(name.to_owned(), manifest.to_string().into());
        for blob in blobs {
            let bytes = Bytes::from(blob.clone());
            self.inner.blobs.insert(digest(blob), bytes);
        }
        blobs.iter().map(|blob| blob.len() as u64).sum()
    }

    pub fn fail(&self, faults: Faults) {
        self.inner.answers.store(0, SeqCst);
        self.inner.faults.store(Arc::new(faults));
    }

    /// No more of a blob is sent than this, until it is more.
    pub fn hold_at(&self, bytes: usize) {
        self.inner.open.send_replace(bytes);
    }

    /// Bytes of blobs that it has sent.
    pub fn sent(&self) -> u64 {
        self.inner.sent.load(SeqCst)
    }

    /// How often blobs were asked for.
    pub fn asked(&self) -> usize {
        self.inner.asked.load(SeqCst)
    }

    /// Whether nobody waits for more of a blob.
    pub fn is_idle(&self) -> bool {
        self.inner.open.receiver_count() == 0
    }

    pub fn manifests(&self) -> usize {
        self.inner.manifests.load(SeqCst)
    }
}

/// Bytes that are not alike anywhere.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

pub fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

type Shared = State<Arc<Inner>>;

async fn manifest(
    State(inner): Shared,
    Path((namespace, model, tag)): Path<(String, String, String)>,
) -> Response {
    inner.manifests.fetch_add(1, SeqCst);
    if let Some(status) = inner.faults.load().status {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    match inner.models.get(&format!("{namespace}/{model}:{tag}")) {
        Some(manifest) => manifest.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// As Ollama's own registry: the files are somewhere else.
async fn redirect(
    State(inner): Shared,
    Path((namespace, model, digest)): Path<(String, String, String)>,
) -> Response {
    inner.asked.fetch_add(1, SeqCst);
    let faults = inner.faults.load_full();
    if let Some(status) = faults.status {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let to = match faults.redirects_to_itself {
        true => format!("/v2/{namespace}/{model}/blobs/{digest}"),
        false => format!("/files/{digest}?signature=x"),
    };
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response()
}

async fn file(State(inner): Shared, Path(digest): Path<String>, headers: HeaderMap) -> Response {
    let faults = inner.faults.load_full();
    let cut = faults.cuts.get(inner.answers.fetch_add(1, SeqCst)).copied();
    let blob = inner.blobs.get(&digest).map(|blob| blob.clone());
    let Some(mut blob) = blob.filter(|_| !faults.no_blobs) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if faults.other_bytes {
        let mut other = blob.to_vec();
        other[0] ^= 1;
        blob = other.into();
    }
    let range = headers.get(RANGE).filter(|_| !faults.no_parts);
    let from = range.and_then(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse::<usize>().ok()
    });
    let total = blob.len() as u64 + faults.longer;
    let part = blob.slice(from.unwrap_or(0).min(blob.len())..);
    let length = part.len() as u64 + faults.longer;
    let end = cut.map_or(part.len(), |cut| cut.min(part.len()));
    let at = from.unwrap_or(0);
    let body = unfold((inner, part, 0), move |(inner, part, sent)| async move {
        if sent >= end {
            // Less than was said: the connection breaks.
            return None;
        }
        let mut open = inner.open.subscribe();
        let open = *open.wait_for(|open| *open > at + sent).await.ok()?;
        let until = end.min(sent + PIECE).min(open - at);
        inner.sent.fetch_add((until - sent) as u64, SeqCst);
        let piece = Ok::<_, Infallible>(part.slice(sent..until));
        Some((piece, (inner, part, until)))
    });
    let status = match from {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    let range = format!("bytes {at}-{}/{total}", total.saturating_sub(1));
    let mut answer = (status, Body::from_stream(body)).into_response();
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    if from.is_some() {
        answer
            .headers_mut()
            .insert(CONTENT_RANGE, range.parse().unwrap());
    }
    answer
}
