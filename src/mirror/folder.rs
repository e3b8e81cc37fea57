//! The cache on the disk.
//!
//! ```text
//! blobs/sha256-HEX      whole, its digest checked by this process; its time of change is when it was last asked for
//! partial/sha256-HEX    what has come of one so far, every byte from its beginning on; or what an earlier process has
//!                       left, which is read and checked before its first use
//! removed/N             on its way out
//! ```
//!
//! A file that leaves the cache is renamed first, which takes no time, and deleted by whoever needs the room: so a
//! blob that is fetched again at once cannot meet its own deletion.

use std::fs::{self, DirEntry, File, FileTimes};
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
    /// The folder of whole blobs, open, so that a blob can be completed when no more files can be opened.
    synced: File,
    /// Names of removed files are used once.
    next: AtomicU64,
}

/// A file that was there at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

impl Folder {
    /// Makes the folder, and deletes what was on its way out when the router ended.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let [blobs, partial, removed] = ["blobs", "partial", "removed"].map(|name| path.join(name));
        if removed.exists() {
            fs::remove_dir_all(&removed)?;
        }
        for folder in [&blobs, &partial, &removed] {
            fs::create_dir_all(folder)?;
        }
        Ok(Self(Arc::new(Inner {
            synced: File::open(&blobs)?,
            blobs,
            partial,
            removed,
            next: AtomicU64::new(0),
        })))
    }

    /// What is there, what was asked for longest ago first. All of it has yet to be checked, so none of it is among the
    /// whole blobs any more. A file with another name is not ours and is left alone.
    pub(super) fn scan(&self) -> io::Result<Vec<Found>> {
        for entry in fs::read_dir(&self.0.blobs)? {
            if let Some(digest) = named(&entry?) {
                fs::rename(self.whole(&digest), self.partial(&digest))?;
            }
        }
        let mut found: Vec<(SystemTime, Found)> = Vec::new();
        for entry in fs::read_dir(&self.0.partial)? {
            let entry = entry?;
            let Some(digest) = named(&entry) else {
                continue;
            };
            let about = entry.metadata()?;
            let at = about.modified().unwrap_or(UNIX_EPOCH);
            let bytes = about.len();
            found.push((at, Found { digest, bytes }));
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

    /// A whole file to be read, if it is there in all its length. It has been asked for now. An error says nothing about
    /// what is there.
    pub(super) fn read(&self, digest: &Digest, size: u64) -> io::Result<Option<File>> {
        let file = match File::open(self.whole(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if file.metadata()?.len() != size {
            return Ok(None);
        }
        // Only the order after a restart depends on it.
        let now = UNIX_EPOCH + clock::since_epoch();
        let _ = file.set_times(FileTimes::new().set_modified(now));
        Ok(Some(file))
    }

    /// What has come is whole, and its digest is right.
    pub(super) fn complete(&self, digest: &Digest) -> io::Result<()> {
        fs::rename(self.partial(digest), self.whole(digest))?;
        // Its bytes are on the disk. If its name is not after a crash, it is fetched again.
        if let Err(error) = self.0.synced.sync_all() {
            tracing::warn!(%error, "the folder of the mirror's cache cannot be synced");
        }
        Ok(())
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

/// Whose file it is.
fn named(entry: &DirEntry) -> Option<Digest> {
    let name = entry.file_name();
    let digest = name.to_str().and_then(Digest::parse);
    digest.filter(|digest| *digest.file() == *name)
}

/// Deletes files that have left the cache.
pub(super) fn delete(files: &[PathBuf]) {
    for file in files {
        if let Err(error) = fs::remove_file(file) {
            tracing::warn!(%error, file = %file.display(), "cannot be deleted");
        }
    }
}
