//! What every owner of metrics shares: label types, buckets with their reason, the encoding.
//!
//! There is no global registry and no list of metrics here: whoever owns a number registers it in
//! the [`Registry`] that `app` hands out, so that a metric is found beside the code that changes it.
//! Labels are bounded by the configuration and the servers' catalogues, never by what clients
//! send.

mod buckets;
mod labelled;
mod labels;

use prometheus_client::encoding::text::encode;
pub use prometheus_client::registry::Registry;

pub use buckets::{ANSWER_SECONDS, OVERHEAD_SECONDS, WAIT_SECONDS, histogram};
pub use labelled::Labelled;
pub use labels::{EndpointLabel, ModelLabel, PairLabels, RequestLabels, TokenLabels};

/// The prefix of every metric.
pub const PREFIX: &str = "herdsman";

/// The prefix of the few metrics that are shown under LiteLLM's names too, on request.
pub const LITELLM_PREFIX: &str = "litellm";

/// The content type of [`render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text format that a scraper reads.
///
/// # Errors
/// When a collector fails to encode itself.
pub fn render(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::with_capacity(16 << 10);
    encode(&mut text, registry)?;
    Ok(text)
}
