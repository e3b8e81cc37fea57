//! The figures a run is reduced to, and how several runs become one figure.
//!
//! Rounds are combined by their median, and contenders are compared round by round before that: a
//! ratio of two runs made side by side does not depend on the speed of the machine meanwhile.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::{Outcome, Plan};

/// Something measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The proxy's CPU time per answer, in µs.
    CpuPerRequest,
    /// The proxy's CPU time per line of a stream, in µs.
    CpuPerPiece,
    /// Until the first byte, less the server's own pause; median, in ms.
    FirstByteP50,
    /// The same; 99th percentile.
    FirstByteP99,
    /// Until the last byte, less the server's own pauses; median, in ms.
    EndP50,
    /// The same; 99th percentile.
    EndP99,
    /// Between two pieces, 99th percentile, in ms.
    GapP99,
    /// Right answers per second.
    RequestsPerSecond,
    /// Resident memory of the proxy per open stream, in KiB.
    MemoryPerStream,
}

/// One contender's run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What it comes to.
    pub figures: BTreeMap<Figure, f64>,
    /// What the clients saw.
    pub outcome: Outcome,
    /// How much of the machine other programs and other guests of the host took meanwhile, 0 to 1.
    pub foreign_share: f64,
}

impl Figure {
    /// As it is called in the report, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "proxy CPU per request, µs",
            Self::CpuPerPiece => "proxy CPU per piece, µs",
            Self::FirstByteP50 => "first byte p50, ms",
            Self::FirstByteP99 => "first byte p99, ms",
            Self::EndP50 => "end p50, ms",
            Self::EndP99 => "end p99, ms",
            Self::GapP99 => "gap between pieces p99, ms",
            Self::RequestsPerSecond => "requests per second",
            Self::MemoryPerStream => "memory per open stream, KiB",
        }
    }

    /// Digits after the point that mean something.
    pub fn decimals(self) -> usize {
        match self {
            Self::RequestsPerSecond => 0,
            Self::CpuPerRequest | Self::MemoryPerStream => 1,
            Self::CpuPerPiece | Self::GapP99 => 2,
            Self::FirstByteP50 | Self::FirstByteP99 | Self::EndP50 | Self::EndP99 => 3,
        }
    }

    /// Depends on how long something took, and so on who else was running.
    pub fn is_time(self) -> bool {
        self != Self::MemoryPerStream
    }

    /// A waiting time, of which the part above direct is the proxy's.
    pub fn is_wait(self) -> bool {
        matches!(
            self,
            Self::FirstByteP50 | Self::FirstByteP99 | Self::EndP50 | Self::EndP99
        )
    }
}

impl Run {
    /// From what the clients saw and what the proxy used (`None`: there was no proxy).
    pub fn new(
        plan: &Plan,
        outcome: Outcome,
        cpu_seconds: Option<f64>,
        kib: Option<f64>,
        foreign_share: f64,
    ) -> Self {
        let first = plan.ask.pace().as_secs_f64() * 1e3;
        let all = first * f64::from(plan.ask.lines());
        let mut figures = BTreeMap::from([
            (Figure::FirstByteP50, outcome.first_byte.p50 - first),
            (Figure::FirstByteP99, outcome.first_byte.p99 - first),
            (Figure::EndP50, outcome.end.p50 - all),
            (Figure::EndP99, outcome.end.p99 - all),
            (Figure::GapP99, outcome.gap.p99),
            (
                Figure::RequestsPerSecond,
                outcome.requests as f64 / outcome.seconds,
            ),
        ]);
        if let Some(seconds) = cpu_seconds {
            figures.insert(
                Figure::CpuPerRequest,
                seconds * 1e6 / outcome.requests as f64,
            );
            figures.insert(Figure::CpuPerPiece, seconds * 1e6 / outcome.pieces as f64);
        }
        if let Some(kib) = kib {
            figures.insert(Figure::MemoryPerStream, kib / plan.clients as f64);
        }
        Self {
            figures,
            outcome,
            foreign_share,
        }
    }
}

/// The median of one figure over the rounds.
pub fn median_of(runs: &[Run], figure: Figure) -> Option<f64> {
    median(
        runs.iter()
            .filter_map(|run| run.figures.get(&figure).copied()),
    )
}

/// The median over the rounds of what `compare` makes of both contenders' figure.
pub fn median_of_pairs(
    ours: &[Run],
    theirs: &[Run],
    figure: Figure,
    compare: impl Fn(f64, f64) -> f64,
) -> Option<f64> {
    median(ours.iter().zip(theirs).filter_map(|(ours, theirs)| {
        Some(compare(
            *ours.figures.get(&figure)?,
            *theirs.figures.get(&figure)?,
        ))
    }))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}
