//! Commands that leave the same data and bring the same answer twice as once.

use redis::Cmd;

use super::verb::{Verb, arguments, has};

pub(super) fn is_idempotent(verb: &Verb, cmd: &Cmd) -> bool {
    match verb.name() {
        // SET key value …: an expiry counts from the second time, which is as good.
        b"SET" => !has(
            cmd,
            2,
            &[b"NX", b"XX", b"GET", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"],
        ),
        b"SETEX" | b"PSETEX" | b"MSET" | b"HMSET" | b"LSET" | b"SETRANGE" | b"GETEX"
        | b"PFMERGE" => true,
        b"EXPIRE" | b"PEXPIRE" | b"EXPIREAT" | b"PEXPIREAT" => {
            !has(cmd, 2, &[b"NX", b"XX", b"GT", b"LT"])
        }

        // A cursor belongs to the database that gave it out. An iterator's is not among the
        // arguments, so its pages are all taken for later ones.
        b"SCAN" => !cmd.in_scan_mode() && begins(cmd, 0),
        b"SSCAN" | b"HSCAN" | b"ZSCAN" => !cmd.in_scan_mode() && begins(cmd, 1),

        // Reads in one form, writes in another.
        b"SORT" => !has(cmd, 1, &[b"STORE"]),
        b"GEORADIUS" | b"GEORADIUSBYMEMBER" => !has(cmd, 1, &[b"STORE", b"STOREDIST"]),
        b"BITFIELD" => !has(cmd, 1, &[b"SET", b"INCRBY"]),
        b"XREAD" => !has(cmd, 0, &[b"BLOCK"]),

        b"ACL" => has_first(
            cmd,
            &[b"CAT", b"GETUSER", b"LIST", b"USERS", b"WHOAMI", b"DRYRUN"],
        ),
        b"CLUSTER" => has_first(
            cmd,
            &[
                b"COUNT-FAILURE-REPORTS",
                b"COUNTKEYSINSLOT",
                b"GETKEYSINSLOT",
                b"INFO",
                b"KEYSLOT",
                b"LINKS",
                b"MYID",
                b"MYSHARDID",
                b"NODES",
                b"REPLICAS",
                b"SHARDS",
                b"SLOTS",
            ],
        ),
        b"CLIENT" => has_first(cmd, &[b"LIST"]),
        b"CONFIG" => has_first(cmd, &[b"GET"]),
        b"FUNCTION" => {
            has_first(cmd, &[b"DUMP", b"LIST", b"STATS"])
                || has_first(cmd, &[b"LOAD"]) && has(cmd, 1, &[b"REPLACE"])
        }
        b"LATENCY" => has_first(
            cmd,
            &[b"DOCTOR", b"GRAPH", b"HISTOGRAM", b"HISTORY", b"LATEST"],
        ),
        b"MEMORY" => has_first(cmd, &[b"DOCTOR", b"MALLOC-STATS", b"STATS", b"USAGE"]),
        b"MODULE" => has_first(cmd, &[b"LIST"]),
        b"PUBSUB" => true,
        b"SCRIPT" => has_first(cmd, &[b"EXISTS", b"LOAD"]),
        b"SLOWLOG" => has_first(cmd, &[b"GET", b"LEN"]),
        b"XINFO" | b"OBJECT" | b"COMMAND" => true,

        name => is_read(name),
    }
}

/// Names that only ever read.
fn is_read(name: &[u8]) -> bool {
    matches!(
        name,
        b"BITCOUNT"
            | b"BITFIELD_RO"
            | b"BITPOS"
            | b"DBSIZE"
            | b"DUMP"
            | b"ECHO"
            | b"EVALSHA_RO"
            | b"EVAL_RO"
            | b"EXISTS"
            | b"EXPIRETIME"
            | b"FCALL_RO"
            | b"GEODIST"
            | b"GEOHASH"
            | b"GEOPOS"
            | b"GEORADIUSBYMEMBER_RO"
            | b"GEORADIUS_RO"
            | b"GEOSEARCH"
            | b"GET"
            | b"GETBIT"
            | b"GETRANGE"
            | b"HEXISTS"
            | b"HEXPIRETIME"
            | b"HGET"
            | b"HGETALL"
            | b"HKEYS"
            | b"HLEN"
            | b"HMGET"
            | b"HPEXPIRETIME"
            | b"HPTTL"
            | b"HRANDFIELD"
            | b"HSTRLEN"
            | b"HTTL"
            | b"HVALS"
            | b"INFO"
            | b"KEYS"
            | b"LASTSAVE"
            | b"LCS"
            | b"LINDEX"
            | b"LLEN"
            | b"LOLWUT"
            | b"LPOS"
            | b"LRANGE"
            | b"MGET"
            | b"PEXPIRETIME"
            | b"PFCOUNT"
            | b"PING"
            | b"PTTL"
            | b"RANDOMKEY"
            | b"ROLE"
            | b"SCARD"
            | b"SDIFF"
            | b"SINTER"
            | b"SINTERCARD"
            | b"SISMEMBER"
            | b"SMEMBERS"
            | b"SMISMEMBER"
            | b"SORT_RO"
            | b"SRANDMEMBER"
            | b"STRLEN"
            | b"SUBSTR"
            | b"SUNION"
            | b"TIME"
            | b"TOUCH"
            | b"TTL"
            | b"TYPE"
            | b"XLEN"
            | b"XPENDING"
            | b"XRANGE"
            | b"XREVRANGE"
            | b"ZCARD"
            | b"ZCOUNT"
            | b"ZDIFF"
            | b"ZINTER"
            | b"ZINTERCARD"
            | b"ZLEXCOUNT"
            | b"ZMSCORE"
            | b"ZRANDMEMBER"
            | b"ZRANGE"
            | b"ZRANGEBYLEX"
            | b"ZRANGEBYSCORE"
            | b"ZRANK"
            | b"ZREVRANGE"
            | b"ZREVRANGEBYLEX"
            | b"ZREVRANGEBYSCORE"
            | b"ZREVRANK"
            | b"ZSCORE"
            | b"ZUNION"
            | b"BF.EXISTS"
            | b"BF.MEXISTS"
            | b"CF.EXISTS"
            | b"FT.INFO"
            | b"FT.SEARCH"
            | b"JSON.GET"
            | b"JSON.MGET"
            | b"JSON.TYPE"
            | b"TS.GET"
            | b"TS.RANGE"
            | b"TS.REVRANGE"
    )
}

fn begins(cmd: &Cmd, at: usize) -> bool {
    arguments(cmd).nth(at) == Some(b"0")
}

fn has_first(cmd: &Cmd, words: &[&[u8]]) -> bool {
    arguments(cmd)
        .next()
        .is_some_and(|first| words.iter().any(|word| first.eq_ignore_ascii_case(word)))
}
