//! The figures as rows of a Markdown table.

use std::fmt;

use super::simulation::{Figures, Plan};

/// The head of the table. Waits in milliseconds but for the longest; Redis's work in parts of one core.
pub const TITLE: &str = "\
| routers | load | rule | answers/s | waits: mean | p50 | p99 | longest, s | by router | part served | beyond | calls/s | reports/call | failed/s | wakes/s | Redis | pools |
|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// One scenario and what came of it.
#[derive(Debug)]
pub struct Row<'a>(pub &'a Plan, pub &'a Figures);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, figures) = self;
        let words = [
            (plan.safe, "safe", "strict"),
            (plan.uneven, ", uneven", ""),
            (plan.trouble, ", trouble", ""),
        ];
        let rule: String = words
            .into_iter()
            .map(|(is, yes, no)| if is { yes } else { no })
            .collect();
        let ms = |quantile| figures.waits.value_at_quantile(quantile) as f64 / 1e3;
        let (least, most) = figures.extremes();
        let (least_served, most_served) = figures.served();
        let redis = figures.redis;
        let per_second = |count: u64| count as f64 / figures.seconds;
        let reports = redis.reports as f64 / (redis.calls as f64).max(1.0);
        write!(
            f,
            "| {} | {:.0} % | {rule} | {:.0} ",
            plan.routers,
            plan.load * 100.0,
            figures.throughput()
        )?;
        write!(
            f,
            "| {:.0} | {:.0} | {:.0} ",
            figures.waits.mean() / 1e3,
            ms(0.5),
            ms(0.99)
        )?;
        write!(
            f,
            "| {:.0} | {least:.0}–{most:.0} ",
            figures.longest as f64 / 1e6
        )?;
        write!(
            f,
            "| {least_served:.2}–{most_served:.2} | {} ",
            figures.beyond
        )?;
        write!(f, "| {:.0} | {reports:.1} ", per_second(redis.calls))?;
        write!(
            f,
            "| {:.1} | {:.0} ",
            per_second(figures.failed_calls),
            per_second(redis.wakes)
        )?;
        write!(
            f,
            "| {:.1} % | {} |",
            redis.busy / figures.seconds / 1e4,
            redis.pools
        )
    }
}
