//! The calls of a simulated run, made once more to a real Redis: what the script costs there, and that it answers as
//! the rule in Rust does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use herdsman::cluster::slots::{Failure, RedisLedger, Shared as _, TERMS};
use herdsman_test_support::redis::Server;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::simulation::{COST, Recorded};

/// For an answer of a busy machine's Redis.
const PATIENCE: Duration = Duration::from_secs(30);

type Problem = Box<dyn std::error::Error>;

/// What the second half of the calls has cost, when the ledger is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replayed {
    /// Calls.
    pub calls: usize,
    /// Pools that were reported.
    pub reports: usize,
    /// How long the script ran, in microseconds.
    pub script: f64,
    /// What the simulation takes it for.
    pub supposed: f64,
    /// CPU of all of Redis, in microseconds.
    pub cpu: f64,
    /// Calls of both halves that were answered otherwise than in the simulation.
    pub differ: usize,
    /// What the pools take in Redis in the end, in bytes.
    pub bytes: u64,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls as f64;
        let reports = self.reports as f64 / calls;
        let (script, supposed, cpu) =
            (self.script / calls, self.supposed / calls, self.cpu / calls);
        write!(
            f,
            "{calls} calls of {reports:.1} reports: the script runs {script:.0} µs "
        )?;
        write!(
            f,
            "(simulated: {supposed:.0} µs), all of Redis {cpu:.0} µs of CPU; "
        )?;
        write!(
            f,
            "{} bytes of pools; {} calls answered otherwise",
            self.bytes, self.differ
        )
    }
}

/// Makes the calls again, one after the other.
///
/// # Errors
/// When there is no Redis, or it does not answer.
pub async fn replay(calls: &[Recorded]) -> Result<Replayed, Problem> {
    let server = Server::start().await;
    let client = redis::Client::open(server.url())?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut ledgers: BTreeMap<Arc<str>, RedisLedger<MultiplexedConnection>> = BTreeMap::new();
    let mut replayed = Replayed::default();
    let half = calls.len() / 2;
    let mut before = (0.0, 0.0);
    for (at, recorded) in calls.iter().enumerate() {
        if at == half {
            before = used(&mut connection).await?;
        }
        let new = || {
            RedisLedger::new(
                connection.clone(),
                "replay",
                Arc::clone(&recorded.me),
                TERMS,
            )
        };
        let ledger = ledgers.entry(Arc::clone(&recorded.me)).or_insert_with(new);
        let answered = ledger
            .clone()
            .at(recorded.now)
            .settle(Arc::clone(&recorded.call))
            .await;
        let answered = match answered {
            Err(Failure::Overtaken(_)) => None,
            answered => Some(answered?),
        };
        replayed.differ += usize::from(answered != recorded.reply);
        if at >= half {
            let reports = recorded.call.reports.len();
            let routers = answered.map_or(0, |reply| reply.routers);
            replayed.calls += 1;
            replayed.reports += reports;
            replayed.supposed += COST.of(routers as f64, reports as f64);
        }
    }
    let after = used(&mut connection).await?;
    (replayed.script, replayed.cpu) = (after.0 - before.0, after.1 - before.1);
    replayed.bytes = size(&mut connection).await?;
    Ok(replayed)
}

/// Microseconds of the script, and of the whole server.
async fn used(connection: &mut MultiplexedConnection) -> Result<(f64, f64), Problem> {
    let info: String = redis::cmd("INFO")
        .arg("everything")
        .query_async(connection)
        .await?;
    let field = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    };
    let script = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let usec = script.and_then(|stat| stat.split(',').find_map(|part| part.strip_prefix("usec=")));
    let script = usec.and_then(|usec| usec.parse().ok()).unwrap_or_default();
    Ok((
        script,
        (field("used_cpu_user:") + field("used_cpu_sys:")) * 1e6,
    ))
}

/// Bytes of everything the ledger has there.
async fn size(connection: &mut MultiplexedConnection) -> Result<u64, Problem> {
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("{replay:slots}:*")
        .query_async(connection)
        .await?;
    let mut bytes = 0;
    for key in keys {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        let usage: Option<u64> = usage.query_async(connection).await?;
        bytes += usage.unwrap_or_default();
    }
    Ok(bytes)
}
