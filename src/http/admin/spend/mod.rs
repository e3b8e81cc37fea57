//! What was spent, and how usage travels to the database.
//!
//! Each subject is a file: the [`report`] (as JSON or [`csv`]), the [`queue`], the [`letters`] that
//! could not be counted, and the [`verify`] that all of it adds up. Nothing here counts: the database
//! sums, the pipeline knows.

mod csv;
mod letters;
mod queue;
mod report;
mod verify;

use super::{InPath, InQuery, Outcome, Problem, Route, answer};

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get(
            "/admin/spend",
            "What was spent, summed by account, model, endpoint, day or key; as CSV with `format=csv`",
            report::show,
        )
        .query(&report::NAMES)
        .gives::<report::Shown<'_>>(),
        Route::get(
            "/admin/spend/queue",
            "Where every record of this router is, and who writes to the database",
            queue::show,
        )
        .gives::<queue::Shown>(),
        Route::get(
            "/admin/spend/verify",
            "Whether everything adds up: recorded, committed, pending, dead-lettered, and the tables",
            verify::show,
        )
        .gives::<verify::Shown>(),
    ];
    routes.extend(letters::routes());
    routes
}
