//! Medians, ranges, and a runtime.

use tokio::runtime::{Builder, Runtime};

/// A runtime of so many threads.
pub(crate) fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// For a table.
pub(crate) fn verdict(reached: bool) -> &'static str {
    if reached { "yes" } else { "**no**" }
}

/// Figures of several runs.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        let (n, middle) = (self.0.len(), self.0.len() / 2);
        if n == 0 {
            f64::NAN
        } else if n % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    /// `median (least–most)`.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let ends = self.0.first().zip(self.0.last());
        ends.map_or("–".to_owned(), |(least, most)| {
            let median = self.median();
            format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
        })
    }
}
