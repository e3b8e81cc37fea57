//! Models fetched once and served to all servers: a pull-through registry for them, with a cache on the disk.
//!
//! Owns the cache, what is fetched from the registry of models ([`registry`]), one download of a blob for all who want
//! it ([`downloads`]), and for whom it is ([`peers`]). What a pull of a model is, and which servers get it, it must
//! not know, nor what is said in HTTP.
//!
//! It fails by value, and towards those who wait: a registry that is away, that lies, or a disk that is full is an
//! [`Error`] for everybody who wants that blob. Nothing that is wrong stays on the disk, and nobody sees the
//! last byte of a blob whose digest has not been checked.

mod digest;
mod download;
mod downloads;
mod error;
mod folder;
mod growing;
mod manifest;
mod names;
mod peers;
mod progress;
mod reader;
mod registry;
mod repository;
mod stats;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use digest::Digest;
pub use error::Error;
pub use manifest::Manifest;
pub use names::Names;
pub use reader::BlobReader;
pub use repository::{Reference, Repository};
pub use stats::MirrorStats;

use download::Means;
use downloads::{Pinning, Source};
use folder::Folder;
use growing::blocking;
use registry::Registry;

use crate::supervision::{Backoff, RestartPolicy, StartError};
use crate::upstream::Client;

/// Neither actor holds what is expensive to rebuild, and servers wait for both.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};
/// A manifest is asked for so often while the registry does not answer.
const MANIFEST_TRIES: u32 = 3;
const MANIFEST_PAUSE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
/// A blob that has been lost on the disk is asked for so often.
const READ_TRIES: usize = 3;

/// What it works with.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The folder of the cache.
    pub folder: PathBuf,
    /// Bytes of all its files.
    pub limit: u64,
    /// The URL of the registry of models.
    pub registry: String,
    /// Under which names servers reach this router.
    pub names: Names,
}

/// Why it cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The folder cannot be made or written.
    #[error("folder {0}: {1}")]
    Folder(PathBuf, io::Error),
    /// The URL of the registry is none.
    #[error("the registry {0} is no URL")]
    Registry(String),
    /// An actor.
    #[error("actor did not start: {0}")]
    Actor(#[from] StartError),
}

/// The interface. Clones share one state.
#[derive(Clone)]
pub struct Mirror(Arc<Inner>);

struct Inner {
    means: Means,
    names: Names,
    downloads: downloads::Handle,
    peers: peers::Handle,
}

/// A model that a pull pins: its manifest stays the same for all servers, and what has been fetched of it stays in
/// the cache. When this is dropped the pull is over.
#[derive(Debug)]
pub struct Pinned(Pinning);

// === impl Mirror ===

impl Mirror {
    /// Starts it with what is in its folder.
    ///
    /// # Errors
    /// [`CannotStart`].
    pub async fn start(
        rules: Rules,
        client: Client,
        stats: MirrorStats,
        tracker: TaskTracker,
    ) -> Result<Self, CannotStart> {
        let path = rules.folder.clone();
        let folder = blocking(move || Folder::open(&path)).await;
        let folder = folder.map_err(|error| CannotStart::Folder(rules.folder, error))?;
        let registry = Registry::new(&rules.registry, client);
        let means = Means {
            registry: registry.ok_or(CannotStart::Registry(rules.registry))?,
            folder,
            stats,
        };
        let setup = downloads::Setup {
            limit: rules.limit,
            means: means.clone(),
        };
        let downloads = downloads::Handle::start(RESTARTS, setup, tracker.clone()).await?;
        Ok(Self(Arc::new(Inner {
            means,
            names: rules.names,
            downloads,
            peers: peers::Handle::start(RESTARTS, tracker).await?,
        })))
    }

    /// Under which names servers reach it.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// Whether whoever connects from this address is one of the servers at these hosts.
    pub async fn serves(&self, address: IpAddr, hosts: Vec<String>) -> bool {
        self.0.peers.has(address, hosts).await
    }

    /// What a model is made of, as the registry says it now; while a pull of it runs, as it said then.
    ///
    /// # Errors
    /// When the registry does not say it.
    pub async fn manifest(&self, reference: &Reference) -> Result<Arc<Manifest>, Error> {
        let downloads = &self.0.downloads;
        if let Some(pinned) = downloads.pinned(reference.clone()).await {
            return Ok(pinned);
        }
        let manifest = Arc::new(self.ask(reference).await?);
        let repository = reference.repository.clone();
        downloads.learned(repository, Arc::clone(&manifest)).await;
        Ok(manifest)
    }

    /// Pins a model for a pull.
    ///
    /// # Errors
    /// When the registry does not have it, or the cache cannot.
    pub async fn pin(&self, reference: &Reference) -> Result<Pinned, Error> {
        let manifest = self.manifest(reference).await?;
        let pinned = self.0.downloads.pin(reference.clone(), manifest);
        pinned.await.map(Pinned)
    }

    /// How long a blob is of a model that was asked for.
    ///
    /// # Errors
    /// When there is none.
    pub async fn size(&self, repository: &Repository, digest: &Digest) -> Result<u64, Error> {
        self.0.downloads.size(source(repository, digest)).await
    }

    /// Reads a part of a blob, which is fetched if it is not there.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        part: Range<u64>,
    ) -> Result<BlobReader, Error> {
        let source = source(repository, digest);
        let Means { folder, stats, .. } = &self.0.means;
        for _ in 0..READ_TRIES {
            let reading = self.0.downloads.read(source.clone()).await?;
            let file = match reading.progress {
                Some(_) => None,
                None => {
                    let (folder, digest, size) = (folder.clone(), digest.clone(), reading.size);
                    let Some(file) = blocking(move || folder.read(&digest, size)).await? else {
                        tracing::warn!(digest = %reading.digest, "a blob is not in the cache as it was; it is fetched anew");
                        reading.lost();
                        continue;
                    };
                    Some(Arc::new(file))
                }
            };
            let served = stats.served.clone();
            return Ok(BlobReader::new(reading, file, part, served));
        }
        Err(Error::Interrupted)
    }

    /// Kills the actor of the downloads as a panic would. For fault injection.
    pub fn kill_downloads(&self) {
        self.0.downloads.kill();
    }

    async fn ask(&self, reference: &Reference) -> Result<Manifest, Error> {
        let registry = &self.0.means.registry;
        let mut tries = 1;
        loop {
            match registry.manifest(reference).await {
                Err(error) if error.is_transient() && tries < MANIFEST_TRIES => {
                    tokio::time::sleep(MANIFEST_PAUSE.delay(tries, fastrand::f64())).await;
                    tries += 1;
                }
                answered => return answered,
            }
        }
    }
}

fn source(repository: &Repository, digest: &Digest) -> Source {
    Source {
        repository: repository.clone(),
        digest: digest.clone(),
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("names", &self.0.names)
            .finish_non_exhaustive()
    }
}

// === impl Pinned ===

impl Pinned {
    /// Returns when one of its blobs cannot be had: why.
    pub async fn failed(&mut self) -> Error {
        let failed = self.0.failed.wait_for(Option::is_some).await;
        let failed = failed.ok().and_then(|failed| failed.clone());
        failed.unwrap_or(Error::Interrupted)
    }
}
