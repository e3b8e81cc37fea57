//! Where blobs are in the registry and how long they are, as manifests say it. Pure.
//!
//! What a manifest says counts for its own repository: another model that names the same blob cannot change from
//! where, or in which length, the blobs of the first are fetched.

use std::collections::HashMap;

use crate::mirror::digest::Digest;
use crate::mirror::manifest::Manifest;
use crate::mirror::repository::Repository;

/// Of so many blobs it is remembered where they are in the registry; those of pulls that run come on top.
const MOST: usize = 64 << 10;

/// A blob, and the repository that it is asked for in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::mirror) struct Source {
    pub(in crate::mirror) repository: Repository,
    pub(in crate::mirror) digest: Digest,
}

/// What manifests have said.
#[derive(Debug, Default)]
pub(super) struct Known {
    blobs: HashMap<Source, Blob>,
    /// Counts up, so that it can be told what was said last.
    said: u64,
}

#[derive(Debug)]
struct Blob {
    size: u64,
    said: u64,
}

impl Known {
    /// The blobs of this manifest can be asked for. `pinned`: whether a pull that runs has this blob, which stays as
    /// that pull knows it.
    pub(super) fn learn(
        &mut self,
        repository: &Repository,
        manifest: &Manifest,
        pinned: impl Fn(&Source) -> bool,
    ) {
        for blob in &manifest.blobs {
            let source = Source {
                repository: repository.clone(),
                digest: blob.digest.clone(),
            };
            self.said += 1;
            let kept = self.blobs.get(&source).filter(|_| pinned(&source));
            let size = kept.map_or(blob.size, |kept| kept.size);
            let said = self.said;
            self.blobs.insert(source, Blob { size, said });
        }
        self.forget(pinned);
    }

    /// How long it is.
    pub(super) fn size(&self, source: &Source) -> Option<u64> {
        self.blobs.get(source).map(|blob| blob.size)
    }

    /// What was said longest ago, in one pass however much it is.
    fn forget(&mut self, pinned: impl Fn(&Source) -> bool) {
        let over = self.blobs.len().saturating_sub(MOST);
        if over == 0 {
            return;
        }
        let mut said: Vec<u64> = self.blobs.values().map(|blob| blob.said).collect();
        let (_, last, _) = said.select_nth_unstable(over - 1);
        let last = *last;
        self.blobs
            .retain(|source, blob| blob.said > last || pinned(source));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mirror::manifest::{Blob, MEDIA_TYPE};

    fn digest(number: usize) -> Digest {
        Digest::parse(&format!("sha256:{number:064x}")).unwrap()
    }

    fn manifest(blobs: impl Iterator<Item = usize>, size: u64) -> Manifest {
        let blob = |number| Blob {
            digest: digest(number),
            size,
        };
        Manifest {
            bytes: Bytes::new(),
            media_type: MEDIA_TYPE,
            blobs: blobs.map(blob).collect(),
        }
    }

    #[test]
    fn what_is_known_has_a_bound_and_what_was_said_last_or_is_pinned_stays() {
        let repository = Repository::at("library", "a").unwrap();
        let at = |number| Source {
            repository: repository.clone(),
            digest: digest(number),
        };
        let (mut known, first) = (Known::default(), at(0));
        let is_pinned = |source: &Source| *source == first;
        for from in (0..4 * MOST).step_by(1024) {
            known.learn(&repository, &manifest(from..from + 1024, 7), is_pinned);
        }
        assert_eq!(known.blobs.len(), MOST + 1);
        assert_eq!(known.size(&at(4 * MOST - 1)), Some(7));
        assert_eq!(known.size(&at(1)), None);
        known.learn(&repository, &manifest(0..2, 9), is_pinned);
        assert_eq!((known.size(&at(0)), known.size(&at(1))), (Some(7), Some(9)));
    }
}
