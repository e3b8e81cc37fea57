//! Runs the programme: round after round, lane after lane, one process tree at a time.
//!
//! Nothing of a run is left after it: the responder, the proxy, the generator and their folder are
//! made for it and end with it, also when its future is dropped in the middle. A run that cannot be
//! made ends the campaign, but not what has been measured.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::error::{BenchError, Doing as _};
use crate::figures::{Figure, Run};
use crate::measure::{Meter, machine_busy};
use crate::plan::{Event, Plan};
use crate::process::Reporter;
use crate::proxies::Upstream;
use crate::scenarios::{Lane, Scenario};

/// What a run may take beyond its plan before it is given up.
const GRACE: Duration = Duration::from_secs(15);
const MEMORY_SAMPLES: u32 = 5;
const MEMORY_INTERVAL: Duration = Duration::from_millis(200);

/// A scenario and its runs so far.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// What was measured.
    pub scenario: Scenario,
    /// Per lane, per round.
    pub runs: Vec<Vec<Run>>,
}

impl Measured {
    /// The runs of the first lane that `matches`.
    pub fn runs_of(&self, matches: impl Fn(&Lane) -> bool) -> Option<&[Run]> {
        let lane = self.scenario.lanes.iter().position(matches)?;
        self.runs.get(lane).map(Vec::as_slice)
    }
}

/// Measures into `done`, until all is measured or no new round may start. `progress` is called for
/// every run.
///
/// # Errors
/// The first run that could not be made.
pub async fn conduct(
    programme: Vec<Scenario>,
    until: Instant,
    done: &mut Vec<Measured>,
    mut progress: impl FnMut(&Scenario, &Lane, &Run),
) -> Result<(), BenchError> {
    for scenario in programme {
        let runs = vec![Vec::new(); scenario.lanes.len()];
        done.push(Measured {
            scenario: scenario.clone(),
            runs,
        });
        for round in 0..scenario.rounds {
            if round > 0 && Instant::now() >= until {
                break;
            }
            let mut order: Vec<usize> = (0..scenario.lanes.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let lane = scenario.lanes[index];
                let run = one_run(&scenario, lane).await?;
                progress(&scenario, &lane, &run);
                if let Some(measured) = done.last_mut() {
                    measured.runs[index].push(run);
                }
            }
        }
    }
    Ok(())
}

async fn one_run(scenario: &Scenario, lane: Lane) -> Result<Run, BenchError> {
    let folder = tempfile::Builder::new().prefix("herdsman-load-").tempdir();
    let folder = folder.doing("making a folder")?;
    let plan = Plan {
        models: lane.models,
        ..scenario.plan
    };
    let weighs = scenario.figures.contains(&Figure::MemoryPerStream);

    let (responder, addresses) =
        Reporter::responder(lane.endpoints, lane.models, folder.path()).await?;
    let upstream = Upstream {
        addresses: &addresses,
        models: lane.models,
    };
    let mut running = lane.contender.start(&upstream, folder.path()).await?;
    let meter = running.group.as_ref().map(Meter::of).transpose()?;
    let at_rest = meter.as_ref().map(Meter::resident_kib).transpose()?;
    let mut generator = Reporter::generator(running.address, &plan, folder.path()).await?;

    let own = [Meter::of(responder.group())?, Meter::of(generator.group())?];
    let own: Vec<&Meter> = own.iter().chain(&meter).collect();

    let start = Instant::now();
    let (busy_before, own_before) = (machine_busy()?, cpu_of(&own)?);
    let before = meter.as_ref().map(Meter::cpu).transpose()?;
    generator.go().await?;
    let mut peak = None;
    let outcome = loop {
        match generator.event(plan.expected() + GRACE).await? {
            Event::AllOpen if weighs => {
                if let Some(meter) = &meter {
                    peak = Some(peak_kib(meter).await?);
                }
            }
            Event::Done(outcome) => break *outcome,
            Event::AllOpen | Event::Ready => {}
        }
    };
    if let Some(group) = &mut running.group {
        group.ensure_running()?;
    }
    let after = meter.as_ref().map(Meter::cpu).transpose()?;
    let busy = machine_busy()?.saturating_sub(busy_before);
    let foreign = busy.saturating_sub(cpu_of(&own)?.saturating_sub(own_before));
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let foreign_share = foreign.as_secs_f64() / start.elapsed().as_secs_f64() / cores as f64;

    generator.end().await;
    running.end().await;
    responder.end().await;
    let cpu = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    let kib = peak
        .zip(at_rest)
        .map(|(peak, rest)| peak.saturating_sub(rest) as f64);
    Ok(Run::new(&plan, outcome, cpu, kib, foreign_share))
}

fn cpu_of(meters: &[&Meter]) -> Result<Duration, BenchError> {
    meters.iter().map(|meter| meter.cpu()).sum()
}

/// The most the proxy holds while all streams flow.
async fn peak_kib(meter: &Meter) -> Result<u64, BenchError> {
    let mut peak = 0;
    for _ in 0..MEMORY_SAMPLES {
        peak = peak.max(meter.resident_kib()?);
        sleep(MEMORY_INTERVAL).await;
    }
    Ok(peak)
}
