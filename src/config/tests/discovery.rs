//! `[discovery]`, and files of servers.

use std::fs;

use super::{load_with, problems_of};
use crate::config::{Endpoint, load_endpoints};

fn refused(setting: &str) -> String {
    problems_of("", &[], &[setting])
}

#[test]
fn where_servers_can_be_looked_for_is_told_from_where_they_cannot() {
    for (setting, said) in [
        ("dns=[\"https://gpus.test\"]", "must begin with http://"),
        ("dns=[\"http://gpus.test/x\"]", "may have no path"),
        ("dns=[\"http://10.0.0.7:1\"]", "is an address"),
        ("dns=[\"http://[::1]:1\"]", "is an address"),
        ("dns=[\"http://localhost:1\"]", "is an address"),
        ("dns=[\"gpus.test:11434\"]", "must begin with http:// or"),
        ("srv=[\"gpus.test\"]", "must be the name of a service"),
        ("srv=[\"_ollama._tcp\"]", "must be the name of a service"),
        (
            "srv=[\"_ollama._tcp..test\"]",
            "must be the name of a service",
        ),
        (
            "srv=[\"_ollama.tcp.test\"]",
            "must be the name of a service",
        ),
        ("nameserver=ns.test", "must be an address"),
        ("nameserver=127.0.0.1:0", "must be an address"),
    ] {
        let told = refused(&format!("discovery.{setting}"));
        assert!(told.contains(said), "{setting}: {told}");
    }
    let many: Vec<String> = (0..33)
        .map(|i| format!("\"http://gpu-{i}.test:1\""))
        .collect();
    let told = refused(&format!("discovery.dns=[{}]", many.join(",")));
    assert!(told.contains("32 are the most"), "{told}");
    for setting in [
        "dns=[\"http://ollama.default.svc:11434\",\"http://gpus\"]",
        "srv=[\"_ollama._tcp.example.org.\"]",
        "nameserver=10.96.0.10",
        "mdns=true",
        "nameserver=[::1]:5353",
    ] {
        load_with("", &[], &[&format!("discovery.{setting}")]).unwrap();
    }
}

#[test]
fn whoever_looks_for_servers_need_not_name_one() {
    let config = load_with("", &[], &["discovery.dns=[\"http://gpus.test\"]"]).unwrap();
    assert!(config.endpoint.is_empty());
    let named = "[[endpoint]]\nurl = \"http://a:1\"\n[discovery]\nfile = \"x.toml\"";
    assert_eq!(load_with(named, &[], &[]).unwrap().endpoint.len(), 1);
}

#[test]
fn a_file_of_servers_names_servers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let listen = "127.0.0.1:11435".parse().unwrap();
    let read = |text: &str| {
        fs::write(&file, text).unwrap();
        let env = [("KEY".to_owned(), "hunter2".to_owned())];
        load_endpoints(&file, env, listen)
    };
    let two = "[[endpoint]]\nurl = \"http://a:1\"\napi_key = \"${KEY}\"\n[[endpoint]]\nurl = \"http://b:1\"";
    let servers = read(two).unwrap();
    let names: Vec<&str> = servers.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["a:1", "b:1"]);
    assert_eq!(servers[0].api_key.expose(), "hunter2");
    assert_eq!(read("# none").unwrap(), Vec::<Endpoint>::new());
    for (text, said) in [
        ("[[endpoint]]\nurl = \"http://a", "servers.toml:2:"),
        ("[[endpoint]]\nname = \"a\"", "endpoint.0.url: is missing"),
        (
            "[[endpoint]]\nurl = \"http://a:1\"\nsize = 1",
            "endpoint.0.size",
        ),
        ("[server]\ngrace = \"1s\"", "only [[endpoint]] is"),
        ("endpoint = 7", "endpoint"),
        (
            "[[endpoint]]\nurl = \"http://localhost:11435\"",
            "this router itself",
        ),
    ] {
        let problems = read(text).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|one| one.contains(said)),
            "{text}: {told:?}"
        );
    }
    fs::remove_file(&file).unwrap();
    assert!(load_endpoints(&file, Vec::new(), listen).is_err());
}
