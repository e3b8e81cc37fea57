//! What a request asks for, in any dialect.

use bytes::Bytes;
use serde_json::Value;

use crate::Model;
use crate::answer::Dialect;
use crate::go::go_object;
use crate::scheduler::{KeepAlive, Signature};

use super::loose::{Content, Image, Input, PartedMessage, Think};
use super::problem::Problem;
use super::reply::parse;

/// One generation, or a load, or an unload.
#[derive(Debug, Default)]
pub struct ModelRequest {
    /// The client's own spelling.
    pub model: String,
    /// What the prompt consists of, in order; see `tokens::prompt_tokens`.
    pub parts: Vec<String>,
    /// Nothing is asked: load the model, or unload it.
    pub empty: bool,
    pub stream: bool,
    pub options: Options,
    pub shift: Option<bool>,
    pub keep_alive: Option<KeepAlive>,
    /// Whether it may think, if it said so.
    pub think: bool,
    /// A tool to be called: offered, and not just answered by one.
    pub tool: Option<String>,
    /// Whether it offers tools at all.
    pub offers_tools: bool,
    pub usage: bool,
    pub raw: bool,
    /// `format`, as it came.
    pub format: Option<Value>,
    /// How many alternatives of each token, where the answer has them.
    pub logprobs: Option<f64>,
    pub has_images: bool,
    pub has_suffix: bool,
    /// A prompt that is too long is refused.
    pub whole_prompt: bool,
    /// `instructions` of `/v1/responses`.
    pub instructions: Option<String>,
}

go_object! {
    /// `options`, as far as they matter here.
    pub struct Options {
        num_ctx: Option<f64> = "num_ctx",
        num_batch: Option<f64> = "num_batch",
        num_gpu: Option<f64> = "num_gpu",
        main_gpu: Option<f64> = "main_gpu",
        use_mmap: Option<bool> = "use_mmap",
        num_thread: Option<f64> = "num_thread",
        draft_num_predict: Option<f64> = "draft_num_predict",
        num_predict: Option<f64> = "num_predict",
    }
}

go_object! {
    struct Chat {
        model: String = "model",
        messages: Vec<Message> = "messages",
        tools: Vec<Tool> = "tools",
        options: Options = "options",
        stream: Option<bool> = "stream",
        keep_alive: Option<KeepAlive> = "keep_alive",
        think: Option<Think> = "think",
        shift: Option<bool> = "shift",
        format: Option<Value> = "format",
        logprobs: bool = "logprobs",
        top_logprobs: f64 = "top_logprobs",
        truncate: Option<bool> = "truncate",
    }
}

go_object! {
    struct Message {
        role: String = "role",
        content: String = "content",
        images: Vec<Image> = "images",
    }
}

go_object! {
    struct Generate {
        model: String = "model",
        prompt: String = "prompt",
        suffix: String = "suffix",
        system: String = "system",
        template: String = "template",
        context: Vec<f64> = "context",
        images: Vec<Image> = "images",
        format: Option<Value> = "format",
        logprobs: bool = "logprobs",
        top_logprobs: f64 = "top_logprobs",
        truncate: Option<bool> = "truncate",
        raw: bool = "raw",
        options: Options = "options",
        stream: Option<bool> = "stream",
        keep_alive: Option<KeepAlive> = "keep_alive",
        think: Option<Think> = "think",
        shift: Option<bool> = "shift",
    }
}

go_object! {
    /// `/v1/chat/completions`, `/v1/messages` and `/v1/responses` together: their keys do not clash.
    struct Modern {
        model: String = "model",
        messages: Vec<PartedMessage> = "messages",
        input: Input = "input",
        system: Content = "system" | "instructions",
        tools: Vec<Tool> = "tools",
        stream: bool = "stream",
        stream_options: StreamOptions = "stream_options",
        limit: Option<f64> = "max_tokens" | "max_output_tokens",
        newer_limit: Option<f64> = "max_completion_tokens",
        reasoning_effort: String = "reasoning_effort",
        logprobs: bool = "logprobs",
        top_logprobs: f64 = "top_logprobs",
    }
}

go_object! {
    struct Completion {
        model: String = "model",
        prompt: String = "prompt",
        suffix: String = "suffix",
        stream: bool = "stream",
        stream_options: StreamOptions = "stream_options",
        limit: Option<f64> = "max_tokens",
    }
}

go_object! {
    struct StreamOptions { include_usage: bool = "include_usage", }
}

go_object! {
    struct Tool { function: Function = "function", name: String = "name", }
}

go_object! {
    struct Function { name: String = "name", }
}

impl ModelRequest {
    /// Reads a body.
    pub fn read(dialect: Dialect, body: &Bytes) -> Result<Self, Problem> {
        match dialect {
            Dialect::Chat => parse(body, "api.ChatRequest").map(Self::chat),
            Dialect::Generate => Self::generate(parse(body, "api.GenerateRequest")?),
            Dialect::OpenAiText => parse(body, "openai.CompletionRequest").map(Self::completion),
            Dialect::OpenAiChat => {
                Self::modern(dialect, parse(body, "openai.ChatCompletionRequest")?)
            }
            Dialect::Messages => Self::modern(dialect, parse(body, "anthropic.MessagesRequest")?),
            Dialect::Responses => Self::modern(dialect, parse(body, "openai.ResponsesRequest")?),
        }
    }

    /// The options a loaded runner must have for this request.
    pub fn signature(&self, model: &Model, context: u64) -> Signature {
        let options = &self.options;
        let context = options
            .num_ctx
            .map_or(context, |own| whole(own).unsigned_abs());
        let default = Signature::with_context(context.clamp(4, model.context_length.max(4)));
        let or = |own: Option<f64>, default| own.map_or(default, whole);
        Signature {
            num_batch: or(options.num_batch, default.num_batch),
            num_gpu: or(options.num_gpu, default.num_gpu),
            main_gpu: or(options.main_gpu, default.main_gpu),
            use_mmap: options.use_mmap,
            num_thread: or(options.num_thread, default.num_thread),
            draft_num_predict: or(options.draft_num_predict, default.draft_num_predict),
            shift: self.shift.unwrap_or(default.shift),
            ..default
        }
    }

    /// The most tokens it may have, where something limits them: `num_predict` if positive, and
    /// ten contexts in any case.
    pub fn limit(&self, context: u64) -> usize {
        let most = usize::try_from(context.saturating_mul(10)).unwrap_or(usize::MAX);
        let own = self.options.num_predict.map(whole).filter(|own| *own > 0);
        own.and_then(|own| usize::try_from(own).ok())
            .map_or(most, |own| own.min(most))
    }

    fn chat(body: Chat) -> Self {
        let answered = body
            .messages
            .last()
            .is_some_and(|message| message.role == "tool");
        Self {
            model: body.model,
            format: body.format,
            logprobs: body.logprobs.then_some(body.top_logprobs),
            whole_prompt: body.truncate == Some(false),
            has_images: body
                .messages
                .iter()
                .any(|message| !message.images.is_empty()),
            empty: body.messages.is_empty(),
            parts: body
                .messages
                .into_iter()
                .map(|message| message.content)
                .collect(),
            stream: body.stream.unwrap_or(true),
            options: body.options,
            shift: body.shift,
            keep_alive: body.keep_alive,
            think: body.think.is_some_and(|think| think.0),
            offers_tools: !body.tools.is_empty(),
            tool: first_tool(body.tools, answered),
            ..Self::default()
        }
    }

    fn generate(body: Generate) -> Result<Self, Problem> {
        let adds = !(body.template.is_empty() && body.system.is_empty() && body.context.is_empty());
        if body.raw && adds {
            return Err(Problem::bad_request(
                "raw mode does not support template, system, or context",
            ));
        }
        Ok(Self {
            model: body.model,
            format: body.format,
            logprobs: body.logprobs.then_some(body.top_logprobs),
            whole_prompt: body.truncate == Some(false),
            has_images: !body.images.is_empty(),
            has_suffix: !body.suffix.is_empty(),
            empty: body.prompt.is_empty(),
            parts: parts(body.system, body.prompt, body.suffix),
            stream: body.stream.unwrap_or(true),
            options: body.options,
            shift: body.shift,
            keep_alive: body.keep_alive,
            think: body.think.is_some_and(|think| think.0),
            raw: body.raw,
            ..Self::default()
        })
    }

    fn completion(body: Completion) -> Self {
        Self {
            model: body.model,
            empty: body.prompt.is_empty(),
            has_suffix: !body.suffix.is_empty(),
            parts: parts(String::new(), body.prompt, body.suffix),
            stream: body.stream,
            usage: body.stream_options.include_usage,
            options: limited(body.limit),
            ..Self::default()
        }
    }

    fn modern(dialect: Dialect, body: Modern) -> Result<Self, Problem> {
        let messages = match dialect {
            Dialect::Responses => body.input.0,
            _ => body.messages,
        };
        if dialect == Dialect::Messages && body.limit.is_none_or(|limit| limit <= 0.0) {
            return Err(Problem::bad_request(
                "max_tokens is required and must be positive",
            ));
        }
        // Without input, a model is only loaded.
        if messages.is_empty() && dialect != Dialect::Responses {
            return Err(Problem::bad_request(match dialect {
                Dialect::Messages => "messages is required",
                _ => "[] is too short - 'messages'",
            }));
        }
        let images = messages
            .iter()
            .filter_map(|message| message.content.image.as_ref());
        if images.clone().any(|url| !url.starts_with("data:")) {
            return Err(Problem::bad_request(
                "image URLs are not currently supported, please use base64 encoded data instead",
            ));
        }
        let has_images = images.count() > 0;
        let answered = messages
            .last()
            .is_some_and(|message| message.role == "tool");
        let system = Some(body.system.text).filter(|system| !system.is_empty());
        Ok(Self {
            model: body.model,
            empty: messages.is_empty(),
            instructions: system.clone(),
            has_images,
            think: !matches!(body.reasoning_effort.as_str(), "" | "none"),
            logprobs: body.logprobs.then_some(body.top_logprobs),
            parts: system
                .into_iter()
                .chain(messages.into_iter().map(|message| message.content.text))
                .collect(),
            stream: body.stream,
            usage: body.stream_options.include_usage,
            options: limited(body.newer_limit.or(body.limit)),
            offers_tools: !body.tools.is_empty(),
            tool: first_tool(body.tools, answered),
            ..Self::default()
        })
    }
}

fn parts(system: String, prompt: String, suffix: String) -> Vec<String> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    some(system)
        .into_iter()
        .chain([prompt])
        .chain(some(suffix))
        .collect()
}

fn limited(limit: Option<f64>) -> Options {
    Options {
        num_predict: limit,
        ..Options::default()
    }
}

/// The first tool that a request offers is called, unless a tool has just answered.
fn first_tool(tools: Vec<Tool>, answered: bool) -> Option<String> {
    let tool = tools.into_iter().next().filter(|_| !answered)?;
    Some(if tool.function.name.is_empty() {
        tool.name
    } else {
        tool.function.name
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "Go's own conversion; `as` saturates"
)]
fn whole(number: f64) -> i64 {
    number as i64
}
