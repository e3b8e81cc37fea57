//! Embeddings: deterministic vectors, the same on every server that has the model.
//!
//! A vector depends on the model's canonical name, the seed and the text, and on no server, so that
//! a test can compare the answers of two servers, and a router may split and join requests.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use tokio::time::{Instant, sleep};

use crate::answer::{Cut, Family, Ongoing};
use crate::catalogue::Entry;
use crate::fault::{Fault, Stage};
use crate::go::{go_object, to_vec};
use crate::node::Node;
use crate::scheduler::{KeepAlive, Want};
use crate::tokens::prompt_tokens;
use crate::wire::Body;

use super::deliver::{Whole, deliver, refuse};
use super::infer::{fail_before_first, find};
use super::model_request::{ModelRequest, Options};
use super::problem::Problem;
use super::reply::{JSON, parse, read, respond};

/// Which of the three paths was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Embed,
    Embeddings,
    OpenAi,
}

const INVALID_INPUT: &str = "invalid input type";

impl Shape {
    fn request_type(self) -> &'static str {
        match self {
            Self::Embed => "api.EmbedRequest",
            Self::Embeddings => "api.EmbeddingRequest",
            Self::OpenAi => "openai.EmbedRequest",
        }
    }

    /// The model computes no vectors; the words are the engine's.
    fn unable(self) -> Problem {
        let status = match self {
            Self::Embeddings => http::StatusCode::INTERNAL_SERVER_ERROR,
            Self::Embed | Self::OpenAi => http::StatusCode::NOT_IMPLEMENTED,
        };
        let text = "This server does not support embeddings. Start it with `--embeddings`";
        Problem::new(status, text)
    }
}

go_object! {
    struct Request {
        model: String = "model",
        input: Input = "input",
        prompt: String = "prompt",
        dimensions: Option<usize> = "dimensions",
        keep_alive: Option<KeepAlive> = "keep_alive",
        options: Options = "options",
    }
}

/// A text or texts.
#[derive(Clone, Debug, Default)]
struct Input {
    texts: Vec<String>,
    /// It was one text, and empty.
    is_empty_text: bool,
}

/// Answers any path that embeds.
pub async fn embed(node: &Arc<Node>, shape: Shape, body: Incoming) -> Response<Body> {
    let family = match shape {
        Shape::OpenAi => Family::OpenAi,
        _ => Family::Ollama,
    };
    let answer = async {
        let begun = Instant::now();
        let body = read(body).await?;
        vectors(node, shape, parse(&body, shape.request_type())?, begun).await
    };
    answer
        .await
        .unwrap_or_else(|problem: Problem| problem.respond(family))
}

async fn vectors(
    node: &Arc<Node>,
    shape: Shape,
    request: Request,
    begun: Instant,
) -> Result<Response<Body>, Problem> {
    let entry = find(node, &request.model).ok_or_else(|| {
        let text = format!("model {:?} not found, try pulling it first", request.model);
        Problem::new(http::StatusCode::NOT_FOUND, text)
    })?;
    node.apply_arrival_faults(Some(&entry.name)).await;
    let with_options = ModelRequest {
        options: request.options,
        ..ModelRequest::default()
    };
    let want = Want {
        signature: with_options.signature(&entry.model, node.config.context),
        keep_alive: request.keep_alive,
        entry: entry.clone(),
    };
    let inputs = match shape {
        Shape::Embeddings => Some(request.prompt)
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
        Shape::Embed => request.input.texts,
        Shape::OpenAi if request.input.is_empty_text => vec![String::new()],
        Shape::OpenAi if request.input.texts.is_empty() => {
            return Err(Problem::bad_request("invalid input"));
        }
        Shape::OpenAi => request.input.texts,
    };
    if !inputs.is_empty() && !entry.model.embeds {
        return Err(shape.unable());
    }
    let length = request
        .dimensions
        .unwrap_or(usize::MAX)
        .min(entry.model.embedding_length)
        .max(1);

    if inputs.is_empty() {
        // It is loaded, and that is all.
        refuse(node, &entry)?;
        drop(node.scheduler.lease(want).await.map_err(Problem::from)?);
        let empty = write(shape, &request.model, &[], (0, 0), 0);
        return Ok(respond(http::StatusCode::OK, JSON, Body::whole(empty)));
    }
    let mut ongoing = Ongoing::begin(entry.clone());
    let scheduled = async {
        refuse(node, &entry)?;
        node.scheduler.lease(want).await.map_err(Problem::from)
    };
    let lease = scheduled.await.inspect_err(|_| ongoing.fail())?;
    let obtained = Instant::now();
    ongoing.occupy(lease);
    let fault = node.faults.take(Stage::Answer, Some(&entry.name));
    fail_before_first(node, &mut ongoing, fault.as_ref()).await?;
    let tokens = read_inputs(node, &mut ongoing, &inputs).await;

    let vector = |text: &String| unit_vector(&entry, node.config.seed, text, length);
    let vectors: Vec<_> = inputs.iter().map(vector).collect();
    let durations = (nanos(begun, Instant::now()), nanos(begun, obtained));
    let bytes: Bytes = write(shape, &request.model, &vectors, durations, tokens).into();
    let response = deliver(Whole {
        content_type: JSON,
        bytes: &|_| bytes.clone(),
        ongoing,
        tokens: (tokens, 0),
        cut: fault.as_ref().and_then(Cut::of).map(|cut| cut.how),
    })
    .await?;
    Ok(match fault {
        Some(Fault::Trickle { every }) => response.map(|body| body.trickling(every)),
        _ => response,
    })
}

/// Reads all inputs, each in a slot of its own while there are any. Returns their tokens.
async fn read_inputs(node: &Node, ongoing: &mut Ongoing, inputs: &[String]) -> u64 {
    let Some(lease) = ongoing.lease() else {
        return 0;
    };
    let reads = inputs.iter().filter_map(|input| {
        let mut seat = lease.share()?;
        let tokens = prompt_tokens([input.as_str()]);
        let time = node
            .config
            .time_for(tokens, node.config.prefill_tokens_per_second);
        Some(async move {
            seat.slot().await;
            if !time.is_zero() {
                sleep(time).await;
            }
            tokens
        })
    });
    join_all(reads).await.into_iter().sum()
}

fn write(
    shape: Shape,
    model: &str,
    vectors: &[Vec<f32>],
    (total_duration, load_duration): (u64, u64),
    tokens: u64,
) -> Vec<u8> {
    match shape {
        Shape::Embed => to_vec(&Embeddings {
            model,
            embeddings: vectors,
            total_duration: Some(total_duration).filter(|_| !vectors.is_empty()),
            load_duration: Some(load_duration).filter(|_| !vectors.is_empty()),
            prompt_eval_count: Some(tokens).filter(|&tokens| tokens > 0),
        }),
        Shape::Embeddings => {
            // The old path does not normalise; a length other than 1 tells the two apart.
            let stretched =
                |vector: &Vec<f32>| vector.iter().map(|x| f64::from(*x) * 2.0).collect();
            to_vec(&OldEmbedding {
                embedding: vectors.first().map(stretched).unwrap_or_default(),
            })
        }
        Shape::OpenAi => to_vec(&List {
            object: "list",
            data: vectors
                .iter()
                .enumerate()
                .map(|(index, embedding)| Datum {
                    object: "embedding",
                    embedding,
                    index,
                })
                .collect(),
            model,
            usage: Usage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        }),
    }
}

#[derive(Serialize)]
struct Embeddings<'a> {
    model: &'a str,
    embeddings: &'a [Vec<f32>],
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
}

#[derive(Serialize)]
struct OldEmbedding {
    embedding: Vec<f64>,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Datum<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Datum<'a> {
    object: &'static str,
    embedding: &'a [f32],
    index: usize,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

fn unit_vector(entry: &Entry, seed: u64, text: &str, length: usize) -> Vec<f32> {
    let mut hash = DefaultHasher::new();
    hash.write(entry.name.as_str().as_bytes());
    hash.write_u64(seed);
    hash.write(text.as_bytes());
    let mut random = fastrand::Rng::with_seed(hash.finish());
    let vector: Vec<f32> = (0..length).map(|_| random.f32() * 2.0 - 1.0).collect();
    let norm = vector
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    vector.into_iter().map(|x| x / norm).collect()
}

/// At least 1: a duration of 0 would be left out of the JSON.
fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Input;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Input, E> {
                let text = Some(text.to_owned()).filter(|text| !text.is_empty());
                Ok(Input {
                    is_empty_text: text.is_none(),
                    texts: text.into_iter().collect(),
                })
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Input, E> {
                Err(E::custom(INVALID_INPUT))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Input, E> {
                Err(E::custom(INVALID_INPUT))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Input, E> {
                Err(E::custom(INVALID_INPUT))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Input, E> {
                Err(E::custom(INVALID_INPUT))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(Input {
                    texts,
                    is_empty_text: false,
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
