//! The options that decide whether a loaded model can be used as it is.
//!
//! A server that has `llama3.2` loaded with one context length throws it out and loads it again for
//! a request that wants another: seconds to minutes, and the next request of the first kind turns
//! it back. Requests with equal signatures can share a loaded model, so routing keeps them together.
//! What the signature covers is Ollama's own list of what makes it reload.

use super::digest::Digest;
use super::fields::{Field, Fields};
use super::walk;
use crate::protocol::api::{Api, Dialect};

/// Keys of `options`, matched by Ollama exactly, and in this order in the hash.
const RELOADING: [&[u8]; 7] = [
    b"num_ctx",
    b"num_batch",
    b"num_gpu",
    b"main_gpu",
    b"use_mmap",
    b"num_thread",
    b"draft_num_predict",
];

/// The same for equal options in any order and spelling (`4096`, `4096.0`); 0 when none is given.
///
/// Stable: equal on every router and after every restart, so it may be a key that routers share.
pub(super) fn signature(api: Api, fields: &Fields<'_>) -> u64 {
    if api.dialect() != Dialect::Ollama {
        return 0;
    }
    let mut given: [Option<&str>; RELOADING.len()] = [None; RELOADING.len()];
    if let Some(options) = fields.get(Field::Options) {
        // Options that are no object: nothing given, and the server refuses the request itself.
        let _ = walk::entries(options, |key, value| {
            if let Some(at) = RELOADING.iter().position(|name| *name == key) {
                given[at] = Some(value.get()).filter(|json| *json != "null");
            }
        });
    }
    let mut hash = Digest::new();
    for (name, value) in RELOADING.iter().zip(given) {
        if let Some(value) = value {
            hash.write(name);
            write_value(&mut hash, value);
        }
    }
    if fields.get(Field::Shift) == Some("false") {
        hash.write(b"shift"); // `true` is the default
    }
    hash.finish()
}

/// Whether `keep_alive` asks for the model to be unloaded: a zero number or duration.
pub(super) fn keep_alive_zero(fields: &Fields<'_>) -> bool {
    let Some(json) = fields.get(Field::KeepAlive) else {
        return false;
    };
    match serde_json::from_str::<String>(json) {
        Ok(duration) => is_zero_duration(&duration),
        // Seconds. Go cuts to whole nanoseconds; a negative one means for ever.
        Err(_) => json
            .parse()
            .is_ok_and(|seconds: f64| (0.0..1e-9).contains(&seconds)),
    }
}

/// Go's `0`, `0s`, `0h0m0.0s`. What is not a duration is for the server to refuse.
fn is_zero_duration(text: &str) -> bool {
    text.contains('0') && !text.contains(|c: char| c.is_ascii_digit() && c != '0')
}

fn write_value(hash: &mut Digest, json: &str) {
    match json.parse::<f64>() {
        Ok(number) => hash.write(&number.to_bits().to_le_bytes()),
        Err(_) => hash.write(json.as_bytes()),
    }
}
