//! What a caller may see: the models it may use.

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

    /// Whether the caller may use the model.
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
