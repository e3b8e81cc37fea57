//! Why a request is refused before any server sees it.
//!
//! The messages are Ollama's where Ollama has one, so that clients and people find the messages
//! they know. Where the JSON is broken serde says what and where; that is more than Go's
//! decoder says, and no client matches on it.

use http::StatusCode;

/// A request that no server would take, or that two readers would understand differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Nothing, or only white space.
    #[error("missing request body")]
    MissingBody,
    /// The body is not text. As Ollama reads it all the same, it is [settled](super::settle()) first.
    #[error("invalid UTF-8 in request body at byte {0}")]
    NotUtf8(usize),
    /// The body ends inside its value.
    #[error("unexpected EOF")]
    Truncated,
    /// The body is not JSON. Says what and at which line and column.
    #[error("invalid JSON in request body: {0}")]
    NotJson(String),
    /// Nested deeper than Go's decoder follows.
    #[error("exceeded max depth")]
    TooDeep,
    /// JSON, but no object.
    #[error("json: cannot unmarshal {found} into Go value of type {package}.{request}")]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
        /// The package of what it should be read as.
        package: &'static str,
        /// What it should be read as.
        request: &'static str,
    },
    /// A value of the wrong type under a key that decides the route.
    #[error("json: cannot unmarshal {found} into Go struct field {request}.{key} of type {wanted}")]
    WrongType {
        /// What it is.
        found: &'static str,
        /// What the object is read as.
        request: &'static str,
        /// The key, in lower case.
        key: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A key that decides the route has two values, in whatever case: the router might follow
    /// one and the server the other, and then slots and spend are counted for the wrong model. So the
    /// body is [settled](super::settle()) first.
    #[error("\"{0}\" must not be given twice")]
    Repeated(&'static str),
    /// Something follows the object, which Ollama does not look at, and others refuse. So it is [cut
    /// off](super::settle()) first.
    #[error("invalid JSON in request body: something follows the object")]
    Followed,
    /// A form that cannot be read, or that could be read in two ways.
    #[error("failed to parse multipart form: {0}")]
    Form(&'static str),
    /// No model, or an empty one.
    #[error("model is required")]
    ModelRequired,
}

impl BadRequest {
    pub(in crate::protocol) fn not_json(error: &serde_json::Error) -> Self {
        match error.is_eof() {
            true => Self::Truncated,
            false => Self::NotJson(error.to_string()),
        }
    }

    /// Whether Ollama takes such a body all the same.
    #[must_use]
    pub const fn can_be_settled(&self) -> bool {
        matches!(self, Self::NotUtf8(_) | Self::Repeated(_) | Self::Followed)
    }

    /// The status to answer with: 400, whichever it is.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}
