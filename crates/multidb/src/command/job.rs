//! What is executed: one command, or a pipeline of them.

use redis::{Cmd, Pipeline, RedisResult, Value};

use crate::member::Wire;
use crate::outcome::{self, Effect, Outcome};
use crate::repeat::{self, Verb};

/// Something to be sent and whose answer is classified.
pub(crate) trait Job: Copy + Send {
    /// What comes back.
    type Answer: Send;

    /// All commands in it.
    fn commands(&self) -> impl Iterator<Item = &Cmd>;

    /// Sends it once.
    fn send(self, wire: Wire) -> impl Future<Output = RedisResult<Self::Answer>> + Send;

    /// Whether nothing about this answer is worth a second look.
    fn is_plain_success(answer: &RedisResult<Self::Answer>) -> bool;

    /// What this answer says about the database, and whether the job had any effect.
    fn classify(&self, answer: &RedisResult<Self::Answer>) -> (Outcome, Effect);

    /// Whether it may be repeated when it is not known whether it was carried out.
    fn may_repeat(&self) -> bool;

    /// The failure among the answers, for a log.
    fn error_text(answer: &RedisResult<Self::Answer>) -> String;

    /// Whether it is several commands, each of which is carried out or not.
    fn is_non_atomic(&self) -> bool;

    /// Whether a cluster sends parts of it to several nodes.
    fn is_spread(&self) -> bool {
        self.commands().any(repeat::is_spread)
    }

    /// For a log: names, no arguments.
    fn names(&self) -> String {
        const ENOUGH: usize = 8;
        let names = self
            .commands()
            .take(ENOUGH)
            .map(|cmd| Verb::of(cmd).to_text());
        let mut names: Vec<String> = names.collect();
        if self.commands().count() > ENOUGH {
            names.push("…".to_owned());
        }
        names.join(" ")
    }
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single<'a> {
    pub(crate) cmd: &'a Cmd,
    /// The caller says it may be repeated.
    pub(crate) idempotent: bool,
}

/// A pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Many<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) offset: usize,
    pub(crate) count: usize,
    /// The caller says it may be repeated.
    pub(crate) idempotent: bool,
}

impl Job for Single<'_> {
    type Answer = Value;

    fn commands(&self) -> impl Iterator<Item = &Cmd> {
        std::iter::once(self.cmd)
    }

    async fn send(self, mut wire: Wire) -> RedisResult<Value> {
        wire.send(self.cmd).await
    }

    fn is_plain_success(answer: &RedisResult<Value>) -> bool {
        !matches!(answer, Err(_) | Ok(Value::ServerError(_)))
    }

    fn classify(&self, answer: &RedisResult<Value>) -> (Outcome, Effect) {
        match answer {
            // A refusal is an answer: nothing was done.
            Ok(value) => (outcome::of_value(value), Effect::None),
            Err(error) => outcome::of_error(error),
        }
    }

    fn may_repeat(&self) -> bool {
        self.idempotent || repeat::may_repeat(self.cmd)
    }

    fn is_non_atomic(&self) -> bool {
        false
    }

    fn error_text(answer: &RedisResult<Value>) -> String {
        match answer {
            Ok(Value::ServerError(error)) => error.to_string(),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }
}

impl Job for Many<'_> {
    type Answer = Vec<Value>;

    fn commands(&self) -> impl Iterator<Item = &Cmd> {
        self.pipeline.cmd_iter()
    }

    async fn send(self, mut wire: Wire) -> RedisResult<Vec<Value>> {
        wire.send_all(self.pipeline, self.offset, self.count).await
    }

    fn is_plain_success(answer: &RedisResult<Vec<Value>>) -> bool {
        answer.as_ref().is_ok_and(|values| {
            !values
                .iter()
                .any(|value| matches!(value, Value::ServerError(_)))
        })
    }

    fn classify(&self, answer: &RedisResult<Vec<Value>>) -> (Outcome, Effect) {
        match answer {
            Ok(values) => outcome::of_values(values),
            Err(error) => outcome::of_error(error),
        }
    }

    fn may_repeat(&self) -> bool {
        self.idempotent && !self.pipeline.is_transaction() || repeat::may_repeat_all(self.pipeline)
    }

    fn is_non_atomic(&self) -> bool {
        !self.pipeline.is_transaction() && self.pipeline.len() > 1
    }

    fn error_text(answer: &RedisResult<Vec<Value>>) -> String {
        match answer {
            Ok(values) => {
                let mut errors = values.iter().filter_map(|value| match value {
                    Value::ServerError(error) => Some(error.to_string()),
                    _ => None,
                });
                errors.next().unwrap_or_default()
            }
            Err(error) => error.to_string(),
        }
    }
}
