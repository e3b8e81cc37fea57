//! `/v1/chat/completions` and `/v1/completions`: server-sent events, or one object and a newline.
//!
//! Kept on purpose: an error inside a stream is lost. It becomes one chunk with an empty model and
//! an empty delta, and the stream ends without a finish reason and without `[DONE]`.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::write::number;
use super::{Metrics, Reason, Script};

const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");
const NO_MODEL: &[u8] = br#""""#;

pub fn chat_token(script: &Script, out: &mut BytesMut, index: usize) {
    chat_head(script, out, &script.model);
    out.put_slice(br#"[{"index":0,"delta":{"#);
    if index == 0 {
        out.put_slice(br#""role":"assistant","#);
    }
    out.put_slice(match script.is_thought(index) {
        true => br#""content":"","reasoning":""#,
        false => br#""content":""#,
    });
    script.token(out, index);
    out.put_slice(b"\"},\"finish_reason\":null}]}\n\n");
}

pub fn chat_ending(script: &Script, metrics: &Metrics) -> VecDeque<Bytes> {
    let mut frames = VecDeque::with_capacity(4);
    let mut out = BytesMut::with_capacity(768);
    if script.tool.is_some() {
        chat_head(script, &mut out, &script.model);
        out.put_slice(br#"[{"index":0,"delta":{"content":"""#);
        tool_calls(script, &mut out);
        out.put_slice(b"},\"finish_reason\":null}]}\n\n");
        frames.push_back(out.split().freeze());
    }
    chat_head(script, &mut out, &script.model);
    out.put_slice(br#"[{"index":0,"delta":{},"finish_reason":""#);
    out.put_slice(finish(script));
    out.put_slice(b"\"}]}\n\n");
    frames.push_back(out.split().freeze());
    if script.usage {
        chat_head(script, &mut out, &script.model);
        out.put_slice(b"[]");
        usage(&mut out, metrics);
        out.put_slice(b"}\n\n");
        frames.push_back(out.freeze());
    }
    frames.push_back(DONE);
    frames
}

pub fn lost_chat_error(script: &Script) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    chat_head(script, &mut out, NO_MODEL);
    out.put_slice(br#"[{"index":0,"delta":{},"finish_reason":null}]}"#);
    out.put_slice(b"\n\n");
    out.freeze()
}

pub fn chat_whole(
    script: &Script,
    out: &mut BytesMut,
    metrics: &Metrics,
    written: usize,
    done: bool,
) {
    let thought = script.thinking.min(written);
    out.put_slice(br#"{"id":"chatcmpl-"#);
    identity(script, out, b"chat.completion", &script.model);
    out.put_slice(br#"[{"index":0,"message":{"role":"assistant","content":""#);
    script.tokens(out, thought..written);
    out.put_u8(b'"');
    if thought > 0 {
        out.put_slice(br#","reasoning":""#);
        script.tokens(out, 0..thought);
        out.put_u8(b'"');
    }
    tool_calls(script, out);
    out.put_slice(br#"},"finish_reason":"#);
    finish_or_null(script, out, done);
    if script.logprobs.is_some() {
        out.put_slice(br#","logprobs":{"content":"#);
        script.probabilities(out, written);
        out.put_u8(b'}');
    }
    out.put_slice(b"}]");
    usage_of(out, metrics, done);
    out.put_slice(b"}\n");
}

pub fn text_token(script: &Script, out: &mut BytesMut, index: usize) {
    text_head(script, out);
    out.put_slice(br#"[{"text":""#);
    script.token(out, index);
    out.put_slice(br#"","index":0,"finish_reason":null}]"#);
    text_tail(out, &script.model);
    no_usage_yet(script, out);
    out.put_slice(b"}\n\n");
}

pub fn text_ending(script: &Script, metrics: &Metrics) -> VecDeque<Bytes> {
    let mut frames = VecDeque::with_capacity(3);
    let mut out = BytesMut::with_capacity(512);
    text_head(script, &mut out);
    out.put_slice(br#"[{"text":"","index":0,"finish_reason":""#);
    out.put_slice(finish(script));
    out.put_slice(br#""}]"#);
    text_tail(&mut out, &script.model);
    no_usage_yet(script, &mut out);
    out.put_slice(b"}\n\n");
    frames.push_back(out.split().freeze());
    if script.usage {
        text_head(script, &mut out);
        out.put_slice(b"[]");
        text_tail(&mut out, &script.model);
        usage(&mut out, metrics);
        out.put_slice(b"}\n\n");
        frames.push_back(out.freeze());
    }
    frames.push_back(DONE);
    frames
}

pub fn lost_text_error(script: &Script) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    text_head(script, &mut out);
    out.put_slice(br#"[{"text":"","index":0,"finish_reason":null}]"#);
    text_tail(&mut out, NO_MODEL);
    out.put_slice(b"}\n\n");
    out.freeze()
}

pub fn text_whole(
    script: &Script,
    out: &mut BytesMut,
    metrics: &Metrics,
    written: usize,
    done: bool,
) {
    out.put_slice(br#"{"id":"cmpl-"#);
    identity(script, out, b"text_completion", &script.model);
    out.put_slice(br#"[{"text":""#);
    script.tokens(out, 0..written);
    out.put_slice(br#"","index":0,"finish_reason":"#);
    finish_or_null(script, out, done);
    out.put_slice(b"}]");
    usage_of(out, metrics, done);
    out.put_slice(b"}\n");
}

fn chat_head(script: &Script, out: &mut BytesMut, model: &[u8]) {
    out.put_slice(br#"data: {"id":"chatcmpl-"#);
    identity(script, out, b"chat.completion.chunk", model);
}

/// From the number of the id to the key of the choices. Ids repeat after 999, as Ollama's do.
fn identity(script: &Script, out: &mut BytesMut, object: &[u8], model: &[u8]) {
    number(out, script.request % 999);
    out.put_slice(br#"","object":""#);
    out.put_slice(object);
    out.put_slice(br#"","created":"#);
    number(out, script.created.unsigned_abs());
    out.put_slice(br#","model":"#);
    out.put_slice(model);
    out.put_slice(br#","system_fingerprint":"fp_ollama","choices":"#);
}

fn text_head(script: &Script, out: &mut BytesMut) {
    out.put_slice(br#"data: {"id":"cmpl-"#);
    number(out, script.request % 999);
    out.put_slice(br#"","object":"text_completion","created":"#);
    number(out, script.created.unsigned_abs());
    out.put_slice(br#","choices":"#);
}

fn text_tail(out: &mut BytesMut, model: &[u8]) {
    out.put_slice(br#","model":"#);
    out.put_slice(model);
    out.put_slice(br#","system_fingerprint":"fp_ollama""#);
}

/// Where usage is asked for, every event has some, and that of all but the last is zero.
fn no_usage_yet(script: &Script, out: &mut BytesMut) {
    if script.usage {
        usage(out, &Metrics::NOTHING);
    }
}

fn finish(script: &Script) -> &'static [u8] {
    match (script.reason, &script.tool) {
        (Reason::Length, _) => b"length",
        (Reason::Stop, Some(_)) => b"tool_calls",
        (Reason::Stop, None) => b"stop",
        (Reason::Load, _) => b"load",
    }
}

fn finish_or_null(script: &Script, out: &mut BytesMut, done: bool) {
    if done {
        out.put_u8(b'"');
        out.put_slice(finish(script));
        out.put_u8(b'"');
    } else {
        out.put_slice(b"null");
    }
}

/// The usage of an answer that is not streamed: always there, zero for one without its end.
fn usage_of(out: &mut BytesMut, metrics: &Metrics, done: bool) {
    usage(out, if done { metrics } else { &Metrics::NOTHING });
}

fn usage(out: &mut BytesMut, metrics: &Metrics) {
    out.put_slice(br#","usage":{"prompt_tokens":"#);
    number(out, metrics.prompt_tokens);
    out.put_slice(br#","completion_tokens":"#);
    number(out, metrics.eval_tokens);
    out.put_slice(br#","total_tokens":"#);
    number(out, metrics.prompt_tokens + metrics.eval_tokens);
    if let Some(cached) = metrics.cached_tokens {
        out.put_slice(br#","prompt_tokens_details":{"cached_tokens":"#);
        number(out, cached);
        out.put_u8(b'}');
    }
    out.put_u8(b'}');
}

fn tool_calls(script: &Script, out: &mut BytesMut) {
    let Some(tool) = &script.tool else {
        return;
    };
    out.put_slice(br#","tool_calls":[{"id":"call_"#);
    number(out, script.request);
    out.put_slice(br#"","index":0,"type":"function","function":{"name":"#);
    out.put_slice(tool);
    out.put_slice(br#","arguments":"{}"}}]"#);
}
