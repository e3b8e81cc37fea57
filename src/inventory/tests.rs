use super::*;
use crate::domain::ModelName;
use crate::fleet::Drain;
use crate::store::Precondition;

fn server(name: &str, url: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        ..Endpoint::at(url.parse().unwrap())
    }
}

/// One server of the configuration, and one that was added.
fn wanted() -> Wanted {
    let listen = "127.0.0.1:11435".parse().unwrap();
    let configured = vec![server("file-1", "http://gpu-1:11434")];
    let mut wanted = Wanted::new(configured, Slots::Auto, listen);
    make(
        &mut wanted,
        Change::Add(server("added-1", "http://gpu-2:11434")),
    );
    wanted
}

fn make(wanted: &mut Wanted, change: Change) {
    let step = wanted.plan(&change, 7).unwrap();
    wanted.make(step);
}

fn refused(wanted: &Wanted, change: Change) -> String {
    wanted.plan(&change, 7).unwrap_err().to_string()
}

fn names(wanted: &Wanted) -> Vec<String> {
    let entries = wanted.entries().into_iter();
    entries.map(|entry| entry.endpoint.name).collect()
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

#[test]
fn the_same_server_twice_is_refused_however_it_is_written() {
    let wanted = wanted();
    for (name, url, said) in [
        (
            "file-1",
            "http://gpu-9:1",
            "name is taken: it is the server \"file-1\"",
        ),
        (
            "added-1",
            "http://gpu-9:1",
            "name is taken: it is the server \"added-1\"",
        ),
        (
            "x",
            "http://GPU-1.:11434/",
            "url is known: it is the server \"file-1\"",
        ),
        (
            "x",
            "http://gpu-2:11434",
            "url is known: it is the server \"added-1\"",
        ),
        (
            "x",
            "http://localhost:11435",
            "url: this router itself listens there, and would send requests to itself",
        ),
        (
            "a,b",
            "http://gpu-9:1",
            "name must be at most 100 visible ASCII characters without a comma, because it travels in headers",
        ),
    ] {
        assert_eq!(
            refused(&wanted, Change::Add(server(name, url))),
            said,
            "{name} {url}"
        );
    }
    assert!(
        wanted
            .plan(&Change::Add(server("x", "http://gpu-2:11434/behind")), 7)
            .is_ok()
    );
}

#[test]
fn one_server_has_the_account_of_ollama_s_cloud() {
    let mut wanted = wanted();
    let cloud = |name: &str, url: &str| Endpoint {
        cloud: true,
        ..server(name, url)
    };
    make(&mut wanted, Change::Add(cloud("one", "http://gpu-5:1")));
    assert_eq!(
        refused(&wanted, Change::Add(cloud("two", "http://gpu-6:1"))),
        "cloud is one server's, and another has it: it is the server \"one\""
    );
    let again = Change::Set {
        name: "one".to_owned(),
        endpoint: cloud("one", "http://gpu-7:1"),
        version: 1,
    };
    assert!(wanted.plan(&again, 7).is_ok(), "it has it already");
}

#[test]
fn of_a_server_of_the_configuration_only_what_it_takes_can_be_changed() {
    let mut wanted = wanted();
    let file = || "file-1".to_owned();
    let said = "the server \"file-1\" is in the configuration: change the file";
    assert_eq!(refused(&wanted, Change::Remove(file())), said);
    let set = Change::Set {
        name: file(),
        endpoint: server("file-1", "http://gpu-3:1"),
        version: 0,
    };
    assert_eq!(refused(&wanted, set), said);
    make(&mut wanted, Change::Drain(file(), None));
    let everything = Drain::Everything([].into());
    assert_eq!(wanted.entries()[0].drain, everything);
    // Until it is read again, whatever it says then.
    let same = || server("file-1", "http://gpu-1:11434");
    assert_eq!(wanted.end_holds(), ["file-1"]);
    wanted.configure(vec![same()], Slots::Auto);
    assert_eq!(wanted.entries()[0].drain, Drain::Nothing);
    assert_eq!(
        names(&wanted),
        ["file-1", "added-1"],
        "what was added stays"
    );
}

#[test]
fn a_server_that_is_in_the_configuration_too_counts_once() {
    let mut wanted = wanted();
    wanted.configure(vec![server("new", "http://gpu-2:11434")], Slots::Auto);
    assert_eq!(names(&wanted), ["new"]);
    wanted.configure(vec![server("added-1", "http://gpu-4:11434")], Slots::Auto);
    assert_eq!(wanted.entries()[0].source, Source::Configured);
    assert_eq!(names(&wanted), ["added-1"]);
    wanted.configure(Vec::new(), Slots::Auto);
    assert_eq!(names(&wanted), ["added-1"], "it is back");
    assert_eq!(wanted.entries()[0].source, Source::Added);
}

#[test]
fn models_drain_and_go_on_one_by_one() {
    let mut wanted = wanted();
    let drain = |model: Option<&str>| Change::Drain("added-1".to_owned(), model.map(self::model));
    let resume = |model: Option<&str>| Change::Resume("added-1".to_owned(), model.map(self::model));
    let held = |wanted: &Wanted| wanted.entries()[1].drain.clone();
    make(&mut wanted, drain(Some("phi4")));
    make(&mut wanted, drain(Some("qwen3")));
    make(&mut wanted, drain(Some("phi4")));
    assert_eq!(
        held(&wanted),
        Drain::Models([model("phi4"), model("qwen3")].into())
    );
    make(&mut wanted, resume(Some("phi4")));
    assert_eq!(held(&wanted), Drain::Models([model("qwen3")].into()));
    make(&mut wanted, drain(None));
    make(&mut wanted, drain(Some("phi4")));
    let models = || [model("qwen3"), model("phi4")].into();
    assert_eq!(held(&wanted), Drain::Everything(models()));
    assert_eq!(
        refused(&wanted, resume(Some("qwen3"))),
        "the whole server \"added-1\" drains: resume it as a whole"
    );
    make(&mut wanted, resume(None));
    assert_eq!(
        held(&wanted),
        Drain::Models(models()),
        "as before it drained as a whole"
    );
    make(&mut wanted, resume(None));
    assert_eq!(held(&wanted), Drain::Nothing);
    assert_eq!(
        refused(&wanted, Change::Drain("nobody".to_owned(), None)),
        "there is no server \"nobody\""
    );
}

#[test]
fn a_change_of_what_was_changed_meanwhile_is_noticed() {
    let mut wanted = wanted();
    let set = |version| Change::Set {
        name: "added-1".to_owned(),
        endpoint: server("added-1", "http://gpu-3:1"),
        version,
    };
    let step = wanted.plan(&set(1), 7).unwrap();
    let Step::Put { added, before } = &step else {
        panic!("{step:?}");
    };
    assert_eq!((before, added.version), (&Precondition::Version(1), 2));
    wanted.make(step);
    assert!(matches!(wanted.plan(&set(1), 7), Err(Refused::Contended)));
    assert!(wanted.plan(&set(2), 7).is_ok());
}

#[test]
fn what_was_found_counts_once_and_only_where_nobody_named_it() {
    let mut wanted = wanted();
    let found = |url: &str| Found {
        endpoint: Endpoint::at(url.parse().unwrap()),
        source: Source::Found,
    };
    wanted.found = [
        "http://gpu-1:11434",
        "http://gpu-2:11434",
        "http://10.0.0.7:11434",
        "http://10.0.0.7:11434",
        "http://127.0.0.1:11435",
    ]
    .map(found)
    .into();
    let name = "10.0.0.7:11434";
    assert_eq!(names(&wanted), ["file-1", "added-1", name]);
    assert_eq!(wanted.entries()[2].source, Source::Found);
    let taken = Change::Add(server("x", "http://10.0.0.7:11434"));
    assert_eq!(
        refused(&wanted, taken),
        "url is known: it is the server \"10.0.0.7:11434\""
    );
    let removed = refused(&wanted, Change::Remove(name.to_owned()));
    assert!(removed.contains("was found by [discovery]"), "{removed}");
    // What operators keep from it lasts while it comes and goes.
    make(&mut wanted, Change::Drain(name.to_owned(), None));
    let all = std::mem::replace(&mut wanted.found, [].into());
    assert_eq!(names(&wanted), ["file-1", "added-1"]);
    wanted.found = all;
    assert!(wanted.entries()[2].drain.is_of_all());
    make(&mut wanted, Change::Resume(name.to_owned(), None));
    assert_eq!(wanted.entries()[2].drain, Drain::Nothing);
    // One that was added and is found as well can still be changed.
    let version = wanted.entries()[1].version;
    let mut other = server("added-1", "http://gpu-2:11434");
    other.weight = 2.0;
    let set = Change::Set {
        name: "added-1".to_owned(),
        endpoint: other,
        version,
    };
    make(&mut wanted, set);
}

#[test]
fn a_drain_outlives_the_routers_if_it_is_of_an_agent_s_server_and_can_be_ended_when_that_is_gone() {
    let mut wanted = wanted();
    let registered = |name: &str, url: &str| Registered {
        name: name.to_owned(),
        url: url.to_owned(),
        facts: crate::domain::ServerFacts::default(),
    };
    wanted.register(&[registered("agent-1", "http://gpu-3:11434")]);
    let hosts = wanted.hosts().into_iter().map(|host| (host, None));
    wanted.look_up(wanted.names.after(hosts.collect()));
    let drain = |name: &str| Change::Drain(name.to_owned(), None);
    let lasts = |wanted: &Wanted, name: &str| match wanted.plan(&drain(name), 7).unwrap() {
        Step::Hold { lasting, .. } => lasting,
        step => panic!("{step:?}"),
    };
    assert!(lasts(&wanted, "agent-1"));
    assert!(!lasts(&wanted, "file-1"));
    make(&mut wanted, drain("agent-1"));
    wanted.register(&[]);
    assert_eq!(names(&wanted), ["file-1", "added-1"]);
    wanted.register(&[registered("agent-1", "http://gpu-3:11434")]);
    assert!(
        wanted.entries()[2].drain.is_of_all(),
        "it is back as it was"
    );
    wanted.register(&[]);
    let resume = Change::Resume("agent-1".to_owned(), None);
    make(&mut wanted, resume.clone());
    assert!(wanted.held.is_empty());
    // What could not be stored goes on, whatever is, and says what has to be.
    make(&mut wanted, drain("file-1"));
    let changes = wanted.stored(std::collections::BTreeMap::new());
    let everything = vec!["*".to_owned()];
    let change = changes
        .iter()
        .find(|change| change.name == "file-1")
        .unwrap();
    assert_eq!((&change.begin, change.lasting), (&everything, false));
    assert!(wanted.entries()[0].drain.is_of_all());
    let rest = changes.iter().filter(|change| change.name != "file-1");
    assert!(
        rest.clone()
            .all(|change| change.begin.is_empty() && change.end.is_empty())
    );
    assert_eq!(refused(&wanted, resume), "there is no server \"agent-1\"");
}

#[test]
fn a_server_that_is_named_by_its_host_and_registered_by_its_address_counts_once() {
    let mut wanted = wanted();
    let registered = |name: &str, url: &str| Registered {
        name: name.to_owned(),
        url: url.to_owned(),
        facts: crate::domain::ServerFacts::default(),
    };
    let agents = [
        registered("first", "http://gpu-3:11434"),
        registered("by-address", "http://10.0.0.1:11434"),
        registered("second", "http://10.0.0.3:11434"),
        registered("other-port", "http://10.0.0.1:11500"),
    ];
    wanted.register(&agents);
    let named = ["file-1", "added-1"];
    assert_eq!(
        names(&wanted),
        named,
        "it is not known yet where the hosts lead"
    );
    let hosts = wanted.hosts();
    let expected = ["10.0.0.1", "10.0.0.3", "gpu-1", "gpu-2", "gpu-3"];
    assert_eq!(Vec::from_iter(hosts.clone()), expected);
    let ip = |last: u8| Some(vec![std::net::IpAddr::from([10, 0, 0, last])]);
    let found = |host: String| match &*host {
        "gpu-1" | "10.0.0.1" => (host, ip(1)),
        "gpu-3" | "10.0.0.3" => (host, ip(3)),
        _ => (host, None),
    };
    wanted.look_up(wanted.names.after(hosts.into_iter().map(found).collect()));
    assert_eq!(
        names(&wanted),
        ["file-1", "added-1", "first", "other-port"],
        "what the configuration names counts, and then what was registered first"
    );
    // A host that is new in the configuration takes nobody away until it has been looked up.
    let new = server("file-2", "http://gpu-9:11500");
    wanted.configure(vec![new], Slots::Auto);
    assert_eq!(names(&wanted)[2..], ["first", "by-address", "other-port"]);
    assert!(wanted.hosts().contains("gpu-9"));
}
