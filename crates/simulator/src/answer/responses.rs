//! `/v1/responses`: named, numbered events; stateless. A truncated answer still says `completed`,
//! and an error inside a stream is lost without a trace: only `response.completed` is missing.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::write::number;
use super::{Metrics, Script};

/// Events before the first delta.
const OPENING: u64 = 4;

pub fn token(script: &Script, out: &mut BytesMut, index: usize) {
    if index == 0 {
        opening(script, out);
    }
    event(out, "response.output_text.delta", OPENING + index as u64);
    place(script, out);
    out.put_slice(br#","delta":""#);
    script.token(out, index);
    out.put_slice(b"\"}\n\n");
}

pub fn ending(script: &Script, metrics: &Metrics) -> VecDeque<Bytes> {
    let mut frames = VecDeque::with_capacity(2);
    let mut out = BytesMut::with_capacity(1024);
    if script.tokens == 0 {
        opening(script, &mut out);
    }
    let mut sequence = OPENING + script.tokens as u64;
    event(&mut out, "response.output_text.done", sequence);
    place(script, &mut out);
    out.put_slice(br#","text":""#);
    script.tokens(&mut out, 0..script.tokens);
    out.put_slice(b"\"}\n\n");
    sequence += 1;
    event(&mut out, "response.content_part.done", sequence);
    place(script, &mut out);
    out.put_slice(br#","part":"#);
    part(script, &mut out, script.tokens);
    out.put_slice(b"}\n\n");
    sequence += 1;
    event(&mut out, "response.output_item.done", sequence);
    out.put_slice(br#","output_index":0,"item":"#);
    item(script, &mut out, Some(script.tokens));
    out.put_slice(b"}\n\n");
    sequence += 1;
    frames.push_back(out.split().freeze());
    event(&mut out, "response.completed", sequence);
    out.put_slice(br#","response":"#);
    response(script, &mut out, Some((metrics, script.tokens)));
    out.put_slice(b"}\n\n");
    frames.push_back(out.freeze());
    frames
}

pub fn whole(script: &Script, out: &mut BytesMut, metrics: &Metrics, written: usize) {
    response(script, out, Some((metrics, written)));
    out.put_u8(b'\n');
}

fn opening(script: &Script, out: &mut BytesMut) {
    for (sequence, name) in ["response.created", "response.in_progress"]
        .into_iter()
        .enumerate()
    {
        event(out, name, sequence as u64);
        out.put_slice(br#","response":"#);
        response(script, out, None);
        out.put_slice(b"}\n\n");
    }
    event(out, "response.output_item.added", 2);
    out.put_slice(br#","output_index":0,"item":"#);
    item(script, out, None);
    out.put_slice(b"}\n\n");
    event(out, "response.content_part.added", 3);
    place(script, out);
    out.put_slice(br#","part":"#);
    part(script, out, 0);
    out.put_slice(b"}\n\n");
}

fn response(script: &Script, out: &mut BytesMut, done: Option<(&Metrics, usize)>) {
    out.put_slice(br#"{"id":"resp_"#);
    number(out, script.request);
    out.put_slice(br#"","object":"response","created_at":"#);
    number(out, script.created.unsigned_abs());
    out.put_slice(br#","completed_at":"#);
    match done {
        Some(_) => number(out, script.created.unsigned_abs()),
        None => out.put_slice(b"null"),
    }
    out.put_slice(match done {
        Some(_) => br#","status":"completed","incomplete_details":null,"model":"#,
        None => br#","status":"in_progress","incomplete_details":null,"model":"#,
    });
    out.put_slice(&script.model);
    out.put_slice(br#","previous_response_id":null,"instructions":"#);
    out.put_slice(script.instructions.as_deref().unwrap_or(b"null"));
    out.put_slice(br#","output":["#);
    if let Some((_, written)) = done {
        item(script, out, Some(written));
    }
    out.put_slice(br#"],"error":null,"tools":[],"tool_choice":"auto","truncation":"disabled","#);
    out.put_slice(br#""parallel_tool_calls":true,"text":{"format":{"type":"text"}},"top_p":1,"#);
    out.put_slice(br#""presence_penalty":0,"frequency_penalty":0,"top_logprobs":0,"#);
    out.put_slice(br#""temperature":1,"reasoning":null,"usage":"#);
    match done {
        Some((metrics, _)) => usage(out, metrics),
        None => out.put_slice(b"null"),
    }
    out.put_slice(br#","max_output_tokens":"#);
    match script.limit {
        Some(limit) => number(out, limit),
        None => out.put_slice(b"null"),
    }
    out.put_slice(br#","max_tool_calls":null,"store":false,"background":false,"#);
    out.put_slice(br#""service_tier":"default","metadata":{},"safety_identifier":null,"#);
    out.put_slice(br#""prompt_cache_key":null}"#);
}

fn usage(out: &mut BytesMut, metrics: &Metrics) {
    out.put_slice(br#"{"input_tokens":"#);
    number(out, metrics.prompt_tokens);
    out.put_slice(br#","output_tokens":"#);
    number(out, metrics.eval_tokens);
    out.put_slice(br#","total_tokens":"#);
    number(out, metrics.prompt_tokens + metrics.eval_tokens);
    out.put_slice(br#","input_tokens_details":{"cached_tokens":0},"#);
    out.put_slice(br#""output_tokens_details":{"reasoning_tokens":0}}"#);
}

fn item(script: &Script, out: &mut BytesMut, written: Option<usize>) {
    out.put_slice(br#"{"id":"msg_"#);
    number(out, script.request);
    out.put_slice(match written {
        Some(_) => br#"","type":"message","status":"completed","role":"assistant","content":["#,
        None => br#"","type":"message","status":"in_progress","role":"assistant","content":["#,
    });
    if let Some(written) = written {
        part(script, out, written);
    }
    out.put_slice(b"]}");
}

fn part(script: &Script, out: &mut BytesMut, written: usize) {
    out.put_slice(br#"{"type":"output_text","text":""#);
    script.tokens(out, 0..written);
    out.put_slice(br#"","annotations":[],"logprobs":[]}"#);
}

/// Where a piece of text belongs.
fn place(script: &Script, out: &mut BytesMut) {
    out.put_slice(br#","item_id":"msg_"#);
    number(out, script.request);
    out.put_slice(br#"","output_index":0,"content_index":0"#);
}

/// An event up to the inside of its data.
fn event(out: &mut BytesMut, name: &str, sequence: u64) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: {\"type\":\"");
    out.put_slice(name.as_bytes());
    out.put_slice(br#"","sequence_number":"#);
    number(out, sequence);
}
