//! The rule where all routers decide: one script, run inside Redis.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use redis::aio::ConnectionLike;

use super::{Call, NOTICES, Notice, Part, Reply, Terms};

const RULE: &str = include_str!("rule.lua");

/// The number of what lies in Redis, and of what the channels are called. Routers of two versions that run side by
/// side share one ledger as long as this is the same, each with its own text of the rule. So a change that the text
/// before is not compatible with raises it; one that only adds does not. Under another number there is another
/// ledger: until the last router of the old version is gone, each of the two divides all slots among its own.
const VERSION: u32 = 1;

/// Why there is no answer. Whether the call was taken is then unknown, and does not matter.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Redis, or the connection to it.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// Not in time.
    #[error("no answer in time")]
    Late,
    /// A later call was answered before this one arrived, of this run or of one with that number.
    #[error("overtaken by a later call of the same router")]
    Overtaken(i64),
    /// Not what the script answers.
    #[error("the ledger of slots answered in another form than this version's")]
    Form,
}

/// A ledger that several routers share.
pub trait Shared: Send + Sync {
    /// Takes a call and answers it.
    fn settle(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Reply, Failure>>;
}

/// The ledger in Redis. All its keys have one hash tag, so that in a cluster they lie on one node.
#[derive(Clone, Debug)]
pub struct RedisLedger<C> {
    connection: C,
    script: Arc<Script>,
    prefix: Arc<str>,
    me: Arc<str>,
    terms: Terms,
    now_ms: Option<i64>,
}

type Answered = (Vec<i64>, Vec<i64>, Vec<(String, i64, i64, i64, i64)>);

impl<C> RedisLedger<C> {
    /// The ledger under `prefix`; `me` is this router's name among those that share it.
    #[must_use]
    pub fn new(connection: C, prefix: &str, me: Arc<str>, terms: Terms) -> Self {
        Self {
            connection,
            script: Arc::new(Script::new(RULE)),
            prefix: format!("{{{prefix}:slots}}:{VERSION}").into(),
            me,
            terms,
            now_ms: None,
        }
    }

    /// The same, at a moment of its own instead of that of Redis's clock: for trying what depends on time.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.now_ms = Some(now_ms);
        self
    }

    /// Where it is told that it has something to learn.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{}:wake:{}", self.prefix, self.me)
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
            for part in ["fleet", "pools", "told"] {
                script.key(format!("{}:{part}", this.prefix));
            }
            this.arguments(&mut script, &call);
            let mut connection = this.connection;
            let answer: redis::Value = script.invoke_async(&mut connection).await?;
            match &answer {
                redis::Value::Int(run) => Err(Failure::Overtaken(*run)),
                _ => read(answer, &call).ok_or(Failure::Form),
            }
        }
        .boxed()
    }
}

impl<C> RedisLedger<C> {
    fn arguments(&self, script: &mut redis::ScriptInvocation<'_>, call: &Call) {
        script.arg(&*self.me).arg(format!("{}:wake:", self.prefix));
        script.arg(&[
            call.run,
            call.number,
            call.born.unwrap_or(-1),
            call.divides,
            i64::from(call.asks),
            i64::from(call.leaves),
            self.terms.hold_ms,
            self.terms.seen_ms,
            self.terms.min_age_ms,
            self.now_ms.unwrap_or(-1),
        ]);
        script.arg(NOTICES);
        match &call.others {
            Some(others) => script.arg(others.len()),
            None => script.arg(-1),
        };
        for other in call.others.iter().flatten() {
            script.arg(&**other);
        }
        script.arg(call.reports.len());
        for report in &call.reports {
            script.arg(&*report.key).arg(&[
                report.slots,
                report.base,
                report.granted,
                report.given,
                report.demand,
                i64::from(report.forget),
            ]);
        }
    }
}

fn read(answer: redis::Value, call: &Call) -> Option<Reply> {
    let (head, parts, notices): Answered = redis::from_redis_value(answer).ok()?;
    let [born, routers, divides, gives, more] = head[..] else {
        return None;
    };
    if parts.len() != 3 * call.reports.len() {
        return None;
    }
    let part = |part: &[i64]| Part {
        granted: part[0],
        cap: part[1],
        forgotten: part[2] != 0,
    };
    let notice = |(key, slots, base, granted, cap): (String, i64, i64, i64, i64)| Notice {
        key: key.into(),
        slots,
        base,
        granted,
        cap,
    };
    Some(Reply {
        born,
        routers,
        divides,
        gives: gives != 0,
        parts: parts.chunks_exact(3).map(part).collect(),
        notices: notices.into_iter().map(notice).collect(),
        more: more != 0,
    })
}
