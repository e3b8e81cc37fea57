//! The rule where all routers decide: one script, run inside Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use redis::aio::ConnectionLike;

use super::{Call, Part, Reply, Terms, Verdict, Window};

const RULE: &str = include_str!("rule.lua");

/// The number of what lies in Redis. Routers of two versions that run side by side share one ledger
/// as long as this is the same, each with its own text of the rule. So a change that the text before
/// is not compatible with (another meaning of a field, another unit) raises it; one that only adds does
/// not. Under another number there is another ledger: until the last router of the old version is
/// gone, each of the two gives out what it knows to be free, so that a limit may be given twice, less
/// what the database has of it.
const VERSION: u32 = 1;

/// Why there is no answer. Whether the report was taken is then unknown, and does not matter.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Redis, or the connection to it.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// Not in time.
    #[error("no answer in time")]
    Late,
    /// A later call was answered before this one arrived.
    #[error("overtaken by a later report of the same router")]
    Overtaken,
    /// Not what the script answers.
    #[error("the shared ledger answered in another form than this version's")]
    Form,
}

/// A ledger that several routers share.
pub trait Shared: Send + Sync {
    /// Takes a report and answers it.
    fn settle(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Reply, Failure>>;
}

/// The ledger in Redis.
///
/// All its keys have one hash tag, so that in a cluster they lie on one node: a need is met whole or
/// not at all, over all its meters.
///
/// Calls are numbered as they are made. One that took so long that a later one was answered before it
/// (its client tried it again elsewhere) says what is not true any more, and is not taken.
#[derive(Clone, Debug)]
pub struct RedisLedger<C> {
    connection: C,
    script: Arc<Script>,
    prefix: Arc<str>,
    me: Arc<str>,
    terms: Terms,
    calls: Arc<AtomicI64>,
    now_ms: Option<i64>,
}

impl<C> RedisLedger<C> {
    /// The ledger under `prefix`; `me` is this router's name among those that share it, another one
    /// after each start.
    #[must_use]
    pub fn new(connection: C, prefix: &str, me: Arc<str>, terms: Terms) -> Self {
        Self {
            connection,
            script: Arc::new(Script::new(RULE)),
            prefix: format!("{{{prefix}:access}}:{VERSION}").into(),
            me,
            terms,
            calls: Arc::default(),
            now_ms: None,
        }
    }

    /// The same, at a moment of its own instead of that of Redis's clock: for trying what depends on
    /// time.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.now_ms = Some(now_ms);
        self
    }
}

impl<C> Shared for RedisLedger<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn settle(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Reply, Failure>> {
        let this = self.clone();
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut script = this.script.prepare_invoke();
            script.key(format!("{}:fleet", this.prefix));
            for report in &call.reports {
                script.key(format!("{}:{}", this.prefix, report.key));
            }
            script.arg(&*this.me).arg(number).arg(this.arguments(&call));
            let mut connection = this.connection;
            let answer: Vec<i64> = script.invoke_async(&mut connection).await?;
            if answer.is_empty() {
                return Err(Failure::Overtaken);
            }
            read(&answer, &call).ok_or(Failure::Form)
        }
        .boxed()
    }
}

impl<C> RedisLedger<C> {
    fn arguments(&self, call: &Call) -> Vec<i64> {
        let terms = &self.terms;
        let mut arguments = vec![
            call.known_created_ms.unwrap_or(-1),
            i64::from(call.more),
            terms.hold_ms,
            terms.min_age_ms,
            terms.forget_ms,
            self.now_ms.unwrap_or(-1),
        ];
        for report in &call.reports {
            let (kind, number) = match report.window {
                Window::Always => (0, 0),
                Window::Each(length) => (1, length.max(1)),
                Window::Since(start) => (2, start),
            };
            arguments.extend([
                kind,
                number,
                report.limit,
                report.base.0,
                report.base.1,
                report.of,
                report.spent,
                report.held,
                report.prefetch,
            ]);
        }
        for need in &call.needs {
            arguments.push(number(need.len()));
            for (place, amount) in need {
                arguments.extend([number(*place) + 1, *amount]);
            }
        }
        arguments
    }
}

fn read(answer: &[i64], call: &Call) -> Option<Reply> {
    let (head, rest) = answer.split_at_checked(4)?;
    let (verdicts, parts) = rest.split_at_checked(call.needs.len())?;
    if parts.len() != 5 * call.reports.len() {
        return None;
    }
    let verdict = |number: &i64| match *number {
        0 => Some(Verdict::Given),
        -1 => Some(Verdict::TooNew),
        place => usize::try_from(place)
            .ok()?
            .checked_sub(1)
            .map(Verdict::Short),
    };
    let part = |part: &[i64]| Part {
        window: part[0],
        extra: part[1],
        free: part[2],
        base: (part[3], part[4]),
    };
    Some(Reply {
        now_ms: head[0],
        routers: head[1],
        created_ms: head[2],
        is_new: head[3] != 0,
        verdicts: verdicts.iter().map(verdict).collect::<Option<_>>()?,
        parts: parts.chunks_exact(5).map(part).collect(),
    })
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the rule's text is changed: then it must be decided whether routers with the text before
    /// can share a ledger with it.
    #[test]
    fn the_rule_has_the_number_it_is_known_by() {
        let text = Script::new(RULE).get_hash().to_owned();
        insta::assert_snapshot!(format!("{VERSION} {text}"), @"1 6c8eda1cf2548c65d5b6ee9f62ba3efb754fbb7b");
    }
}
