//! Many routers before one herd of servers, in virtual time: how evenly they share its slots, whether anybody starves,
//! and what that costs Redis. `docs/scaling.md` says what came of it.
//!
//! | `cargo bench --profile release --bench herd -- …` | does |
//! |---|---|
//! | (nothing) | all scenarios, for two minutes; one table |
//! | `--routers 50 --load 0.95` (`--safe`, `--uneven`, `--trouble`, `--seed 2`) | one of them |
//! | `--redis` | makes the calls of a scenario to a real Redis, and says what they cost there |
//!
//! It ends with 0 when no server ever had more requests than the rule allows. Without `--bench`, as in
//! `cargo test --all-targets`, it tries itself with a small herd.

#![expect(clippy::print_stdout, reason = "its figures are its result")]

mod replay;
mod report;
mod simulation;

use std::process::ExitCode;

use clap::Parser;

use report::{Row, TITLE};
use simulation::{COST, Plan, record, simulate};

/// Calls that are made to a real Redis.
const CALLS: usize = 30_000;

/// Simulates many routers.
#[derive(Parser)]
struct Arguments {
    /// One scenario with so many routers
    #[arg(long)]
    routers: Option<usize>,
    /// Requests, in parts of what all slots can serve
    #[arg(long, default_value_t = 0.8)]
    load: f64,
    /// A router may have one request of each pool whatever its share is
    #[arg(long)]
    safe: bool,
    /// Nine tenths of the requests come to a tenth of the routers
    #[arg(long)]
    uneven: bool,
    /// A router is killed, one joins, and Redis forgets everything
    #[arg(long)]
    trouble: bool,
    /// Of the random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the calls cost in a real Redis
    #[arg(long)]
    redis: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.redis {
        return measure(arguments.plan(arguments.routers.unwrap_or(50)));
    }
    let plans = match arguments.routers {
        Some(routers) => vec![arguments.plan(routers)],
        None if arguments.bench => programme(arguments.seed),
        None => vec![Plan::small(arguments.seed, 5, 0.8)],
    };
    println!("{TITLE}");
    let mut is_sound = true;
    for plan in plans {
        let figures = simulate(plan, COST);
        println!("{}", Row(&plan, &figures));
        is_sound &= figures.beyond <= plan.most_beyond();
    }
    match is_sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl Arguments {
    fn plan(&self, routers: usize) -> Plan {
        Plan {
            safe: self.safe,
            uneven: self.uneven,
            trouble: self.trouble,
            ..Plan::large(self.seed, routers, self.load)
        }
    }
}

/// All scenarios.
fn programme(seed: u64) -> Vec<Plan> {
    let loads = [0.5, 0.8, 0.95, 1.2];
    let mut plans = Vec::new();
    let mut add = |routers: &[usize], loads: &[f64], change: fn(&mut Plan)| {
        for (load, routers) in loads
            .iter()
            .flat_map(|load| routers.iter().map(move |r| (load, r)))
        {
            let mut plan = Plan::large(seed, *routers, *load);
            change(&mut plan);
            plans.push(plan);
        }
    };
    add(&[1, 3, 10, 50], &loads, |_| {});
    add(&[10, 50], &loads, |plan| plan.uneven = true);
    add(&[3, 10, 50], &loads, |plan| plan.safe = true);
    add(&[10, 50], &[0.8, 0.95], |plan| plan.trouble = true);
    plans
}

fn measure(plan: Plan) -> ExitCode {
    let calls = record(plan, COST, CALLS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let replayed = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(replay::replay(&calls)));
    match replayed {
        Ok(replayed) => {
            println!("{replayed}");
            match replayed.differ {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            println!("no Redis: {error}");
            ExitCode::FAILURE
        }
    }
}
