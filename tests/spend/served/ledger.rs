//! What must be in the database, by what clients saw and by what the database says of each request.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::ask::Ask;
use super::client::Seen;
use crate::support::{DaySums, Posting, Tables};

/// What the database says of one request.
struct Counted {
    ask: Ask,
    date: String,
    model: String,
    endpoint: String,
    sums: DaySums,
}

/// Everything seen is counted once and as it was told, everything else at most once, and all tables
/// are the sum of that. Returns how many are counted.
pub fn must_hold(tables: Tables, seen: &Seen, accounts: &Accounts) -> usize {
    let counted = counted(&tables, seen, accounts);
    let lost = seen.told.keys().filter(|n| !counted.contains_key(n));
    let lost: Vec<_> = lost.take(20).collect();
    assert!(
        lost.is_empty(),
        "seen to the end, and not counted: {lost:?}"
    );
    let mut expected = Tables::default();
    let requests = counted.len();
    for (n, counted) in counted {
        counted.must_be_what_was_told(n, seen);
        let key = &accounts.0[counted.ask.key];
        let tag = ("tag", counted.ask.shared_tag());
        expected.post(Posting {
            payers: key.payers([counted.ask.payer(), tag]),
            api_key: key.id.clone(),
            model: counted.model,
            endpoint: counted.endpoint,
            date: counted.date,
            minute: 0,
            sums: counted.sums,
        });
    }
    // Clients do not know by the clock of which router their request ended.
    tables.regardless_of_minutes().must_equal(&expected);
    requests
}

/// By number: each request that has a row. None may have two.
fn counted(tables: &Tables, seen: &Seen, accounts: &Accounts) -> BTreeMap<u64, Counted> {
    let mut counted = BTreeMap::new();
    for ([kind, entity, date, api_key, model, endpoint], &sums) in &tables.daily {
        let Some(n) = Ask::number(entity) else {
            continue;
        };
        let ask = Ask::of(n, accounts.0.len());
        assert!(n < seen.asked, "request {n} was never sent");
        assert_eq!((kind.as_str(), entity.clone()), ask.payer(), "request {n}");
        assert_eq!(api_key, &accounts.0[ask.key].id, "request {n}");
        let row = Counted {
            ask,
            date: date.clone(),
            model: model.clone(),
            endpoint: endpoint.clone(),
            sums,
        };
        let other = counted.insert(n, row);
        assert!(other.is_none(), "request {n} has two rows");
    }
    counted
}

impl Counted {
    fn must_be_what_was_told(&self, n: u64, seen: &Seen) {
        let [money, input, output, requests, failed] = self.sums;
        let (ask, whole) = (&self.ask, self.ask.tokens());
        let says = format!(
            "request {n}, {:?} on {}: {:?}",
            ask.way, self.endpoint, self.sums
        );
        assert_eq!(requests + failed, 1, "counted more than once: {says}");
        assert_eq!(self.model, ask.model.name, "{says}");
        assert_eq!(money, ask.model.cost([input, output]), "{says}");
        match seen.told.get(&n) {
            Some(told) => {
                assert_eq!(told.tokens, whole, "{says}");
                assert_eq!([input, output], told.tokens, "{says}");
                assert_eq!((requests, &self.endpoint), (1, &told.endpoint), "{says}");
            }
            // Whatever there was of it when its client, its server or its router left.
            None => assert!(input <= whole[0] && output <= whole[1], "{says}: {whole:?}"),
        }
    }
}
