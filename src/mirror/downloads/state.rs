//! What is in the cache, who wants what, and what goes to make room, pure.
//!
//! A blob is wanted by those who read it and by the pulls that pin it. A download that has begun goes on while
//! anybody wants it, and what has come of it stays when nobody does. The bytes of all files, those that are still
//! coming counted in full, are never more than the limit: what was asked for longest ago and is not wanted
//! makes room, and if that is not enough, nothing begins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::known::{Known, Source};
use crate::mirror::digest::Digest;
use crate::mirror::error::Error;
use crate::mirror::folder::Found;
use crate::mirror::manifest::Manifest;
use crate::mirror::repository::{Reference, Repository};

/// So many blobs are fetched at once.
const MOST_RUNNING: usize = 64;
/// So many are read at once, each part of one that a server fetches counted.
const MOST_READERS: usize = 2048;

/// All blobs; `J` is what is kept of a download that runs.
#[derive(Debug)]
pub(super) struct State<J> {
    limit: u64,
    blobs: HashMap<Digest, Blob<J>>,
    known: Known,
    pins: BTreeMap<u64, Pin>,
    readers: usize,
    /// Counts up with each use, so that it can be told what was used last.
    uses: u64,
}

#[derive(Debug)]
struct Blob<J> {
    /// When it was used last.
    used: u64,
    readers: usize,
    file: File<J>,
}

#[derive(Debug)]
enum File<J> {
    /// This process has written or read all of it, and its digest is right.
    Whole(u64),
    /// `checked`: this process has written it. What an earlier one has left is shown to nobody.
    Partial {
        bytes: u64,
        checked: bool,
    },
    Running {
        job: J,
        size: u64,
        stopping: bool,
    },
}

/// A pull that runs.
#[derive(Debug)]
struct Pin {
    reference: Reference,
    manifest: Arc<Manifest>,
    digests: HashSet<Digest>,
}

/// What somebody gets who wants to read a blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access<J> {
    /// It is there, in so many bytes.
    Whole(u64),
    /// It is being fetched.
    Running(J, u64),
    /// It has to be fetched.
    Fetch(Begin),
    /// Its download is about to end: ask again when it has.
    Later,
}

/// A download that is to begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) size: u64,
    /// So much of it is there as it was written by this process.
    pub(super) good: u64,
    /// What goes before: each with whether it is whole.
    pub(super) evicted: Vec<(Digest, bool)>,
    /// Bytes of that.
    pub(super) freed: u64,
}

impl<J: Clone> State<J> {
    /// With what is on the disk, what was used longest ago first.
    pub(super) fn new(limit: u64, found: Vec<Found>) -> Self {
        let mut state = Self {
            limit,
            blobs: HashMap::new(),
            known: Known::default(),
            pins: BTreeMap::new(),
            readers: 0,
            uses: 0,
        };
        for Found { digest, bytes } in found {
            let checked = false;
            let file = File::Partial { bytes, checked };
            let used = state.next_use();
            let blob = Blob {
                used,
                readers: 0,
                file,
            };
            state.blobs.insert(digest, blob);
        }
        state
    }

    /// What makes room at the start, when the limit is less than it was.
    pub(super) fn surplus(&mut self) -> Vec<(Digest, bool)> {
        let (evicted, _) = self.evict(self.bytes().saturating_sub(self.limit), None);
        evicted
    }

    /// Bytes of all files, those that are coming in full.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.values().map(Blob::bytes).sum()
    }

    /// A manifest that the registry gave: its blobs can be asked for.
    pub(super) fn learn(&mut self, repository: &Repository, manifest: &Manifest) {
        let Self { known, pins, .. } = self;
        let pinned = |source: &Source| pins.values().any(|pin| pin.has(source));
        known.learn(repository, manifest, pinned);
    }

    /// The manifest under which a pull that runs has this model.
    pub(super) fn pinned(&self, reference: &Reference) -> Option<&Arc<Manifest>> {
        let mut pins = self.pins.values();
        let pin = pins.find(|pin| pin.reference == *reference)?;
        Some(&pin.manifest)
    }

    /// A pull wants the blobs of a model, those of them that servers ask for.
    pub(super) fn pin(
        &mut self,
        id: u64,
        reference: Reference,
        manifest: Arc<Manifest>,
    ) -> Result<(), Error> {
        let needs = manifest.size();
        if needs > self.limit {
            let limit = self.limit;
            return Err(Error::TooLarge { needs, limit });
        }
        self.learn(&reference.repository, &manifest);
        let pin = Pin {
            digests: manifest.blobs.iter().map(|it| it.digest.clone()).collect(),
            reference,
            manifest,
        };
        self.pins.insert(id, pin);
        Ok(())
    }

    /// A pull is over: the downloads that nobody wants any more.
    pub(super) fn released(&mut self, id: u64) -> Vec<J> {
        let Some(pin) = self.pins.remove(&id) else {
            return Vec::new();
        };
        let digests = pin.manifest.blobs.iter().map(|blob| &blob.digest);
        digests.filter_map(|digest| self.stop(digest)).collect()
    }

    /// The pulls that want it from there.
    pub(super) fn pinned_by(&self, source: &Source) -> Vec<u64> {
        let pinned_by = self.pins.iter().filter(|(_, pin)| pin.has(source));
        pinned_by.map(|(id, _)| *id).collect()
    }

    /// How long a blob is.
    pub(super) fn size(&self, source: &Source) -> Result<u64, Error> {
        let file = self.blobs.get(&source.digest).map(|blob| &blob.file);
        match (file, self.known.size(source)) {
            (Some(File::Whole(size)), _) => Ok(*size),
            (_, Some(size)) => Ok(size),
            (Some(File::Running { size, .. }), None) => Ok(*size),
            _ => Err(Error::Unknown(source.digest.clone())),
        }
    }

    /// Somebody wants to read it, and is a reader unless this is an error or [`Access::Later`].
    pub(super) fn read(&mut self, source: &Source) -> Result<Access<J>, Error> {
        if self.readers >= MOST_READERS {
            return Err(Error::Busy("parts of blobs are read"));
        }
        let (used, digest) = (self.next_use(), &source.digest);
        let access = match self.blobs.get(digest).map(|blob| &blob.file) {
            Some(File::Whole(size)) => Access::Whole(*size),
            Some(File::Running { stopping: true, .. }) => return Ok(Access::Later),
            Some(File::Running { job, size, .. }) => Access::Running(job.clone(), *size),
            Some(File::Partial { bytes, checked }) => {
                let (bytes, good) = (*bytes, if *checked { *bytes } else { 0 });
                Access::Fetch(self.plan(source, bytes, good)?)
            }
            None => Access::Fetch(self.plan(source, 0, 0)?),
        };
        self.readers += 1;
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.readers += 1;
            blob.used = used;
        }
        Ok(access)
    }

    /// The download that [`read`](Self::read) has asked for has begun.
    pub(super) fn begun(&mut self, digest: Digest, size: u64, job: J) {
        let used = self.next_use();
        let file = File::Running {
            job,
            size,
            stopping: false,
        };
        let readers = self.blobs.get(&digest).map_or(1, |blob| blob.readers);
        let blob = Blob {
            used,
            readers,
            file,
        };
        self.blobs.insert(digest, blob);
    }

    /// A reader has left: the download that nobody wants any more.
    pub(super) fn left(&mut self, digest: &Digest) -> Option<J> {
        let used = self.next_use();
        self.readers = self.readers.saturating_sub(1);
        let blob = self.blobs.get_mut(digest)?;
        blob.readers = blob.readers.saturating_sub(1);
        blob.used = used;
        self.stop(digest)
    }

    /// A download has ended: the blob is whole, or so much is there of it. `checked`: and none of that is in doubt.
    pub(super) fn ended(&mut self, digest: &Digest, whole: bool, bytes: u64, checked: bool) {
        let Some(blob) = self.blobs.get_mut(digest) else {
            return;
        };
        blob.file = match whole {
            true => File::Whole(bytes),
            false => File::Partial { bytes, checked },
        };
        if !whole && bytes == 0 && blob.readers == 0 {
            self.blobs.remove(digest);
        }
    }

    /// Its file is not there, or not as long as it was: it has to be fetched anew. Says whether what is there of it is
    /// to be removed.
    pub(super) fn lost(&mut self, digest: &Digest) -> bool {
        let blob = self.blobs.get_mut(digest);
        let Some(blob) = blob.filter(|blob| matches!(blob.file, File::Whole(_))) else {
            return false;
        };
        blob.file = File::Partial {
            bytes: 0,
            checked: true,
        };
        true
    }

    /// The job of a blob that nobody wants, which is told to stop.
    fn stop(&mut self, digest: &Digest) -> Option<J> {
        if self.pins.values().any(|pin| pin.wants(digest)) {
            return None;
        }
        let blob = self.blobs.get_mut(digest)?;
        if blob.readers > 0 {
            return None;
        }
        match &mut blob.file {
            File::Running { job, stopping, .. } if !*stopping => {
                *stopping = true;
                Some(job.clone())
            }
            File::Partial { bytes: 0, .. } => {
                self.blobs.remove(digest);
                None
            }
            _ => None,
        }
    }

    /// How a blob is fetched of which so many bytes are there.
    fn plan(&mut self, source: &Source, have: u64, good: u64) -> Result<Begin, Error> {
        let digest = &source.digest;
        let size = self.known.size(source);
        let size = size.ok_or_else(|| Error::Unknown(digest.clone()))?;
        let running = |blob: &&Blob<J>| matches!(blob.file, File::Running { .. });
        if self.blobs.values().filter(running).count() >= MOST_RUNNING {
            return Err(Error::Busy("blobs are fetched"));
        }
        let needs = self.bytes().saturating_sub(have).saturating_add(size);
        let over = needs.saturating_sub(self.limit);
        if self.idle(Some(digest)).map(|(_, bytes)| bytes).sum::<u64>() < over {
            return Err(Error::NoRoom { needs: over });
        }
        let (evicted, freed) = self.evict(over, Some(digest));
        Ok(Begin {
            size,
            good,
            evicted,
            freed,
        })
    }

    /// Takes out what is not wanted until so many bytes are free.
    fn evict(&mut self, over: u64, but: Option<&Digest>) -> (Vec<(Digest, bool)>, u64) {
        let mut idle: Vec<(Digest, u64)> = self
            .idle(but)
            .map(|(digest, bytes)| (digest.clone(), bytes))
            .collect();
        idle.sort_by_key(|(digest, _)| self.blobs.get(digest).map(|blob| blob.used));
        let (mut evicted, mut freed) = (Vec::new(), 0);
        for (digest, bytes) in idle {
            if freed >= over {
                break;
            }
            freed += bytes;
            if let Some(blob) = self.blobs.remove(&digest) {
                evicted.push((digest, matches!(blob.file, File::Whole(_))));
            }
        }
        (evicted, freed)
    }

    /// What nobody wants, but for this one, with its bytes.
    fn idle(&self, but: Option<&Digest>) -> impl Iterator<Item = (&Digest, u64)> {
        let is_idle = move |(digest, blob): &(&Digest, &Blob<J>)| {
            blob.readers == 0
                && !matches!(blob.file, File::Running { .. })
                && Some(*digest) != but
                && !self.pins.values().any(|pin| pin.wants(digest))
        };
        let idle = self.blobs.iter().filter(is_idle);
        idle.map(|(digest, blob)| (digest, blob.bytes()))
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl<J> Blob<J> {
    fn bytes(&self) -> u64 {
        match &self.file {
            File::Whole(bytes) | File::Partial { bytes, .. } => *bytes,
            File::Running { size, .. } => *size,
        }
    }
}

impl Pin {
    fn wants(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    fn has(&self, source: &Source) -> bool {
        self.reference.repository == source.repository && self.wants(&source.digest)
    }
}
