//! The shape of the usage counters, as nomyo-router's clients know it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Serialize;

use super::Tokens;
use crate::domain::ModelName;

/// Requests running, by endpoint and model.
pub type Running = BTreeMap<Arc<str>, BTreeMap<Arc<str>, u64>>;

#[derive(Serialize)]
struct Snapshot<'a> {
    token_usage_counts: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
    usage_counts: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
}

pub(super) fn render(tokens: &Tokens, running: &Running) -> Bytes {
    write(&totals(tokens, |_| true), running)
}

/// Of these models, and of the endpoints that have anything to do with them.
pub(super) fn render_of(
    tokens: &Tokens,
    running: &Running,
    shown: impl Fn(&ModelName) -> bool,
) -> Bytes {
    let mut running = running.clone();
    for models in running.values_mut() {
        models.retain(|model, _| ModelName::parse_any(model).is_ok_and(|model| shown(&model)));
    }
    running.retain(|_, models| !models.is_empty());
    write(&totals(tokens, shown), &running)
}

fn totals(tokens: &Tokens, shown: impl Fn(&ModelName) -> bool) -> Running {
    let mut totals = Running::new();
    for entry in &**tokens {
        let (endpoint, model) = entry.key();
        if !shown(model) {
            continue;
        }
        let total = entry.value().load(Ordering::Relaxed);
        totals
            .entry(Arc::clone(endpoint))
            .or_default()
            .insert(model.shared(), total);
    }
    totals
}

fn write(totals: &Running, running: &Running) -> Bytes {
    let snapshot = Snapshot {
        token_usage_counts: borrow(totals),
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
