//! What a request is refused for when its model is known, in Ollama's words and its engine's.

use http::{Response, StatusCode};
use serde_json::Value;

use crate::answer::{Dialect, Family};
use crate::catalogue::Entry;
use crate::name::ModelName;
use crate::tokens::most_tokens;
use crate::wire::Body;

use super::model_request::ModelRequest;
use super::problem::Problem;

/// Whether the model can do what is asked of it.
pub fn check(dialect: Dialect, request: &ModelRequest, entry: &Entry) -> Result<(), Problem> {
    let model = &request.model;
    if !entry.model.can("completion") && !request.empty {
        let what = match dialect {
            Dialect::Generate | Dialect::OpenAiText => "generate",
            _ => "chat",
        };
        return Err(Problem::bad_request(format!(
            "{model:?} does not support {what}"
        )));
    }
    if request.think && !entry.model.can("thinking") {
        return Err(Problem::bad_request(format!(
            "{model:?} does not support thinking"
        )));
    }
    let lacks = |what: &str| {
        let text = format!("{} does not support {what}", entry.name.full());
        Err(Problem::bad_request(text))
    };
    if request.offers_tools && !entry.model.can("tools") {
        return lacks("tools");
    }
    if request.has_suffix && !entry.model.can("insert") {
        return lacks("insert");
    }
    if request
        .logprobs
        .is_some_and(|top| !(0.0..=20.0).contains(&top))
    {
        return Err(Problem::bad_request(
            "top_logprobs must be between 0 and 20",
        ));
    }
    check_format(request.format.as_ref())?;
    if request.has_images && !entry.model.can("vision") {
        return Err(match dialect {
            Dialect::Generate => Problem::bad_request(ENGINE_NO_IMAGES),
            _ => Problem::internal(ENGINE_NO_IMAGE),
        });
    }
    Ok(())
}

/// The engine's own errors, which Ollama passes on as they are.
const ENGINE_NO_IMAGES: &str = r#"{"error":{"code":400,"message":"Multimodal data provided, but model does not support multimodal requests.","type":"invalid_request_error"}}"#;
pub const ENGINE_NO_IMAGE: &str = r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#;

fn check_format(format: Option<&Value>) -> Result<(), Problem> {
    match format {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(Value::String(text)) if text.is_empty() || text == "json" => Ok(()),
        Some(other) => Err(Problem::internal(format!(
            "invalid format: {:?}; expected \"json\" or a valid JSON Schema object",
            other.to_string()
        ))),
    }
}

/// Refuses a prompt that is longer than the context, in the engine's words.
pub fn fits(request: &ModelRequest, context: u64) -> Result<(), Problem> {
    let tokens = most_tokens(request.parts.iter().map(String::as_str));
    if tokens <= context {
        return Ok(());
    }
    Err(Problem::bad_request(format!(
        "{{\"error\":{{\"code\":400,\"message\":\"request ({tokens} tokens) exceeds the available \
         context size ({context} tokens), try increasing it\",\
         \"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":{tokens},\"n_ctx\":{context}}}}}"
    )))
}

/// What is answered for a model that only Ollama's cloud has, in every dialect alike.
pub fn no_cloud(model: &str, what: &str) -> Option<Response<Body>> {
    let name = ModelName::parse(model).ok()?;
    name.is_cloud().then(|| {
        let text = format!("ollama cloud is disabled: {what}");
        Problem::new(StatusCode::FORBIDDEN, text).respond(Family::Ollama)
    })
}
