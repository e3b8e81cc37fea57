//! What request `n` asks for, what a whole answer to it says, and what of it is in some bytes.

use herdsman_simulator::prompt_tokens;
use serde_json::{Value, json};

use super::servers::{LONGEST, MODELS, Priced};

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    OpenAi,
    OpenAiStream,
    Ollama,
    OllamaStream,
}

pub const WAYS: [Way; 4] = [
    Way::OpenAi,
    Way::OpenAiStream,
    Way::Ollama,
    Way::OllamaStream,
];

/// Request `n`. Everything about it follows from its number.
#[derive(Debug)]
pub struct Ask {
    n: u64,
    pub way: Way,
    pub model: &'static Priced,
    /// Which of the keys it has.
    pub key: usize,
    /// Its client leaves after the first piece of the answer.
    pub leaves: bool,
    output: u64,
}

impl Ask {
    pub fn of(n: u64, keys: usize) -> Self {
        let (count, nth) = (keys as u64, |part: u64, of: u64| (n / part) % of);
        Self {
            n,
            way: WAYS[nth(1, 4) as usize],
            model: &MODELS[nth(4, 3) as usize],
            key: nth(12, count) as usize,
            leaves: nth(1, 41) == 40,
            output: 1 + nth(1, LONGEST),
        }
    }

    /// Which request this is a name of.
    pub fn number(name: &str) -> Option<u64> {
        name.strip_prefix('r')?.parse().ok()
    }

    /// Its own payer: nobody else's requests are charged to it.
    pub fn payer(&self) -> (&'static str, String) {
        let kind = match self.way {
            Way::OpenAi | Way::OpenAiStream => "end_user",
            Way::Ollama | Way::OllamaStream => "tag",
        };
        (kind, format!("r{}", self.n))
    }

    /// The tag that it shares with others.
    pub fn shared_tag(&self) -> String {
        format!("lot-{}", self.n % 5)
    }

    pub fn path(&self) -> &'static str {
        match self.way {
            Way::OpenAi | Way::OpenAiStream => "/v1/chat/completions",
            Way::Ollama | Way::OllamaStream => "/api/chat",
        }
    }

    pub fn tags(&self) -> String {
        match self.payer() {
            ("tag", name) => format!("{}, {name}", self.shared_tag()),
            _ => self.shared_tag(),
        }
    }

    pub fn body(&self) -> Value {
        let messages = json!([{"role": "user", "content": self.prompt()}]);
        let (model, limit) = (self.model.name, self.output);
        let (_, name) = self.payer();
        match self.way {
            Way::OpenAi => json!({"model": model, "messages": messages, "max_tokens": limit,
                "user": name}),
            Way::OpenAiStream => json!({"model": model, "messages": messages, "max_tokens": limit,
                "user": name, "stream": true, "stream_options": {"include_usage": true}}),
            way => json!({"model": model, "messages": messages,
                "options": {"num_predict": limit}, "stream": way == Way::OllamaStream}),
        }
    }

    fn prompt(&self) -> String {
        let length = usize::try_from(self.n % 61).unwrap();
        format!("count me: {}", "baa ".repeat(length))
    }

    /// Tokens read and written by a whole answer.
    pub fn tokens(&self) -> [i64; 2] {
        let input = prompt_tokens([self.prompt().as_str()]);
        [input, self.output].map(|tokens| i64::try_from(tokens).unwrap())
    }

    /// Tokens read and written that this answer says, if it has its end.
    pub fn told(&self, answer: &[u8]) -> Option<[i64; 2]> {
        let text = std::str::from_utf8(answer).ok()?;
        let of = |json: &Value, read: &str, written: &str| {
            Some([json[read].as_i64()?, json[written].as_i64()?])
        };
        match self.way {
            Way::OpenAi => {
                let whole: Value = serde_json::from_str(text).ok()?;
                of(&whole["usage"], "prompt_tokens", "completion_tokens")
            }
            Way::OpenAiStream => {
                let mut events = text.lines().filter_map(|line| line.strip_prefix("data: "));
                let mut usage = None;
                let ended = events.any(|event| {
                    let json: Value = serde_json::from_str(event).unwrap_or_default();
                    usage = usage.or(of(&json["usage"], "prompt_tokens", "completion_tokens"));
                    event == "[DONE]"
                });
                usage.filter(|_| ended)
            }
            Way::Ollama | Way::OllamaStream => {
                let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
                let done = last["done"] == true;
                of(&last, "prompt_eval_count", "eval_count").filter(|_| done)
            }
        }
    }
}
