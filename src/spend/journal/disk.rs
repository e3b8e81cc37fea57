//! The files of the journal, and the little we ask of a disk.
//!
//! A trait, because what the journal promises is about disks that are full, that fail, and that
//! lose what was not synced when the power goes: tests need one that does so on command.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

/// Where segments are kept.
pub(super) trait Disk: Send {
    fn segments(&self) -> io::Result<Vec<SegmentName>>;
    /// To be read, also by another thread, and while more is being written to it.
    fn open(&self, name: SegmentName) -> io::Result<Reading>;
    /// Makes a segment that does not exist yet.
    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn Segment>>;
    fn remove(&self, name: SegmentName) -> io::Result<()>;
    /// Keeps a damaged segment for an operator, where [`Disk::segments`] no longer finds it.
    fn set_aside(&self, name: SegmentName) -> io::Result<()>;
}

/// The bytes of a segment, from the first on. It does not lock the folder.
pub(super) type Reading = Box<dyn Read + Send>;

/// One file being written. Written by one thread, synced by another.
pub(super) trait Segment: Send + Sync {
    /// Writes at the end. After an error some of it may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Returns when all that was appended, and the file's name, would survive a loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// `PRODUCER-NUMBER.journal`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) producer: Uuid,
    pub(super) number: u32,
}

impl SegmentName {
    fn parse(text: &str) -> Option<Self> {
        let (producer, number) = text.strip_suffix(".journal")?.rsplit_once('-')?;
        Some(Self {
            producer: producer.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}.journal", self.producer, self.number)
    }
}

/// A folder that only we use: locked as long as this exists.
///
/// Without the lock a second process would take the open batch of the first for one left behind by
/// a crash, and apply a part of it under its id; the rest would then never be added.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// `Ok(None)` when another process has it.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self {
                path: path.to_owned(),
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn file(&self, name: SegmentName) -> PathBuf {
        self.path.join(name.to_string())
    }
}

impl Disk for Folder {
    fn segments(&self) -> io::Result<Vec<SegmentName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: SegmentName) -> io::Result<Reading> {
        Ok(Box::new(File::open(self.file(name))?))
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn Segment>> {
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(self.file(name))?;
        Ok(Arc::new(OsSegment {
            file,
            folder: self.path.clone(),
            named: AtomicBool::new(false),
        }))
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }

    fn set_aside(&self, name: SegmentName) -> io::Result<()> {
        let from = self.file(name);
        fs::rename(&from, from.with_extension("journal.corrupt"))
    }
}

struct OsSegment {
    file: File,
    folder: PathBuf,
    /// Whether the folder was synced since the file was made.
    named: AtomicBool,
}

impl Segment for OsSegment {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named.load(Ordering::Relaxed) {
            File::open(&self.folder)?.sync_all()?;
            self.named.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
