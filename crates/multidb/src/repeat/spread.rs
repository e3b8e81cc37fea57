//! What a cluster's client takes apart and sends to several nodes.
//!
//! One node's refusal then says nothing about the others, and a redirection is about one part.

use redis::Cmd;

use super::verb::{Verb, arguments};

/// Whether parts of this command may go to different nodes.
pub(crate) fn is_spread(cmd: &Cmd) -> bool {
    let keys_every = match Verb::of(cmd).name() {
        b"DEL" | b"UNLINK" | b"MGET" | b"EXISTS" | b"TOUCH" => 1,
        b"MSET" => 2,
        b"JSON.MSET" => 3,
        // To every node there is.
        b"FLUSHALL" | b"FLUSHDB" | b"SCRIPT" | b"FUNCTION" | b"CONFIG" | b"ACL" | b"SWAPDB"
        // Its last word is no key.
        | b"JSON.MGET" => return true,
        _ => return false,
    };
    let mut keys = arguments(cmd).step_by(keys_every).map(hashed);
    let first = keys.next();
    keys.any(|key| Some(key) != first)
}

/// The part of a key that chooses its slot. Two that differ may still share one; that is taken for
/// not sharing, which errs on the safe side.
fn hashed(key: &[u8]) -> &[u8] {
    let position = |bytes: &[u8], wanted| bytes.iter().position(|byte| *byte == wanted);
    let tag = || {
        let after = key.get(position(key, b'{')? + 1..)?;
        after.get(..position(after, b'}')?)
    };
    tag().filter(|tag| !tag.is_empty()).unwrap_or(key)
}
