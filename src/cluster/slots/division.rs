//! How one pool is divided among the routers that want it. `rule.lua` has the same functions.

use std::sync::Arc;

/// A share that has a slot more than its even part keeps it until another is owed more than this, in
/// slot-milliseconds: each move costs a moment in which the slot is idle.
const INERTIA: i64 = 500;
/// The longest time that is counted at once, in milliseconds.
const LONGEST: i64 = 1_000;
/// The most that is owed, in slot-milliseconds.
const MOST_OWED: i64 = 60_000;

/// One router's part of a pool while it is decided.
pub(super) struct Place {
    pub(super) who: Arc<str>,
    /// It can be asked for what it has.
    pub(super) is_reached: bool,
    pub(super) held: i64,
    pub(super) demand: i64,
    pub(super) target: i64,
    pub(super) credit: i64,
    pub(super) granted: i64,
    pub(super) cap: i64,
}

/// How much of the pool each should have, what each is given of what is free, and what each is asked for. Says
/// whether more is wanted than there is.
pub(super) fn decide(places: &mut [Place], slots: i64, since: i64, gives: bool) -> bool {
    let wanted: i64 = places.iter().map(|place| place.demand).sum();
    let contended = wanted > slots;
    if contended {
        divide(places, slots, wanted, since.clamp(0, LONGEST));
    } else {
        for place in &mut *places {
            place.target = place.demand;
            place.credit = 0;
        }
    }
    let held: i64 = places.iter().map(|place| place.held).sum();
    let mut free = slots - held;
    let mut lacking = 0;
    for at in by(places, |place| place.target - place.held) {
        let place = &mut places[at];
        let lack = (place.target - place.held).max(0);
        if gives && place.is_reached {
            place.granted = lack.min(free.max(0));
            free -= place.granted;
        }
        lacking += lack - place.granted;
    }
    // What is free already is not asked for; what was given twice, while somebody was forgotten, is.
    lacking -= free;
    for at in by(places, |place| place.held - place.target) {
        let place = &mut places[at];
        let spare = (place.held - place.target).max(0);
        if contended && spare > 0 {
            place.cap = place.target;
        } else if lacking > 0 && spare > 0 {
            place.cap = place.held - spare.min(lacking);
            lacking -= spare.min(lacking);
        }
    }
    contended
}

/// Whole slots by the part of each in what is wanted; what is left over to whom it is owed longest.
fn divide(places: &mut [Place], slots: i64, wanted: i64, since: i64) {
    let mut left = slots;
    for place in &mut *places {
        let earned = slots * place.demand * since / wanted - place.held.min(slots) * since;
        place.credit = if place.demand > 0 {
            (place.credit + earned).clamp(-MOST_OWED, MOST_OWED)
        } else {
            0
        };
        place.target = slots * place.demand / wanted;
        left -= place.target;
    }
    let owed = |place: &Place| match place.held > place.target {
        true => place.credit + INERTIA,
        false => place.credit,
    };
    for at in by(places, owed) {
        if left > 0 && places[at].demand > places[at].target {
            places[at].target += 1;
            left -= 1;
        }
    }
}

/// Who asks and may soon need more, or has less than its even share, is given some of what nobody needs: at most its
/// even part of that, since each of the others may need it as soon.
pub(super) fn prefetch(places: &mut [Place], slots: i64, routers: i64, me: &Arc<str>, even: i64) {
    let held: i64 = places.iter().map(|place| place.held + place.granted).sum();
    let free = (slots - held).max(0);
    if let Some(place) = places.iter_mut().find(|place| place.who == *me) {
        let ahead = match place.demand >= place.held {
            true => (place.demand / 2).max(1).min(free / routers.max(1)),
            false => 0,
        };
        let want = even.max(place.demand + ahead) - place.held - place.granted;
        place.granted += want.clamp(0, free);
    }
}

/// Places from the largest `key` to the smallest, equals in the order of their names.
fn by(places: &[Place], key: impl Fn(&Place) -> i64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|at| -key(&places[*at]));
    order
}
