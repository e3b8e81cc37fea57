//! What tokens cost, changed while routers run: what is set here counts before the configuration's.

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{InPath, Object, Outcome, Problem, Route, answer};
use crate::clock;
use crate::domain::{ModelName, Price, Rate};
use crate::http::State;
use crate::store::Saved;

const ALL: &str = "/admin/prices";
/// Model names have slashes in them.
const ONE: &str = "/admin/prices/{*model}";

/// What a model is to cost, in nano-USD per million tokens.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewPrice")]
struct NewPrice {
    /// The path says which model; this is for those who send back what they were shown.
    #[serde(default)]
    #[expect(dead_code, reason = "taken, so that an answer may be sent back")]
    model: String,
    #[serde(default)]
    input_nano_usd: u64,
    /// Without it cached tokens cost what others do.
    cached_input_nano_usd: Option<u64>,
    #[serde(default)]
    output_nano_usd: u64,
}

/// What a model costs, in nano-USD per million tokens.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Price")]
struct Shown {
    model: String,
    input_nano_usd: u64,
    cached_input_nano_usd: u64,
    output_nano_usd: u64,
}

/// All prices.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PriceList")]
struct Listed {
    items: Vec<Shown>,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, "Lists the prices that are set here", list).gives::<Listed>(),
        Route::put(
            ONE,
            "Sets a model's price, for every request that ends from now on",
            set,
        )
        .takes::<NewPrice>()
        .gives::<Shown>()
        .tells("set price"),
        Route::delete(
            ONE,
            "Takes a price back; the configuration's counts again",
            unset,
        )
        .tells("take back price"),
    ]
}

async fn list(Shared(state): Shared<State>) -> Outcome {
    let prices = state.store.prices().await?;
    let items = prices
        .iter()
        .map(|(model, price)| shown(model, price))
        .collect();
    Ok(answer(StatusCode::OK, &Listed { items }))
}

async fn set(
    Shared(state): Shared<State>,
    InPath(named): InPath<String>,
    Object(object): Object,
) -> Outcome {
    let model = name(&named)?;
    let new: NewPrice = serde_json::from_value(Value::Object(object))
        .map_err(|error| Problem::wrong(error.to_string()))?;
    let rate = |nano: u64| {
        let wrong = || Problem::wrong("a price must be at most a dollar a token");
        Rate::from_nano_usd_per_million(nano).ok_or_else(wrong)
    };
    let price = Price {
        input: rate(new.input_nano_usd)?,
        cached_input: rate(new.cached_input_nano_usd.unwrap_or(new.input_nano_usd))?,
        output: rate(new.output_nano_usd)?,
    };
    save(&state, model.clone(), Some(price)).await?;
    Ok(answer(StatusCode::OK, &shown(&model, &price)))
}

async fn unset(Shared(state): Shared<State>, InPath(named): InPath<String>) -> Outcome {
    let model = name(&named)?;
    match save(&state, model.clone(), None).await? {
        Saved::As(_) => Ok(answer(
            StatusCode::OK,
            &serde_json::json!({ "deleted": model.as_str() }),
        )),
        _ => Err(Problem::missing(format!("no price of '{model}' is set"))),
    }
}

async fn save(state: &State, model: ModelName, price: Option<Price>) -> Result<Saved, Problem> {
    let store = state.store.clone();
    let work = async move { store.save_price(&model, price, clock::unix_seconds()).await };
    let saved = state.in_background(work).await??;
    if let Err(error) = state.access.refresh().await {
        tracing::warn!(%error, "a price is saved and does not count yet");
    }
    Ok(saved)
}

fn name(named: &str) -> Result<ModelName, Problem> {
    ModelName::parse_any(named)
        .map_err(|_| Problem::wrong(format!("\"{named}\" is not a model's name")))
}

fn shown(model: &ModelName, price: &Price) -> Shown {
    Shown {
        model: model.to_string(),
        input_nano_usd: price.input.nano_usd_per_million(),
        cached_input_nano_usd: price.cached_input.nano_usd_per_million(),
        output_nano_usd: price.output.nano_usd_per_million(),
    }
}
