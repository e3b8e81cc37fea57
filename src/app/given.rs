//! What other modules are given of a configuration, at the start and when it is read again.

use std::sync::Arc;

use crate::config::{Config, Pull};
use crate::domain::{ModelName, Price};
use crate::fleet::{Alias, AliasTarget, Aliases};
use crate::gateway::ModelTerms;
use crate::models::Spread;
use crate::replicas::Kept;

/// The names are valid: loading has checked them.
pub(super) fn aliases(config: &Config) -> Aliases {
    let target = |written: &String| {
        let name = ModelName::parse_any(written).ok()?;
        let spelling = written.as_str().into();
        Some(AliasTarget { name, spelling })
    };
    let alias = |alias: &crate::config::Alias| {
        let name = ModelName::parse_any(&alias.name).ok()?;
        let targets = alias.models.iter().filter_map(target).collect();
        let spelling = alias.name.as_str().into();
        Some((name, Alias { spelling, targets }))
    };
    config.alias.iter().filter_map(alias).collect()
}

/// Which servers get a model.
pub(super) fn spread(config: &Config) -> Spread {
    match config.models.pull {
        Pull::All => Spread::All,
        Pull::Some(count) => Spread::Some(count.get().try_into().unwrap_or(usize::MAX)),
    }
}

pub(super) fn prices(config: &Config) -> Vec<(ModelName, Price)> {
    let price = |price: &crate::config::Price| (price.model.clone(), price.rates());
    config.price.iter().map(price).collect()
}

/// What holds for single models.
pub(super) fn terms(config: &Config) -> Vec<ModelTerms> {
    let terms = |model: &crate::config::Model| ModelTerms {
        model: model.name.clone(),
        within: within(model),
        keep_alive: model.keep_alive.clone(),
        num_ctx: (model.num_ctx > 0).then_some(model.num_ctx),
    };
    config.model.iter().map(terms).collect()
}

/// The models that are kept loaded.
pub(super) fn kept(config: &Config) -> Vec<Kept> {
    let kept = config.model.iter().filter(|model| model.replicas > 0);
    kept.map(|model| Kept {
        model: model.name.clone(),
        replicas: usize::try_from(model.replicas).unwrap_or(usize::MAX),
        within: within(model),
        keep_alive: model.keep_alive.clone(),
        num_ctx: (model.num_ctx > 0).then_some(model.num_ctx),
        priority: model.priority,
    })
    .collect()
}

fn within(model: &crate::config::Model) -> Option<Arc<[String]>> {
    (!model.endpoints.is_empty()).then(|| model.endpoints.clone().into())
}
