//! One generation, from the request to its response, in Ollama's order: validation, lookup,
//! schedule and load, slot, prompt, then the first byte.
//!
//! Dropping the future at any point gives everything back; that happens when the client leaves.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use crate::answer::{Cut, Dialect, Metrics, Ongoing, Pace, Reason, Script, Stream, Times, number};
use crate::catalogue::Entry;
use crate::fault::{Fault, Stage};
use crate::go;
use crate::name::ModelName;
use crate::node::Node;
use crate::scheduler::{KeepAlive, Want};
use crate::tokens::prompt_tokens;
use crate::wire::Body;

use super::check::{check, fits, no_cloud};
use super::deliver::{Whole, deliver, refuse};
use super::model_request::ModelRequest;
use super::problem::Problem;
use super::reply::{json, read, respond};

/// Answers any path that generates.
pub async fn infer(node: &Arc<Node>, dialect: Dialect, body: Incoming) -> Response<Body> {
    let answer = async {
        let begun = Instant::now();
        let request = ModelRequest::read(dialect, &read(body).await?)?;
        generate(node, dialect, request, begun).await
    };
    answer
        .await
        .unwrap_or_else(|problem| problem.respond(dialect.family()))
}

async fn generate(
    node: &Arc<Node>,
    dialect: Dialect,
    request: ModelRequest,
    begun: Instant,
) -> Result<Response<Body>, Problem> {
    // Chats are all one handler, which looks at the name first.
    if !matches!(dialect, Dialect::Generate | Dialect::OpenAiText) {
        if request.model.trim().is_empty() {
            return Err(Problem::bad_request("model is required"));
        }
        if ModelName::parse(&request.model).is_err() {
            return Err(Problem::bad_request("invalid model name"));
        }
    }
    if let Some(refused) = no_cloud(&request.model, "remote model is unavailable") {
        return Ok(refused);
    }
    let entry = find(node, &request.model).ok_or_else(|| Problem::no_model(&request.model))?;
    node.apply_arrival_faults(Some(&entry.name)).await;
    check(dialect, &request, &entry)?;
    if request.empty && request.keep_alive == Some(KeepAlive(0)) {
        let shared = node.scheduler.loaded_as(entry.clone());
        node.scheduler.unload(&shared.name).await;
        return Ok(no_text(node, dialect, &request, &entry, "unload"));
    }
    let signature = request.signature(&entry.model, node.config.context);
    if request.whole_prompt {
        fits(&request, signature.num_ctx)?;
    }
    let want = Want {
        signature,
        keep_alive: request.keep_alive,
        entry: entry.clone(),
    };
    if request.empty {
        refuse(node, &entry)?;
        let lease = node.scheduler.lease(want).await.map_err(Problem::from)?;
        let response = no_text(node, dialect, &request, &entry, "load");
        drop(lease);
        return Ok(response);
    }

    let mut ongoing = Ongoing::begin(entry.clone());
    let failed = |ongoing: &mut Ongoing, problem: Problem| {
        ongoing.fail();
        problem
    };
    refuse(node, &entry).map_err(|problem| failed(&mut ongoing, problem))?;
    let lease = node.scheduler.lease(want).await;
    let mut lease = lease.map_err(|refusal| failed(&mut ongoing, refusal.into()))?;
    let obtained = Instant::now();
    let busy = lease.slot().await;
    let slot_at = Instant::now();
    ongoing.occupy(lease);
    let prompt_tokens = prompt_tokens(request.parts.iter().map(String::as_str));
    let cached = read_prompt(node, &mut ongoing, &request.parts, prompt_tokens).await;
    let cached = node.config.cached_counts.then_some(cached);
    let fault = node.faults.take(Stage::Answer, Some(&entry.name));
    fail_before_first(node, &mut ongoing, fault.as_ref()).await?;
    let times = Times {
        begun,
        obtained,
        slot_at,
        read: Instant::now(),
    };

    let script = script(
        node,
        dialect,
        &request,
        entry,
        (prompt_tokens, cached),
        signature.num_ctx,
    );
    let cut = fault.as_ref().and_then(Cut::of);
    let interval = node.config.interval(busy);
    let response = if request.stream {
        let due = times.read + interval;
        if !interval.is_zero() && cut.is_none_or(|cut| cut.after > 0) {
            // The head comes with the first token.
            sleep_until(due).await;
        }
        let pace = Pace::new(interval, due);
        let stream = Stream::new(script, ongoing, node.clock, times, pace, cut);
        respond(
            StatusCode::OK,
            dialect.stream_type(),
            Body::Pieces(Box::new(stream)),
        )
    } else {
        let tokens = script.tokens;
        let written = cut.map_or(tokens, |cut| cut.after.min(tokens));
        if !interval.is_zero() {
            ongoing.decodes(times.read, interval, written);
            let steps = u32::try_from(written).unwrap_or(u32::MAX);
            sleep_until(times.read + interval.saturating_mul(steps)).await;
        }
        let ended = Instant::now();
        let metrics = Metrics::of(&times, ended, (prompt_tokens, cached), tokens as u64);
        let wall = node.clock.wall(ended);
        deliver(Whole {
            content_type: dialect.whole_type(),
            bytes: &|done| script.whole(wall, &metrics, written, done),
            ongoing,
            tokens: (prompt_tokens, tokens as u64),
            cut: cut.map(|cut| cut.how),
        })
        .await?
    };
    Ok(match fault {
        Some(Fault::Trickle { every }) => response.map(|body| body.trickling(every)),
        _ => response,
    })
}

/// The model, unless there is none or the catalogue is stale.
pub fn find(node: &Node, spelling: &str) -> Option<Arc<Entry>> {
    let entry = node.catalogue.load().find(spelling)?.clone();
    let stale = node.faults.take(Stage::Lookup, Some(&entry.name)).is_some();
    (!stale).then_some(entry)
}

/// Takes the time of reading a prompt, less what the runner has read before; returns how much that is,
/// where it matters.
pub async fn read_prompt(node: &Node, ongoing: &mut Ongoing, parts: &[String], tokens: u64) -> u64 {
    let speed = node.config.prefill_tokens_per_second;
    if speed <= 0.0 && !node.config.cached_counts {
        return 0;
    }
    let cached = ongoing
        .lease()
        .map_or(0, |lease| lease.runner().cached_tokens(parts));
    if speed <= 0.0 {
        return cached;
    }
    let until = Instant::now() + node.config.time_for(tokens.saturating_sub(cached), speed);
    if node.config.cancel_after_prefill {
        ongoing.reads_until(until, &node.tasks);
    }
    sleep_until(until).await;
    ongoing.has_read();
    cached
}

/// Faults in place of the first token.
pub async fn fail_before_first(
    node: &Node,
    ongoing: &mut Ongoing,
    fault: Option<&Fault>,
) -> Result<(), Problem> {
    let text = match fault {
        Some(Fault::InternalError) => "an error was encountered while running the model",
        Some(Fault::OutOfMemory) => {
            node.scheduler.unload_all();
            "llama-server: CUDA error: out of memory"
        }
        Some(Fault::Crash { .. }) => {
            node.scheduler.unload(&ongoing.entry().name).await;
            return Ok(());
        }
        Some(Fault::LeakSlot) => {
            ongoing.leak();
            return Ok(());
        }
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => {
            ongoing.fail();
            return Err(Problem::verbatim(*status, headers, body));
        }
        _ => return Ok(()),
    };
    ongoing.fail();
    Err(Problem::internal(text))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn script(
    node: &Node,
    dialect: Dialect,
    request: &ModelRequest,
    entry: Arc<Entry>,
    (prompt_tokens, cached_tokens): (u64, Option<u64>),
    context: u64,
) -> Script {
    let natural = entry.model.predict.unwrap_or(node.config.default_predict);
    let limit = request.limit(context);
    let tokens = natural.min(limit);
    let generation = node.number();
    let mut model = Vec::with_capacity(request.model.len() + 2);
    go::quote(&mut model, &request.model);
    let mut mark = Vec::with_capacity(node.config.node.len() + 12);
    go::escape(&mut mark, &node.config.node);
    mark.push(b'-');
    number(&mut mark, generation);
    mark.push(b'-');
    Script {
        dialect,
        entry,
        model,
        mark,
        request: generation,
        created: node.clock.unix(),
        tokens,
        thinking: if request.think { tokens.div_ceil(4) } else { 0 },
        tool: request.tool.as_ref().map(|tool| {
            let mut quoted = Vec::with_capacity(tool.len() + 2);
            go::quote(&mut quoted, tool);
            quoted
        }),
        usage: request.usage,
        context: !request.raw,
        reason: if limit <= natural {
            Reason::Length
        } else {
            Reason::Stop
        },
        prompt_tokens,
        cached_tokens,
        logprobs: request.logprobs.map(|top| top as usize),
        instructions: request.instructions.as_ref().map(|text| {
            let mut quoted = Vec::with_capacity(text.len() + 2);
            go::quote(&mut quoted, text);
            quoted
        }),
        limit: request.options.num_predict.map(|limit| limit as u64),
    }
}

/// The single object that answers a load or an unload, also when a stream was asked for.
fn no_text(
    node: &Node,
    dialect: Dialect,
    request: &ModelRequest,
    entry: &Arc<Entry>,
    reason: &str,
) -> Response<Body> {
    if !matches!(dialect, Dialect::Chat | Dialect::Generate) {
        let empty = Script {
            tokens: 0,
            reason: Reason::Load,
            ..script(node, dialect, request, entry.clone(), (0, None), 0)
        };
        let body = empty.whole(0, &Metrics::NOTHING, 0, true);
        return respond(StatusCode::OK, dialect.whole_type(), Body::whole(body));
    }
    let model = &request.model;
    let mut moment = Vec::with_capacity(30);
    go::rfc3339_nano(&mut moment, node.clock.wall(Instant::now()));
    let created_at = String::from_utf8_lossy(&moment);
    let chat = dialect == Dialect::Chat;
    json(&Loaded {
        model,
        created_at: &created_at,
        message: chat.then_some(EmptyMessage {
            role: "assistant",
            content: "",
        }),
        response: (!chat).then_some(""),
        done: true,
        done_reason: (!node.config.old_shapes).then_some(reason),
    })
}

#[derive(serde::Serialize)]
struct Loaded<'a> {
    model: &'a str,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<EmptyMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct EmptyMessage {
    role: &'static str,
    content: &'static str,
}
