//! Names that stand for other models.
//!
//! An alias names its models in order of preference, and never another alias; whoever makes one has checked that.
//! Which of them is used is decided for each request, from the view: the first that a server which is up has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::view::FleetView;
use crate::domain::ModelName;

/// Every alias there should be, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<ModelName, Alias>);

/// What one name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name as the operator wrote it, for lists.
    pub spelling: Box<str>,
    /// Its models, the preferred one first; never empty.
    pub targets: Arc<[AliasTarget]>,
}

/// One model of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasTarget {
    /// The model.
    pub name: ModelName,
    /// As the operator wrote it: so it is sent to servers, which repeat it in their answers.
    pub spelling: Arc<str>,
}

impl Aliases {
    /// What this name stands for, if it is an alias.
    #[must_use]
    pub fn get(&self, name: &ModelName) -> Option<&Alias> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelName, &Alias)> {
        self.0.iter()
    }
}

impl FromIterator<(ModelName, Alias)> for Aliases {
    fn from_iter<I: IntoIterator<Item = (ModelName, Alias)>>(aliases: I) -> Self {
        let named = aliases.into_iter();
        Self(
            named
                .filter(|(_, alias)| !alias.targets.is_empty())
                .collect(),
        )
    }
}

impl FleetView {
    /// The names that stand for other models.
    #[must_use]
    pub fn aliases(&self) -> &Arc<Aliases> {
        &self.aliases
    }

    /// Of these models of an alias the first that a server which is up has.
    #[must_use]
    pub fn served<'a>(&self, targets: &'a [AliasTarget]) -> Option<&'a AliasTarget> {
        let is_served = |target: &&AliasTarget| {
            let holders = self.models.get(&target.name).map(|model| model.holders());
            holders.is_some_and(|mut holders| holders.any(|holder| holder.endpoint.is_up()))
        };
        targets.iter().find(is_served)
    }

    /// Whether a list shows `model` to whom these models are `shown`: an alias to whom one of its models is.
    pub fn shows(&self, model: &ModelName, shown: impl Fn(&ModelName) -> bool) -> bool {
        match self.aliases.get(model) {
            Some(alias) => alias.targets.iter().any(|target| shown(&target.name)),
            None => shown(model),
        }
    }
}
