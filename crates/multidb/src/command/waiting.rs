//! A command in flight, and what follows when its caller does not wait any more.

use redis::RedisResult;
use tokio::time::Instant;

use super::{Executor, Job};
use crate::failover::Message;
use crate::views::Path;

/// Reports, when dropped before the answer came, that a caller stopped waiting.
struct Waiting<'a> {
    executor: &'a Executor,
    path: &'a Path,
    since: Instant,
    answered: bool,
}

impl Executor {
    /// Sends it once.
    pub(super) async fn ask<J: Job>(&self, job: J, path: &Path) -> RedisResult<J::Answer> {
        let mut waiting = Waiting {
            executor: self,
            path,
            since: Instant::now(),
            answered: false,
        };
        let answer = job.send(path.link.wire().clone()).await;
        waiting.answered = true;
        answer
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Self { executor, path, .. } = self;
        // A shorter wait says nothing about the database.
        if self.since.elapsed() < path.member.stats().short_timeout(executor.response_timeout) {
            return;
        }
        let message = Message::Waited {
            id: path.member.id(),
            episode: path.episode,
        };
        // A full mailbox: other reports say the same.
        drop(executor.mailbox.try_send(message));
    }
}
