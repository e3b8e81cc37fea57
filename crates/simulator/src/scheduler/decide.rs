//! The loader's choice for the request at its head, pure.

use crate::name::ModelName;

use super::{KeepAlive, Signature};

/// A loaded runner as the choice sees it.
#[derive(Clone, Debug)]
pub struct LoadedModel<'a> {
    pub name: &'a ModelName,
    pub signature: Signature,
    pub busy: bool,
    pub keep_alive: KeepAlive,
    pub bytes: u64,
}

/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub models: usize,
    pub bytes: u64,
}

/// What to do next for the request at the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This runner serves it.
    Use(usize),
    /// This runner has the model with other options: it must be unloaded.
    Reload(usize),
    /// There is no room: this runner must be unloaded.
    Evict(usize),
    /// There is room.
    Load,
}

/// Decides; asked again whenever something has changed. The victim is an idle one, then
/// the one with the shortest `keep_alive`, then the first by name.
pub fn decide(
    loaded_models: &[LoadedModel<'_>],
    name: &ModelName,
    signature: &Signature,
    bytes: u64,
    room: Room,
) -> Decision {
    if let Some(at) = loaded_models
        .iter()
        .position(|loaded_model| loaded_model.name == name)
    {
        return if loaded_models[at].signature == *signature {
            Decision::Use(at)
        } else {
            Decision::Reload(at)
        };
    }
    let used = loaded_models.iter().fold(bytes, |sum, loaded_model| {
        sum.saturating_add(loaded_model.bytes)
    });
    let full = loaded_models.len() >= room.models.max(1) || used > room.bytes;
    let victim = || {
        let order = |loaded_model: &LoadedModel<'_>| (loaded_model.busy, loaded_model.keep_alive);
        (0..loaded_models.len()).min_by(|&a, &b| {
            let (a, b) = (&loaded_models[a], &loaded_models[b]);
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(b.name))
        })
    };
    match full.then(victim).flatten() {
        Some(at) => Decision::Evict(at),
        None => Decision::Load,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: Room = Room {
        models: 3,
        bytes: 100,
    };

    fn names() -> Vec<ModelName> {
        ["a", "b", "c", "d"]
            .map(|text| ModelName::parse(text).unwrap())
            .to_vec()
    }

    fn loaded_model(name: &ModelName, busy: bool, keep_alive: i64, bytes: u64) -> LoadedModel<'_> {
        LoadedModel {
            name,
            signature: Signature::with_context(4096),
            busy,
            keep_alive: KeepAlive(keep_alive),
            bytes,
        }
    }

    fn choose(loaded_models: &[LoadedModel<'_>], name: &ModelName, bytes: u64) -> Decision {
        decide(
            loaded_models,
            name,
            &Signature::with_context(4096),
            bytes,
            ROOM,
        )
    }

    #[test]
    fn the_same_options_share_a_runner_and_others_replace_it() {
        let names = names();
        let loaded = [loaded_model(&names[0], true, 5, 10)];
        assert_eq!(choose(&loaded, &names[0], 10), Decision::Use(0));
        let other = Signature::with_context(8192);
        assert_eq!(
            decide(&loaded, &names[0], &other, 10, ROOM),
            Decision::Reload(0)
        );
    }

    #[test]
    fn idle_is_evicted_before_busy_and_the_shortest_keep_alive_before_longer_ones() {
        let names = names();
        let loaded = [
            loaded_model(&names[0], true, 1, 10),
            loaded_model(&names[1], false, 9, 10),
            loaded_model(&names[2], false, 5, 10),
        ];
        assert_eq!(choose(&loaded, &names[3], 10), Decision::Evict(2));
        let busy = [
            loaded_model(&names[0], true, 9, 10),
            loaded_model(&names[1], true, 5, 90),
        ];
        assert_eq!(choose(&busy, &names[3], 10), Decision::Evict(1));
    }

    proptest! {
        #[test]
        fn what_does_not_fit_is_loaded_only_when_it_is_alone(
            sizes in prop::collection::vec(0_u64..120, 0..3), bytes in 0_u64..300,
        ) {
            let names = names();
            let loaded: Vec<_> =
                sizes.iter().zip(&names).map(|(&size, name)| loaded_model(name, false, 0, size)).collect();
            let sum: u64 = sizes.iter().sum();
            let fits = sum + bytes <= ROOM.bytes;
            let decision = choose(&loaded, &names[3], bytes);
            prop_assert_eq!(decision == Decision::Load, fits || loaded.is_empty());
        }
    }
}
