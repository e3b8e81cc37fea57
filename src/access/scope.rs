//! What a caller may see: the models it may use, where it may use them.

use std::sync::Arc;

use super::caller::{Caller, Party};
use super::{Access, Refused};
use crate::domain::ModelName;

/// The models that lists and counts show to one caller.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Everyone with a say in it; none: everything.
    parties: Vec<Party>,
}

impl Scope {
    /// All there is.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.parties.is_empty()
    }

    /// The servers that the caller may use: of each list, one name or label has to be theirs.
    #[must_use]
    pub fn servers(&self) -> Vec<Arc<[String]>> {
        self.parties.iter().filter_map(Party::servers).collect()
    }

    /// Whether the caller may use the model, wherever it is.
    #[must_use]
    pub fn shows(&self, model: &ModelName) -> bool {
        self.parties
            .iter()
            .all(|party| party.permits(model).is_ok())
    }
}

impl Access {
    /// What the caller may see.
    ///
    /// # Errors
    /// [`Refused`], when it may use nothing at all.
    pub fn scope(&self, caller: &Caller) -> Result<Scope, Refused> {
        let view = self.0.register.view();
        let mut parties = caller.parties(&view, &self.0.known, None, &[]);
        for party in &parties {
            party.is_open()?;
        }
        parties.retain(Party::is_limited);
        Ok(Scope { parties })
    }
}
