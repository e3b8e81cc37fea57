//! What is wanted of the fleet.
//!
//! A [`Desired`] names every server there should be, whoever wants it: the configuration, an
//! operator, an agent. It is applied whole ([`Fleet::apply`](super::Fleet::apply)); what it does not
//! name is drained and removed. Applying the same again changes nothing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use thiserror::Error;

use crate::backend::Backend;
use crate::domain::ModelName;
use crate::upstream::Target;

static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// Which server: its name, and which of the servers that have had this name.
///
/// The same name with another address or kind is another server, which may serve while the former
/// one still finishes its streams.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct EndpointId {
    /// Unique among the servers that take new requests.
    pub name: Arc<str>,
    /// Unique in this process, and never reused.
    pub generation: u64,
}

/// What is wanted of one server.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: Arc<str>,
    /// Its address as configured: with the kind, what makes it this server and no other.
    pub url: Arc<str>,
    /// What may change while it serves.
    pub settings: Settings,
}

/// What may change while a server serves, without touching its streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its address and its key, for requests. Only the key may change.
    pub target: Arc<Target>,
    /// Its kind. Only what belongs to the kind may change.
    pub backend: Backend,
    /// Its share of the work; above zero.
    pub weight: f64,
    /// Its tier; lower is used first.
    pub priority: i32,
    /// Concurrent requests per model.
    pub slots: u32,
    /// What it is also called, together with others.
    pub labels: Arc<[Arc<str>]>,
    /// What of it takes nothing new for now.
    pub drain: Drain,
    /// It has the account at ollama.com.
    pub cloud: bool,
}

/// What of a server takes nothing new, though the server stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// It takes requests.
    #[default]
    Nothing,
    /// These models on it do not.
    Models(Arc<[ModelName]>),
    /// None do; these still do not when the others do again.
    Everything(Arc<[ModelName]>),
}

/// All servers there should be.
#[derive(Clone, Debug, Default)]
pub struct Desired(Arc<[Spec]>);

/// Two servers of one name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("two servers are named {0}")]
pub struct DuplicateName(pub Arc<str>);

/// What applying a [`Desired`] changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Servers that are new, or back before they were removed.
    pub added: Vec<Arc<str>>,
    /// Servers with other settings.
    pub changed: Vec<Arc<str>>,
    /// Servers that are not wanted any more. They go when their streams have ended; one whose name
    /// another has taken over serves until that has answered.
    pub removed: Vec<Arc<str>>,
}

impl EndpointId {
    pub(super) fn next(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.generation)
    }
}

impl Drain {
    /// Whether the model takes nothing new, while the server as a whole does.
    pub(super) fn is_of(&self, model: &ModelName) -> bool {
        self.models().contains(model)
    }

    /// Of these models alone.
    #[must_use]
    pub fn of(models: Arc<[ModelName]>) -> Self {
        match models.is_empty() {
            true => Self::Nothing,
            false => Self::Models(models),
        }
    }

    /// The whole server takes nothing new.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Everything(_))
    }

    /// The models that take nothing new there, whatever is the case for the whole server.
    #[must_use]
    pub fn models(&self) -> &[ModelName] {
        match self {
            Self::Models(models) | Self::Everything(models) => models,
            Self::Nothing => &[],
        }
    }
}

impl Settings {
    /// Whether it goes by this name, or has this label.
    pub(super) fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|own| **own == *label)
    }
}

impl Spec {
    /// What tells servers of one name apart is their address and their kind.
    pub(super) fn is_of(&self, name: &str, settings: &Settings) -> bool {
        let (wanted, there) = (&self.settings, settings);
        *self.name == *name
            && wanted.backend.kind() == there.backend.kind()
            && wanted.target.is_same_server(&there.target)
    }
}

impl Desired {
    /// These servers, in the order in which they are shown.
    ///
    /// # Errors
    /// [`DuplicateName`] when a name is there twice.
    pub fn new(specs: Vec<Spec>) -> Result<Self, DuplicateName> {
        let mut names = HashSet::new();
        for spec in &specs {
            if !names.insert(Arc::clone(&spec.name)) {
                return Err(DuplicateName(Arc::clone(&spec.name)));
            }
        }
        Ok(Self(specs.into()))
    }

    pub(super) fn specs(&self) -> &[Spec] {
        &self.0
    }
}
