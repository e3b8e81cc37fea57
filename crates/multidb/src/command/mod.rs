//! One command, or one pipeline, to its end: sent, judged, repeated if it may be.
//!
//! All is well nearly always, and then this is a pointer read, the driver's own future and one
//! counter: no allocation beyond the future itself, which every `ConnectionLike` returns in a box.
//! Whatever is not well goes on in [`trouble`], in a future of its own.
//!
//! A command whose caller goes away is no failure; what it had reserved is given back by being
//! dropped. Had it waited longer than an answer takes, its database is asked how it is ([`waiting`]):
//! callers with less patience than `response_timeout` must not hide a silent one.

mod job;
mod pinned;
mod trouble;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult};

use super::config::CommandRetry;
use super::error::Error;
use super::failover::Mailbox;
use super::repeat::{self, Verb};
use super::views::{Route, Views};
pub(super) use job::{Job, Many, Single};
pub use pinned::Pinned;

/// What carrying commands needs.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) views: Arc<Views>,
    pub(super) mailbox: Mailbox,
    pub(super) retry: CommandRetry,
    /// `response_timeout`: how long a decision is waited for.
    pub(super) patience: Duration,
    /// `failover_attempts` × `failover_delay`.
    pub(super) temporarily: Duration,
}

impl Carrier {
    /// One command.
    pub(super) async fn carry<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        for cmd in job.commands() {
            let verb = Verb::of(cmd);
            if let Some(instead) = repeat::unsupported(&verb, cmd) {
                return Err(self.refuse(verb, instead));
            }
        }
        let route = self.views.route.load_full();
        if let Route::Open(way) = &*route
            && way.trial.is_none()
            && !way.link.is_over()
        {
            let answer = self.ask(job, way).await;
            if J::is_plain_success(&answer) {
                way.member.stats().successes.add_one();
                return answer;
            }
            return Box::pin(self.go_on(job, route, answer)).await;
        }
        Box::pin(self.find_a_way(job)).await
    }

    #[cold]
    fn refuse(&self, verb: Verb, instead: &'static str) -> RedisError {
        self.views.counters.unsupported.add_one();
        let command = verb.to_text();
        Error::Unsupported { command, instead }.into()
    }
}
