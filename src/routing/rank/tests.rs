use super::*;

#[derive(Clone, Debug)]
struct Server {
    name: &'static str,
    up: bool,
    in_flight: u32,
    slots: u32,
    total: u32,
    weight: f64,
    failing: bool,
    suspected: bool,
    refusing: bool,
    loading_other: bool,
}

fn server(name: &'static str) -> Server {
    Server {
        name,
        up: true,
        in_flight: 0,
        slots: 4,
        total: 0,
        weight: 1.0,
        failing: false,
        suspected: false,
        refusing: false,
        loading_other: false,
    }
}

impl Candidate for Server {
    fn is_up(&self) -> bool {
        self.up
    }
    fn in_flight(&self) -> u32 {
        self.in_flight
    }
    fn slots(&self) -> u32 {
        self.slots
    }
    fn total_in_flight(&self) -> u32 {
        self.total
    }
    fn weight(&self) -> f64 {
        self.weight
    }
    fn is_failing(&self) -> bool {
        self.failing
    }

    fn is_suspected(&self) -> bool {
        self.suspected
    }

    fn is_refusing(&self) -> bool {
        self.refusing
    }
    fn is_loading_other(&self) -> bool {
        self.loading_other
    }
}

fn tier(warm: &[Server], cold: &[Server]) -> Tier<Server> {
    Tier {
        warm: warm.into(),
        cold: cold.into(),
    }
}

fn names(tiers: &[Tier<Server>]) -> Result<Vec<(&'static str, Route)>, NoCandidate> {
    let rank = rank(tiers, |_| true, 0)?;
    Ok(rank
        .iter()
        .map(|choice| (choice.candidate.name, choice.route))
        .collect())
}

#[test]
fn a_loaded_server_with_a_free_slot_comes_before_an_idle_cold_one() {
    let warm = Server {
        total: 3,
        in_flight: 3,
        ..server("warm")
    };
    let tiers = [tier(&[warm], &[server("cold")])];
    assert_eq!(names(&tiers), Ok(vec![("warm", Route::Loaded)]));
}

#[test]
fn load_is_measured_by_weight() {
    let light = Server {
        total: 2,
        ..server("light")
    };
    let heavy = Server {
        total: 5,
        weight: 4.0,
        ..server("heavy")
    };
    let tiers = [tier(&[light, heavy], &[])];
    assert_eq!(names(&tiers).unwrap()[0].0, "heavy");
}

#[test]
fn a_full_server_is_not_proposed_and_a_cold_one_is() {
    let full = Server {
        in_flight: 4,
        total: 4,
        ..server("full")
    };
    let tiers = [tier(&[full], &[server("cold")])];
    assert_eq!(names(&tiers), Ok(vec![("cold", Route::Cold)]));
}

#[test]
fn no_second_cold_load_and_never_on_the_busiest() {
    let loading = Server {
        loading_other: true,
        ..server("loading")
    };
    let busiest = Server {
        total: 9,
        ..server("busiest")
    };
    let tiers = [tier(&[], &[loading, busiest])];
    assert_eq!(names(&tiers), Err(NoCandidate::Busy));
}

#[test]
fn the_only_server_may_load_however_busy_it_is() {
    let only = Server {
        total: 9,
        ..server("only")
    };
    assert_eq!(
        names(&[tier(&[], &[only])]),
        Ok(vec![("only", Route::Cold)])
    );
}

#[test]
fn a_higher_tier_serves_only_when_the_lower_is_busy_or_gone() {
    let full = Server {
        in_flight: 4,
        total: 4,
        ..server("full")
    };
    let gone = Server {
        up: false,
        ..server("gone")
    };
    let tiers = [
        tier(&[server("first")], &[]),
        tier(&[server("second")], &[]),
    ];
    assert_eq!(names(&tiers).unwrap(), [("first", Route::Loaded)]);
    let tiers = [tier(&[full, gone], &[]), tier(&[server("second")], &[])];
    assert_eq!(names(&tiers).unwrap(), [("second", Route::Loaded)]);
}

#[test]
fn a_failing_server_is_not_proposed_while_a_working_one_exists() {
    let failing = Server {
        failing: true,
        ..server("failing")
    };
    let full = Server {
        in_flight: 4,
        total: 4,
        ..server("full")
    };
    assert_eq!(
        names(&[tier(&[failing.clone(), full], &[])]),
        Err(NoCandidate::Busy)
    );
    assert_eq!(
        names(&[tier(&[failing], &[])]),
        Ok(vec![("failing", Route::Loaded)])
    );
}

#[test]
fn none_up_is_not_the_same_as_none_free() {
    let down = Server {
        up: false,
        ..server("down")
    };
    assert_eq!(names(&[tier(&[down], &[])]), Err(NoCandidate::Unreachable));
    assert_eq!(names(&[]), Err(NoCandidate::Unreachable));
}

#[test]
fn equal_servers_share_the_first_place() {
    let tiers = [tier(&[server("a"), server("b"), server("c")], &[])];
    let firsts: Vec<_> = (0..3)
        .map(|random| {
            rank(&tiers, |_| true, random)
                .unwrap()
                .iter()
                .next()
                .unwrap()
                .candidate
                .name
        })
        .collect();
    assert_eq!(firsts, ["a", "b", "c"]);
}

#[test]
fn a_free_server_is_found_behind_any_number_of_full_ones() {
    let mut servers = vec![
        Server {
            in_flight: 4,
            total: 4,
            ..server("full")
        };
        200
    ];
    servers.push(server("free"));
    assert_eq!(names(&[tier(&servers, &[])]).unwrap()[0].0, "free");
}

#[test]
fn a_suspicion_is_a_preference_and_nobody_waits_because_of_one() {
    let suspected = Server {
        suspected: true,
        ..server("suspected")
    };
    let free = [suspected.clone(), server("clear")];
    assert_eq!(names(&[tier(&free, &[])]).unwrap()[0].0, "clear");
    let full = Server {
        in_flight: 4,
        ..server("full")
    };
    let busy = [suspected, full];
    assert_eq!(names(&[tier(&busy, &[])]).unwrap()[0].0, "suspected");
}

#[test]
fn a_server_that_would_refuse_is_not_in_the_way_of_one_that_would_load_the_model() {
    let refusing = Server {
        refusing: true,
        ..server("refusing")
    };
    let cold = server("cold");
    assert_eq!(
        names(&[tier(std::slice::from_ref(&refusing), &[cold])]),
        Ok(vec![("cold", Route::Cold)])
    );
    assert_eq!(names(&[tier(&[refusing], &[])]), Err(NoCandidate::Busy));
}
