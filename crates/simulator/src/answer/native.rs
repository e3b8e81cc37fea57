//! `/api/chat` and `/api/generate`: one JSON object per line.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::go;

use super::write::{moment, number};
use super::{Dialect, Metrics, Reason, Script};

pub fn token(script: &Script, out: &mut BytesMut, wall: i128, index: usize) {
    let thought = script.is_thought(index);
    head(script, out, wall);
    match (script.dialect, thought) {
        (Dialect::Chat, false) => {
            out.put_slice(br#""message":{"role":"assistant","content":""#);
            script.token(out, index);
            out.put_slice(br#""},"done":false}"#);
        }
        (Dialect::Chat, true) => {
            out.put_slice(br#""message":{"role":"assistant","content":"","thinking":""#);
            script.token(out, index);
            out.put_slice(br#""},"done":false}"#);
        }
        (_, false) => {
            out.put_slice(br#""response":""#);
            script.token(out, index);
            out.put_slice(br#"","done":false}"#);
        }
        (_, true) => {
            out.put_slice(br#""response":"","thinking":""#);
            script.token(out, index);
            out.put_slice(br#"","done":false}"#);
        }
    }
    out.put_u8(b'\n');
}

pub fn ending(script: &Script, wall: i128, metrics: &Metrics) -> VecDeque<Bytes> {
    let mut frames = VecDeque::with_capacity(2);
    let mut out = BytesMut::with_capacity(512);
    if script.dialect == Dialect::Chat && script.tool.is_some() {
        head(script, &mut out, wall);
        out.put_slice(br#""message":{"role":"assistant","content":"""#);
        tool_calls(script, &mut out);
        out.put_slice(b"},\"done\":false}\n");
        frames.push_back(out.split().freeze());
    }
    head(script, &mut out, wall);
    match script.dialect {
        Dialect::Chat => out.put_slice(br#""message":{"role":"assistant","content":""}"#),
        _ => out.put_slice(br#""response":"""#),
    }
    tail(script, &mut out, metrics, true, 0);
    out.put_u8(b'\n');
    frames.push_back(out.freeze());
    frames
}

pub fn whole(
    script: &Script,
    out: &mut BytesMut,
    wall: i128,
    metrics: &Metrics,
    written: usize,
    done: bool,
) {
    let thought = script.thinking.min(written);
    head(script, out, wall);
    match script.dialect {
        Dialect::Chat => out.put_slice(br#""message":{"role":"assistant","content":""#),
        _ => out.put_slice(br#""response":""#),
    }
    script.tokens(out, thought..written);
    out.put_u8(b'"');
    if thought > 0 {
        out.put_slice(br#","thinking":""#);
        script.tokens(out, 0..thought);
        out.put_u8(b'"');
    }
    if script.dialect == Dialect::Chat {
        tool_calls(script, out);
        out.put_u8(b'}');
    }
    tail(script, out, metrics, done, written);
}

pub fn error(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 16);
    out.put_slice(br#"{"error":"#);
    go::quote(&mut out, text);
    out.put_slice(b"}\n");
    out.freeze()
}

fn head(script: &Script, out: &mut BytesMut, wall: i128) {
    out.put_slice(br#"{"model":"#);
    out.put_slice(&script.model);
    out.put_slice(br#","created_at":"#);
    moment(out, wall);
    out.put_u8(b',');
}

/// `told` tokens have their probabilities here; those of a stream's have had them before.
fn tail(script: &Script, out: &mut BytesMut, metrics: &Metrics, done: bool, told: usize) {
    if !done {
        out.put_slice(br#","done":false}"#);
        return;
    }
    out.put_slice(match script.reason {
        Reason::Stop => br#","done":true,"done_reason":"stop""#,
        Reason::Length => br#","done":true,"done_reason":"length""#,
        Reason::Load => br#","done":true,"done_reason":"load""#,
    });
    if script.logprobs.is_some() && told > 0 {
        out.put_slice(br#","logprobs":"#);
        script.probabilities(out, told);
    }
    if script.dialect == Dialect::Generate && script.context {
        context(out, metrics.prompt_tokens + metrics.eval_tokens);
    }
    metrics.write(out);
    out.put_u8(b'}');
}

/// As many token numbers as the conversation has, so that the last line is as long as a real one.
fn context(out: &mut BytesMut, length: u64) {
    out.put_slice(br#","context":["#);
    for index in 0..length.max(1) {
        if index > 0 {
            out.put_u8(b',');
        }
        number(out, index * 7919 % 32_000);
    }
    out.put_u8(b']');
}

fn tool_calls(script: &Script, out: &mut BytesMut) {
    let Some(tool) = &script.tool else {
        return;
    };
    out.put_slice(br#","tool_calls":[{"id":"call_"#);
    number(out, script.request);
    out.put_slice(br#"","function":{"index":0,"name":"#);
    out.put_slice(tool);
    out.put_slice(br#","arguments":{}}}]"#);
}
