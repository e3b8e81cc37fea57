//! The loader's choice for the request at its head, pure.

use crate::name::ModelName;

use super::{KeepAlive, Signature};

/// A loaded runner as the choice sees it.
#[derive(Clone, Debug)]
pub struct Occupant<'a> {
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
    /// This runner has the model with other options: it must go.
    Reload(usize),
    /// There is no room: this runner must go.
    Evict(usize),
    /// There is room.
    Load,
}

/// Decides; asked again whenever something has changed. The victim for room is an idle one, then
/// the one with the shortest time to stay, then the first by name.
pub fn decide(
    occupants: &[Occupant<'_>],
    name: &ModelName,
    signature: &Signature,
    bytes: u64,
    room: Room,
) -> Decision {
    if let Some(at) = occupants.iter().position(|occupant| occupant.name == name) {
        return if occupants[at].signature == *signature {
            Decision::Use(at)
        } else {
            Decision::Reload(at)
        };
    }
    let used = occupants
        .iter()
        .fold(bytes, |sum, occupant| sum.saturating_add(occupant.bytes));
    let crowded = occupants.len() >= room.models.max(1) || used > room.bytes;
    let victim = || {
        let order = |occupant: &Occupant<'_>| (occupant.busy, occupant.keep_alive);
        (0..occupants.len()).min_by(|&a, &b| {
            let (a, b) = (&occupants[a], &occupants[b]);
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(b.name))
        })
    };
    match crowded.then(victim).flatten() {
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

    fn occupant(name: &ModelName, busy: bool, keep_alive: i64, bytes: u64) -> Occupant<'_> {
        Occupant {
            name,
            signature: Signature::with_context(4096),
            busy,
            keep_alive: KeepAlive(keep_alive),
            bytes,
        }
    }

    fn choose(occupants: &[Occupant<'_>], name: &ModelName, bytes: u64) -> Decision {
        decide(occupants, name, &Signature::with_context(4096), bytes, ROOM)
    }

    #[test]
    fn the_same_options_share_a_runner_and_others_replace_it() {
        let names = names();
        let loaded = [occupant(&names[0], true, 5, 10)];
        assert_eq!(choose(&loaded, &names[0], 10), Decision::Use(0));
        let other = Signature::with_context(8192);
        assert_eq!(
            decide(&loaded, &names[0], &other, 10, ROOM),
            Decision::Reload(0)
        );
    }

    #[test]
    fn idle_goes_before_busy_and_the_shortest_stay_before_longer_ones() {
        let names = names();
        let loaded = [
            occupant(&names[0], true, 1, 10),
            occupant(&names[1], false, 9, 10),
            occupant(&names[2], false, 5, 10),
        ];
        assert_eq!(choose(&loaded, &names[3], 10), Decision::Evict(2));
        let busy = [
            occupant(&names[0], true, 9, 10),
            occupant(&names[1], true, 5, 90),
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
                sizes.iter().zip(&names).map(|(&size, name)| occupant(name, false, 0, size)).collect();
            let sum: u64 = sizes.iter().sum();
            let fits = sum + bytes <= ROOM.bytes;
            let decision = choose(&loaded, &names[3], bytes);
            prop_assert_eq!(decision == Decision::Load, fits || loaded.is_empty());
        }
    }
}
