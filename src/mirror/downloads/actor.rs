//! The actor: begins downloads as tasks of its own, and ends them as the state decides.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::known::Source;
use super::message::{Message, Pinning, Reading, Wanted};
use super::state::{Access, Begin, State};
use crate::mirror::digest::Digest;
use crate::mirror::download::{Download, Ended, Means, run};
use crate::mirror::error::Error;
use crate::mirror::folder::{Folder, delete};
use crate::mirror::progress::Progress;
use crate::supervision::{Actor, Context};

/// So many wait for downloads that are about to end.
const MOST_LATER: usize = 1024;

/// What every incarnation begins with.
#[derive(Clone)]
pub(in crate::mirror) struct Setup {
    pub(in crate::mirror) limit: u64,
    pub(in crate::mirror) means: Means,
}

pub(super) struct Downloads {
    setup: Setup,
    state: State<Job>,
    /// Where pulls that run are told that they cannot succeed.
    pins: BTreeMap<u64, watch::Sender<Option<Error>>>,
    next_pin: u64,
    /// Those that want a blob whose download is about to end.
    later: Vec<Wanted>,
}

/// What is kept of a download.
#[derive(Clone, Debug)]
struct Job {
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
}

impl Actor for Downloads {
    type Message = Message;
    type Timer = Infallible;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        // A few hundred entries of a folder, and there is nothing to do before they are known.
        let found = setup.means.folder.scan().unwrap_or_else(|error| {
            tracing::error!(%error, "the mirror's cache cannot be read; it begins empty");
            Vec::new()
        });
        let mut state = State::new(setup.limit, found);
        take_out(&setup.means.folder, &state.surplus(), context);
        let downloads = Self {
            setup,
            state,
            pins: BTreeMap::new(),
            next_pin: 0,
            later: Vec::new(),
        };
        downloads.measure();
        downloads
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Learned {
                repository,
                manifest,
                done,
            } => {
                self.state.learn(&repository, &manifest);
                let _ = done.send(());
            }
            Message::Pinned { reference, reply } => {
                let _ = reply.send(self.state.pinned(&reference).cloned());
            }
            Message::Pin {
                reference,
                manifest,
                reply,
            } => {
                self.next_pin += 1;
                let pinned = self.state.pin(self.next_pin, reference, manifest);
                // One that cannot be delivered is released on the way.
                drop(reply.send(pinned.map(|()| self.pinning(context))));
            }
            Message::Released(id) => {
                self.pins.remove(&id);
                let unwanted = self.state.released(id);
                unwanted.iter().for_each(|job| job.stop.cancel());
            }
            Message::Size { source, reply } => drop(reply.send(self.state.size(&source))),
            Message::Read(wanted) => self.read(wanted, context),
            Message::Left(digest) => {
                if let Some(job) = self.state.left(&digest) {
                    job.stop.cancel();
                }
            }
            Message::Lost(digest) => {
                if self.state.lost(&digest) {
                    take_out(&self.setup.means.folder, &[(digest, true)], context);
                }
            }
            Message::Ended { source, ended } => self.ended(&source, ended, context),
            Message::Deleted => {}
        }
        self.measure();
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}

impl Downloads {
    fn pinning(&mut self, context: &Context<Self>) -> Pinning {
        let (sender, failed) = watch::channel(None);
        self.pins.insert(self.next_pin, sender);
        Pinning {
            id: self.next_pin,
            failed,
            actor: context.myself(),
        }
    }

    fn read(&mut self, wanted: Wanted, context: &Context<Self>) {
        let Wanted { source, reply } = wanted;
        let (progress, size) = match self.state.read(&source) {
            Ok(Access::Whole(size)) => (None, size),
            Ok(Access::Running(job, size)) => (Some(job.progress), size),
            Ok(Access::Fetch(begin)) => {
                let size = begin.size;
                (Some(self.begin(&source, begin, context)), size)
            }
            Ok(Access::Later) if self.later.len() < MOST_LATER => {
                return self.later.push(Wanted { source, reply });
            }
            Ok(Access::Later) => return drop(reply.send(Err(Error::Busy("blobs are waited for")))),
            Err(error) => {
                // The others are over in a moment, or no pull is concerned.
                if matches!(error, Error::NoRoom { .. }) {
                    self.tell_pulls(&source, &error);
                }
                return drop(reply.send(Err(error)));
            }
        };
        // A reader that cannot be delivered leaves on the way.
        drop(reply.send(Ok(Reading {
            digest: source.digest,
            size,
            progress,
            actor: context.myself(),
        })));
    }

    fn begin(
        &mut self,
        source: &Source,
        begin: Begin,
        context: &Context<Self>,
    ) -> watch::Receiver<Progress> {
        let (sender, progress) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let job = Job {
            progress: progress.clone(),
            stop: stop.clone(),
        };
        self.state.begun(source.digest.clone(), begin.size, job);
        let means = self.setup.means.clone();
        means.stats.evicted.inc_by(begin.freed);
        let removed = removed(&means.folder, &begin.evicted);
        let download = Download {
            digest: source.digest.clone(),
            repository: source.repository.clone(),
            size: begin.size,
            good: begin.good,
        };
        let source = source.clone();
        context.spawn(async move {
            // The room is there before it is used.
            deleted(removed).await;
            let ended = Box::pin(run(&download, &means, &sender, &stop)).await;
            Message::Ended { source, ended }
        });
        progress
    }

    fn ended(&mut self, source: &Source, ended: Ended, context: &Context<Self>) {
        let Ended {
            whole,
            bytes,
            shown,
            error,
        } = ended;
        let digest = &source.digest;
        self.state.ended(digest, whole, bytes, shown);
        if let Some(error) = error {
            tracing::warn!(%digest, %error, "a blob cannot be fetched");
            self.tell_pulls(source, &error);
        }
        let (now, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|wanted| wanted.source.digest == *digest);
        self.later = later;
        let now: Vec<Wanted> = now;
        for wanted in now.into_iter().filter(|one| !one.reply.is_closed()) {
            self.read(wanted, context);
        }
    }

    /// The pulls that want this blob cannot succeed. Those of models that have it in another repository may: their
    /// servers ask again, and it is fetched from there.
    fn tell_pulls(&self, source: &Source, error: &Error) {
        let pins = self.state.pinned_by(source);
        for pin in pins.iter().filter_map(|id| self.pins.get(id)) {
            pin.send_replace(Some(error.clone()));
        }
    }

    fn measure(&self) {
        self.setup
            .means
            .stats
            .cached
            .set(i64::try_from(self.state.bytes()).unwrap_or(i64::MAX));
    }
}

/// Takes them out of the cache now, and deletes them behind that.
fn take_out(folder: &Folder, files: &[(Digest, bool)], context: &Context<Downloads>) {
    let removed = removed(folder, files);
    context.spawn(async move {
        deleted(removed).await;
        Message::Deleted
    });
}

/// Renames them, which takes no time.
fn removed(folder: &Folder, evicted: &[(Digest, bool)]) -> Vec<PathBuf> {
    let removed = evicted
        .iter()
        .filter_map(|(digest, whole)| folder.remove(digest, *whole));
    removed.collect()
}

async fn deleted(files: Vec<PathBuf>) {
    if !files.is_empty() {
        // It says in the log what cannot be deleted.
        let _ = spawn_blocking(move || delete(&files)).await;
    }
}
