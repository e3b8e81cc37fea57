//! `/v1/…` as OpenAI's clients expect it, and Anthropic's.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;

use super::error::Refusal;
use super::visible::Visible;
use super::{State, json, ollama};
use crate::domain::ModelName;
use crate::protocol::{Api, Dialect, with_tag};

pub(super) fn routes() -> Router<State> {
    let router = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model));
    Api::ALL
        .into_iter()
        .filter(|api| api.dialect() != Dialect::Ollama)
        .fold(router, |router, api| {
            router.route(api.path(), ollama::elsewhere())
        })
}

async fn models(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let view = state.gateway.fleet().view();
    let models = match scope.is_everything() {
        true => view.openai_models(),
        false => view.openai_models_of(|model| scope.shows(model)),
    };
    json(StatusCode::OK, models)
}

/// Unlike Ollama's own, this finds names with a namespace too. One that no server lists may be new on
/// one: they are asked before the answer is no.
async fn model(
    Shared(state): Shared<State>,
    Visible(scope): Visible,
    Path(named): Path<String>,
) -> Response {
    let fleet = state.gateway.fleet();
    let name = ModelName::parse_any(&named).ok();
    let view = fleet.view();
    let name = name.filter(|model| view.shows(model, |model| scope.shows(model)));
    let find = || fleet.view().openai_model(name.as_ref()?, &named);
    let mut known = find();
    if let (None, Some(name)) = (&known, &name) {
        fleet.relist(|view| view.model(name).is_some()).await;
        known = find();
    }
    match known {
        Some(body) => json(StatusCode::OK, body),
        None => {
            let text = format!("model '{}' not found", with_tag(&named));
            Refusal::openai(StatusCode::NOT_FOUND, text).into_response()
        }
    }
}
