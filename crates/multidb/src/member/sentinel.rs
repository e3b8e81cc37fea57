//! Who is master: asked of sentinels, and then of the server itself.
//!
//! Sentinels may be wrong for a moment in both directions, so the answer is checked where it leads.
//! It is asked anew for every connection; nothing is remembered that could grow old.

use std::io;

use redis::{RedisError, RedisResult, Value, from_redis_value};

use super::wire::Wire;

/// What this sentinel says.
pub(super) async fn master_of(wire: &mut Wire, master: &str) -> RedisResult<(String, u16)> {
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = wire.send(&ask).await?.extract_error()?;
    let address: Option<(String, u16)> = from_redis_value(answer)?;
    address.ok_or_else(|| {
        RedisError::from((
            redis::ErrorKind::MasterNameNotFoundBySentinel,
            "the sentinel knows no such master",
        ))
    })
}

/// Whether it agrees. A server that may not be asked is accepted.
pub(super) async fn must_be_master(wire: &mut Wire) -> RedisResult<()> {
    match wire.send(&redis::cmd("ROLE")).await? {
        Value::ServerError(_) => Ok(()),
        answer if role(&answer) == Some("master") => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "not a master").into()),
    }
}

/// The first word of `ROLE`'s answer.
pub(crate) fn role(answer: &Value) -> Option<&str> {
    match answer {
        Value::Array(parts) => match parts.first()? {
            Value::BulkString(word) => std::str::from_utf8(word).ok(),
            Value::SimpleString(word) => Some(word),
            _ => None,
        },
        _ => None,
    }
}
