use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TAGS: &str = r#"{"models":[
  {"name":"Llama3.2:3b","model":"Llama3.2:3b","modified_at":"2026-08-21T11:00:00.5+02:00","size":2019393189,"digest":"a80c4f17acd5","details":{"families":null},"new":{"x":[1.50]}},
  {"model":"hf.co/Org/Model-GGUF:Q4_K_M"},
  {"name":"me/mine","modified_at":7,"digest":null},
  {"name":"not a name"},
  {"size":1},
  ["llama"],
  "llama"
]}"#;

const PS: &str = r#"{"models":[
  {"name":"a:1","digest":"d","expires_at":"2318-12-01T00:00:00Z","size_vram":5137025024,"context_length":4096},
  {"name":"b","size_vram":-1,"expires_at":null}
]}"#;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_a_server_has_is_read_and_what_is_no_model_is_skipped() {
    let tags = parse_tags(TAGS.as_bytes()).unwrap();
    assert_eq!(tags.skipped, 4);
    let read: Vec<_> = tags
        .models
        .iter()
        .map(|model| {
            (
                model.name.as_str(),
                &*model.spelling,
                &*model.modified_at,
                &*model.digest,
            )
        })
        .collect();
    insta::assert_debug_snapshot!(read, @r#"
    [
        (
            "llama3.2:3b",
            "Llama3.2:3b",
            "2026-08-21T11:00:00.5+02:00",
            "a80c4f17acd5",
        ),
        (
            "hf.co/org/model-gguf:q4_k_m",
            "hf.co/Org/Model-GGUF:Q4_K_M",
            "",
            "",
        ),
        (
            "me/mine:latest",
            "me/mine",
            "",
            "",
        ),
    ]
    "#);
}

#[test]
fn what_a_server_runs_is_read() {
    let ps = parse_ps(PS.as_bytes()).unwrap();
    let read: Vec<_> = ps
        .models
        .iter()
        .map(|model| {
            (
                model.name.as_str(),
                &*model.expires_at,
                model.size_vram,
                model.context_length,
            )
        })
        .collect();
    insta::assert_debug_snapshot!(read, @r#"
    [
        (
            "a:1",
            "2318-12-01T00:00:00Z",
            5137025024,
            Some(
                4096,
            ),
        ),
        (
            "b:latest",
            "",
            0,
            None,
        ),
    ]
    "#);
}

#[test]
fn an_empty_list_in_any_spelling_is_empty_and_never_null() {
    for body in ["{}", r#"{"models":null}"#, r#"{"models":[]}"#] {
        let tags = parse_tags(body.as_bytes()).unwrap();
        assert_eq!(text(&render_tags(&tags.models)), r#"{"models":[]}"#);
        let ps = parse_ps(body.as_bytes()).unwrap();
        assert_eq!(text(&render_ps(&ps.models)), r#"{"models":[]}"#);
        let openai = render_openai_models(&tags.models);
        assert_eq!(text(&openai), r#"{"object":"list","data":[]}"#);
    }
}

#[test]
fn what_is_no_list_is_refused() {
    for body in [
        "",
        "null",
        "7",
        r#"{"models":{}}"#,
        r#"{"models":[}"#,
        "<html>",
        r#"{"models":[]}x"#,
    ] {
        assert!(parse_tags(body.as_bytes()).is_err(), "{body}");
    }
    assert!(parse_ps(b"{\"models\":[\"\xff\"]}").is_err());
}

#[test]
fn depth_is_passed_over() {
    let body = format!(
        r#"{{"models":[{{"name":"a","x":{}1{}}}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(parse_tags(body.as_bytes()).unwrap().models.len(), 1);
}

#[test]
fn entries_are_passed_on_as_they_came() {
    let tags = parse_tags(TAGS.as_bytes()).unwrap();
    let rendered = render_tags(&tags.models);
    let [first, ..] = &*tags.models else {
        panic!("no models")
    };
    assert!(TAGS.contains(first.raw.get()));
    assert!(text(&rendered).starts_with(&format!(r#"{{"models":[{},{{"#, first.raw)));
    let again = parse_tags(&rendered).unwrap();
    assert_eq!((again.models.len(), again.skipped), (3, 0));
}

#[test]
fn details_name_the_endpoint_first() {
    let ps = parse_ps(PS.as_bytes()).unwrap();
    let details = render_ps_details(ps.models.iter().map(|model| ("gpu-\"1\"", model)));
    insta::assert_snapshot!(text(&details), @r#"{"models":[{"endpoint":"gpu-\"1\"","name":"a:1","digest":"d","expires_at":"2318-12-01T00:00:00Z","size_vram":5137025024,"context_length":4096},{"endpoint":"gpu-\"1\"","name":"b","size_vram":-1,"expires_at":null}]}"#);
}

#[test]
fn openai_sees_models_owned_by_their_namespace() {
    let tags = parse_tags(TAGS.as_bytes()).unwrap();
    insta::assert_snapshot!(text(&render_openai_models(&tags.models)), @r#"{"object":"list","data":[{"id":"Llama3.2:3b","object":"model","created":1787302800,"owned_by":"library"},{"id":"hf.co/Org/Model-GGUF:Q4_K_M","object":"model","created":0,"owned_by":"org"},{"id":"me/mine","object":"model","created":0,"owned_by":"me"}]}"#);
    insta::assert_snapshot!(text(&render_openai_model(&tags.models[0], "Llama3.2:3b")), @r#"{"id":"Llama3.2:3b","object":"model","created":1787302800,"owned_by":"library"}"#);
}

proptest! {
    #[test]
    fn whatever_is_read_renders_as_json(names in prop::collection::vec("[a-zA-Z0-9._/:-]{1,12}", 0..6), junk: String) {
        let models: Vec<Value> = names.iter().map(|name| json!({"name": name, "x": junk})).collect();
        let body = json!({"models": models}).to_string();
        let tags = parse_tags(body.as_bytes()).unwrap();
        prop_assert_eq!(tags.models.len() + tags.skipped, names.len());
        let rendered: Value = serde_json::from_slice(&render_tags(&tags.models)).unwrap();
        let kept: Vec<_> = models.into_iter().filter(|model| {
            ModelName::parse(model["name"].as_str().unwrap()).is_ok()
        }).collect();
        prop_assert_eq!(rendered, json!({"models": kept}));
        let ps = parse_ps(body.as_bytes()).unwrap();
        let details = render_ps_details(ps.models.iter().map(|model| (&*junk, model)));
        prop_assert!(serde_json::from_slice::<Value>(&details).is_ok());
        prop_assert!(serde_json::from_slice::<Value>(&render_openai_models(&tags.models)).is_ok());
    }

    #[test]
    fn no_answer_breaks_it(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = parse_tags(&body);
        let _ = parse_ps(&body);
    }
}
