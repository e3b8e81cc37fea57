//! A chat request, rendered once and renumbered in place.
//!
//! No two requests are the same conversation: a router that remembers conversations has the cost of
//! each of them, as it would with real clients.

use std::net::SocketAddr;

use crate::plan::Ask;

const MODEL: &str = "bench";
const CONVERSATION: &str = "Conversation ";

/// The bytes of a request with room for its numbers.
pub struct Request {
    bytes: Vec<u8>,
    model: usize,
    conversation: usize,
}

impl Request {
    /// What `ask` asks the server at `address`.
    pub fn new(address: SocketAddr, ask: Ask) -> Self {
        let (stream, tokens, pace_ms) = match ask {
            Ask::Whole => (false, 32, 0),
            Ask::Stream { tokens, pace_ms } => (true, tokens, pace_ms),
        };
        let body = format!(
            r#"{{"model":"{MODEL}0000:latest","messages":[{{"role":"system","content":"You look after sheep and answer in one sentence."}},{{"role":"user","content":"{CONVERSATION}0000000000: how does a shepherd with many dogs make sure that every gate is watched and none is watched twice?"}}],"stream":{stream},"options":{{"num_predict":{tokens},"pace_ms":{pace_ms}}}}}"#
        );
        let head = format!(
            "POST /api/chat HTTP/1.1\r\nHost: {address}\r\nUser-Agent: herdsman-load\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let number_after = |word: &str| head.len() + body.find(word).unwrap_or(0) + word.len();
        Self {
            model: number_after(MODEL),
            conversation: number_after(CONVERSATION),
            bytes: (head + &body).into_bytes(),
        }
    }

    /// The bytes, as conversation number `serial` with model number `model`.
    pub fn numbered(&mut self, serial: u64, model: u64) -> &[u8] {
        write_digits(&mut self.bytes[self.model..][..4], model);
        write_digits(&mut self.bytes[self.conversation..][..10], serial);
        &self.bytes
    }
}

fn write_digits(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
