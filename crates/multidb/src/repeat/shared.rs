//! What a shared handle does not support.
//!
//! All commands share one connection, which changes when the active database does. So nothing
//! may change its state, and nothing may hold it up.

use std::time::Duration;

use redis::Cmd;

use super::verb::{Verb, arguments, has};

const PIN: &str = "pin_active() gives a connection of its own";
const PUBSUB: &str = if cfg!(feature = "pubsub") {
    "pubsub() subscribes, and follows the active database"
} else {
    "subscriptions need the feature \"pubsub\" of herdsman-multidb"
};
const PIPE: &str = "use an atomic pipeline, or pin_active() for WATCH";
const CONFIGURE: &str = "it is set for all connections, in the database's URL";

/// What to use instead, if this command is not supported.
pub(crate) fn unsupported(verb: &Verb, cmd: &Cmd) -> Option<&'static str> {
    let name = verb.name();
    // Nearly every command is let through by its first letter.
    if !matches!(
        name.first(),
        Some(
            b'A' | b'B'
                | b'C'
                | b'D'
                | b'E'
                | b'H'
                | b'M'
                | b'P'
                | b'Q'
                | b'R'
                | b'S'
                | b'U'
                | b'W'
                | b'X'
        )
    ) {
        return None;
    }
    match name {
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE"
        | b"SUNSUBSCRIBE" => Some(PUBSUB),
        b"MULTI" | b"EXEC" | b"DISCARD" => Some(PIPE),
        b"SELECT" | b"AUTH" | b"HELLO" => Some(CONFIGURE),
        b"WATCH" | b"UNWATCH" | b"MONITOR" | b"SYNC" | b"PSYNC" | b"REPLCONF" | b"QUIT"
        | b"RESET" | b"ASKING" | b"READONLY" | b"READWRITE" => Some(PIN),
        // Both speak of what was written over this connection before.
        b"WAIT" | b"WAITAOF" => Some(PIN),
        b"CLIENT" => is_about_this_connection(cmd).then_some(PIN),
        // Prepared statements of one connection.
        name if name.starts_with(b"HIMPORT") => Some(PIN),
        _ => is_blocking(name, cmd).then_some(PIN),
    }
}

/// How long the server may hold back its answer by intent; `None`: as long as it takes.
pub(crate) fn blocks_for(cmd: &Cmd) -> Option<Duration> {
    let verb = Verb::of(cmd);
    let name = verb.name();
    if !is_blocking(name, cmd) && !matches!(name, b"WAIT" | b"WAITAOF") {
        return Some(Duration::ZERO);
    }
    let number = |word: Option<&[u8]>| std::str::from_utf8(word?).ok()?.parse::<f64>().ok();
    let duration = match name {
        b"XREAD" | b"XREADGROUP" => {
            let mut words = arguments(cmd).skip_while(|word| !word.eq_ignore_ascii_case(b"BLOCK"));
            number(words.nth(1)).map(|millis| millis / 1000.0)
        }
        b"BLMPOP" | b"BZMPOP" => number(arguments(cmd).next()),
        b"WAIT" => number(arguments(cmd).nth(1)).map(|millis| millis / 1000.0),
        b"WAITAOF" => number(arguments(cmd).nth(2)).map(|millis| millis / 1000.0),
        _ => number(arguments(cmd).last()),
    };
    // 0 is for ever; what cannot be read, the server will refuse.
    let duration = duration.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.map_or(Some(Duration::ZERO), |duration| {
        (!duration.is_zero()).then_some(duration)
    })
}

fn is_blocking(name: &[u8], cmd: &Cmd) -> bool {
    match name {
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX"
        | b"BZMPOP" => true,
        // Keys and ids come after STREAMS; before it, BLOCK is the option.
        b"XREAD" | b"XREADGROUP" => arguments(cmd)
            .take_while(|word| !word.eq_ignore_ascii_case(b"STREAMS"))
            .any(|word| word.eq_ignore_ascii_case(b"BLOCK")),
        _ => false,
    }
}

/// `CLIENT` subcommands that speak of other connections are let through.
fn is_about_this_connection(cmd: &Cmd) -> bool {
    !has(cmd, 0, &[b"LIST", b"KILL", b"PAUSE", b"UNPAUSE", b"HELP"])
}
