//! A pull from another registry: manifest, blobs in parts, digests.
//!
//! As Ollama's downloader does it: the length is asked for with `HEAD`, a blob has to be redirected to another host
//! name, and is fetched from there in parts, several at once. The body of whatever answers is written as it comes,
//! whatever the status. A part that breaks is asked for again from where it broke; a pull whose client leaves keeps its
//! parts for the next one. Two pulls of one blob at once do not share their download here.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval, sleep};

use crate::Model;
use crate::model::{hex, hex_sha256};
use crate::node::Node;

use super::blobs::{canonical, no_space};
use super::fetch::{Follow, ask};
use super::progress::{Progress, Stopped};
use super::pull::{Layer, TICK};

/// Parts of a blob, at most.
const PARTS: u64 = 16;
const MOST_TRIES: u32 = 6;

/// One part of a blob that is being downloaded.
#[derive(Clone)]
pub struct Part {
    offset: u64,
    size: u64,
    data: Vec<u8>,
}

/// A blob of the model, where its registry has it.
struct Wanted<'a> {
    url: String,
    digest: &'a str,
    /// So many bytes fit on the disk.
    full: u64,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Entry>,
    config: Entry,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
}

enum Event {
    Came(usize, Bytes),
    Failed(String),
}

/// The registry, the path and the tag of a valid name whose registry has a port, in the letters it is written in.
pub fn registry(spelling: &str) -> Option<(&str, &str, &str)> {
    let (host, path) = spelling.trim().split_once('/')?;
    let (path, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
    host.rsplit_once(':')?.1.parse::<u16>().ok()?;
    Some((host, path, tag))
}

/// Gets all of it, and says how far it is.
pub async fn pull(
    node: &Arc<Node>,
    progress: &mut Progress,
    spelling: &str,
    full: u64,
) -> Result<Model, Stopped> {
    let (host, path, tag) = registry(spelling).unwrap_or_default();
    let (raw, manifest) = match manifest(host, path, tag).await {
        Ok(got) => got,
        Err(error) => {
            progress.fail(&error).await;
            return Err(Stopped);
        }
    };
    let mut size = 0;
    for entry in manifest.layers.iter().chain([&manifest.config]) {
        let Some(digest) = canonical(&entry.digest) else {
            progress.fail("invalid digest format").await;
            return Err(Stopped);
        };
        let wanted = Wanted {
            url: format!("http://{host}/v2/{path}/blobs/{digest}"),
            digest: &digest,
            full,
        };
        size += blob(node, progress, &wanted).await?;
    }
    progress.status("verifying sha256 digest").await?;
    progress.status("writing manifest").await?;
    Ok(Model {
        name: spelling.to_owned(),
        digest: hex_sha256(&raw),
        size,
        modified: node.clock.unix(),
        ..Model::default()
    })
}

async fn manifest(host: &str, path: &str, tag: &str) -> Result<(Bytes, Manifest), String> {
    let url = format!("http://{host}/v2/{path}/manifests/{tag}");
    let kind = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
    let asked = ask(&Method::GET, &url, &[("accept", kind)], Follow::Anywhere).await;
    let answer = asked.map_err(|error| format!("pull model manifest: Get {url:?}: {error}"))?;
    let status = answer.status();
    let body = answer.whole().await?;
    match status {
        200..300 => {}
        404 => return Err("pull model manifest: file does not exist".to_owned()),
        status => {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("pull model manifest: {status}: {text}"));
        }
    }
    let read = serde_json::from_slice(&body);
    let manifest = read.map_err(|error| format!("pull model manifest: {error}"))?;
    Ok((body, manifest))
}

/// One blob; its size.
async fn blob(
    node: &Arc<Node>,
    progress: &mut Progress,
    wanted: &Wanted<'_>,
) -> Result<u64, Stopped> {
    let digest = wanted.digest;
    let status = format!("pulling {}", digest.get(7..19).unwrap_or_default());
    let line = |total, completed| Layer {
        status: &status,
        digest,
        total,
        completed,
    };
    if let Some(size) = node.blob_store.sizes.get(digest).map(|size| *size) {
        progress.write(&line(size, size)).await?;
        return Ok(size);
    }
    let kept = node.blob_store.parts.remove(digest);
    let prepared = async {
        let parts = match kept {
            Some((_, parts)) => parts,
            None => divided(length(&wanted.url).await?, node.config.pull_part_bytes),
        };
        Ok::<_, String>((parts, direct(&wanted.url).await?))
    };
    let (mut parts, from) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => {
            progress.fail(&error).await;
            return Err(Stopped);
        }
    };
    let total = parts.iter().map(|part| part.size).sum();
    let (events, mut inbox) = mpsc::channel(32);
    let mut tasks = JoinSet::new();
    for (at, part) in parts.iter().enumerate() {
        tasks.spawn(download(
            node.clone(),
            from.clone(),
            at,
            part.clone(),
            events.clone(),
        ));
    }
    drop(events);
    let mut tick = interval(TICK);
    let stopped = loop {
        let completed = parts.iter().map(|part| part.data.len() as u64).sum::<u64>();
        if completed > wanted.full {
            progress.fail(&no_space(digest)).await;
            break true;
        }
        tokio::select! {
            () = progress.abandoned() => break true,
            _ = tick.tick() => if progress.write(&line(total, completed)).await.is_err() {
                break true;
            },
            event = inbox.recv() => match event {
                Some(Event::Came(at, data)) => parts[at].data.extend_from_slice(&data),
                Some(Event::Failed(error)) => {
                    progress.fail(&error).await;
                    break true;
                }
                None => break false,
            },
        }
    };
    if stopped {
        node.blob_store.parts.insert(digest.to_owned(), parts);
        return Err(Stopped);
    }
    progress.write(&line(total, total)).await?;
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(&part.data));
    let got = format!("sha256:{}", hex(&hash.finalize()));
    if got != digest {
        let text =
            format!("digest mismatch, file must be downloaded again: want {digest}, got {got}");
        progress.fail(&text).await;
        return Err(Stopped);
    }
    node.blob_store.blobs.insert(digest.to_owned(), ());
    node.blob_store.sizes.insert(digest.to_owned(), total);
    Ok(total)
}

async fn length(url: &str) -> Result<u64, String> {
    let answer = ask(&Method::HEAD, url, &[], Follow::Anywhere).await?;
    match answer.status() {
        200 => {}
        404 => return Err("file does not exist".to_owned()),
        status => return Err(format!("{status}")),
    }
    let length = answer.response.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(length.unwrap_or(0))
}

/// Where the blob itself is: behind the first redirect to another host name.
async fn direct(url: &str) -> Result<String, String> {
    let answer = ask(&Method::GET, url, &[], Follow::SameHost).await?;
    match (answer.status(), answer.location()) {
        (302 | 307, Some(location)) => Ok(location),
        (status, _) => Err(format!("unexpected status code {status}")),
    }
}

fn divided(total: u64, least: u64) -> Vec<Part> {
    let size = (total / PARTS).max(least.max(1));
    let mut parts = Vec::new();
    let mut offset = 0;
    while offset < total {
        let size = size.min(total - offset);
        let data = Vec::new();
        parts.push(Part { offset, size, data });
        offset += size;
    }
    parts
}

/// One part, from where it broke as often as it breaks.
async fn download(
    node: Arc<Node>,
    url: String,
    at: usize,
    part: Part,
    events: mpsc::Sender<Event>,
) {
    let mut have = part.data.len() as u64;
    let mut error = String::new();
    for tried in 0..MOST_TRIES {
        if have >= part.size {
            return;
        }
        match try_once(&node, &url, at, &part, &mut have, &events).await {
            Ok(()) => {}
            Err(why) => error = why,
        }
        if have < part.size {
            sleep(node.config.scaled(Duration::from_secs(1 << tried))).await;
        }
    }
    if have < part.size {
        let failed = Event::Failed(format!("max retries exceeded: {error}"));
        // The pull may have ended.
        let _ = events.send(failed).await;
    }
}

async fn try_once(
    node: &Node,
    url: &str,
    at: usize,
    part: &Part,
    have: &mut u64,
    events: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let range = format!(
        "bytes={}-{}",
        part.offset + *have,
        part.offset + part.size - 1
    );
    let range = [("range", range)];
    let mut answer = ask(&Method::GET, url, &range, Follow::Anywhere).await?;
    while let Some(frame) = answer.response.body_mut().frame().await {
        let frame = frame.map_err(|_| "unexpected EOF".to_owned())?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        let rest = usize::try_from(part.size - *have).unwrap_or(usize::MAX);
        data.truncate(rest);
        let speed = node.config.pull_bytes_per_second;
        sleep(node.config.time_for(data.len() as u64, speed)).await;
        *have += data.len() as u64;
        if events.send(Event::Came(at, data)).await.is_err() || *have >= part.size {
            return Ok(());
        }
    }
    Err("EOF".to_owned())
}
