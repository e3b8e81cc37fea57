//! A request that was let in and came to nothing.

use super::Gateway;
use crate::access::Ticket;
use crate::clock;
use crate::domain::{ModelName, TokenCounts, UsageRecord};

impl Gateway {
    /// Writes it down for those who would have paid: no tokens, no money, one failed request. No
    /// server answered it, so none is named; nobody waits for the record.
    pub(super) fn came_to_nothing(&self, mut ticket: Ticket, model: ModelName) {
        if !ticket.has_payers() {
            return;
        }
        let at = clock::unix_seconds();
        drop(self.spend.record(UsageRecord {
            endpoint: "".into(),
            model,
            at,
            tokens: TokenCounts::ZERO,
            estimated: false,
            charge: ticket.charge(TokenCounts::ZERO, 0, at),
            failed: true,
        }));
    }
}
