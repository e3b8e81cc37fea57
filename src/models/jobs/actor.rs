//! The actor: begins calls as tasks of its own, and ends them as the state decides.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::{Asked, Listed, Message};
use super::state::State;
use super::{Joined, NotStarted};
use crate::clock;
use crate::models::merge::Merge;
use crate::models::run::{Means, run};
use crate::models::start::names;
use crate::protocol::ManageApi;
use crate::supervision::{Actor, Context, Mailbox};

#[derive(Clone)]
pub(super) struct Setup {
    pub(super) means: Means,
    /// Tracks the calls that are not over.
    pub(super) open: TaskTracker,
    pub(super) mailbox: Mailbox<Message>,
    /// Numbers of calls are used once, whichever incarnation gives them.
    pub(super) ids: Arc<AtomicU64>,
}

pub(super) struct Jobs {
    setup: Setup,
    state: State<Job>,
}

/// What is kept of a call, also when it has ended: not what it was asked for.
struct Job {
    api: ManageApi,
    model: Arc<str>,
    servers: Vec<Arc<str>>,
    progress: watch::Receiver<Merge>,
    stop: CancellationToken,
    since: i64,
}

impl Actor for Jobs {
    type Message = Message;
    type Timer = Infallible;
    type Setup = Setup;

    fn start(setup: Setup, _: &mut Context<Self>) -> Self {
        Self {
            setup,
            state: State::default(),
        }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Join { asked, reply } => {
                let joined = self.join(*asked, context);
                // A reader that cannot be delivered leaves.
                drop(reply.send(joined));
            }
            Message::Left(id) => {
                if let Some(job) = self.state.left(id) {
                    job.stop.cancel();
                }
            }
            Message::Ended(id) => {
                let job = self.state.running(id);
                let is_pull = job.is_some_and(|job| job.api == ManageApi::Pull);
                self.state.ended(id, is_pull);
            }
            Message::List(reply) => drop(reply.send(self.list())),
            Message::Cancel { id, reply } => {
                let cancelled = self.state.cancel(id);
                if let Some(Some(job)) = cancelled {
                    job.stop.cancel();
                }
                let _ = reply.send(cancelled.is_some());
            }
        }
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}

impl Jobs {
    fn join(&mut self, asked: Asked, context: &Context<Self>) -> Result<Joined, NotStarted> {
        let Asked {
            key,
            kept,
            wanted,
            work,
        } = asked;
        let covers = |job: &Job| wanted.is_covered_by(&job.servers);
        if let Some((id, job)) = self.state.join(key.as_ref(), kept, covers) {
            let progress = job.progress.clone();
            return Ok(self.reader(id, progress));
        }
        if self.state.is_full() {
            return Err(NotStarted::Full);
        }
        let id = self.setup.ids.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, progress) = watch::channel(work.progress());
        let stop = CancellationToken::new();
        let job = Job {
            api: work.outgoing.api,
            model: work.model.as_str().into(),
            servers: names(&work.endpoints),
            progress: progress.clone(),
            stop: stop.clone(),
            since: clock::unix_seconds(),
        };
        self.state.begin(id, key, kept, job);
        let (means, open) = (self.setup.means.clone(), self.setup.open.clone());
        context.spawn(open.track_future(async move {
            // On the heap: it holds a future for each server.
            Box::pin(run(&work, &means, &stop, &sender)).await;
            Message::Ended(id)
        }));
        Ok(self.reader(id, progress))
    }

    fn reader(&self, id: u64, progress: watch::Receiver<Merge>) -> Joined {
        Joined {
            id,
            progress,
            mailbox: self.setup.mailbox.clone(),
        }
    }

    fn list(&self) -> Vec<Listed> {
        let pulls = self.state.all();
        let pulls = pulls.filter(|(_, one)| one.job.api == ManageApi::Pull);
        let listed = pulls.map(|(id, one)| Listed {
            id,
            model: Arc::clone(&one.job.model),
            kept: one.kept,
            readers: one.readers,
            since: one.job.since,
            progress: one.job.progress.clone(),
        });
        listed.collect()
    }
}
