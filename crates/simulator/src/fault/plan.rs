//! The faults that are switched on: an immutable list, replaced whole, with a count in each.
//!
//! Without faults a request costs one atomic load. A counted rule is taken by decrementing its
//! count, so that of many concurrent requests exactly `next` match.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use crate::name::ModelName;

use super::{Fault, Rule, Stage};

/// See the module.
#[derive(Default)]
pub struct Plan {
    armed: ArcSwap<Vec<Arc<Armed>>>,
}

struct Armed {
    rule: Rule,
    model: Option<ModelName>,
    left: Option<AtomicU64>,
}

impl Plan {
    /// Adds a rule behind those that are there. One whose model's name is invalid matches nothing.
    pub fn add(&self, rule: Rule) {
        let model = match rule.model.as_deref().map(ModelName::parse) {
            None => None,
            Some(Ok(name)) => Some(name),
            Some(Err(_)) => return,
        };
        let armed = Arc::new(Armed {
            model,
            left: rule.next.map(AtomicU64::new),
            rule,
        });
        self.armed.rcu(|list| {
            let mut list = Vec::clone(list);
            list.push(armed.clone());
            list
        });
    }

    /// Removes all.
    pub fn clear(&self) {
        self.armed.store(Arc::default());
    }

    /// Takes the first fault of this stage. A rule for one model matches only requests known to be
    /// for it (`model` given); at [`Stage::Arrival`], which is asked once before the model is
    /// known and once after, a rule for all models matches only the first time.
    pub fn take(&self, stage: Stage, model: Option<&ModelName>) -> Option<Fault> {
        let armed = self.armed.load();
        if armed.is_empty() {
            return None;
        }
        let twice = stage == Stage::Arrival;
        armed
            .iter()
            .filter(|armed| armed.rule.fault.stage() == stage)
            .filter(|armed| match (&armed.model, model) {
                (Some(own), Some(asked)) => own == asked,
                (Some(_), None) => false,
                (None, asked) => !twice || asked.is_none(),
            })
            .find(|armed| armed.count_down())
            .map(|armed| armed.rule.fault.clone())
    }
}

impl Armed {
    fn count_down(&self) -> bool {
        self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        ModelName::parse(text).unwrap()
    }

    #[test]
    fn a_counted_rule_matches_exactly_so_many() {
        let plan = Plan::default();
        plan.add(Fault::Busy.next(2));
        let hits = (0..5)
            .filter(|_| plan.take(Stage::Schedule, None).is_some())
            .count();
        assert_eq!(hits, 2);
    }

    #[test]
    fn a_rule_for_a_model_matches_its_requests_in_any_spelling() {
        let plan = Plan::default();
        plan.add(Fault::InternalError.on("LLAMA3.2"));
        assert!(
            plan.take(Stage::Answer, Some(&name("llama3.2:latest")))
                .is_some()
        );
        assert!(plan.take(Stage::Answer, Some(&name("other"))).is_none());
        assert!(plan.take(Stage::Answer, None).is_none());
        plan.clear();
        assert!(plan.take(Stage::Answer, Some(&name("llama3.2"))).is_none());
    }

    #[test]
    fn an_arrival_is_matched_once() {
        let plan = Plan::default();
        plan.add(Fault::Silent.next(9));
        assert!(plan.take(Stage::Arrival, None).is_some());
        assert!(plan.take(Stage::Arrival, Some(&name("a"))).is_none());
    }

    #[test]
    fn a_rule_reads_as_it_is_written() {
        let rule = Fault::ErrorLine { after: 3 }.on("llama3.2").next(2);
        let text = r#"{"fault":"error_line","after":3,"model":"llama3.2","next":2}"#;
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        assert_eq!(serde_json::from_str::<Rule>(text).unwrap(), rule);
        let slow: Rule = serde_json::from_str(r#"{"fault":"slow_headers","delay":"2s"}"#).unwrap();
        assert_eq!(
            slow.fault,
            Fault::SlowHeaders {
                delay: std::time::Duration::from_secs(2)
            }
        );
    }
}
