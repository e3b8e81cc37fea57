//! One command, or one pipeline, to its end: sent, its answer classified, repeated if it may be.
//!
//! Nearly always a command succeeds at once, and then this is a pointer read, the driver's own future and one
//! counter: no allocation beyond the future itself, which every `ConnectionLike` returns in a box.
//! Whatever fails goes on in [`recovery`], in a future of its own.
//!
//! A command whose caller goes away is no failure; what it had reserved is given back by being
//! dropped. Had it waited longer than an answer takes, its database is checked ([`waiting`]):
//! callers that wait less than `response_timeout` must not hide a silent one.

mod job;
mod pinned;
mod recovery;
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

/// What executing commands needs.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) views: Arc<Views>,
    pub(super) mailbox: Mailbox,
    pub(super) retry: CommandRetry,
    /// `response_timeout`: how long a decision is waited for.
    pub(super) response_timeout: Duration,
    /// `failover_attempts` × `failover_delay`.
    pub(super) temporary_limit: Duration,
}

impl Executor {
    /// One command.
    pub(super) async fn execute<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        for cmd in job.commands() {
            let verb = Verb::of(cmd);
            if let Some(instead) = repeat::unsupported(&verb, cmd) {
                return Err(self.refuse(verb, instead));
            }
        }
        let route = self.views.route.load_full();
        if let Route::Open(path) = &*route
            && path.trial.is_none()
            && !path.link.is_over()
        {
            let answer = self.ask(job, path).await;
            if J::is_plain_success(&answer) {
                path.member.stats().successes.add_one();
                return answer;
            }
            return Box::pin(self.go_on(job, route, answer)).await;
        }
        Box::pin(self.route_and_send(job)).await
    }

    #[cold]
    fn refuse(&self, verb: Verb, instead: &'static str) -> RedisError {
        self.views.counters.unsupported.add_one();
        let command = verb.to_text();
        Error::Unsupported { command, instead }.into()
    }
}
