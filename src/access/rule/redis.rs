//! The rule where all routers decide: one script, run inside Redis.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use redis::aio::ConnectionLike;

use super::{Call, Part, Reply, Terms, Verdict, Window};

const RULE: &str = include_str!("rule.lua");

/// Why there is no answer. Whether the report was taken is then unknown, and does not matter.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Redis, or the way to it.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// Not in time.
    #[error("no answer in time")]
    Late,
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
#[derive(Clone, Debug)]
pub struct RedisLedger<C> {
    connection: C,
    script: Arc<Script>,
    prefix: Arc<str>,
    me: Arc<str>,
    terms: Terms,
}

impl<C> RedisLedger<C> {
    /// The ledger under `prefix`; `me` is this router's name among those that share it, another one
    /// in each life.
    #[must_use]
    pub fn new(connection: C, prefix: &str, me: Arc<str>, terms: Terms) -> Self {
        Self {
            connection,
            script: Arc::new(Script::new(RULE)),
            prefix: format!("{{{prefix}:access}}").into(),
            me,
            terms,
        }
    }
}

impl<C> Shared for RedisLedger<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn settle(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Reply, Failure>> {
        let this = self.clone();
        async move {
            let mut script = this.script.prepare_invoke();
            script.key(format!("{}:routers", this.prefix));
            script.key(format!("{}:born", this.prefix));
            for line in &call.lines {
                script.key(format!("{}:{}", this.prefix, line.key));
            }
            script.arg(&*this.me).arg(arguments(&this.terms, &call));
            let mut connection = this.connection;
            let answer: Vec<i64> = script.invoke_async(&mut connection).await?;
            read(&answer, &call).ok_or(Failure::Form)
        }
        .boxed()
    }
}

fn arguments(terms: &Terms, call: &Call) -> Vec<i64> {
    let mut arguments = vec![terms.hold_ms, terms.young_ms, terms.forget_ms];
    for line in &call.lines {
        let (kind, number) = match line.window {
            Window::Always => (0, 0),
            Window::Each(length) => (1, length.max(1)),
            Window::Since(start) => (2, start),
        };
        arguments.extend([
            kind,
            number,
            line.limit,
            line.base.0,
            line.base.1,
            line.of,
            line.spent,
            line.held,
            line.wish,
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

fn read(answer: &[i64], call: &Call) -> Option<Reply> {
    let (head, rest) = answer.split_at_checked(3)?;
    let (verdicts, parts) = rest.split_at_checked(call.needs.len())?;
    if parts.len() != 5 * call.lines.len() {
        return None;
    }
    let verdict = |number: &i64| match *number {
        0 => Some(Verdict::Given),
        -1 => Some(Verdict::Young),
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
        born_ms: head[2],
        verdicts: verdicts.iter().map(verdict).collect::<Option<_>>()?,
        parts: parts.chunks_exact(5).map(part).collect(),
    })
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
