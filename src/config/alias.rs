//! `[[alias]]`: one name for several models, of which the first that can be served is used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::validate::{Faults, NOT_A_MODEL};
use crate::domain::ModelName;

/// One name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Alias {
    /// What clients ask for, and are shown in lists.
    pub name: String,
    /// What they get, in order of preference; none of them is an alias.
    #[serde(default)]
    pub models: Vec<String>,
}

/// One name stands for models and never for another alias: so none leads to itself, and what a name means can be
/// read in one place.
pub(super) fn check(aliases: &[Alias], faults: &mut Faults) {
    let names: Vec<_> = aliases
        .iter()
        .map(|alias| ModelName::parse_any(&alias.name).ok())
        .collect();
    for (at, (alias, name)) in aliases.iter().zip(&names).enumerate() {
        let key = format!("alias.{at}");
        if name.is_none() {
            faults.add(format!("{key}.name"), NOT_A_MODEL);
        }
        if alias.models.is_empty() {
            faults.add(format!("{key}.models"), "must name at least one model");
        }
        let models = alias.models.iter().map(|model| ModelName::parse_any(model));
        let mut seen = BTreeMap::new();
        for (place, model) in models.enumerate() {
            let key = format!("{key}.models.{place}");
            let Ok(model) = model else {
                faults.add(key, NOT_A_MODEL);
                continue;
            };
            let named = names.iter().position(|name| name.as_ref() == Some(&model));
            match (named, seen.insert(model.clone(), place)) {
                (Some(itself), _) if itself == at => faults.add(key, "is the alias itself"),
                (Some(other), _) => {
                    let what =
                        format!("{model} is an alias itself (alias.{other}): name its models");
                    faults.add(key, what);
                }
                (None, Some(_)) => faults.add(key, format!("{model} is named twice")),
                (None, None) => {}
            }
        }
    }
    let names = names.iter().enumerate();
    let written = names.map(|(at, name)| match name {
        Some(name) => name.to_string(),
        None => format!("alias.{at}"),
    });
    faults.unless_unique("alias", "name", written);
}
