//! The program as scripts see it: exit codes, JSON on stdout, errors on stderr.

#![expect(
    clippy::unwrap_used,
    reason = "a program that cannot be run fails the test"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// In an empty folder, with nothing of this machine's settings.
fn herdsman(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("TMPDIR", folder);
    command
}

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    herdsman(folder.path(), arguments).output().unwrap()
}

fn json(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

/// A command that runs until it is told to stop.
struct Running {
    child: Child,
    /// The first line it printed.
    told: Value,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = herdsman(folder, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        Self {
            told: json(line.as_bytes()),
            child,
        }
    }

    /// The whole answer to a GET of what it calls `name`.
    fn get(&self, name: &str, path: &str) -> String {
        let url = self.told[name].as_str().unwrap();
        let authority = url.strip_prefix("http://").unwrap();
        let host = authority.split('/').next().unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no process behind; one that has ended cannot be killed.
        let _ = self.child.kill();
    }
}

#[test]
fn exit_codes_tell_usage_from_configuration() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["check"], 0),
        (&["completions", "zsh"], 0),
        (&["chekc"], 2),
        (&["check", "--nonsense"], 2),
        (&["--set", "a=b", "completions", "zsh"], 2),
        (&["check", "--set", "routing.attempts=0"], 64),
        (&["serve", "--set", "spend.seal_interval=0s"], 64),
        (&["check", "--config", "absent.toml"], 64),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {ended:?}");
        assert_eq!(
            ended.stderr.is_empty(),
            code == 0,
            "{arguments:?}: {ended:?}"
        );
    }
}

#[test]
fn a_mistake_in_a_log_variable_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let ended = herdsman(folder.path(), &["check"])
        .env("HERDSMAN_LOG_FORMAT", "xml")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(64));
}

#[test]
fn check_warns_of_a_redis_for_several_routers_beside_a_database_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let redis = "[[redis.database]]\nurl = \"redis://127.0.0.1:6379\"\n";
    std::fs::write(folder.path().join("config.toml"), redis).unwrap();
    let check = |more: &[&str]| {
        let arguments = [&["check"], more].concat();
        let ended = herdsman(folder.path(), &arguments).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(check(&[]).starts_with("# warning: [redis] without store.url"));
    let told = json(check(&["--json"]).as_bytes());
    assert_eq!(told["warnings"].as_array().map(Vec::len), Some(1));
    let common = "store.url=postgres://127.0.0.1/herdsman";
    assert!(!check(&["--set", common]).contains("# warning"));
}

#[test]
fn check_says_what_automatic_slots_are() {
    let folder = tempfile::tempdir().unwrap();
    let check = |more: &[&str]| {
        let arguments = [&["check"], more].concat();
        let ended = herdsman(folder.path(), &arguments).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let told = check(&[]);
    let note = told.lines().next().unwrap();
    assert!(
        note.starts_with("# note: slots = \"auto\" means 4 "),
        "{note}"
    );
    assert!(note.ends_with("127.0.0.1:11434"), "{note}");
    let told = json(check(&["--json"]).as_bytes());
    assert_eq!(told["notes"].as_array().map(Vec::len), Some(1));
    for known in [
        "routing.slots=2",
        "endpoint=[{ url = 'http://a', slots = 2 }]",
    ] {
        assert!(!check(&["--set", known]).contains("# note"), "{known}");
    }
}

#[test]
fn check_prints_a_file_that_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let printed = herdsman(folder.path(), &["check", "--set", "routing.queue_limit=7"])
        .output()
        .unwrap();
    std::fs::write(folder.path().join("config.toml"), &printed.stdout).unwrap();
    let again = herdsman(folder.path(), &["check"]).output().unwrap();
    assert_eq!(again.stdout, printed.stdout);
    assert!(
        String::from_utf8(again.stdout)
            .unwrap()
            .contains("queue_limit = 7")
    );
}

#[test]
fn check_tells_programs_every_problem() {
    let ended = run(&[
        "check",
        "--json",
        "--set",
        "a=1",
        "--set",
        "fleet.stale_after=0s",
    ]);
    assert_eq!(ended.status.code(), Some(64));
    let problems = &json(&ended.stdout)["problems"];
    assert_eq!(problems[0]["key"], "a");
    assert_eq!(problems[1]["key"], "fleet.stale_after");
}

#[test]
fn migrate_has_nothing_to_do_twice() {
    let folder = tempfile::tempdir().unwrap();
    let applied = || {
        let ended = herdsman(folder.path(), &["migrate", "--json"])
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        json(&ended.stdout)["applied"].as_array().unwrap().len()
    };
    assert!(applied() > 0);
    assert_eq!(applied(), 0);
}

#[test]
fn a_simulated_server_is_ollama_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["simulate", "--port", "0", "--model", "tiny", "--json"];
    let server = Running::start(folder.path(), &arguments);
    assert!(server.get("url", "/").ends_with("Ollama is running"));
    assert!(server.get("url", "/api/tags").contains("tiny:latest"));
    assert!(server.get("control", "/_sim").contains("200 OK"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_demo_is_one_address_for_three_servers_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Running::start(folder.path(), &["demo", "--port", "0", "--json"]);
    let tags = demo.get("url", "/api/tags");
    for model in ["llama3.2", "qwen3", "gpt-oss", "nomic-embed-text"] {
        assert!(tags.contains(model), "{model} in {tags}");
    }
    assert_eq!(demo.told["endpoints"].as_array().unwrap().len(), 3);
    assert_eq!(demo.stop(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_agent_that_reaches_no_router_goes_on_and_says_so_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["agent", "--join", "http://127.0.0.1:1", "--name", "gpu-7"];
    let mut child = herdsman(folder.path(), &arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("not registered now")));
    let agent = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(agent, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(69));
    for wrong in [
        &["agent"][..],
        &["agent", "--join", "router"],
        &["agent", "--join", "http://r:1", "--name", "a,b"],
        &["agent", "--join", "http://r:1", "--kind", "abacus"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
