//! Label sets. Their values are shared strings, so that looking one up allocates nothing.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::domain::ModelName;

/// `{endpoint}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabel {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
}

/// `{model}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabel {
    /// The canonical model name.
    pub model: ModelName,
}

/// `{endpoint, model}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PairLabels {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The canonical model name.
    pub model: ModelName,
}

/// `{endpoint, model, path, status}`. Endpoint and model are empty for requests that never got as
/// far as a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The endpoint's name, or empty.
    pub endpoint: Arc<str>,
    /// The canonical model name if the fleet has it, or empty.
    pub model: Arc<str>,
    /// The path of the API.
    pub path: &'static str,
    /// The status the client got.
    pub status: u16,
}

/// `{endpoint, model, direction}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The canonical model name.
    pub model: ModelName,
    /// `input` or `output`.
    pub direction: &'static str,
}

impl EncodeLabelValue for ModelName {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}
