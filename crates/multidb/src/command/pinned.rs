//! A connection of one's own to one database, for what a shared one cannot execute.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Executor, Job, Many, Single};
use crate::database::Database;
use crate::error::Error;
use crate::failover::Message;
use crate::member::Wire;
use crate::outcome::{Effect, Outcome};
use crate::repeat;
use crate::views::{Path, Route};

/// A connection that stays with one database, for `WATCH`, blocking commands and whatever else
/// belongs to one connection.
///
/// When its database is left, it stays; when it breaks, it stays broken. Nothing is repeated. A
/// blocking command may take as long as it says and `response_timeout` more.
///
/// Cloning shares the connection, as `redis::aio::transaction_async` wants it; only one task may use
/// it while keys are watched.
#[derive(Clone, Debug)]
pub struct Pinned {
    executor: Arc<Executor>,
    route: Arc<Route>,
    wire: Wire,
    over: CancellationToken,
    database: Database,
    db: i64,
    _end: Arc<DropGuard>,
}

impl Pinned {
    pub(crate) async fn connect(
        executor: Arc<Executor>,
        tasks: &TaskTracker,
        ended: &CancellationToken,
    ) -> Result<Self, Error> {
        let route = executor.active().await?;
        let Route::Open(path) = &*route else {
            return Err(Error::Closed);
        };
        let database = path.member.database().clone();
        let dialer = path.member.dialer();
        let db = dialer.db();
        let dialed = match dialer.connect(None).await {
            Ok(dialed) => dialed,
            Err(source) => return Err(Error::Connect { database, source }),
        };
        let (end, over) = (ended.child_token(), CancellationToken::new());
        let (stop, gone) = (end.clone(), over.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(dialed.driver).await;
            gone.cancel();
        });
        Ok(Self {
            executor,
            route,
            wire: dialed.wire,
            over,
            database,
            db,
            _end: Arc::new(end.drop_guard()),
        })
    }

    /// Where it stays.
    pub fn database(&self) -> &Database {
        &self.database
    }

    async fn execute<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        if self.over.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let held: Option<Duration> = job.commands().map(repeat::blocks_for).sum();
        let work = job.send(self.wire.clone());
        let answer = match held {
            None => work.await,
            Some(held) => timeout(held + self.executor.response_timeout, work)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())),
        };
        if J::is_plain_success(&answer) {
            return answer;
        }
        let (outcome, effect) = job.classify(&answer);
        let (Outcome::Failure(kind), Route::Open(path)) = (outcome, &*self.route) else {
            return answer;
        };
        self.report(job, path, kind, &answer);
        match (answer, effect) {
            (Err(source), Effect::Unknown) => Err(Error::OutcomeUnknown {
                database: self.database.clone(),
                source,
            }
            .into()),
            (answer, _) => answer,
        }
    }

    /// There is no other route, so the decision is not waited for.
    fn report<J: Job>(
        &self,
        job: J,
        path: &Path,
        kind: crate::outcome::FailureKind,
        answer: &RedisResult<J::Answer>,
    ) {
        path.member.stats().failed(kind);
        let (reply, _) = oneshot::channel();
        drop(self.executor.mailbox.try_send(Message::Failed {
            id: path.member.id(),
            episode: path.episode,
            link: path.link.id(),
            kind,
            commands: job.names().into(),
            error: J::error_text(answer).into(),
            reply,
        }));
    }
}

impl ConnectionLike for Pinned {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let idempotent = false;
        Box::pin(self.execute(Single { cmd, idempotent }))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.execute(Many {
            pipeline,
            offset,
            count,
            idempotent: false,
        }))
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}
