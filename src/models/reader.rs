//! What one client has been told of the progress, and what it is told next. Pure.
//!
//! A client that reads slowly gets fewer lines, with the newest numbers: nothing is kept for it but how much
//! it knows.

use super::merge::{Item, Merge};
use super::outcome::Outcome;
use crate::protocol::ProgressLine;

/// What it knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of each item, what was said of it: for a layer, its sums.
    items: Vec<(u64, u64)>,
}

impl Told {
    /// The lines that say what is new; empty when nothing is.
    pub(super) fn next(&mut self, merge: &Merge) -> String {
        let mut lines = String::new();
        for (at, item) in merge.items().iter().enumerate() {
            let sums = match item {
                Item::Step(_) => (0, 0),
                Item::Layer(layer) => layer.sums(),
            };
            match self.items.get_mut(at) {
                Some(told) if *told == sums => continue,
                Some(told) => *told = sums,
                None => self.items.push(sums),
            }
            lines.push_str(&match item {
                Item::Step(status) => ProgressLine::render(status, None),
                Item::Layer(layer) => {
                    let (total, completed) = sums;
                    ProgressLine::render(&layer.status, Some((&layer.digest, total, completed)))
                }
            });
        }
        if let Some(outcome) = merge.outcome() {
            lines.push_str(&last_line(outcome));
        }
        lines
    }
}

/// The line with which every stream ends, and nothing else.
pub(super) fn last_line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Success => ProgressLine::render(SUCCESS, None),
        Outcome::Failed { words, .. } => ProgressLine::render_error(words),
    }
}

/// Ollama's clients wait for it.
pub(super) const SUCCESS: &str = "success";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_everything_once_and_numbers_when_they_change() {
        let mut merge = Merge::new(["a".into()].into_iter(), Vec::new());
        let mut told = Told::default();
        let says = |merge: &mut Merge, line: &str| {
            merge.heard(0, &ProgressLine::parse(line.as_bytes()).unwrap());
        };
        says(&mut merge, r#"{"status":"pulling manifest"}"#);
        says(
            &mut merge,
            r#"{"status":"pulling a","digest":"a","total":9}"#,
        );
        insta::assert_snapshot!(told.next(&merge), @r#"
        {"status":"pulling manifest"}
        {"status":"pulling a","digest":"a","total":9}
        "#);
        assert_eq!(told.next(&merge), "");
        says(
            &mut merge,
            r#"{"status":"pulling a","digest":"a","total":9,"completed":5}"#,
        );
        says(
            &mut merge,
            r#"{"status":"pulling a","digest":"a","total":9,"completed":7}"#,
        );
        insta::assert_snapshot!(told.next(&merge), @r#"{"status":"pulling a","digest":"a","total":9,"completed":7}"#);
        says(&mut merge, r#"{"status":"verifying"}"#);
        merge.done(0);
        merge.end(Outcome::Success);
        insta::assert_snapshot!(told.next(&merge), @r#"
        {"status":"pulling a","digest":"a","total":9,"completed":9}
        {"status":"verifying"}
        {"status":"success"}
        "#);
    }
}
