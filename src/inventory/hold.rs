//! What of a server takes nothing new after an operator has said so. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Refused;
use crate::domain::ModelName;
use crate::fleet::Drain;
use crate::store::{DrainChange, DrainRow};

/// Stands for all models.
const EVERYTHING: &str = "*";

/// A drain as it is stored: its models, and `*` if it is of everything.
pub(super) fn written(drain: &Drain) -> Vec<&str> {
    let everything = drain.is_of_all().then_some(EVERYTHING);
    let models = drain.models().iter().map(ModelName::as_str);
    everything.into_iter().chain(models).collect()
}

/// And back. The error: what is not understood.
pub(super) fn read<T: AsRef<str>>(names: &[T]) -> Result<Drain, String> {
    let names = names.iter().map(AsRef::as_ref);
    let (everything, models): (Vec<&str>, Vec<&str>) = names.partition(|name| *name == EVERYTHING);
    let model = |name: &str| ModelName::parse_any(name).map_err(|_| name.to_owned());
    let models: Arc<[ModelName]> = models.into_iter().map(model).collect::<Result<_, _>>()?;
    Ok(match everything.is_empty() {
        true => Drain::of(models),
        false => Drain::Everything(models),
    })
}

/// What is stored, by server. Of one with a row that is not understood, everything drains: less is used than might be.
pub(super) fn all(rows: &[DrainRow]) -> BTreeMap<String, Drain> {
    let mut names: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for row in rows {
        names.entry(&row.name).or_default().push(&row.model);
    }
    let drain = |(name, models): (&String, Vec<&String>)| {
        let drain = read(&models).unwrap_or_else(|_| Drain::Everything([].into()));
        (name.clone(), drain)
    };
    names.into_iter().map(drain).collect()
}

/// What has to be stored for one to become the other.
pub(super) fn change(name: &str, lasting: bool, before: &Drain, after: &Drain) -> DrainChange {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (
        written(before).into_iter().collect(),
        written(after).into_iter().collect(),
    );
    let owned = |models: &BTreeSet<&str>, but: &BTreeSet<&str>| -> Vec<String> {
        let rest = models.difference(but);
        rest.map(|model| (*model).to_owned()).collect()
    };
    DrainChange {
        name: name.to_owned(),
        lasting,
        begin: owned(&after, &before),
        end: owned(&before, &after),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(models: &[&str]) -> Drain {
        read(models).unwrap()
    }

    #[test]
    fn what_is_stored_is_what_differs() {
        for (before, after, begin, end) in [
            (&[][..], &["*"][..], &["*"][..], &[][..]),
            (&["a:latest"], &["*", "a:latest"], &["*"], &[]),
            (&["*", "a:latest"], &["a:latest"], &[], &["*"]),
            (&["a:latest"], &["b:latest"], &["b:latest"], &["a:latest"]),
            (&["a:latest"], &["a:latest"], &[], &[]),
        ] {
            let change = change("gpu", true, &drain(before), &drain(after));
            assert_eq!((&*change.begin, &*change.end), (&*own(begin), &*own(end)));
            assert!(change.lasting && change.name == "gpu");
        }
    }

    fn own(models: &[&str]) -> Vec<String> {
        models.iter().map(|model| (*model).to_owned()).collect()
    }

    #[test]
    fn what_is_not_understood_drains_its_server_and_no_other() {
        let row = |name: &str, model: &str| DrainRow {
            name: name.to_owned(),
            model: model.to_owned(),
        };
        let rows = [row("a", "b:latest"), row("a", "c:latest"), row("x", " ")];
        let all = all(&rows);
        assert_eq!(all["a"], drain(&["b:latest", "c:latest"]));
        assert_eq!(all["x"], Drain::Everything([].into()));
    }
}
