use super::*;
use crate::backend::Backend;
use crate::fleet::aliases::{Alias, AliasTarget};
use crate::fleet::desired::{Drain, Settings};
use crate::fleet::shares;
use crate::protocol::{Instance, listed_by_id};
use crate::upstream::Target;

fn client() -> Client {
    Client::new(Duration::from_secs(1), Instance::new("here"))
}

fn spec(name: &str, url: &str) -> Spec {
    let target = Target::new(&url.parse().unwrap(), "").unwrap();
    Spec {
        name: name.into(),
        url: url.into(),
        settings: Settings {
            target: Arc::new(target),
            backend: Backend::Ollama,
            weight: 1.0,
            priority: 0,
            slots: 1,
            labels: Arc::default(),
            drain: Drain::Nothing,
            cloud: false,
        },
    }
}

fn apply(state: &mut State, wanted: &[(&str, &str)]) -> Changes {
    let specs = wanted.iter().map(|(name, url)| spec(name, url)).collect();
    state.apply(&Desired::new(specs).unwrap(), &client(), Instant::now())
}

/// The server at `at` answers, and has one model.
fn answers(state: &mut State, at: usize) {
    let id = state.ids()[at].clone();
    let report = Report {
        phase: Phase::Up,
        models: Some(listed_by_id("m").into_iter().collect()),
        ..Report::unknown(Instant::now())
    };
    state.reported(&id, report);
}

/// Each server's name and address, and whether it drains.
fn servers(state: &State) -> Vec<(String, bool)> {
    let shown = |member: &Member| {
        let endpoint = member.endpoint();
        let shown = format!("{} {}", endpoint.name(), endpoint.url());
        (shown, endpoint.is_draining())
    };
    state.members.iter().map(shown).collect()
}

fn state() -> State {
    State::new(
        &FleetView::default(),
        Duration::from_secs(600),
        shares::Handle::default(),
    )
}

const A: (&str, &str) = ("gpu", "http://a:1");
const B: (&str, &str) = ("gpu", "http://b:1");
const C: (&str, &str) = ("gpu", "http://c:1");

#[test]
fn a_server_serves_until_the_one_that_takes_over_its_name_has_answered() {
    let mut state = state();
    apply(&mut state, &[A]);
    answers(&mut state, 0);
    let changes = apply(&mut state, &[B]);
    assert_eq!(
        (changes.started.len(), changes.applied.removed.len()),
        (1, 1)
    );
    let both = [
        ("gpu http://b:1".to_owned(), false),
        ("gpu http://a:1".to_owned(), false),
    ];
    assert_eq!(servers(&state), both);
    assert!(
        state
            .view()
            .model(&ModelName::parse("m").unwrap())
            .is_some()
    );
    answers(&mut state, 1);
    assert_eq!(servers(&state), both, "its own report changes nothing");
    answers(&mut state, 0);
    assert_eq!(servers(&state)[1], ("gpu http://a:1".to_owned(), true));
}

#[test]
fn what_is_not_wanted_at_all_drains_at_once_and_is_removed_once() {
    let mut state = state();
    apply(&mut state, &[A, ("other", "http://o:1")]);
    apply(&mut state, &[A]);
    let gone = state.ids()[1].clone();
    assert!(servers(&state)[1].1);
    assert!(state.remove_drained(&gone) && !state.remove_drained(&gone));
    let kept = state.ids()[0].clone();
    assert!(!state.remove_drained(&kept), "it does not drain");
}

#[test]
fn a_server_that_drains_says_nothing_of_the_one_that_has_its_name() {
    let mut state = state();
    apply(&mut state, &[A]);
    answers(&mut state, 0);
    apply(&mut state, &[B]);
    answers(&mut state, 0);
    // A drains; B is replaced by C, which has not answered.
    apply(&mut state, &[C]);
    let names: Vec<_> = servers(&state).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["gpu http://c:1", "gpu http://b:1", "gpu http://a:1"]
    );
    answers(&mut state, 2);
    assert!(!servers(&state)[1].1, "B serves on");
    answers(&mut state, 0);
    assert!(servers(&state)[1].1);
}

#[test]
fn a_restarted_registry_knows_which_server_of_a_name_is_wanted() {
    let mut state = state();
    apply(&mut state, &[A]);
    answers(&mut state, 0);
    apply(&mut state, &[B]);
    // Wanted again before B answered: the older one of the two.
    let changes = apply(&mut state, &[A]);
    assert_eq!(changes.applied.added.len(), 1);
    let mut next = State::new(
        &state.view(),
        Duration::from_secs(600),
        shares::Handle::default(),
    );
    answers(&mut next, 0);
    let drains: Vec<_> = servers(&next)
        .into_iter()
        .filter(|(_, drains)| *drains)
        .collect();
    assert_eq!(drains, [("gpu http://b:1".to_owned(), true)]);
}

#[test]
fn the_same_again_changes_nothing_and_another_weight_is_only_that() {
    let mut state = state();
    apply(&mut state, &[A]);
    assert_eq!(apply(&mut state, &[A]).applied, Applied::default());
    let mut heavier = spec(A.0, A.1);
    heavier.settings.weight = 2.0;
    let desired = Desired::new(vec![heavier]).unwrap();
    let changes = state.apply(&desired, &client(), Instant::now());
    assert!(changes.started.is_empty() && changes.applied.removed.is_empty());
    assert_eq!(changes.applied.changed.len(), 1);
}

#[test]
fn two_servers_of_one_name_are_refused() {
    assert!(Desired::new(vec![spec("a", "http://a:1"), spec("a", "http://b:1")]).is_err());
}

#[test]
fn aliases_are_listed_as_their_models_and_outlive_the_registry() {
    let mut state = state();
    let aliases = |aliases: &[(&str, &[&str])]| -> Aliases {
        let aliases = aliases.iter().map(|(name, models)| {
            let targets = models.iter().map(|model| AliasTarget {
                name: ModelName::parse(model).unwrap(),
                spelling: (*model).into(),
            });
            let alias = Alias {
                spelling: (*name).into(),
                targets: targets.collect(),
            };
            (ModelName::parse(name).unwrap(), alias)
        });
        aliases.collect()
    };
    let listed = |view: &FleetView| {
        let entries = view.catalogue.entries.iter();
        entries
            .map(|entry| entry.name.to_string())
            .collect::<Vec<_>>()
    };
    apply(&mut state, &[("a", "http://a:1")]);
    state.name(aliases(&[("x", &["n", "m"])]));
    answers(&mut state, 0);
    let view = state.view();
    assert_eq!(listed(&view), ["m:latest", "x:latest"]);
    let mut next = State::new(&view, Duration::from_secs(600), shares::Handle::default());
    assert_eq!(listed(&next.view()), ["m:latest", "x:latest"]);
    // It hides the model of its name, and has none that is listed.
    next.name(aliases(&[("m", &["n"])]));
    assert!(listed(&next.view()).is_empty());
    next.name(aliases(&[]));
    assert_eq!(listed(&next.view()), ["m:latest"]);
}

/// Which servers have the model, by their addresses.
fn holders(state: &mut State, model: &str) -> Vec<String> {
    let model = ModelName::parse(model).unwrap();
    let view = state.view();
    let holders = view.model(&model).map(|model| {
        let urls = model
            .holders()
            .map(|holder| holder.endpoint.url().to_string());
        urls.collect()
    });
    holders.unwrap_or_default()
}

#[test]
fn a_model_of_the_cloud_is_used_with_the_account_alone() {
    let wanted = |with_account: bool| {
        let mut own = spec("own", "http://own:1");
        own.settings.cloud = with_account;
        Desired::new(vec![spec("gpu", "http://a:1"), own]).unwrap()
    };
    let mut state = state();
    state.apply(&wanted(false), &client(), Instant::now());
    for at in [0, 1] {
        let id = state.ids()[at].clone();
        let listed = listed_by_id("m:cloud").into_iter().chain(listed_by_id("m"));
        let report = Report {
            phase: Phase::Up,
            models: Some(listed.collect()),
            ..Report::unknown(Instant::now())
        };
        state.reported(&id, report);
    }
    let both = ["http://a:1", "http://own:1"];
    assert_eq!(holders(&mut state, "m:cloud"), both);
    state.apply(&wanted(true), &client(), Instant::now());
    assert_eq!(holders(&mut state, "m:cloud"), ["http://own:1"]);
    assert_eq!(holders(&mut state, "m"), both);
    // Found there, and listed nowhere.
    let found = ModelName::parse("other:cloud").unwrap();
    state.found(found, "Other:cloud".into());
    assert_eq!(holders(&mut state, "other:cloud"), ["http://own:1"]);
    state.apply(&wanted(false), &client(), Instant::now());
    assert_eq!(holders(&mut state, "m:cloud"), both);
    assert!(holders(&mut state, "other:cloud").is_empty());
}

#[test]
fn no_more_models_are_remembered_than_a_cloud_has() {
    let mut state = state();
    let mut own = spec("own", "http://own:1");
    own.settings.cloud = true;
    state.apply(&Desired::new(vec![own]).unwrap(), &client(), Instant::now());
    for at in 0..2 * MOST_UNLISTED {
        let found = ModelName::parse(&format!("m{at}:cloud")).unwrap();
        state.found(found, "m".into());
    }
    assert_eq!(state.view().model_names().len(), MOST_UNLISTED);
}
