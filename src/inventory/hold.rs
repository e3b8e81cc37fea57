//! What of a server takes nothing new after an operator has said so. Pure.

use std::sync::Arc;

use super::Refused;
use crate::domain::ModelName;
use crate::fleet::Drain;

/// After one more of its models, or all of it, is to take nothing new.
pub(super) fn drained(now: &Drain, model: Option<&ModelName>) -> Drain {
    let mut models: Vec<ModelName> = now.models().to_vec();
    if let Some(model) = model
        && !models.contains(model)
    {
        models.push(model.clone());
    }
    match model.is_none() || now.is_of_all() {
        true => Drain::Everything(models.into()),
        false => Drain::of(models.into()),
    }
}

/// Of a whole server that drains, the models that drained before go on doing so.
pub(super) fn resumed(
    name: &str,
    now: &Drain,
    model: Option<&ModelName>,
) -> Result<Drain, Refused> {
    match (now, model) {
        (Drain::Everything(models), None) => Ok(Drain::of(Arc::clone(models))),
        (Drain::Everything(_), Some(_)) => Err(Refused::DrainsWhole(name.to_owned())),
        (_, None) => Ok(Drain::Nothing),
        (_, Some(model)) => {
            let rest = now.models().iter().filter(|other| *other != model);
            Ok(Drain::of(rest.cloned().collect()))
        }
    }
}
