//! A small herd of the simulation of `benches/herd`, in virtual time.

#[path = "../../../benches/herd/replay.rs"]
mod replay;
#[path = "../../../benches/herd/report.rs"]
mod report;
#[path = "../../../benches/herd/simulation/mod.rs"]
mod simulation;

use report::{Row, TITLE};
use simulation::{COST, Figures, Plan, record, simulate};

/// Says what came of it, should the test fail.
fn figures(plan: Plan) -> Figures {
    let figures = simulate(plan, COST);
    let is_within = figures.beyond <= plan.most_beyond();
    assert!(is_within, "{TITLE}\n{}", Row(&plan, &figures));
    figures
}

#[test]
fn many_routers_serve_as_much_as_one_and_nobody_starves() {
    for load in [0.8, 1.2] {
        let alone = figures(Plan::small(7, 1, load));
        for uneven in [false, true] {
            let many = figures(Plan {
                uneven,
                ..Plan::small(7, 10, load)
            });
            assert!(many.throughput() >= 0.95 * alone.throughput());
            // Of requests that come at random one waits longer than another, with one router as well.
            assert!(many.longest <= 3 * alone.longest, "starved");
            let (least, _) = many.served();
            assert!(least >= 0.5, "a router served {least} of what came to it");
        }
    }
}

#[test]
fn no_server_has_too_much_while_routers_die_and_join_and_redis_forgets() {
    for safe in [false, true] {
        let troubled = figures(Plan {
            safe,
            trouble: true,
            ..Plan::small(7, 6, 0.8)
        });
        let alone = figures(Plan::small(7, 1, 0.8));
        assert!(troubled.throughput() >= 0.8 * alone.throughput());
    }
}

#[test]
fn one_seed_has_one_result() {
    let row = || {
        let plan = Plan::small(3, 4, 0.95);
        Row(&plan, &simulate(plan, COST)).to_string()
    };
    assert_eq!(row(), row());
}

#[tokio::test]
async fn a_real_redis_answers_the_calls_of_the_simulation_as_the_rule_in_rust() {
    let calls = record(Plan::small(7, 6, 0.95), COST, 1_000);
    let replayed = replay::replay(&calls).await.unwrap();
    println!("{replayed}");
    assert_eq!(replayed.differ, 0);
}
