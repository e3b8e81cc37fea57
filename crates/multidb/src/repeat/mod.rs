//! What may be repeated, and what a shared handle does not support: two tables by a command's name and
//! form.
//!
//! A command whose outcome is not known may be repeated if carrying it out twice leaves **the same
//! data as once** and brings **the same answer**. The second half is why `DEL`, `SADD` or `HSET` are
//! not in the table: repeated, they would answer that there was nothing to do, and a caller who
//! counts, or who takes the answer for a lock, would get a wrong answer. A caller who does not care
//! says so with [`MultiDb::idempotent`](super::MultiDb::idempotent). A name that is not in the table
//! is not repeated.
//!
//! Whether a command was *sent* is another question, and asked first: what certainly had no effect
//! may be repeated whatever it is.
//!
//! | | repeated after silence |
//! |---|---|
//! | reads (and `SCAN` & co. from their beginning: a cursor means nothing on another database; the pages of an iterator never, it does not say which it asks for) | yes |
//! | `SET` without `NX`, `XX`, `GET` or a comparison; `SETEX`, `PSETEX`, `MSET`, `HMSET`, `LSET`, `SETRANGE` | yes |
//! | `EXPIRE`, `PEXPIRE`, `EXPIREAT`, `PEXPIREAT` without a condition; `GETEX` | yes |
//! | `PFMERGE`, `SCRIPT LOAD`, `FUNCTION LOAD REPLACE` | yes |
//! | whatever counts, adds, removes, moves, pops, publishes or runs a script that may write | no |
//! | a pipeline | if each of its commands may be |
//! | a transaction | no |
//!
//! A script must not answer with the error codes of a server that refuses to serve (`READONLY …`) after it
//! has written: they are taken for a refusal.

mod shared;
mod spread;
mod table;
mod verb;

use redis::{Cmd, Pipeline};

pub(crate) use shared::{blocks_for, unsupported};
pub(crate) use spread::is_spread;
pub(crate) use verb::Verb;

/// Whether a command may be repeated when it is not known whether it was carried out.
pub(crate) fn may_repeat(cmd: &Cmd) -> bool {
    table::is_idempotent(&Verb::of(cmd), cmd)
}

/// The same of a pipeline.
pub(crate) fn may_repeat_all(pipeline: &Pipeline) -> bool {
    !pipeline.is_transaction() && pipeline.cmd_iter().all(may_repeat)
}

#[cfg(test)]
mod tests;
