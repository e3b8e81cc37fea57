//! A request that was admitted and got no answer.

use super::Gateway;
use crate::access::Reservation;
use crate::clock;
use crate::domain::{ModelName, TokenCounts, UsageRecord};

impl Gateway {
    /// Records it for its payers: no tokens, no money, one failed request. No
    /// server answered it, so none is named, nor a model that no server has: clients make those up. Nothing
    /// waits for the record.
    pub(super) fn record_failed(&self, mut reservation: Reservation, model: ModelName) {
        if !reservation.has_payers() {
            return;
        }
        let is_known = self.fleet.view().model(&model).is_some();
        let model = if is_known {
            model
        } else {
            ModelName::unknown()
        };
        let at = clock::unix_seconds();
        drop(self.spend.record(UsageRecord {
            endpoint: "".into(),
            model,
            at,
            tokens: TokenCounts::ZERO,
            estimated: false,
            charge: reservation.charge(TokenCounts::ZERO, 0, at),
            failed: true,
        }));
    }
}
