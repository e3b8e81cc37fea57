//! What has been measured, as one table for people and one file for programs.
//!
//! It compares every aim with the other proxies of the same run and reports it as met or not. An
//! aim that is not met is a result, not an error; failed requests are an error.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use herdsman::clock::unix_seconds;

use crate::campaign::Measured;
use crate::error::{BenchError, Doing as _};
use crate::figures::{Figure, Run, median_of, median_of_pairs};
use crate::proxies::Contender;
use crate::scenarios::{Against, Aim, Lane, Mode, Topic};

const COLUMNS: [Contender; 4] = [
    Contender::Direct,
    Contender::Haproxy,
    Contender::Nginx,
    Contender::Herdsman,
];
/// When other programs use more of the machine than this, a run says little about the proxy.
const NOISY: f64 = 0.05;
const ABSENT: &str = "–";

/// All results of a run of the bench.
#[derive(Serialize)]
pub struct Report {
    date: String,
    mode: Mode,
    machine: Machine,
    rows: Vec<Row>,
    measured: Vec<Measured>,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    load_before: String,
    optimised: bool,
    versions: Vec<String>,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    topic: Topic,
    scenario: String,
    figure: Figure,
    values: Vec<Option<f64>>,
    times_haproxy: Option<f64>,
    times_nginx: Option<f64>,
    over_direct: Option<f64>,
    verdicts: Vec<Verdict>,
}

#[derive(Serialize)]
struct Verdict {
    value: f64,
    against: Against,
    limit: f64,
    /// `None`: undecided, because the machine was busy.
    met: Option<bool>,
    /// Other programs used the machine meanwhile.
    busy: bool,
}

/// The machine's state before anything ran, which the report quotes.
pub fn load_before() -> String {
    fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

impl Report {
    /// Sums up.
    pub fn new(mode: Mode, load_before: String, measured: Vec<Measured>) -> Self {
        let rows = measured.iter().flat_map(rows_of).collect();
        let date = jiff::Timestamp::from_second(unix_seconds())
            .unwrap_or_default()
            .to_string();
        Self {
            date,
            mode,
            machine: Machine::new(load_before),
            rows,
            measured,
        }
    }

    /// Writes the whole report to `target/load/DATE.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<PathBuf, BenchError> {
        let mut path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        path.set_file_name("load");
        fs::create_dir_all(&path).doing(format!("creating {}", path.display()))?;
        path.push(format!("{}.json", self.date.replace(':', "-")));
        let text = serde_json::to_string_pretty(self).doing("writing the report")?;
        fs::write(&path, text).doing(format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Answers that were not right, over all runs.
    pub fn failures(&self) -> u64 {
        self.runs().map(|(_, _, run)| run.outcome.failures).sum()
    }

    /// The table, what it was measured on, and every failure.
    pub fn markdown(&self) -> String {
        let Machine {
            processor,
            cores,
            kernel,
            load_before,
            ..
        } = &self.machine;
        let mut text = format!(
            "\n{} on {cores} × {processor}, Linux {kernel}, load before: {load_before}\n\n",
            self.date
        );
        if !self.machine.optimised {
            text.push_str(
                "**Built without optimisation: not one of these figures means anything.**\n\n",
            );
        }
        text.push_str("| scenario | figure | direct | HAProxy | nginx | herdsman ");
        text.push_str("| ÷ HAProxy | ÷ nginx | − direct | aim |\n");
        text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n");
        for row in &self.rows {
            text.push_str(&row.markdown());
        }
        text.push_str(&self.noise());
        for (measured, lane, run) in self.runs().filter(|(_, _, run)| run.outcome.failures > 0) {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n{} failed requests: {}, {}: {}",
                run.outcome.failures,
                lane.contender.name(),
                measured.scenario.topic.title(),
                run.outcome.complaints.join("; ")
            );
        }
        text
    }

    /// How busy the machine was otherwise: without this, a slow proxy looks like a busy machine.
    fn noise(&self) -> String {
        let shares: Vec<f64> = self.runs().map(|(_, _, run)| run.foreign_share).collect();
        let noisy = shares.iter().filter(|share| **share > NOISY).count();
        let worst = shares.iter().copied().fold(0.0, f64::max) * 100.0;
        format!(
            "\nOther programs took more than {:.0} % of the machine during {noisy} of {} runs, {worst:.0} % \
             in the worst{}.\n",
            NOISY * 100.0,
            shares.len(),
            if noisy == 0 {
                ""
            } else {
                ": **do not publish these figures**"
            },
        )
    }

    fn runs(&self) -> impl Iterator<Item = (&Measured, &Lane, &Run)> {
        self.measured.iter().flat_map(|measured| {
            let lanes = measured.scenario.lanes.iter().zip(&measured.runs);
            lanes.flat_map(move |(lane, runs)| runs.iter().map(move |run| (measured, lane, run)))
        })
    }
}

fn rows_of(measured: &Measured) -> Vec<Row> {
    let Measured { scenario, runs } = measured;
    let title = scenario.topic.title();
    if scenario.topic == Topic::Growth {
        let lanes = scenario.lanes.iter().zip(runs);
        return lanes
            .map(|(lane, runs)| {
                let Lane {
                    endpoints, models, ..
                } = lane;
                let scenario = format!("{title}, {endpoints} servers × {models} models");
                Row::new(measured, scenario, Figure::CpuPerRequest, Some(runs))
            })
            .collect();
    }
    let ours = measured.runs_of(|lane| lane.contender == Contender::Herdsman);
    let rows = scenario.figures.iter();
    rows.map(|figure| Row::new(measured, title.to_owned(), *figure, ours))
        .collect()
}

impl Row {
    fn new(measured: &Measured, scenario: String, figure: Figure, ours: Option<&[Run]>) -> Self {
        let theirs = |contender| measured.runs_of(|lane| lane.contender == contender);
        let times = |contender| {
            median_of_pairs(ours?, theirs(contender)?, figure, |ours, theirs| {
                ours / theirs
            })
        };
        let over = |contender| {
            median_of_pairs(ours?, theirs(contender)?, figure, |ours, theirs| {
                ours - theirs
            })
        };
        let value_of = |contender| match contender {
            Contender::Herdsman => median_of(ours?, figure),
            other => median_of(theirs(other)?, figure),
        };
        let value = |aim: &Aim| match aim.against {
            Against::Times(other) => times(other),
            Against::Over(other) => over(other),
            Against::Nothing => value_of(Contender::Herdsman),
            Against::TimesFirstLane => {
                let first = measured.runs.first()?;
                median_of_pairs(ours?, first, figure, |ours, first| ours / first)
            }
        };
        let busy = measured
            .runs
            .iter()
            .flatten()
            .any(|run| run.foreign_share > NOISY);
        let aims = measured
            .scenario
            .aims
            .iter()
            .filter(|aim| aim.figure == figure);
        let decided = !busy || !figure.is_time();
        let valued = aims.filter_map(|aim| Some((aim, value(aim)?)));
        let verdicts = valued.flat_map(
            |(
                &Aim {
                    against, limits, ..
                },
                value,
            )| {
                limits.iter().map(move |&limit| {
                    let met = decided.then_some(value <= limit);
                    Verdict {
                        value,
                        against,
                        limit,
                        met,
                        busy,
                    }
                })
            },
        );
        Self {
            topic: measured.scenario.topic,
            scenario,
            figure,
            values: COLUMNS.map(value_of).to_vec(),
            times_haproxy: times(Contender::Haproxy),
            times_nginx: times(Contender::Nginx),
            over_direct: figure.is_wait().then(|| over(Contender::Direct)).flatten(),
            verdicts: verdicts.collect(),
        }
    }

    fn markdown(&self) -> String {
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.decimals$}"))
        };
        let digits = self.figure.decimals();
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| number(*value, digits))
            .collect();
        let verdicts: Vec<String> = self.verdicts.iter().map(Verdict::words).collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            self.scenario,
            self.figure.title(),
            values.join(" | "),
            number(self.times_haproxy, 2),
            number(self.times_nginx, 2),
            number(self.over_direct, 3),
            verdicts.join(", "),
        )
    }
}

impl Verdict {
    fn words(&self) -> String {
        let limit = self.limit;
        let met = match (self.met, self.busy) {
            (None, _) => "undecided (machine busy)",
            (Some(true), false) => "met",
            (Some(true), true) => "met (machine busy)",
            (Some(false), false) => "**not met**",
            (Some(false), true) => "**not met** (machine busy)",
        };
        match self.against {
            Against::Times(other) => format!("≤ {limit} × {}: {met}", other.name()),
            Against::Over(other) => format!("≤ {limit} over {}: {met}", other.name()),
            Against::TimesFirstLane => format!("{:.2} × the first, ≤ {limit}: {met}", self.value),
            Against::Nothing => format!("≤ {limit}: {met}"),
        }
    }
}

impl Machine {
    fn new(load_before: String) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let model = model
            .and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, name)| name);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: model.trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            kernel: kernel.trim().to_owned(),
            load_before,
            optimised: !cfg!(debug_assertions),
            versions: COLUMNS
                .iter()
                .filter_map(|contender| contender.version())
                .collect(),
        }
    }
}
