//! What an answer says about the database, and about the command.
//!
//! Two questions that must not be mixed up. For the **database**: failure, neutral, success. A
//! definite answer is a success, whatever it says about the caller's data; a server that refuses to
//! serve (`READONLY`, `LOADING`, …) is a failure, although it answered. For the **command**: whether
//! it certainly had no effect, which is what makes repeating safe.
//!
//! At the level of [`redis::aio::ConnectionLike`] an error of the server arrives as
//! `Ok(Value::ServerError)`, alone or as an element of a pipeline's answer, so answers are looked at,
//! not only errors.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};

/// How a database failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection: refused, unreachable, no name, or too many clients.
    Connect,
    /// The connection ended.
    Dropped,
    /// No answer in time.
    Timeout,
    /// It is a replica now.
    ReadOnly,
    /// It is loading its data.
    Loading,
    /// The cluster does not serve.
    ClusterDown,
    /// A replica without its master.
    MasterDown,
    /// The cluster is moving the keys.
    TryAgain,
    /// A redirection that was not followed: the keys are elsewhere.
    Redirected,
    /// No node of the cluster can be reached.
    NoNodes,
    /// A script occupies it.
    Busy,
    /// It cannot persist or replicate, so it takes no writes (`MISCONF`, `NOREPLICAS`).
    NoWrites,
    /// It does not know us (any more).
    Authentication,
    /// What it says is not Redis.
    Protocol,
}

impl FailureKind {
    /// Every one, in order.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Dropped,
        Self::Timeout,
        Self::ReadOnly,
        Self::Loading,
        Self::ClusterDown,
        Self::MasterDown,
        Self::TryAgain,
        Self::Redirected,
        Self::NoNodes,
        Self::Busy,
        Self::NoWrites,
        Self::Authentication,
        Self::Protocol,
    ];

    /// A label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dropped => "dropped",
            Self::Timeout => "timeout",
            Self::ReadOnly => "readonly",
            Self::Loading => "loading",
            Self::ClusterDown => "clusterdown",
            Self::MasterDown => "masterdown",
            Self::TryAgain => "tryagain",
            Self::Redirected => "redirected",
            Self::NoNodes => "no nodes",
            Self::Busy => "busy",
            Self::NoWrites => "no writes",
            Self::Authentication => "authentication",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the server answered that it is not (now) the one to ask.
    pub(crate) const fn is_wrong_server(self) -> bool {
        matches!(
            self,
            Self::ReadOnly | Self::Loading | Self::MasterDown | Self::Redirected
        )
    }

    /// Whether the server answered that it will not serve, for a reason that it may keep to itself
    /// when asked how it is: then its answer is the decision.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::ClusterDown | Self::NoWrites | Self::Busy)
    }

    /// Whether what was sent cannot be answered any more, so that waiting on for answers over the
    /// same connection is useless.
    pub(crate) const fn is_silence(self) -> bool {
        matches!(
            self,
            Self::Connect | Self::Dropped | Self::Timeout | Self::NoNodes | Self::Protocol
        )
    }
}

/// What an answer says about the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It serves.
    Success,
    /// Nothing.
    Neutral,
    /// It does not serve.
    Failure(FailureKind),
}

/// What is known about the command's effect when it was not answered as meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Certainly none.
    None,
    /// Not known, or some of it.
    Unknown,
}

/// The answer to one command.
pub fn of_value(value: &Value) -> Outcome {
    match value {
        Value::ServerError(error) => of_server_error(error),
        _ => Outcome::Success,
    }
}

/// The answers to a pipeline: the first failure speaks for all, and there is certainly no effect
/// only if every command was refused.
pub fn of_values(values: &[Value]) -> (Outcome, Effect) {
    let mut failure = None;
    let mut refused = 0;
    for value in values {
        if let Outcome::Failure(kind) = of_value(value) {
            failure.get_or_insert(kind);
            refused += 1;
        }
    }
    match failure {
        None => (Outcome::Success, Effect::Unknown),
        Some(kind) if refused == values.len() => (Outcome::Failure(kind), Effect::None),
        Some(kind) => (Outcome::Failure(kind), Effect::Unknown),
    }
}

/// An error of the driver.
pub fn of_error(error: &RedisError) -> (Outcome, Effect) {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => {
            (Outcome::Failure(FailureKind::Timeout), Effect::Unknown)
        }
        ErrorKind::Io => (Outcome::Failure(FailureKind::Dropped), Effect::Unknown),
        ErrorKind::ClusterConnectionNotFound => {
            (Outcome::Failure(FailureKind::NoNodes), Effect::Unknown)
        }
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
            (Outcome::Failure(FailureKind::Connect), Effect::None)
        }
        ErrorKind::AuthenticationFailed => {
            (Outcome::Failure(FailureKind::Authentication), Effect::None)
        }
        ErrorKind::Parse => (Outcome::Failure(FailureKind::Protocol), Effect::Unknown),
        ErrorKind::Server(ServerErrorKind::ExecAbort) => of_aborted(error),
        ErrorKind::Server(_) | ErrorKind::Extension => of_error_reply(error),
        _ => (Outcome::Neutral, Effect::None),
    }
}

/// A connection that could not be made.
pub fn of_connect_error(error: &RedisError) -> FailureKind {
    match of_error(error).0 {
        Outcome::Failure(FailureKind::Dropped) | Outcome::Neutral | Outcome::Success => {
            FailureKind::Connect
        }
        Outcome::Failure(kind) => kind,
    }
}

/// An error the server answered, carried as the driver's.
fn of_error_reply(error: &RedisError) -> (Outcome, Effect) {
    let code = error.code().unwrap_or_default();
    let outcome = of_code(code, error.detail().unwrap_or_default());
    let effect = match outcome {
        Outcome::Failure(_) => Effect::None,
        _ => Effect::Unknown,
    };
    (outcome, effect)
}

/// A transaction the server threw away whole: why is in the answers to its commands.
fn of_aborted(error: &RedisError) -> (Outcome, Effect) {
    let outcome = error
        .clone()
        .into_server_errors()
        .iter()
        .flat_map(|errors| errors.iter())
        .map(|(_, error)| of_server_error(error))
        .find(|outcome| matches!(outcome, Outcome::Failure(_)))
        .unwrap_or(Outcome::Success);
    (outcome, Effect::None)
}

fn of_server_error(error: &ServerError) -> Outcome {
    of_code(error.code(), error.details().unwrap_or_default())
}

fn of_code(code: &str, detail: &str) -> Outcome {
    let kind = match code {
        "READONLY" => FailureKind::ReadOnly,
        "LOADING" => FailureKind::Loading,
        "CLUSTERDOWN" => FailureKind::ClusterDown,
        "MASTERDOWN" => FailureKind::MasterDown,
        "TRYAGAIN" | "ASK" => FailureKind::TryAgain,
        "MOVED" => FailureKind::Redirected,
        "BUSY" => FailureKind::Busy,
        "MISCONF" | "NOREPLICAS" => FailureKind::NoWrites,
        "NOAUTH" => FailureKind::Authentication,
        "ERR" if detail.starts_with("max number of clients") => FailureKind::Connect,
        // `EXECABORT Transaction discarded because of: READONLY You can't write …`
        "EXECABORT" => {
            return detail
                .split_once("because of: ")
                .and_then(|(_, cause)| cause.split_once(' '))
                .map_or(Outcome::Success, |(code, detail)| of_code(code, detail));
        }
        "CROSSSLOT" => return Outcome::Neutral,
        _ => return Outcome::Success,
    };
    Outcome::Failure(kind)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn reply(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a reply")
    }

    #[test]
    fn a_server_that_refuses_to_serve_fails_though_it_answers() {
        for (line, kind) in [
            (
                "READONLY You can't write against a read only replica.",
                FailureKind::ReadOnly,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                FailureKind::Loading,
            ),
            ("CLUSTERDOWN The cluster is down", FailureKind::ClusterDown),
            (
                "MASTERDOWN Link with MASTER is down",
                FailureKind::MasterDown,
            ),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                FailureKind::TryAgain,
            ),
            ("MOVED 3999 127.0.0.1:6381", FailureKind::Redirected),
            ("ASK 3999 127.0.0.1:6381", FailureKind::TryAgain),
            ("BUSY Redis is busy running a script.", FailureKind::Busy),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                FailureKind::NoWrites,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                FailureKind::NoWrites,
            ),
            (
                "NOAUTH Authentication required.",
                FailureKind::Authentication,
            ),
            ("ERR max number of clients reached", FailureKind::Connect),
            (
                "EXECABORT Transaction discarded because of: READONLY You can't write",
                FailureKind::ReadOnly,
            ),
        ] {
            assert_eq!(of_value(&reply(line)), Outcome::Failure(kind), "{line}");
        }
    }

    #[test]
    fn an_answer_about_the_callers_data_is_a_success_of_the_database() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOSCRIPT No matching script",
            "ERR syntax error",
            "NOPERM this user has no permissions",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "EXECABORT Transaction discarded because of previous errors.",
        ] {
            assert_eq!(of_value(&reply(line)), Outcome::Success, "{line}");
        }
        assert_eq!(of_value(&Value::Nil), Outcome::Success);
        assert_eq!(
            of_value(&reply("CROSSSLOT Keys don't hash")),
            Outcome::Neutral
        );
    }

    #[test]
    fn a_pipeline_had_no_effect_only_if_every_command_was_refused() {
        let refused = || reply("READONLY You can't write");
        assert_eq!(
            of_values(&[refused(), refused()]),
            (Outcome::Failure(FailureKind::ReadOnly), Effect::None)
        );
        assert_eq!(
            of_values(&[Value::Okay, refused()]),
            (Outcome::Failure(FailureKind::ReadOnly), Effect::Unknown)
        );
        assert_eq!(of_values(&[Value::Okay]).0, Outcome::Success);
    }

    #[test]
    fn silence_leaves_the_effect_open() {
        let io = |kind: io::ErrorKind| of_error(&io::Error::from(kind).into());
        assert_eq!(
            io(io::ErrorKind::TimedOut),
            (Outcome::Failure(FailureKind::Timeout), Effect::Unknown)
        );
        assert_eq!(
            io(io::ErrorKind::BrokenPipe),
            (Outcome::Failure(FailureKind::Dropped), Effect::Unknown)
        );
        let client = (ErrorKind::Client, "no such thing").into();
        assert_eq!(of_error(&client), (Outcome::Neutral, Effect::None));
    }
}
