//! A Redis Cluster as one database.
//!
//! The driver's cluster client repeats commands by itself, also those that timed out or whose
//! connection broke, and so would apply some twice. It is configured not to repeat anything; the
//! redirections, which say that nothing was done, are followed here: `MOVED` and a demoted master
//! after the driver has read the slots anew (it does that before it sends the next command), `ASK`
//! to the node that was named, `TRYAGAIN` after a moment.
//!
//! They say it of one command on one node. Of a command that the driver takes apart and of a
//! pipeline, parts may have been carried out beside the part that was refused: those are followed
//! only if they may be repeated, and never to one node.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use redis::aio::ConnectionLike;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, Value,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dial::held;
use super::stream;
use crate::repeat;

/// How many redirections one command follows.
const REDIRECTIONS: u32 = 5;

/// The first pause before trying again; it doubles.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection to a cluster.
#[derive(Clone)]
pub(crate) struct ClusterWire {
    connection: ClusterConnection,
    /// Cancelled when the connection is over: pending answers will not come.
    gone: CancellationToken,
}

/// What a redirection asks for.
enum Redirection {
    /// The same again, after the slots have been read anew.
    Again,
    /// The same again, after a moment.
    Later,
    /// To this node, this once.
    Ask(String, u16),
}

pub(super) async fn connect(
    nodes: &[ConnectionInfo],
    certificates: Option<&TlsCertificates>,
    connect: Duration,
    response: Option<Duration>,
) -> RedisResult<(ClusterWire, BoxFuture<'static, ()>)> {
    let client = builder(nodes, certificates, connect, response).build()?;
    let connection = client.get_async_connection().await?;
    let gone = CancellationToken::new();
    let driver = held(gone.clone().drop_guard());
    Ok((ClusterWire { connection, gone }, driver))
}

/// What every connection to a cluster has in common.
pub(super) fn builder(
    nodes: &[ConnectionInfo],
    certificates: Option<&TlsCertificates>,
    connect: Duration,
    response: Option<Duration>,
) -> ClusterClientBuilder {
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(stream::keepalive());
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(connect + response.unwrap_or(connect));
    let mut builder = ClusterClient::builder(nodes.iter().cloned())
        .retries(0)
        .connection_timeout(connect)
        .overall_response_timeout(response)
        .tcp_settings(settings);
    if let Some(response) = response {
        builder = builder.response_timeout(response);
    }
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates.clone());
    }
    builder
}

impl ClusterWire {
    /// Boxed, so that the future of a single server stays small.
    pub(super) fn send<'a>(&'a mut self, cmd: &'a Cmd) -> BoxFuture<'a, RedisResult<Value>> {
        async move {
            let gone = self.gone.clone();
            gone.run_until_cancelled(self.follow(cmd))
                .await
                .unwrap_or_else(|| Err(ended()))
        }
        .boxed()
    }

    pub(super) fn send_all<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> BoxFuture<'a, RedisResult<Vec<Value>>> {
        async move {
            let gone = self.gone.clone();
            gone.run_until_cancelled(self.follow_all(pipeline, offset, count))
                .await
                .unwrap_or_else(|| Err(ended()))
        }
        .boxed()
    }

    /// Every node the cluster counts among its own must answer; the driver leaves out those it has no
    /// connection to.
    pub(super) async fn ask_all(&mut self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let slots = self.connection.route_command(slots, anyone).await?;
        let nodes = nodes(&slots.extract_error()?).len();
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));
        let answers = match self
            .connection
            .route_command(cmd.clone(), everywhere)
            .await?
        {
            Value::Map(answers) => answers.into_iter().map(|(_, answer)| answer).collect(),
            answer => vec![answer],
        };
        if answers.len() < nodes {
            let why = format!("{} of {nodes} nodes can be reached", answers.len());
            return Err(io::Error::new(io::ErrorKind::NotConnected, why).into());
        }
        Ok(answers)
    }

    async fn follow(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let mut answer = self.connection.req_packed_command(cmd).await;
        let spread = repeat::is_spread(cmd);
        for count in 0..REDIRECTIONS {
            let Some(redirection) = redirection(&answer) else {
                return answer;
            };
            let whole = !spread || repeat::may_repeat(cmd);
            answer = match redirection {
                _ if !whole => return answer,
                // The node that was named has one part of it.
                Redirection::Ask(..) if spread => return answer,
                Redirection::Again => self.connection.req_packed_command(cmd).await,
                Redirection::Later => {
                    sleep(PAUSE * 2u32.pow(count)).await;
                    self.connection.req_packed_command(cmd).await
                }
                Redirection::Ask(host, port) => self.ask(cmd, host, port).await,
            };
        }
        answer
    }

    /// One refusal is the whole answer of a pipeline, whatever the other commands did.
    async fn follow_all(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let answer = self
            .connection
            .req_packed_commands(pipeline, offset, count)
            .await;
        let redirected = matches!(&answer, Err(error) if of_redirection(error).is_some());
        if !redirected || !repeat::may_repeat_all(pipeline) {
            return answer;
        }
        let mut answers = Vec::with_capacity(pipeline.len());
        for cmd in pipeline.cmd_iter() {
            answers.push(self.follow(cmd).await?);
        }
        Ok(answers)
    }

    async fn ask(&mut self, cmd: &Cmd, host: String, port: u16) -> RedisResult<Value> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(cmd.clone());
        let there = SingleNodeRoutingInfo::ByAddress { host, port };
        self.connection
            .route_pipeline(both, 0, 2, there)
            .await?
            .pop()
            .ok_or_else(ended)
    }
}

/// The nodes in the answer to `CLUSTER SLOTS`: of each range, after its ends, `[host, port, id, …]`.
fn nodes(slots: &Value) -> HashSet<&[u8]> {
    fn list(value: &Value) -> &[Value] {
        match value {
            Value::Array(list) => list,
            _ => &[],
        }
    }
    let ranges = list(slots).iter();
    ranges
        .flat_map(|range| list(range).iter().skip(2))
        .filter_map(|node| match list(node).get(2) {
            Some(Value::BulkString(id)) => Some(id.as_slice()),
            _ => None,
        })
        .collect()
}

fn redirection(answer: &RedisResult<Value>) -> Option<Redirection> {
    match answer {
        Ok(Value::ServerError(error)) => of_redirection(&RedisError::from(error.clone())),
        Ok(_) => None,
        Err(error) => of_redirection(error),
    }
}

fn of_redirection(error: &RedisError) -> Option<Redirection> {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ReadOnly) => {
            Some(Redirection::Again)
        }
        ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Redirection::Later),
        ErrorKind::Server(ServerErrorKind::Ask) => {
            let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
            Some(Redirection::Ask(host.to_owned(), port.parse().ok()?))
        }
        _ => None,
    }
}

fn ended() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.as_bytes()).expect("a reply")
    }

    #[test]
    fn nodes_are_counted_once_however_many_ranges_they_have() {
        let node = |id: &str| format!("*3\r\n$1\r\nh\r\n:1\r\n$1\r\n{id}\r\n");
        let range = |nodes: &[&str]| {
            let nodes: Vec<_> = nodes.iter().map(|id| node(id)).collect();
            format!("*{}\r\n:0\r\n:9\r\n{}", nodes.len() + 2, nodes.concat())
        };
        let slots = format!("*2\r\n{}{}", range(&["a", "b"]), range(&["a", "c"]));
        assert_eq!(nodes(&reply(&slots)).len(), 3);
        assert!(nodes(&Value::Nil).is_empty());
    }

    #[test]
    fn only_what_says_that_nothing_was_done_is_followed() {
        let of = |line: &str| redirection(&Ok(reply(&format!("-{line}\r\n"))));
        assert!(matches!(of("MOVED 1 h:1"), Some(Redirection::Again)));
        assert!(matches!(of("READONLY You can't"), Some(Redirection::Again)));
        assert!(matches!(
            of("TRYAGAIN Multiple keys"),
            Some(Redirection::Later)
        ));
        match of("ASK 1 ::1:7000") {
            Some(Redirection::Ask(host, 7000)) => assert_eq!(host, "::1"),
            _ => panic!("to the node that was named"),
        }
        assert!(of("CLUSTERDOWN The cluster is down").is_none());
        assert!(of("ERR syntax error").is_none());
        let silence = Err(io::Error::from(io::ErrorKind::TimedOut).into());
        assert!(redirection(&silence).is_none());
    }
}
