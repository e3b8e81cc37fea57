//! From a server as it is written to one as the fleet takes it.

use std::sync::Arc;

use thiserror::Error;

use crate::backend::Backend;
use crate::config::{Endpoint, Kind, Slots};
use crate::fleet::{Desired, Drain, DuplicateName, Settings, Spec};
use crate::upstream::{InvalidTarget, Target};

/// Why a server that can be written down cannot be used.
#[derive(Debug, Error)]
pub enum InvalidEndpoint {
    /// Its address or key.
    #[error("endpoint {0}: {1}")]
    Target(String, InvalidTarget),
    /// A kind that this version does not support.
    #[error("endpoints of kind {0} are not available in this version")]
    Kind(&'static str),
    /// It is there twice.
    #[error(transparent)]
    Name(#[from] DuplicateName),
}

/// The servers of a configuration, all of which take requests.
///
/// # Errors
/// [`InvalidEndpoint`] when one of them cannot be used.
pub fn desired(endpoints: &[Endpoint], slots: Slots) -> Result<Desired, InvalidEndpoint> {
    let spec = |endpoint| spec(endpoint, slots, Drain::Nothing);
    let specs = endpoints.iter().map(spec).collect::<Result<_, _>>()?;
    Ok(Desired::new(specs)?)
}

pub(super) fn spec(
    endpoint: &Endpoint,
    slots: Slots,
    drain: Drain,
) -> Result<Spec, InvalidEndpoint> {
    let target = Target::new(&endpoint.root(), endpoint.api_key.expose())
        .map_err(|error| InvalidEndpoint::Target(endpoint.name.clone(), error))?;
    let labels = endpoint.labels.iter();
    Ok(Spec {
        name: endpoint.name.as_str().into(),
        url: endpoint.url.as_str().into(),
        settings: Settings {
            target: Arc::new(target),
            backend: backend(endpoint)?,
            weight: endpoint.weight,
            priority: endpoint.priority,
            slots: endpoint.slots.or(slots).get(),
            labels: labels.map(|label| label.as_str().into()).collect(),
            cloud: endpoint.cloud,
            drain,
        },
    })
}

fn backend(endpoint: &Endpoint) -> Result<Backend, InvalidEndpoint> {
    match endpoint.kind {
        Kind::OpenAi => Ok(Backend::openai(&endpoint.models)),
        Kind::Ollama => Ok(Backend::Ollama),
        Kind::LlamaServer => Err(InvalidEndpoint::Kind(endpoint.kind.as_str())),
    }
}
