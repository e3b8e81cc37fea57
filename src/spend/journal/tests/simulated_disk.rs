//! A disk that is full, fails, and forgets what was not synced, all on command.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use dashmap::DashMap;

use crate::spend::journal::disk::{Disk, Reading, Segment, SegmentName};

#[derive(Clone, Default)]
pub(super) struct SimulatedDisk {
    files: Arc<DashMap<SegmentName, Content>>,
    set_aside: Arc<DashMap<SegmentName, Content>>,
    faults: Arc<Faults>,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

struct Faults {
    room: AtomicUsize,
    truncate: AtomicBool,
    sync: AtomicBool,
    read: AtomicBool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room: AtomicUsize::new(usize::MAX),
            truncate: AtomicBool::new(false),
            sync: AtomicBool::new(false),
            read: AtomicBool::new(false),
        }
    }
}

impl SimulatedDisk {
    /// So many bytes can still be written.
    pub(super) fn leave_room(&self, bytes: usize) {
        self.faults.room.store(bytes, Relaxed);
    }

    pub(super) fn fail_truncate(&self, fails: bool) {
        self.faults.truncate.store(fails, Relaxed);
    }

    pub(super) fn fail_sync(&self, fails: bool) {
        self.faults.sync.store(fails, Relaxed);
    }

    pub(super) fn fail_read(&self, fails: bool) {
        self.faults.read.store(fails, Relaxed);
    }

    pub(super) fn bytes(&self, name: SegmentName) -> Vec<u8> {
        self.files.get(&name).unwrap().bytes.clone()
    }

    pub(super) fn clear_faults(&self) {
        self.fail_read(false);
        self.leave_room(usize::MAX);
        self.fail_truncate(false);
        self.fail_sync(false);
    }

    /// Of what was not synced, so many 256ths of each file survive.
    pub(super) fn lose_power(&self, keep: u8) {
        for mut file in self.files.iter_mut() {
            let unsynced = file.bytes.len() - file.synced;
            let left = file.synced + unsynced * usize::from(keep) / 256;
            file.bytes.truncate(left);
            file.synced = left;
        }
    }

    /// Changes a file's bytes without the journal.
    pub(super) fn damage(&self, name: SegmentName, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.files.get_mut(&name).unwrap().bytes);
    }

    pub(super) fn names(&self) -> Vec<SegmentName> {
        let mut names: Vec<_> = self.files.iter().map(|file| *file.key()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn names_aside(&self) -> Vec<SegmentName> {
        self.set_aside.iter().map(|file| *file.key()).collect()
    }
}

impl Disk for SimulatedDisk {
    fn segments(&self) -> io::Result<Vec<SegmentName>> {
        Ok(self.names())
    }

    fn open(&self, name: SegmentName) -> io::Result<Reading> {
        if self.faults.read.load(Relaxed) {
            return Err(io::Error::other("read failed"));
        }
        Ok(Box::new(io::Cursor::new(self.bytes(name))))
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn Segment>> {
        assert!(self.files.insert(name, Content::default()).is_none());
        let disk = self.clone();
        Ok(Arc::new(SimulatedSegment { disk, name }))
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        self.files.remove(&name);
        Ok(())
    }

    fn set_aside(&self, name: SegmentName) -> io::Result<()> {
        let (name, content) = self.files.remove(&name).unwrap();
        self.set_aside.insert(name, content);
        Ok(())
    }
}

struct SimulatedSegment {
    disk: SimulatedDisk,
    name: SegmentName,
}

impl Segment for SimulatedSegment {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let room = self.disk.faults.room.load(Relaxed);
        let fits = bytes.len().min(room);
        if room != usize::MAX {
            self.disk.leave_room(room - fits);
        }
        let mut file = self.disk.files.get_mut(&self.name).unwrap();
        file.bytes.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if self.disk.faults.truncate.load(Relaxed) {
            return Err(io::Error::other("truncate failed"));
        }
        let mut file = self.disk.files.get_mut(&self.name).unwrap();
        file.bytes.truncate(usize::try_from(length).unwrap());
        file.synced = file.synced.min(file.bytes.len());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.faults.sync.load(Relaxed) {
            return Err(io::Error::other("sync failed"));
        }
        // Removed meanwhile: there is nothing left to lose.
        if let Some(mut file) = self.disk.files.get_mut(&self.name) {
            file.synced = file.bytes.len();
        }
        Ok(())
    }
}
