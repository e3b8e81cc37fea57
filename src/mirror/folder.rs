//! The cache on the disk.
//!
//! ```text
//! blobs/sha256-HEX      whole, its digest checked; its time of change is when it was last asked for
//! partial/sha256-HEX    what has come of one so far: every byte from its beginning on
//! removed/N             on its way out
//! ```
//!
//! A file that leaves the cache is renamed first, which takes no time, and deleted by whoever needs the room: so a
//! blob that is fetched again at once cannot meet its own deletion.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::digest::Digest;
use crate::clock;

/// The folder. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blobs: PathBuf,
    partial: PathBuf,
    removed: PathBuf,
    /// Names of removed files are used once.
    next: AtomicU64,
}

/// A file that was there at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// Its digest has been checked.
    pub(super) whole: bool,
}

impl Folder {
    /// Makes the folder, and deletes what was on its way out when the router ended.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let inner = Inner {
            blobs: path.join("blobs"),
            partial: path.join("partial"),
            removed: path.join("removed"),
            next: AtomicU64::new(0),
        };
        if inner.removed.exists() {
            fs::remove_dir_all(&inner.removed)?;
        }
        for folder in [&inner.blobs, &inner.partial, &inner.removed] {
            fs::create_dir_all(folder)?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// What is there, what was asked for longest ago first. A file with another name is not ours and is left alone.
    pub(super) fn scan(&self) -> io::Result<Vec<Found>> {
        let mut found: Vec<(SystemTime, Found)> = Vec::new();
        for (folder, whole) in [(&self.0.partial, false), (&self.0.blobs, true)] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let digest = name.to_str().and_then(Digest::parse);
                let Some(digest) = digest.filter(|digest| *digest.file() == *name) else {
                    continue;
                };
                let about = entry.metadata()?;
                let at = about.modified().unwrap_or(UNIX_EPOCH);
                let bytes = about.len();
                let file = Found {
                    digest,
                    bytes,
                    whole,
                };
                found.push((at, file));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, file)| file).collect())
    }

    pub(super) fn whole(&self, digest: &Digest) -> PathBuf {
        self.0.blobs.join(digest.file())
    }

    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.0.partial.join(digest.file())
    }

    /// A whole file to be read, if it is there in all its length. It has been asked for now.
    pub(super) fn read(&self, digest: &Digest, size: u64) -> io::Result<File> {
        let file = File::open(self.whole(digest))?;
        if file.metadata()?.len() != size {
            return Err(io::Error::other("a file of the cache has another length"));
        }
        // Only the order after a restart depends on it.
        let now = UNIX_EPOCH + clock::since_epoch();
        let _ = file.set_times(FileTimes::new().set_modified(now));
        Ok(file)
    }

    /// What has come is whole, and its digest is right.
    pub(super) fn complete(&self, digest: &Digest) -> io::Result<()> {
        fs::rename(self.partial(digest), self.whole(digest))?;
        File::open(&self.0.blobs)?.sync_all()
    }

    /// Takes a blob out of the cache; says what is to be deleted.
    pub(super) fn remove(&self, digest: &Digest, whole: bool) -> Option<PathBuf> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let to = self.0.removed.join(number.to_string());
        let from = match whole {
            true => self.whole(digest),
            false => self.partial(digest),
        };
        match fs::rename(&from, &to) {
            Ok(()) => Some(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, file = %from.display(), "cannot be removed from the cache");
                None
            }
        }
    }
}

/// Deletes files that have left the cache.
pub(super) fn delete(files: &[PathBuf]) {
    for file in files {
        if let Err(error) = fs::remove_file(file) {
            tracing::warn!(%error, file = %file.display(), "cannot be deleted");
        }
    }
}
