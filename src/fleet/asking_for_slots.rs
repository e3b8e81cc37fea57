//! Of what other routers have of the servers' slots: asking for more, when a request finds none.

use super::leasing::LeaseRequest;
use super::view::{Holder, ModelView};
use super::{Fleet, shares};
use crate::routing::Candidate as _;

impl Fleet {
    /// Another router may leave slots idle: has some of them asked for, where requests would go first.
    pub(super) fn ask_for_more(
        &self,
        request: &LeaseRequest,
        model: &ModelView,
        takes: impl Fn(&Holder) -> bool,
        random: usize,
    ) {
        if !self.shares.is_shared() {
            return;
        }
        let queue = self.queues.get(&request.model);
        let waiting = queue.map_or(1, |queue| queue.len().max(1));
        let takes = |holder: &&Holder| takes(holder) && holder.is_up() && !holder.is_refusing();
        let groups = model.tiers.iter().flat_map(|tier| [&tier.warm, &tier.cold]);
        for group in groups {
            let pools = group.iter().filter(takes).map(|holder| &holder.pool);
            if shares::ask(
                pools,
                waiting,
                random,
                |pool| pool.asked(),
                |pool| pool.ask(),
            ) {
                return;
            }
        }
    }
}
