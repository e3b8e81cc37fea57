//! Loading, from the outside: text in, a configuration or every problem out.

mod discovery;
mod keys;
mod models;
mod shipped;

use std::fs;
use std::time::Duration;

use insta::assert_snapshot;

use super::*;

fn tables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_with(file: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Config, Vec<Problem>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, file).unwrap();
    load(LoadArgs {
        file: Some(path),
        env: tables(env),
        set: set.iter().map(|flag| (*flag).to_owned()).collect(),
        servers: Vec::new(),
    })
}

/// What an operator reads, without the folder of the test.
fn problems_of(file: &str, env: &[(&str, &str)], set: &[&str]) -> String {
    let problems = load_with(file, env, set).unwrap_err();
    let told: Vec<String> = problems
        .iter()
        .map(|problem| {
            let told = problem.to_string();
            match &problem.place {
                Place::File(source, _) => {
                    told.replace(&source.path.display().to_string(), "config.toml")
                }
                _ => told,
            }
        })
        .collect();
    told.join("\n")
}

#[test]
fn an_empty_file_is_the_default_configuration() {
    assert_eq!(load_with("", &[], &[]).unwrap(), Config::default());
}

#[test]
fn later_layers_win() {
    let file = "[routing]\nattempts = 2\nqueue_limit = 8\nqueue_timeout = \"1s\"";
    let env = [
        ("HERDSMAN__ROUTING__QUEUE_LIMIT", "9"),
        ("HERDSMAN__ROUTING__QUEUE_TIMEOUT", "2s"),
        ("HERDSMAN_LOG", "not ours"),
    ];
    let config = load_with(file, &env, &["routing.queue_timeout=3s"]).unwrap();
    assert_eq!(config.routing.attempts, 2);
    assert_eq!(config.routing.queue_limit, 9);
    assert_eq!(config.routing.queue_timeout, Duration::from_secs(3));
    assert_eq!(config.routing.idle_timeout, Duration::from_secs(900));
}

#[test]
fn the_type_of_a_field_decides_how_bare_text_is_taken() {
    let set = [
        "access.admin_key=12345",
        "routing.slots=4",
        "server.listen=[::1]:80",
        "server.data_dir=true",
        "metrics.litellm_names=true",
        "server.cors_origins=[\"https://a\", \"https://b\"]",
    ];
    let config = load_with("", &[], &set).unwrap();
    assert_eq!(config.access.admin_key.expose(), "12345");
    assert_eq!(config.routing.slots, Slots::Fixed(4.try_into().unwrap()));
    assert_eq!(config.server.listen.to_string(), "[::1]:80");
    assert_eq!(config.server.data_dir.to_str(), Some("true"));
    assert!(config.metrics.litellm_names);
    assert_eq!(config.server.cors_origins, ["https://a", "https://b"]);
}

#[test]
fn entries_of_a_list_are_set_by_their_number() {
    let file = "[[endpoint]]\nurl = \"http://a:1\"";
    let mut env = vec![("HERDSMAN__ENDPOINT__0__WEIGHT", "2")];
    let urls: Vec<(String, String)> = (1..12)
        .map(|at| {
            (
                format!("HERDSMAN__ENDPOINT__{at}__URL"),
                format!("http://b:{at}"),
            )
        })
        .collect();
    env.extend(urls.iter().map(|(name, url)| (name.as_str(), url.as_str())));
    let config = load_with(file, &env, &[]).unwrap();
    assert_eq!(config.endpoint.len(), 12);
    assert!((config.endpoint[0].weight - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.endpoint[0].name, "a:1");
    assert_eq!(config.endpoint[11].name, "b:11");
}

#[test]
fn a_whole_list_can_be_given_in_one_variable() {
    let env = [(
        "HERDSMAN__ENDPOINT",
        r#"[{ url = "http://a:1" }, { url = "http://b:1" }]"#,
    )];
    let config = load_with("", &env, &[]).unwrap();
    assert_eq!(config.endpoint.len(), 2);
}

#[test]
fn a_server_that_is_named_twice_is_told_however_it_is_written() {
    let file = r#"
[[endpoint]]
url = "http://127.0.0.1:11434"
name = "a"

[[endpoint]]
url = "HTTP://LOCALHOST:11434/"
name = "b"

[[endpoint]]
url = "http://gpu-1:8080"
kind = "openai"

[[endpoint]]
url = "http://GPU-1.:8080/v1"
kind = "openai"
name = "c"

[[endpoint]]
url = "http://gpu-1:8080/other"
name = "d"
"#;
    assert_snapshot!(problems_of(file, &[], &[]), @r#"
    config.toml:7:1: endpoint.1.url: is the server "a" once more: name each server once
    config.toml:15:1: endpoint.3.url: is the server "gpu-1:8080" once more: name each server once
    "#);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let file = r#"
[server]
listen = "localhost:1"
max_body = 5
colour = "blue"

[[endpoint]]
url = "gpu-1:11434"
weight = -1

[[endpoint]]
name = "b"
kind = "lama"
slots = 0

[routing]
queue_timeout = "soon"
attempts = 0
"#;
    let env = [
        ("HERDSMAN__FLEET__PROBE_INTERVAL", "0s"),
        ("HERDSMAN__FLEET__", "1"),
    ];
    let set = [
        "routing.queue_limit=many",
        "endpoint.7.url=http://a",
        "nothing",
    ];
    assert_snapshot!(problems_of(file, &env, &set), @r#"
    config.toml:3:1: server.listen: "localhost:1" is not an IP address and a port such as "127.0.0.1:11435"
      |
    3 | listen = "localhost:1"
      | ^^^^^^^^^^^^^^^^^^^^^^
    config.toml:4:1: server.max_body: must be a size such as "8MiB" or "500kB", not integer `5`
      |
    4 | max_body = 5
      | ^^^^^^^^^^^^
    config.toml:5:1: server.colour: unknown key; known are listen, data_dir, grace, lead_in, idle, reader_timeout, cors_origins, hosts, tls_cert, tls_key, trusted_proxies, advertise, max_body
      |
    5 | colour = "blue"
      | ^^^^^^^^^^^^^^^
    config.toml:8:1: endpoint.0.url: must begin with http:// or https://
    config.toml:9:1: endpoint.0.weight: must be a number above zero
      |
    9 | weight = -1
      | ^^^^^^^^^^^
    config.toml:11:1: endpoint.1.url: is missing
       |
    11 | [[endpoint]]
       | ^^^^^^^^^^^^
    config.toml:13:1: endpoint.1.kind: "lama" is none of ollama, openai, llama-server
       |
    13 | kind = "lama"
       | ^^^^^^^^^^^^^
    config.toml:14:1: endpoint.1.slots: must be "auto" or a whole number from 1, not integer `0`
       |
    14 | slots = 0
       | ^^^^^^^^^
    config.toml:17:1: routing.queue_timeout: "soon" is not a duration such as "30s", "200ms" or "5m"
       |
    17 | queue_timeout = "soon"
       | ^^^^^^^^^^^^^^^^^^^^^^
    config.toml:18:1: routing.attempts: must be at least 1, the first try
       |
    18 | attempts = 0
       | ^^^^^^^^^^^^
    HERDSMAN__FLEET__: names no table and key
    HERDSMAN__FLEET__PROBE_INTERVAL: fleet.probe_interval: must be longer than zero
    --set endpoint.7.url: there are 2 entries; the next one is 2
    --set nothing: must be table.key=value
    --set routing.queue_limit: must be a whole number from 0, not string "many"
    "#);
}

#[test]
fn a_file_that_is_not_toml_is_told_with_line_and_caret() {
    let file = "[server]\nlisten = 127.0.0.1:11435\n\n[routing\n";
    assert_snapshot!(problems_of(file, &[], &[]), @r#"
    config.toml:2:15: invalid float, expected nothing
      |
    2 | listen = 127.0.0.1:11435
      |               ^^^^^^^^^^
    config.toml:4:9: unclosed table, expected `]`
      |
    4 | [routing
      |         ^
    "#);
}

#[test]
fn what_this_version_cannot_do_is_refused_and_not_skipped() {
    let file = r#"
[[endpoint]]
url = "http://a:1"
kind = "openai"

[[endpoint]]
url = "http://b:1"
kind = "llama-server"
models = ["x"]

[[endpoint]]
url = "http://c:1"
models = ["x"]

[store]
url = "oracle://user:hunter2@db/herdsman"

[redis]
[[redis.database]]
url = "redis://:hunter2@db"
weight = 0.0

[spend]
durability = "redis"
"#;
    let told = problems_of(file, &[], &[]);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told, @r#"
    config.toml:8:1: endpoint.1.kind: "llama-server" is not available in this version
      |
    8 | kind = "llama-server"
      | ^^^^^^^^^^^^^^^^^^^^^
    config.toml:13:1: endpoint.2.models: is only for servers that cannot list theirs; kind = "ollama" can
       |
    13 | models = ["x"]
       | ^^^^^^^^^^^^^^
    config.toml:16:1: store.url: must be empty, for SQLite in data_dir, or begin with postgres:// or mysql://
    config.toml:21:1: redis.database.0.weight: must be a number above zero
       |
    21 | weight = 0.0
       | ^^^^^^^^^^^^
    "#);
}

#[test]
fn days_are_kept_no_shorter_than_minutes_and_both_for_a_day_at_least() {
    for kept in [
        &["store.keep_minutes=1d", "store.keep_days=1d"][..],
        &["store.keep_minutes=", "store.keep_days="],
        &["store.keep_days="],
    ] {
        load_with("", &[], kept).unwrap();
    }
    let told = |set: &[&str]| problems_of("", &[], set);
    assert_snapshot!(told(&["store.keep_minutes=23h"]), @r#"--set store.keep_minutes: must be at least "1d", or "" for ever"#);
    assert_snapshot!(told(&["store.keep_days=89d"]), @"--set store.keep_days: must not be shorter than store.keep_minutes: minutes become days first");
    assert_snapshot!(told(&["store.keep_minutes="]), @"--set store.keep_minutes: store.keep_days: must not be shorter than store.keep_minutes: minutes become days first");
    assert_snapshot!(told(&["store.keep_days=90"]), @r#"--set store.keep_days: "90" is not a duration such as "90d", "26w" or "5y", or "" for ever"#);
}

#[test]
fn an_alias_names_models_and_never_an_alias() {
    let file = r#"
[[alias]]
name = "a"
models = ["A:latest", "b", "m", "M"]
[[alias]]
name = "b"
models = ["a", ""]
[[alias]]
name = "B:latest"
"#;
    let told: Vec<_> = load_with(file, &[], &[])
        .unwrap_err()
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.what))
        .collect();
    assert_snapshot!(told.join("\n"), @r"
    alias.0.models.0: is the alias itself
    alias.0.models.1: b:latest is an alias itself (alias.1): name its models
    alias.0.models.3: m:latest is named twice
    alias.1.models.0: a:latest is an alias itself (alias.0): name its models
    alias.1.models.1: must be at most 255 visible ASCII characters without spaces
    alias.2.models: must name at least one model
    alias.2.name: b:latest is also the name of alias.1; each needs its own
    ");
}

#[test]
fn names_are_unique_even_when_nobody_wrote_them() {
    let file = r#"
[[endpoint]]
url = "http://a:1/x"
[[endpoint]]
url = "http://a:1/y"
[[endpoint]]
url = "http://b:1"
name = "a, b"
[[price]]
model = "llama3.2"
[[price]]
model = "LLAMA3.2:latest"
"#;
    assert_snapshot!(problems_of(file, &[], &[]), @r#"
    config.toml:4:1: endpoint.1.name: a:1 is also the name of endpoint.0; each needs its own
      |
    4 | [[endpoint]]
      | ^^^^^^^^^^^^
    config.toml:8:1: endpoint.2.name: must be at most 100 visible ASCII characters without a comma, because it travels in headers
      |
    8 | name = "a, b"
      | ^^^^^^^^^^^^^
    config.toml:12:1: price.1.model: llama3.2:latest is also the model of price.0; each needs its own
       |
    12 | model = "LLAMA3.2:latest"
       | ^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_problem_never_shows_a_secret() {
    let file = r#"
[[endpoint]]
url = "http://user:hunter2@a:1"
api_key = "hunter2 with a space"
[access]
admin_key = 2222
[store]
url = ["hunter2"]
"#;
    let told = problems_of(file, &[], &["endpoint.0.api_key=hunter2 too"]);
    assert!(
        !told.contains("hunter2") && !told.contains("2222"),
        "{told}"
    );
    assert_snapshot!(told, @r#"
    config.toml:3:1: endpoint.0.url: may not carry a user or password; use api_key
    config.toml:6:1: access.admin_key: must be text in quotes
    config.toml:8:1: store.url: must be text in quotes
    --set endpoint.0.api_key: must be visible ASCII characters without spaces, as a header carries it
    "#);
}

#[test]
fn a_secret_may_stand_in_a_file_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "from-file\n").unwrap();
    let file = format!(
        "[access]\nadmin_key_file = {path:?}\n[[endpoint]]\nurl = \"http://a:1\"\napi_key = \"${{KEY}}\""
    );
    let config = load_with(&file, &[("KEY", "from-env")], &[]).unwrap();
    assert_eq!(config.access.admin_key.expose(), "from-file");
    assert_eq!(config.endpoint[0].api_key.expose(), "from-env");

    let config = load_with(&file, &[("KEY", "x")], &["access.admin_key=later"]).unwrap();
    assert_eq!(config.access.admin_key.expose(), "later");
}

#[test]
fn a_secret_that_cannot_be_fetched_is_a_problem_and_not_an_open_door() {
    let file = r#"
[access]
admin_key = "${NOT_SET}"
admin_key_file = "/nonexistent"
[[endpoint]]
url = "http://a:1"
api_key = "${NOT_SET}"
[[endpoint]]
url = "http://b:1"
api_key = "Bearer-${NOT_SET}"
[store]
url_file = "/nonexistent"
"#;
    assert_snapshot!(problems_of(file, &[], &[]), @r#"
    config.toml:4:1: access.admin_key: is given both as admin_key and as admin_key_file; keep one
    config.toml:7:1: endpoint.0.api_key: the variable NOT_SET is not set or empty
    config.toml:10:1: endpoint.1.api_key: a variable must be the whole secret: "${NAME}"
    config.toml:12:1: store.url: cannot read /nonexistent: No such file or directory (os error 2)
    "#);
}

#[test]
fn entries_of_the_wrong_shape_do_not_hide_other_problems() {
    let file = "endpoint = [5, { url = \"http://a:1\", weight = 0 }]\nprice = 3\n[server]\ncors_origins = [1, \"https://a/\"]";
    assert_snapshot!(problems_of(file, &[], &[]), @r#"
    config.toml:1:13: endpoint.0: must be a table, not integer `5`
      |
    1 | endpoint = [5, { url = "http://a:1", weight = 0 }]
      |             ^
    config.toml:1:38: endpoint.1.weight: must be a number above zero
      |
    1 | endpoint = [5, { url = "http://a:1", weight = 0 }]
      |                                      ^^^^^^^^^^
    config.toml:2:1: price: must be a list, not integer `3`
      |
    2 | price = 3
      | ^^^^^^^^^
    config.toml:4:17: server.cors_origins.0: must be text in quotes, not integer `1`
      |
    4 | cors_origins = [1, "https://a/"]
      |                 ^
    config.toml:4:20: server.cors_origins.1: must be "*" or an origin such as "https://chat.example.com", without a path
      |
    4 | cors_origins = [1, "https://a/"]
      |                    ^^^^^^^^^^^^
    "#);
}

#[test]
fn programs_get_the_same_problems_as_objects() {
    let problems = load_with("[routing]\nattempts = 0", &[], &[]).unwrap_err();
    let json = serde_json::to_value(&problems[0]).unwrap();
    assert_eq!(json["key"], "routing.attempts");
    assert_eq!(json["line"], 2);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fall(
        file in "(\\[{1,2}(server|endpoint|price|redis)\\]{1,2}\n|[a-z]{1,6}(\\.[a-z]{1,3})? = ([0-9]{1,20}|\"[a-z$\\{\\}]{0,4}\"|\\[\\]|\\{\\}|nan|\\[1, 2\\])\n){0,8}",
        set in "[a-z0-9.]{0,12}=?[a-z0-9\\[\\]{}=\"]{0,12}",
    ) {
        let _ = load_with(&file, &[], &[&set]);
    }
}

#[test]
fn a_router_is_not_its_own_server() {
    let told = problems_of("[[endpoint]]\nurl = \"http://localhost:11435\"", &[], &[]);
    assert_snapshot!(told, @r#"config.toml:2:1: endpoint.0.url: is where this router itself listens (server.listen = "127.0.0.1:11435"): it would send requests to itself"#);
    let own = ["server.listen=0.0.0.0:11434"];
    let told = load_with("", &[], &own).unwrap_err();
    assert_eq!(told[0].key, "endpoint.0.url", "the default one: {told:?}");
    load_with("", &[], &["server.listen=0.0.0.0:11435"]).unwrap();
}

#[test]
fn names_of_hosts_are_names_and_nothing_else() {
    let set = |hosts: &str| load_with("", &[], &[&format!("server.hosts={hosts}")]);
    set("[\"a.example.com\", \"*.example.com\", \"*\"]").unwrap();
    for wrong in ["https://a", "a:80", "a/b", "", "*.a.*", "a b"] {
        let told = set(&format!("[\"{wrong}\"]")).unwrap_err();
        assert_eq!(told[0].key, "server.hosts.0", "{wrong}");
    }
}

#[test]
fn whoever_opens_the_router_to_everybody_is_warned() {
    let warnings = |set: &[&str]| load_with("", &[], set).unwrap().warnings().len();
    assert_eq!(warnings(&[]), 0);
    assert_eq!(warnings(&["server.listen=[::1]:1"]), 0);
    for listen in ["0.0.0.0:1", "[::]:1", "192.168.1.4:1"] {
        let listen = format!("server.listen={listen}");
        assert_eq!(warnings(&[&listen]), 1, "{listen}");
        assert_eq!(
            warnings(&[&listen, "access.require_key=true"]),
            0,
            "{listen}"
        );
    }
}

#[test]
fn a_model_goes_to_all_servers_or_to_so_many() {
    let pull = |written: &str| load_with("", &[], &[&format!("models.pull={written}")]);
    assert_eq!(pull("all").unwrap().models.pull, Pull::All);
    let two = Pull::Some(2.try_into().unwrap());
    assert_eq!(pull("2").unwrap().models.pull, two);
    for wrong in ["0", "-1", "some", "1.5", "99999999999"] {
        let problems = pull(wrong).unwrap_err();
        assert_eq!(problems[0].key, "models.pull", "{wrong}: {problems:?}");
    }
}

#[test]
fn at_most_one_server_has_the_account_and_it_is_an_ollama() {
    let problems =
        |file: &str| load_with(file, &[], &[]).map_err(|problems| problems[0].key.clone());
    let server = |n: u32, more: &str| format!("[[endpoint]]\nurl = \"http://gpu-{n}\"\n{more}\n");
    let cloud = "cloud = true";
    assert!(problems(&(server(1, "") + &server(2, cloud))).is_ok());
    let two = server(1, cloud) + &server(2, "") + &server(3, cloud);
    assert_eq!(problems(&two).unwrap_err(), "endpoint.2.cloud");
    let other = server(1, "kind = \"openai\"\ncloud = true");
    assert_eq!(problems(&other).unwrap_err(), "endpoint.0.cloud");
}
