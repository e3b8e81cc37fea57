//! Extractors: the path, the query and the body of an admin request.
//!
//! The one place where an admin call reads them, so that whatever cannot be read is refused in the
//! same form as everything else, `{"error": "…"}`, and never in that of the framework.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Problem;

/// The names in the path.
pub(super) struct InPath<T>(pub(super) T);

/// The query.
pub(super) struct InQuery<T>(pub(super) T);

/// A JSON object in a body, whatever its content type says; no body is an empty one.
pub(super) struct Object(pub(super) Map<String, Value>);

/// No account is larger.
const MOST_BYTES: usize = 1 << 20;

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

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = axum::body::to_bytes(request.into_body(), MOST_BYTES).await;
        let body = body.map_err(|error| Problem::wrong(format!("body: {error}")))?;
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
