//! The shape of the usage counters, as nomyo-router's clients know it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Serialize;

use super::Tokens;

/// Requests running, by endpoint and model.
pub type Running = BTreeMap<Arc<str>, BTreeMap<Arc<str>, u64>>;

#[derive(Serialize)]
struct Snapshot<'a> {
    token_usage_counts: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
    usage_counts: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
}

pub(super) fn render(tokens: &Tokens, running: &Running) -> Bytes {
    let mut totals = Running::new();
    for entry in &**tokens {
        let (endpoint, model) = entry.key();
        let total = entry.value().load(Ordering::Relaxed);
        totals
            .entry(Arc::clone(endpoint))
            .or_default()
            .insert(model.shared(), total);
    }
    let snapshot = Snapshot {
        token_usage_counts: borrow(&totals),
        usage_counts: borrow(running),
    };
    serde_json::to_vec(&snapshot)
        .map(Bytes::from)
        .unwrap_or_default()
}

fn borrow(counts: &Running) -> BTreeMap<&str, BTreeMap<&str, u64>> {
    counts
        .iter()
        .map(|(endpoint, models)| {
            (
                &**endpoint,
                models.iter().map(|(model, n)| (&**model, *n)).collect(),
            )
        })
        .collect()
}
