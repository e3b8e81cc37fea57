//! What an admitted request may use.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::caller::{AccessRequest, Caller, Party};
use super::meter::{Cell, Taken, What};
use super::sharing::Short;
use super::{Access, Refused};
use crate::domain::{
    self, Charge, EntityKind, ModelName, Period, Price, TokenCounts, UNATTRIBUTED,
};

/// When a place may be free again, in seconds.
const SOON: u32 = 1;

/// What an admitted request holds: it reserves what it may use at most, and gives back what it did not use
/// when it is charged; dropped without that, everything.
pub struct Reservation {
    access: Access,
    model: ModelName,
    api_key: Arc<str>,
    payers: Vec<Payer>,
    /// What its servers are limited to, by each whom it concerns.
    servers: Vec<Arc<[String]>>,
    taken: Vec<Taken>,
}

/// Who pays, and how its periods are counted.
#[derive(Debug)]
struct Payer {
    kind: EntityKind,
    entity: Arc<str>,
    created: i64,
    period: Period,
}

impl Reservation {
    pub(super) async fn open(
        access: &Access,
        caller: &Caller,
        request: &AccessRequest<'_>,
    ) -> Result<Self, Refused> {
        let inner = &access.0;
        let (parties, wants) = {
            let view = inner.register.view();
            let parties = caller.parties(&view, &inner.known, request.user, request.tags);
            for party in &parties {
                party.permits(request.model)?;
            }
            let price = view.prices.get(request.model).copied().unwrap_or_default();
            let wants = if request.computes {
                wants(&parties, request, &price, || {
                    inner.outputs.estimate(request.model)
                })
            } else {
                Vec::new()
            };
            (parties, wants)
        };
        let taken = match wants.is_empty() {
            true => Vec::new(),
            false => inner
                .sharing
                .take(&wants)
                .await
                .map_err(|short| match short {
                    Short::Of(cell) => refusal(&cell, inner.sharing.clock().now().unix_ms),
                    Short::Unknown => Refused::LimitsAway,
                })?,
        };
        Ok(Self {
            access: access.clone(),
            model: request.model.clone(),
            api_key: caller.key_id(),
            payers: parties.iter().map(Payer::of).collect(),
            servers: parties.iter().filter_map(Party::servers).collect(),
            taken,
        })
    }

    /// The servers it may go to: of each list, one name or label has to be theirs. Once, for the request.
    #[must_use]
    pub fn take_servers(&mut self) -> Vec<Arc<[String]>> {
        mem::take(&mut self.servers)
    }

    /// Whether anybody known pays.
    #[must_use]
    pub fn has_payers(&self) -> bool {
        let mut payers = self.payers.iter();
        payers.any(|payer| payer.kind != EntityKind::Key || *payer.entity != *UNATTRIBUTED)
    }

    /// The request is over and has used so much, at this Unix second: the price and the periods
    /// are those of this moment. `cached` of the tokens read came from the server's cache.
    pub fn charge(&mut self, tokens: TokenCounts, cached: u64, at: i64) -> Charge {
        let inner = &self.access.0;
        let price = inner.register.view().prices.get(&self.model).copied();
        let nano_usd = price
            .unwrap_or_default()
            .cost(tokens.input, cached, tokens.output);
        if tokens.output > 0 {
            inner.outputs.record(&self.model, tokens.output);
        }
        let used = i64::try_from(tokens.total()).unwrap_or(i64::MAX);
        for taken in mem::take(&mut self.taken) {
            let used = match taken.cell().what() {
                What::Requests => 1,
                What::Tokens => used,
                What::Parallel => 0,
                What::Money { .. } => nano_usd,
            };
            inner.sharing.settle(taken, used);
        }
        Charge {
            nano_usd,
            api_key: Arc::clone(&self.api_key),
            payers: self.payers.iter().map(|payer| payer.at(at)).collect(),
        }
    }
}

impl Drop for Reservation {
    /// A request that came to nothing was a request all the same.
    fn drop(&mut self) {
        for taken in mem::take(&mut self.taken) {
            let used = i64::from(taken.cell().what() == What::Requests);
            self.access.0.sharing.settle(taken, used);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("model", &self.model)
            .field("payers", &self.payers)
            .finish_non_exhaustive()
    }
}

impl Payer {
    fn of(party: &Party) -> Self {
        let entry = party.entry.as_ref();
        let (created, period) = entry
            .map(|entry| (entry.account.created_at, entry.period))
            .unwrap_or_default();
        Self {
            kind: party.kind,
            entity: Arc::clone(&party.id),
            created,
            period,
        }
    }

    fn at(&self, unix: i64) -> domain::Payer {
        domain::Payer {
            kind: self.kind,
            entity: Arc::clone(&self.entity),
            period: self.period.start(self.created, unix),
        }
    }
}

/// What the request takes of each limit that it meets.
fn wants(
    parties: &[Party],
    request: &AccessRequest<'_>,
    price: &Price,
    expected: impl FnOnce() -> u64,
) -> Vec<(Arc<Cell>, i64)> {
    let entries = parties.iter().filter_map(|party| party.entry.as_ref());
    let mut cells = entries
        .flat_map(|entry| entry.cells_for(request.model))
        .peekable();
    if cells.peek().is_none() {
        return Vec::new();
    }
    let output = request.max_output.unwrap_or_else(expected);
    let tokens = request.input.saturating_add(output).min(1 << 50);
    let cost = price.cost(request.input, 0, output);
    cells
        .filter_map(|cell| {
            let amount = match cell.what() {
                What::Requests | What::Parallel => 1,
                What::Tokens => i64::try_from(tokens).unwrap_or(i64::MAX),
                What::Money { .. } => cost,
            };
            // What costs nothing needs no budget.
            (amount > 0).then(|| (Arc::clone(cell), amount))
        })
        .collect()
}

fn refusal(cell: &Cell, unix_ms: i64) -> Refused {
    let rest = cell.rest_ms(unix_ms);
    let seconds = rest.map(|ms| u32::try_from(ms / 1_000 + 1).unwrap_or(u32::MAX));
    let owner = cell.owner().clone();
    match cell.what() {
        What::Money { .. } => Refused::Budget {
            owner,
            limit: cell.limit(),
            retry_after: seconds,
        },
        what => Refused::Limited {
            owner,
            what,
            limit: cell.limit(),
            retry_after: seconds.unwrap_or(SOON),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_charged_to_the_period_in_which_it_ends() {
        let payer = Payer {
            kind: EntityKind::Key,
            entity: "k".into(),
            created: 1_000,
            period: Period::parse("1d").unwrap(),
        };
        let day = 86_400;
        let periods = [1_000, 1_000 + day - 1, 1_000 + day, 1_000 + 3 * day + 5];
        assert_eq!(
            periods.map(|at| payer.at(at).period),
            [1_000, 1_000, 1_000 + day, 1_000 + 3 * day]
        );
    }
}
