//! Extractors: the path, the query and the body of an admin request.
//!
//! The one place where an admin call reads them, so that whatever cannot be read is refused in the
//! same form as everything else, `{"error": "…"}`, and never in that of the framework.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Problem;
use crate::http::State;
use crate::http::body::{BodyError, Small};

/// The names in the path.
pub(super) struct InPath<T>(pub(super) T);

/// The query.
pub(super) struct InQuery<T>(pub(super) T);

/// A JSON object in a body, whatever its content type says; no body is an empty one.
pub(super) struct Object(pub(super) Map<String, Value>);

impl<S, T> FromRequestParts<S> for InPath<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(wrong) => Err(Problem(wrong.status(), wrong.body_text())),
        }
    }
}

impl<S, T> FromRequestParts<S> for InQuery<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(wrong) => Err(Problem(wrong.status(), wrong.body_text())),
        }
    }
}

impl FromRequest<State> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let body = Small::from_request(request, state).await;
        let wrong = |error: BodyError| Problem(error.status(), format!("body: {error}"));
        let Small(body) = body.map_err(wrong)?;
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Problem::wrong("body: must be a JSON object")),
            Err(error) => Err(Problem::wrong(format!("body: {error}"))),
        }
    }
}
