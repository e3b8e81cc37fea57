//! A command on its way, and what follows when nobody waits for it any more.

use redis::RedisResult;
use tokio::time::Instant;

use super::{Carrier, Job};
use crate::failover::Message;
use crate::views::Way;

/// Says, when dropped before the answer came, that somebody waited for it in vain.
struct Waiting<'a> {
    carrier: &'a Carrier,
    way: &'a Way,
    since: Instant,
    answered: bool,
}

impl Carrier {
    /// Sends it once.
    pub(super) async fn ask<J: Job>(&self, job: J, way: &Way) -> RedisResult<J::Answer> {
        let mut waiting = Waiting {
            carrier: self,
            way,
            since: Instant::now(),
            answered: false,
        };
        let answer = job.send(way.link.wire().clone()).await;
        waiting.answered = true;
        answer
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Self { carrier, way, .. } = self;
        // Whoever gives up sooner has learned nothing about the database.
        if self.since.elapsed() < way.member.stats().little_time(carrier.patience) {
            return;
        }
        let message = Message::Waited {
            id: way.member.id(),
            episode: way.episode,
        };
        // Full of news: somebody else has said it.
        drop(carrier.mailbox.try_send(message));
    }
}
