//! One download: from the registry to the disk, however often the way there breaks.
//!
//! It goes on from what is on the disk. What breaks is tried again from where it broke, so often as it takes while
//! every few tries bring something; what the registry says wrongly is not tried again. Nothing of a blob that is
//! wrong, or for which the disk has no room, is left behind.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Buf as _;
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::digest::Digest;
use super::error::Error;
use super::folder::Folder;
use super::growing::{Growing, blocking};
use super::progress::Progress;
use super::registry::{Fetched, Registry, SILENCE};
use super::repository::Repository;
use super::stats::MirrorStats;
use crate::supervision::Backoff;

/// So many tries in a row may bring less than [`WORTH`].
const MOST_TRIES: u32 = 6;
/// A try that has brought so much was no failure.
const WORTH: u64 = 1 << 20;
const PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// So much is written at once.
const BATCH: usize = 1 << 20;
/// Or what has come in this time: servers give up a part of which nothing comes for long.
const SOON: Duration = Duration::from_secs(1);

/// What is fetched.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) digest: Digest,
    pub(super) repository: Repository,
    pub(super) size: u64,
    /// So much of it is there as it was written by this process: what an earlier one has left may not have reached the
    /// disk as it was.
    pub(super) good: u64,
}

/// What it is fetched with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) registry: Registry,
    pub(super) folder: Folder,
    pub(super) stats: MirrorStats,
}

/// What has become of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) whole: bool,
    /// So much of it is on the disk.
    pub(super) bytes: u64,
    /// None of that is in doubt.
    pub(super) shown: bool,
    /// Why it is not whole, unless it was stopped.
    pub(super) error: Option<Error>,
}

/// Why a download ends early.
enum Broken {
    /// Nobody wants it any more.
    Stopped,
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Fetches it. Those who watch its progress know the end before this returns.
pub(super) async fn run(
    download: &Download,
    means: &Means,
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
) -> Ended {
    let path = means.folder.partial(&download.digest);
    let mut file = match Growing::open(path.clone(), download.size).await {
        Ok(file) => file,
        Err(error) => {
            // What is there stays, and takes its room.
            let bytes = on_disk(path).await.unwrap_or(download.good);
            return failed(error.into(), bytes, bytes == download.good, progress);
        }
    };
    let done = fetch(download, means, &mut file, progress, stop).await;
    let error = match done {
        Ok(()) => {
            progress.send_modify(|progress| progress.available = download.size);
            return Ended {
                whole: true,
                bytes: download.size,
                shown: true,
                error: None,
            };
        }
        Err(Broken::Stopped) => {
            let (bytes, shown) = kept(file).await;
            return Ended {
                whole: false,
                bytes,
                shown,
                error: None,
            };
        }
        Err(Broken::Failed(error)) => error,
    };
    // What has come so far may be gone on from, unless it is wrong or takes room that is needed.
    let (bytes, shown) = match error.is_transient() {
        true => kept(file).await,
        false => {
            file.discard().await;
            (0, true)
        }
    };
    failed(error, bytes, shown, progress)
}

async fn on_disk(path: PathBuf) -> io::Result<u64> {
    let about = blocking(move || fs::metadata(&path)).await;
    match about {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        about => Ok(about?.len()),
    }
}

/// How much of it stays on the disk, and whether servers may see that. Of nothing no file stays.
async fn kept(file: Growing) -> (u64, bool) {
    match file.len() {
        0 => {
            file.discard().await;
            (0, true)
        }
        bytes => (bytes, file.is_shown()),
    }
}

fn failed(error: Error, bytes: u64, shown: bool, progress: &watch::Sender<Progress>) -> Ended {
    progress.send_modify(|progress| progress.failed = Some(error.clone()));
    Ended {
        whole: false,
        bytes,
        shown,
        error: Some(error),
    }
}

async fn fetch(
    download: &Download,
    means: &Means,
    file: &mut Growing,
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    // What may be wrong is shown to nobody before its digest has been checked.
    let mut doubtful = file.len() != download.good;
    file.set_shown(!doubtful);
    show(download, file, progress);
    while !file.is_hashed() {
        if stop.is_cancelled() {
            return Err(Broken::Stopped);
        }
        file.hash_more().await?;
    }
    loop {
        fill(download, means, file, progress, stop).await?;
        let found = file.digest();
        if found == download.digest {
            file.sync().await?;
            let (folder, digest) = (means.folder.clone(), download.digest.clone());
            blocking(move || folder.complete(&digest)).await?;
            return Ok(());
        }
        if !doubtful {
            let digest = download.digest.clone();
            return Err(Error::Lied { digest, found }.into());
        }
        tracing::warn!(digest = %download.digest, "what was there of a blob is wrong; it is fetched anew");
        doubtful = false;
        file.empty().await?;
        file.set_shown(true);
    }
}

/// Until all bytes are there.
async fn fill(
    download: &Download,
    means: &Means,
    file: &mut Growing,
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let mut tries = 0;
    while file.len() < download.size {
        let before = file.len();
        let tried = try_once(download, means, file, progress, stop).await;
        let error = match tried {
            Ok(()) => continue,
            Err(Broken::Failed(error)) if error.is_transient() => error,
            Err(broken) => return Err(broken),
        };
        if file.len() - before >= WORTH {
            tries = 0;
        }
        tries += 1;
        if tries >= MOST_TRIES {
            return Err(error.into());
        }
        tracing::info!(digest = %download.digest, %error, tries, "a blob is fetched on");
        tokio::select! {
            () = sleep(PAUSE.delay(tries, fastrand::f64())) => {}
            () = stop.cancelled() => return Err(Broken::Stopped),
        }
    }
    Ok(())
}

async fn try_once(
    download: &Download,
    means: &Means,
    file: &mut Growing,
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let fetched = tokio::select! {
        fetched = ask(download, means, file.len()) => fetched?,
        () = stop.cancelled() => return Err(Broken::Stopped),
    };
    // A registry that gives all of it gives again what is there.
    let mut skip = file.len() - fetched.from;
    let mut body = fetched.body;
    let mut flushed = Instant::now();
    let ended = loop {
        let frame = tokio::select! {
            frame = timeout(SILENCE, body.frame()) => frame,
            () = stop.cancelled() => break Err(Broken::Stopped),
        };
        let mut data = match frame {
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(None) if file.pushed() == download.size => break Ok(()),
            Ok(None) => break Err(Error::away("a blob ended early").into()),
            Ok(Some(Err(error))) => break Err(Error::away(error).into()),
            Err(_) => break Err(Error::away("it has said nothing for too long").into()),
        };
        means.stats.fetched.inc_by(data.len() as u64);
        let skipped = usize::try_from(skip).map_or(data.len(), |skip| skip.min(data.len()));
        skip -= skipped as u64;
        data.advance(skipped);
        check_length(download, file.pushed() + data.len() as u64)?;
        file.push(&data);
        if file.waiting() >= BATCH || flushed.elapsed() >= SOON {
            file.flush().await?;
            show(download, file, progress);
            flushed = Instant::now();
        }
    };
    file.flush().await?;
    show(download, file, progress);
    ended
}

/// The rest of it, from this byte on or from an earlier one.
async fn ask(download: &Download, means: &Means, from: u64) -> Result<Fetched, Error> {
    let Download {
        digest, repository, ..
    } = download;
    let fetched = match means.registry.blob(repository, digest, from).await {
        Err(Error::NotThere) => return Err(Error::Missing(digest.clone())),
        fetched => fetched?,
    };
    match fetched.total {
        Some(said) if said != download.size => Err(lies(download, said)),
        _ if fetched.from > from => Err(Error::garbled("a part of a blob that begins too late")),
        _ => Ok(fetched),
    }
}

fn check_length(download: &Download, bytes: u64) -> Result<(), Error> {
    match bytes > download.size {
        true => Err(lies(download, bytes)),
        false => Ok(()),
    }
}

fn lies(download: &Download, said: u64) -> Error {
    Error::Length {
        digest: download.digest.clone(),
        told: download.size,
        said,
    }
}

/// All but the last byte, which is for those who may have all.
fn show(download: &Download, file: &Growing, progress: &watch::Sender<Progress>) {
    let available = match file.is_shown() {
        true => file.len().min(download.size.saturating_sub(1)),
        false => 0,
    };
    progress.send_modify(|progress| {
        progress.file = Some(file.shared());
        progress.available = available;
    });
}
