//! A file that grows at its end, and the digest of what is in it.
//!
//! Bytes are written where they belong, so a write that comes late, of a task that was dropped, writes what is there
//! already. What is written is hashed by the same thread that writes it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::digest::Digest;
use crate::system::files::{read_exact_at, write_all_at};

/// So much of a file that is there is read at once.
const STEP: u64 = 8 << 20;
/// In pieces of this size.
const BUFFER: usize = 256 << 10;

pub(super) struct Growing {
    path: PathBuf,
    file: Arc<File>,
    len: u64,
    hash: Sha256,
    hashed: u64,
    /// What is in it may be read.
    shown: bool,
    /// Not written yet.
    waiting: Vec<u8>,
}

impl Growing {
    /// Opens it, with what is in it already; what is more than it may become is not what it is to become.
    pub(super) async fn open(path: PathBuf, longest: u64) -> io::Result<Self> {
        blocking(move || {
            let mut options = OpenOptions::new();
            let options = options.create(true).read(true).write(true).truncate(false);
            let file = options.open(&path)?;
            let mut len = file.metadata()?.len();
            if len > longest {
                file.set_len(0)?;
                len = 0;
            }
            Ok(Self {
                path,
                file: Arc::new(file),
                len,
                hash: Sha256::new(),
                hashed: 0,
                shown: false,
                waiting: Vec::new(),
            })
        })
        .await
    }

    /// Bytes that are in the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Whether what is in it may be read.
    pub(super) fn set_shown(&mut self, shown: bool) {
        self.shown = shown;
    }

    /// Bytes in the file, and those that wait to be written.
    pub(super) fn pushed(&self) -> u64 {
        self.len + self.waiting.len() as u64
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// For whoever reads it.
    pub(super) fn shared(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The digest knows all that is in it.
    pub(super) fn is_hashed(&self) -> bool {
        self.hashed == self.len
    }

    /// Reads a part of what was there when it was opened.
    pub(super) async fn hash_more(&mut self) -> io::Result<()> {
        let (from, to) = (self.hashed, self.len.min(self.hashed + STEP));
        let file = Arc::clone(&self.file);
        let mut hash = std::mem::take(&mut self.hash);
        self.hash = blocking(move || {
            let mut buffer = vec![0; BUFFER];
            let mut at = from;
            while at < to {
                let rest = usize::try_from(to - at).unwrap_or(BUFFER).min(BUFFER);
                read_exact_at(&file, &mut buffer[..rest], at)?;
                hash.update(&buffer[..rest]);
                at += rest as u64;
            }
            Ok(hash)
        })
        .await?;
        self.hashed = to;
        Ok(())
    }

    /// Adds to its end, with the next [`flush`](Self::flush).
    pub(super) fn push(&mut self, data: &[u8]) {
        self.waiting.extend_from_slice(data);
    }

    /// Writes what waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (file, at) = (Arc::clone(&self.file), self.len);
        let mut data = std::mem::take(&mut self.waiting);
        let mut hash = std::mem::take(&mut self.hash);
        let len = data.len() as u64;
        (self.hash, self.waiting) = blocking(move || {
            write_all_at(&file, &data, at)?;
            hash.update(&data);
            data.clear();
            Ok((hash, data))
        })
        .await?;
        self.len += len;
        self.hashed = self.len;
        Ok(())
    }

    /// The digest of all that is in it.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.hash.clone())
    }

    /// It is on the disk, whatever happens to the machine.
    pub(super) async fn sync(&self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || file.sync_all()).await
    }

    /// Begins anew.
    pub(super) async fn empty(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || file.set_len(0)).await?;
        (self.len, self.hashed) = (0, 0);
        self.hash = Sha256::new();
        self.waiting.clear();
        Ok(())
    }

    /// Deletes it.
    pub(super) async fn discard(self) {
        let removed = blocking(move || fs::remove_file(&self.path)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a part of a blob cannot be deleted");
        }
    }
}

/// What takes the disk's time is done where nobody else waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
