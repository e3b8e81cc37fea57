//! What the multi-database client costs, and how fast it is back. Run alone on a quiet machine:
//! `cargo bench --profile dist --bench multidb` (about ten minutes), or one part of it: `-- overhead` (a minute),
//! `-- faults` (seven), `-- storm MINUTES`. `-- trial` shows within a minute that it works; its figures
//! are none.
//!
//! Every part prints a table in Markdown, with the aim beside the figure and whether it was reached.
//! Whatever is compared is measured in the same run, turn and turn about.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod faults;
mod figures;
mod overhead;
mod storm;
#[path = "../../tests/multidb/support/mod.rs"]
#[expect(dead_code, reason = "more than a bench needs")]
mod support;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what is allocated, by all threads.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let is = |part: &str| words.first().is_some_and(|word| word == part);
    let trial = is("trial");
    let wants = |part: &str| words.is_empty() || trial || is(part);
    if wants("overhead") {
        overhead::measure(ALLOCATOR, if trial { 3 } else { 21 });
    }
    if wants("faults") {
        faults::measure(if trial { 1 } else { 9 }, if trial { 1 } else { 5 });
    }
    if wants("storm") && !trial {
        let minutes = words.get(1).and_then(|word| word.parse().ok());
        storm::measure(minutes.unwrap_or(2));
    }
}
