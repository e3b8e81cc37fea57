//! `[[model]]`.

use super::load_with;
use crate::domain::ModelName;

#[test]
fn a_model_has_defaults_for_all_but_its_name() {
    let config = load_with("[[model]]\nname = \"Llama3.2\"", &[], &[]).unwrap();
    let [model] = &config.model[..] else {
        panic!("one model")
    };
    assert_eq!(model.name, ModelName::parse("llama3.2:latest").unwrap());
    assert_eq!((model.replicas, model.num_ctx, model.priority), (0, 0, 0));
    assert!(model.endpoints.is_empty() && model.keep_alive.is_none());
}

#[test]
fn what_cannot_be_meant_of_a_model_is_refused() {
    for (file, words) in [
        ("[[model]]\nreplicas = 1", "is missing"),
        (
            "[[model]]\nname = \"m\"\nkeep_alive = \"0s\"",
            "keeps nothing",
        ),
        (
            "[[model]]\nname = \"m\"\nkeep_alive = \"soon\"",
            "keeps nothing",
        ),
        ("[[model]]\nname = \"m\"\nreplicas = -1", "replicas"),
        (
            "[[model]]\nname = \"m\"\n[[model]]\nname = \"M:latest\"",
            "each needs its own",
        ),
    ] {
        let problems = load_with(file, &[], &[]).unwrap_err();
        let text = problems[0].to_string();
        assert!(
            problems.len() == 1 && text.contains(words),
            "{file}: {text}"
        );
    }
}

#[test]
fn a_mirror_needs_two_names_of_different_hosts() {
    let load = |names: &str| {
        let file = format!("[server]\nadvertise = [{names}]\n[models]\nmirror = true");
        load_with(&file, &[], &[])
    };
    let config = load(r#""router.lan:11435", "192.168.1.4:11435""#).unwrap();
    let hosts = config.server.advertise.iter().map(|name| name.host());
    assert_eq!(hosts.collect::<Vec<_>>(), ["router.lan", "192.168.1.4"]);
    for names in [
        "",
        r#""router.lan:11435""#,
        r#""router.lan:11435", "Router.lan:11436""#,
        r#""a:1", "b:1", "c:1""#,
        r#""router.lan", "192.168.1.4:1""#,
        r#""router.lan:0", "192.168.1.4:1""#,
        r#""[::1]:1", "192.168.1.4:1""#,
        r#""http://a:1", "192.168.1.4:1""#,
    ] {
        let problems = load(names).unwrap_err();
        let text = problems[0].to_string();
        assert!(text.contains("server.advertise"), "{names}: {text}");
    }
    for file in [
        "[models]\nregistry = \"registry.ollama.ai\"",
        "[models]\ncache_size = \"0B\"",
    ] {
        assert_eq!(load_with(file, &[], &[]).unwrap_err().len(), 1, "{file}");
    }
}

#[test]
fn a_context_that_some_calls_cannot_carry_and_servers_that_are_not_there_are_warned_of() {
    let file = "[[model]]\nname = \"m\"\nnum_ctx = 8192\nendpoints = [\"127.0.0.1:11434\", \"x\"]";
    let warnings = load_with(file, &[], &[]).unwrap().warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("/v1") && warnings[0].contains("m:latest"));
    assert!(warnings[1].contains("\"x\""));
}
