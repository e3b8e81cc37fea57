//! `/v1/messages`: named events around numbered content blocks. An error inside a stream is lost
//! without a trace: the stream ends, and only the missing `message_stop` tells.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::write::number;
use super::{Metrics, Reason, Script};

pub fn token(script: &Script, out: &mut BytesMut, index: usize) {
    if index == 0 {
        start(script, out);
    }
    let thought = script.is_thought(index);
    let block = u64::from(!thought && script.thinking > 0);
    if index == 0 || index == script.thinking {
        if block == 1 {
            block_stop(out, 0);
        }
        let kind: &[u8] = if thought {
            br#""type":"thinking","thinking":"""#
        } else {
            br#""type":"text","text":"""#
        };
        block_start(out, block, kind);
    }
    event(out, "content_block_delta");
    out.put_slice(br#","index":"#);
    number(out, block);
    out.put_slice(if thought {
        br#","delta":{"type":"thinking_delta","thinking":""#
    } else {
        br#","delta":{"type":"text_delta","text":""#
    });
    script.token(out, index);
    out.put_slice(b"\"}}\n\n");
}

pub fn ending(script: &Script, metrics: &Metrics) -> VecDeque<Bytes> {
    let mut frames = VecDeque::with_capacity(3);
    let mut out = BytesMut::with_capacity(512);
    let mut block = 0;
    if script.tokens == 0 {
        start(script, &mut out);
    } else {
        block = u64::from(script.thinking > 0 && script.tokens > script.thinking);
        block_stop(&mut out, block);
        block += 1;
    }
    if let Some(tool) = &script.tool {
        let mut kind = BytesMut::new();
        kind.put_slice(br#""type":"tool_use","id":"call_"#);
        number(&mut kind, script.request);
        kind.put_slice(br#"","name":"#);
        kind.put_slice(tool);
        kind.put_slice(br#","input":{}"#);
        block_start(&mut out, block, &kind);
        event(&mut out, "content_block_delta");
        out.put_slice(br#","index":"#);
        number(&mut out, block);
        out.put_slice(b",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n");
        block_stop(&mut out, block);
    }
    if !out.is_empty() {
        frames.push_back(out.split().freeze());
    }
    event(&mut out, "message_delta");
    out.put_slice(br#","delta":{"stop_reason":""#);
    out.put_slice(stop_reason(script));
    out.put_slice(br#""},"usage":"#);
    usage(&mut out, metrics.prompt_tokens, metrics.eval_tokens);
    out.put_slice(b"}\n\n");
    frames.push_back(out.split().freeze());
    event(&mut out, "message_stop");
    out.put_slice(b"}\n\n");
    frames.push_back(out.freeze());
    frames
}

pub fn whole(script: &Script, out: &mut BytesMut, metrics: &Metrics, written: usize) {
    let thought = script.thinking.min(written);
    message(script, out);
    if thought > 0 {
        out.put_slice(br#"{"type":"thinking","thinking":""#);
        script.tokens(out, 0..thought);
        out.put_slice(br#""},"#);
    }
    out.put_slice(br#"{"type":"text","text":""#);
    script.tokens(out, thought..written);
    out.put_slice(br#""}"#);
    if let Some(tool) = &script.tool {
        out.put_slice(br#",{"type":"tool_use","id":"call_"#);
        number(out, script.request);
        out.put_slice(br#"","name":"#);
        out.put_slice(tool);
        out.put_slice(br#","input":{}}"#);
    }
    out.put_slice(br#"],"stop_reason":""#);
    out.put_slice(stop_reason(script));
    out.put_slice(br#"","usage":"#);
    usage(out, metrics.prompt_tokens, metrics.eval_tokens);
    out.put_slice(b"}\n");
}

fn start(script: &Script, out: &mut BytesMut) {
    event(out, "message_start");
    out.put_slice(br#","message":"#);
    message(script, out);
    out.put_slice(br#"],"usage":"#);
    usage(out, script.prompt_tokens, 0);
    out.put_slice(b"}}\n\n");
}

/// A message up to the inside of its content.
fn message(script: &Script, out: &mut BytesMut) {
    out.put_slice(br#"{"id":"msg_"#);
    number(out, script.request);
    out.put_slice(br#"","type":"message","role":"assistant","model":"#);
    out.put_slice(&script.model);
    out.put_slice(br#","content":["#);
}

fn block_start(out: &mut BytesMut, block: u64, kind: &[u8]) {
    event(out, "content_block_start");
    out.put_slice(br#","index":"#);
    number(out, block);
    out.put_slice(br#","content_block":{"#);
    out.put_slice(kind);
    out.put_slice(b"}}\n\n");
}

fn block_stop(out: &mut BytesMut, block: u64) {
    event(out, "content_block_stop");
    out.put_slice(br#","index":"#);
    number(out, block);
    out.put_slice(b"}\n\n");
}

/// An event up to the inside of its data.
fn event(out: &mut BytesMut, name: &str) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: {\"type\":\"");
    out.put_slice(name.as_bytes());
    out.put_u8(b'"');
}

fn stop_reason(script: &Script) -> &'static [u8] {
    match (script.reason, &script.tool) {
        (Reason::Length, _) => b"max_tokens",
        (Reason::Stop | Reason::Load, Some(_)) => b"tool_use",
        (Reason::Stop | Reason::Load, None) => b"end_turn",
    }
}

fn usage(out: &mut BytesMut, input: u64, output: u64) {
    out.put_slice(br#"{"input_tokens":"#);
    number(out, input);
    out.put_slice(br#","output_tokens":"#);
    number(out, output);
    out.put_u8(b'}');
}
