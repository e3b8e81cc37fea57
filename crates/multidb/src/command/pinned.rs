//! A connection of one's own to one database, for what a shared one cannot carry.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Carrier, Job, Many, Single};
use crate::database::Database;
use crate::error::Error;
use crate::failover::Message;
use crate::member::Wire;
use crate::outcome::{Effect, Outcome};
use crate::repeat;
use crate::views::{Route, Way};

/// A connection that stays with one database, for `WATCH`, blocking commands and whatever else
/// belongs to one connection.
///
/// When its database is left, it stays; when it breaks, it stays broken. Nothing is repeated. A
/// blocking command may take as long as it says and `response_timeout` more.
///
/// Cloning shares the connection, as `redis::aio::transaction_async` wants it; whoever watches keys
/// over it must be alone on it.
#[derive(Clone, Debug)]
pub struct Pinned {
    carrier: Arc<Carrier>,
    route: Arc<Route>,
    wire: Wire,
    over: CancellationToken,
    database: Database,
    db: i64,
    _end: Arc<DropGuard>,
}

impl Pinned {
    pub(crate) async fn connect(
        carrier: Arc<Carrier>,
        tasks: &TaskTracker,
        ended: &CancellationToken,
    ) -> Result<Self, Error> {
        let route = carrier.active().await?;
        let Route::Open(way) = &*route else {
            return Err(Error::Closed);
        };
        let database = way.member.database().clone();
        let dialer = way.member.dialer();
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
            carrier,
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

    async fn carry<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        if self.over.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let held: Option<Duration> = job.commands().map(repeat::blocks_for).sum();
        let work = job.send(self.wire.clone());
        let answer = match held {
            None => work.await,
            Some(held) => timeout(held + self.carrier.patience, work)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())),
        };
        if J::is_plain_success(&answer) {
            return answer;
        }
        let (outcome, effect) = job.judge(&answer);
        let (Outcome::Failure(kind), Route::Open(way)) = (outcome, &*self.route) else {
            return answer;
        };
        self.report(job, way, kind, &answer);
        match (answer, effect) {
            (Err(source), Effect::Unknown) => Err(Error::OutcomeUnknown {
                database: self.database.clone(),
                source,
            }
            .into()),
            (answer, _) => answer,
        }
    }

    /// There is no other way to wait for, so nobody waits.
    fn report<J: Job>(
        &self,
        job: J,
        way: &Way,
        kind: crate::outcome::FailureKind,
        answer: &RedisResult<J::Answer>,
    ) {
        way.member.stats().failed(kind);
        let (reply, _) = oneshot::channel();
        drop(self.carrier.mailbox.try_send(Message::Failed {
            id: way.member.id(),
            episode: way.episode,
            link: way.link.id(),
            kind,
            commands: job.names().into(),
            error: J::complaint(answer).into(),
            reply,
        }));
    }
}

impl ConnectionLike for Pinned {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let marked = false;
        Box::pin(self.carry(Single { cmd, marked }))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.carry(Many {
            pipeline,
            offset,
            count,
            marked: false,
        }))
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}
