//! `/api/…` as Ollama answers it: inference goes to one server, lists come from the fleet's caches.

mod account;
mod inference;
mod lists;
mod models;

use axum::Router;
use axum::routing::get;

pub(super) use inference::{answer, elsewhere};
pub(super) use models::{forwarded, is_managing};

use super::State;
use crate::protocol::{Api, Dialect};

pub(super) fn routes() -> Router<State> {
    let router = Router::new()
        .merge(models::routes())
        .route("/", get(lists::root))
        .route("/api/version", get(lists::version))
        .route("/api/tags", get(lists::tags))
        .route("/api/ps", get(lists::ps).head(lists::no_head))
        .merge(account::routes());
    Api::ALL
        .into_iter()
        .filter(|api| api.dialect() == Dialect::Ollama)
        .fold(router, |router, api| {
            router.route(api.path(), inference::elsewhere())
        })
}
