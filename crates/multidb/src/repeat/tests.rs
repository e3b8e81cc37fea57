use std::time::Duration;

use redis::{Cmd, pipe};

use super::*;

fn command(words: &str) -> Cmd {
    let mut cmd = Cmd::new();
    for word in words.split(' ') {
        cmd.arg(word);
    }
    cmd
}

#[test]
fn what_leaves_the_same_data_and_answer_may_be_repeated() {
    for words in [
        "GET k",
        "get k",
        "SET k v",
        "SET k v EX 10",
        "SET k v KEEPTTL",
        "SET nx get",
        "MSET a 1 b 2",
        "EXPIRE k 10",
        "GETEX k EX 10",
        "LRANGE k 0 -1",
        "SCAN 0 COUNT 10",
        "HSCAN k 0",
        "SORT k BY w LIMIT 0 1",
        "XREAD COUNT 1 STREAMS s 0",
        "SCRIPT LOAD return",
        "FUNCTION LOAD REPLACE code",
        "EVAL_RO script 0",
        "CONFIG GET save",
        "PING",
    ] {
        assert!(may_repeat(&command(words)), "{words}");
    }
}

#[test]
fn what_counts_or_answers_differently_the_second_time_may_not() {
    for words in [
        "INCR k",
        "INCRBY k 2",
        "APPEND k v",
        "LPUSH k v",
        "RPOP k",
        "SET k v NX",
        "SET k v xx",
        "SET k v GET",
        "SET k v EX 10 nx",
        "SETNX k v",
        "GETSET k v",
        "GETDEL k",
        "DEL k",
        "SADD k m",
        "HSET k f v",
        "ZADD k 1 m",
        "ZADD k INCR 1 m",
        "EXPIRE k 10 NX",
        "PERSIST k",
        "LTRIM k 1 -1",
        "XADD s * f v",
        "XACK s g 1-1",
        "XREADGROUP GROUP g c STREAMS s >",
        "PUBLISH c m",
        "EVAL script 0",
        "EVALSHA sha 0",
        "FCALL f 0",
        "SORT k STORE d",
        "BITFIELD k INCRBY u8 0 1",
        "SCAN 17",
        "ZSCAN k 17",
        "SUNIONSTORE d a b",
        "FUNCTION LOAD code",
        "RENAME a b",
        "FLUSHALL",
        "A.COMMAND.OF.TOMORROW k",
        "A.COMMAND.WITH.A.NAME.LONGER.THAN.ANY.KNOWN k",
    ] {
        assert!(!may_repeat(&command(words)), "{words}");
    }
}

#[test]
fn a_page_of_an_iterator_may_not_be_repeated_whichever_it_is() {
    let mut scan = Cmd::new();
    scan.arg("SCAN").cursor_arg(0).arg("COUNT").arg(10);
    assert!(!may_repeat(&scan));
    let mut scan = Cmd::new();
    scan.arg("HSCAN").arg("k").cursor_arg(17);
    assert!(!may_repeat(&scan));
}

#[test]
fn what_has_keys_in_several_slots_or_is_for_all_nodes_is_spread() {
    for words in [
        "DEL a b",
        "MGET {a}1 {b}1",
        "MSET a 1 b 2",
        "EXISTS {} {}1",
        "touch a b",
        "JSON.MSET a $ 1 b $ 1",
        "FLUSHALL",
        "SCRIPT LOAD return",
    ] {
        assert!(is_spread(&command(words)), "{words}");
    }
    for words in [
        "DEL a",
        "MGET {a}1 {a}2 x{a}y",
        "MSET a 1",
        "MSET {a}1 1 {a}2 2",
        "DEL a a",
        "INCR a",
        "RENAME a b",
    ] {
        assert!(!is_spread(&command(words)), "{words}");
    }
}

#[test]
fn a_pipeline_may_be_repeated_if_all_of_it_may_and_a_transaction_never() {
    assert!(may_repeat_all(pipe().get("a").set("b", 1)));
    assert!(!may_repeat_all(pipe().get("a").incr("b", 1)));
    assert!(!may_repeat_all(pipe().atomic().get("a")));
}

#[test]
fn what_changes_or_holds_up_the_connection_is_refused() {
    for words in [
        "SUBSCRIBE c",
        "ssubscribe c",
        "UNSUBSCRIBE",
        "SELECT 1",
        "MULTI",
        "EXEC",
        "WATCH k",
        "MONITOR",
        "HELLO 3",
        "AUTH secret",
        "CLIENT SETNAME me",
        "CLIENT TRACKING ON",
        "CLIENT REPLY OFF",
        "RESET",
        "BLPOP k 0",
        "BZPOPMIN k 1",
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c COUNT 1 block 5 STREAMS s >",
        "WAIT 1 100",
        "HIMPORT PREPARE x",
        "HIMPORTX x",
    ] {
        let cmd = command(words);
        assert!(unsupported(&Verb::of(&cmd), &cmd).is_some(), "{words}");
    }
}

#[test]
fn stateless_commands_are_allowed() {
    for words in [
        "GET k",
        "SET k v",
        "BITCOUNT k",
        "HSET k f v",
        "PUBLISH c m",
        "SPUBLISH c m",
        "XREAD STREAMS block 0",
        "XADD s * BLOCK 1",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "SCRIPT LOAD return",
        "EVAL script 0",
        "DEBUG SLEEP 0",
        "RPOPLPUSH a b",
        "WHATEVER x",
    ] {
        let cmd = command(words);
        assert!(unsupported(&Verb::of(&cmd), &cmd).is_none(), "{words}");
    }
}

#[test]
fn a_blocking_command_says_for_how_long() {
    for (words, time) in [
        ("GET k", Some(Duration::ZERO)),
        ("BLPOP a b 2.5", Some(Duration::from_millis(2500))),
        ("BLPOP a 0", None),
        ("BLMPOP 1 1 k LEFT", Some(Duration::from_secs(1))),
        ("BLMOVE a b LEFT RIGHT 3", Some(Duration::from_secs(3))),
        (
            "XREAD BLOCK 1500 STREAMS s $",
            Some(Duration::from_millis(1500)),
        ),
        ("XREAD BLOCK 0 STREAMS s $", None),
        ("XREAD STREAMS s $", Some(Duration::ZERO)),
        ("WAIT 1 250", Some(Duration::from_millis(250))),
        ("BLPOP a nonsense", Some(Duration::ZERO)),
    ] {
        assert_eq!(blocks_for(&command(words)), time, "{words}");
    }
}
