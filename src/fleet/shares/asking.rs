//! Of which pools more is asked for when none that a request could use has a slot for this router: pure.
//!
//! Not of all: one request needs one slot, and a popular model has hundreds of pools. So one is asked for, and another
//! when that had none, until there are some from which a slot is likely to come soon: what the ledger has been asked
//! for once it remembers.

use super::state::Asked;

/// So many pools the ledger may be asked to remember for each request that waits.
const REMEMBERED: usize = 4;

/// Asks for more of some of these pools, as many at a time as requests wait. `asked` says what is known of one that
/// has no slot for this router; nothing of one that has, or that has none for anybody. Says whether that is
/// enough.
pub fn ask<'a, P: 'a>(
    pools: impl Iterator<Item = &'a P> + Clone,
    waiting: usize,
    random: usize,
    asked: impl Fn(&P) -> Option<Asked>,
    mut ask: impl FnMut(&'a P),
) -> bool {
    let (mut count, mut pending, mut known) = (0, 0, 0);
    for pool in pools.clone() {
        count += 1;
        pending += usize::from(asked(pool) == Some(Asked::Now));
        known += usize::from(asked(pool) == Some(Asked::Known));
    }
    let room = (REMEMBERED * waiting).saturating_sub(known + pending);
    let more = waiting.saturating_sub(pending).min(room);
    let start = random.checked_rem(count).unwrap_or(0);
    let around = pools.clone().skip(start).chain(pools.take(start));
    let new = around.filter(|pool| asked(pool) == Some(Asked::No));
    for pool in new.take(more) {
        ask(pool);
        pending += 1;
    }
    pending > 0 || room == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks once, and says which are being asked for then.
    fn asked(pools: &mut [Option<Asked>], waiting: usize, random: usize) -> (bool, Vec<usize>) {
        let before = pools.to_vec();
        let all: Vec<usize> = (0..pools.len()).collect();
        let ask_for = |pool: &usize| pools[*pool] = Some(Asked::Now);
        let any = ask(all.iter(), waiting, random, |pool| before[*pool], ask_for);
        let now = |pool: &usize| pools[*pool] == Some(Asked::Now);
        (any, all.into_iter().filter(now).collect())
    }

    const NO: Option<Asked> = Some(Asked::No);
    const KNOWN: Option<Asked> = Some(Asked::Known);

    #[test]
    fn as_many_pools_are_asked_for_as_requests_wait() {
        let mut pools = [NO; 5];
        assert_eq!(asked(&mut pools, 2, 4), (true, vec![0, 4]));
        assert_eq!(asked(&mut pools, 2, 1), (true, vec![0, 4]));
        assert_eq!(asked(&mut pools, 3, 1), (true, vec![0, 1, 4]));
    }

    #[test]
    fn none_is_asked_for_twice_nor_one_that_has_no_slot_for_anybody() {
        let mut pools = [KNOWN, None, NO, KNOWN];
        assert_eq!(asked(&mut pools, 9, 0), (true, vec![2]));
        pools[2] = KNOWN;
        assert_eq!(asked(&mut pools, 9, 0), (false, vec![]));
        assert_eq!(asked(&mut [], 9, 0), (false, vec![]));
    }
}
