//! The messages of the actor.

use std::sync::Arc;

use tokio::sync::watch;

use super::known::Source;
use crate::mirror::digest::Digest;
use crate::mirror::download::Ended;
use crate::mirror::error::Error;
use crate::mirror::manifest::Manifest;
use crate::mirror::progress::Progress;
use crate::mirror::repository::{Reference, Repository};
use crate::supervision::{Incarnation, Reply};

/// The mailbox.
#[derive(Debug)]
pub(in crate::mirror) enum Message {
    /// The registry has given this manifest.
    Learned {
        repository: Repository,
        manifest: Arc<Manifest>,
        /// When the blobs that it names can be asked for.
        done: Reply<()>,
    },
    /// The manifest that a pull which runs has of this model.
    Pinned {
        reference: Reference,
        reply: Reply<Option<Arc<Manifest>>>,
    },
    /// From a pull that begins.
    Pin {
        reference: Reference,
        manifest: Arc<Manifest>,
        reply: Reply<Result<Pinning, Error>>,
    },
    /// From a pull that is over.
    Released(u64),
    /// How long a blob is.
    Size {
        source: Source,
        reply: Reply<Result<u64, Error>>,
    },
    /// From somebody who wants to read a blob.
    Read(Wanted),
    /// From a reader that is dropped.
    Left(Digest),
    /// From a reader that has not found the file of a whole blob, or not as it was.
    Lost(Digest),
    /// From the task of a download.
    Ended { source: Source, ended: Ended },
    /// From a task that has deleted files.
    Deleted,
}

/// A blob that is to be read.
#[derive(Debug)]
pub(in crate::mirror) struct Wanted {
    pub(in crate::mirror) source: Source,
    pub(in crate::mirror) reply: Reply<Result<Reading, Error>>,
}

/// One reader's part in a blob. When this is dropped the reader has left.
#[derive(Debug)]
pub(in crate::mirror) struct Reading {
    pub(in crate::mirror) digest: Digest,
    pub(in crate::mirror) size: u64,
    /// How far it has come; without it, the file is whole.
    pub(in crate::mirror) progress: Option<watch::Receiver<Progress>>,
    pub(super) actor: Incarnation<Message>,
}

/// One pull's part in the blobs of its model. When this is dropped the pull is over.
#[derive(Debug)]
pub(in crate::mirror) struct Pinning {
    pub(super) id: u64,
    /// Why one of its blobs cannot be had, once that is so.
    pub(in crate::mirror) failed: watch::Receiver<Option<Error>>,
    pub(super) actor: Incarnation<Message>,
}

impl Reading {
    /// The file of a blob that is whole is not there, or not as it was.
    pub(in crate::mirror) fn lost(&self) {
        self.actor.cast(Message::Lost(self.digest.clone()));
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.actor.cast(Message::Left(self.digest.clone()));
    }
}

impl Drop for Pinning {
    fn drop(&mut self) {
        self.actor.cast(Message::Released(self.id));
    }
}
