//! The responder's answers, rendered before they are needed.
//!
//! Shapes and sizes are those of a real Ollama server; times and digests are made up and constant,
//! because a proxy does not use them.

use serde_json::{Value, json};

/// The end of a chunked body.
pub const END_OF_CHUNKS: &[u8] = b"0\r\n\r\n";

const CREATED: &str = "2026-01-15T09:30:21.482913657Z";
const JSON: &str = "application/json; charset=utf-8";
const WORDS: &str = "The flock is safe when every dog knows its gate, and no gate waits for a dog \
    that sleeps.";
const COUNTS: &str = r#""done":true,"done_reason":"stop","total_duration":612482913,"load_duration":18293117,"prompt_eval_count":61,"prompt_eval_duration":41882300,"eval_count":32,"eval_duration":551770082"#;
const DATE: &str = "Date: Thu, 15 Jan 2026 09:30:21 GMT\r\n";

/// Answers that do not depend on the request.
pub struct Catalogue {
    /// `GET /`.
    pub hello: Vec<u8>,
    /// `HEAD /`.
    pub hello_head: Vec<u8>,
    /// `GET /api/version`.
    pub version: Vec<u8>,
    /// `GET /api/tags`.
    pub tags: Vec<u8>,
    /// `GET /api/ps`: every model is loaded.
    pub ps: Vec<u8>,
    /// `POST /api/show`, whichever the model.
    pub show: Vec<u8>,
    /// A body that is no chat request.
    pub bad_request: Vec<u8>,
    /// Any other path.
    pub not_found: Vec<u8>,
}

/// The chat answers of one model.
pub struct Answers {
    model: String,
    /// Not streamed: head and body.
    pub whole: Vec<u8>,
    first: Vec<u8>,
    middle: Vec<u8>,
    last: Vec<u8>,
    only: Vec<u8>,
}

impl Catalogue {
    /// For so many models, named by [`model_name`].
    pub fn new(models: u64) -> Self {
        let hello = message("200 OK", "text/plain; charset=utf-8", b"Ollama is running");
        let hello_head = hello[..hello.len() - b"Ollama is running".len()].to_vec();
        let tags: Vec<Value> = (0..models).map(tag).collect();
        let ps: Vec<Value> = (0..models).map(loaded).collect();
        Self {
            hello,
            hello_head,
            version: json_message("200 OK", &json!({"version": "0.12.6"})),
            tags: json_message("200 OK", &json!({ "models": tags })),
            ps: json_message("200 OK", &json!({ "models": ps })),
            show: json_message("200 OK", &show()),
            bad_request: json_message("400 Bad Request", &json!({"error": "invalid request"})),
            not_found: message("404 Not Found", "text/plain", b"404 page not found"),
        }
    }
}

impl Answers {
    /// Renders the answers of `model`.
    pub fn new(model: &str) -> Self {
        let body = chat_line(model, WORDS, COUNTS);
        let piece = chat_line(model, " gate", r#""done":false"#);
        let end = chat_line(model, "", COUNTS);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n{DATE}\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let (middle, last) = (chunk(&piece), chunk(&end));
        Self {
            model: model.to_owned(),
            whole: message("200 OK", JSON, body.as_bytes()),
            first: [head.as_bytes(), &middle].concat(),
            only: [head.as_bytes(), &last].concat(),
            middle,
            last,
        }
    }

    /// Makes these the answers of `model`; free when they are already.
    pub fn render_for(&mut self, model: &str) {
        if self.model != model {
            *self = Self::new(model);
        }
    }

    /// The bytes of one piece: with the head if it is the first, with the counts if it is the last.
    pub fn piece(&self, first: bool, last: bool) -> &[u8] {
        match (first, last) {
            (true, true) => &self.only,
            (true, false) => &self.first,
            (false, true) => &self.last,
            (false, false) => &self.middle,
        }
    }
}

/// The name of model number `index`; all are equally long.
pub fn model_name(index: u64) -> String {
    format!("bench{index:04}:latest")
}

/// Written out rather than serialised from a map, to keep Ollama's order of keys.
fn chat_line(model: &str, content: &str, end: &str) -> String {
    format!(
        r#"{{"model":"{model}","created_at":"{CREATED}","message":{{"role":"assistant","content":"{content}"}},{end}}}"#
    )
}

fn details() -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
        "parameter_size": "3.2B", "quantization_level": "Q4_K_M",
    })
}

fn tag(index: u64) -> Value {
    let name = model_name(index);
    json!({
        "name": name, "model": name, "modified_at": CREATED, "size": 2_019_393_189_u64,
        "digest": format!("{:064x}", index + 1), "details": details(),
    })
}

fn loaded(index: u64) -> Value {
    let name = model_name(index);
    json!({
        "name": name, "model": name, "size": 3_126_542_336_u64,
        "digest": format!("{:064x}", index + 1), "details": details(),
        "expires_at": "2318-04-27T09:17:08.482913657Z", "size_vram": 3_126_542_336_u64,
        "context_length": 4096,
    })
}

fn show() -> Value {
    json!({
        "details": details(), "modified_at": CREATED, "capabilities": ["completion"],
        "model_info": {"general.architecture": "llama", "llama.context_length": 131_072},
    })
}

fn json_message(status: &str, body: &Value) -> Vec<u8> {
    message(status, JSON, body.to_string().as_bytes())
}

fn message(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{DATE}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunk(line: &str) -> Vec<u8> {
    format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes()
}
