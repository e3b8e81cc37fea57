//! Each kind against recordings of real servers.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::*;
use crate::domain::TokenCounts;
use crate::protocol::{ListedModel, peek};

/// Calls of a real llama-server, one JSON object a line: what was asked and what came back, but for
/// long answers that were not recorded whole.
const RECORDED: &str = include_str!("../../tests/data/llama_server_v1.jsonl");

fn recorded() -> impl Iterator<Item = Value> {
    RECORDED
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
}

fn text<'a>(exchange: &'a Value, key: &str) -> &'a str {
    exchange[key].as_str().unwrap_or_default()
}

fn status(exchange: &Value) -> StatusCode {
    StatusCode::from_u16(exchange["status"].as_u64().unwrap().try_into().unwrap()).unwrap()
}

fn openai() -> Backend {
    Backend::openai(&[])
}

/// The last usage that an answer states, whole or in events.
fn usage(answer: &str) -> Option<TokenCounts> {
    let objects = answer.lines().filter_map(|line| {
        let json = line.strip_prefix("data: ").unwrap_or(line);
        serde_json::from_str::<Value>(json).ok()
    });
    let mut usages = objects.filter_map(|object| {
        let usage = object.get("usage")?.as_object()?.clone();
        Some(TokenCounts {
            input: usage.get("prompt_tokens")?.as_u64()?,
            output: usage
                .get("completion_tokens")
                .map_or(Some(0), Value::as_u64)?,
        })
    });
    usages.next_back()
}

#[test]
fn every_recorded_answer_ends_where_its_server_ended_it_and_says_what_was_used() {
    let (mut streamed, mut whole) = (0, 0);
    let answered =
        |exchange: &Value| status(exchange) == StatusCode::OK && text(exchange, "method") == "POST";
    for exchange in recorded().filter(answered) {
        let Some(api) = Api::at(text(&exchange, "path")) else {
            continue;
        };
        let answer = text(&exchange, "answer");
        let is_stream = text(&exchange, "content_type").starts_with("text/event-stream");
        let mut tail = openai().reader(api, api.format(is_stream));
        for piece in answer.as_bytes().chunks(7) {
            tail.push(piece);
        }
        tail.end();
        let n = &exchange["n"];
        let failed = answer.contains("data: {\"error\"");
        if is_stream {
            streamed += 1;
            assert_eq!(
                tail.is_finished(),
                answer.contains("data: [DONE]"),
                "exchange {n}"
            );
            assert_eq!(tail.saw_error(), failed, "exchange {n}");
        } else {
            whole += 1;
            assert!(tail.is_finished(), "exchange {n}");
        }
        let mut expected = usage(answer);
        if api == Api::OpenAiEmbeddings {
            expected = expected.map(|used| TokenCounts { output: 0, ..used });
        }
        assert_eq!(tail.tokens(), expected, "exchange {n}");
    }
    assert!(streamed > 15 && whole > 50, "{streamed} {whole}");
}

#[test]
fn a_recorded_list_is_read_and_none_of_its_secrets_is_passed_on() {
    let mut read = 0;
    let lists = |exchange: &Value| {
        text(exchange, "path") == "/v1/models" && text(exchange, "method") == "GET"
    };
    for exchange in recorded().filter(lists) {
        let answer = text(&exchange, "answer").as_bytes();
        let models = match openai().read(Probe::Models, status(&exchange), answer) {
            Ok(Answer::Models(models)) => models,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {
                assert_ne!(status(&exchange), StatusCode::OK);
                continue;
            }
        };
        read += 1;
        let list: Value = serde_json::from_slice(answer).unwrap();
        let ids: Vec<_> = list["data"].as_array().unwrap().iter().collect();
        assert_eq!(models.len(), ids.len(), "exchange {}", exchange["n"]);
        for (model, entry) in models.iter().zip(ids) {
            assert_eq!(&*model.spelling, entry["id"].as_str().unwrap());
            let shown: Value = serde_json::from_str(model.raw.get()).unwrap();
            assert_eq!(shown["name"], entry["id"]);
            assert!(shown["size"].is_u64() && shown["digest"].is_string());
            assert!(shown.get("status").is_none() && shown.get("args").is_none());
        }
    }
    assert!(read > 3, "{read}");
}

#[test]
fn a_server_that_loads_or_refuses_the_key_is_not_up() {
    let alive = |status| openai().read(Probe::Alive, status, b"").is_ok();
    assert!(alive(StatusCode::OK));
    assert!(alive(StatusCode::NOT_FOUND), "it does not list its models");
    assert!(alive(StatusCode::METHOD_NOT_ALLOWED) && alive(StatusCode::NOT_IMPLEMENTED));
    assert!(!alive(StatusCode::SERVICE_UNAVAILABLE), "it loads");
    assert!(!alive(StatusCode::UNAUTHORIZED));
    assert!(
        !alive(StatusCode::FORBIDDEN),
        "nor is one that refuses its name"
    );
    let told = Backend::openai(&["m".to_owned()]);
    assert!(
        told.read(Probe::Alive, StatusCode::UNAUTHORIZED, b"")
            .is_ok()
    );
    let ollama = |status| Backend::Ollama.read(Probe::Alive, status, b"").is_ok();
    assert!(!ollama(StatusCode::FORBIDDEN), "it does not know the name");
    assert!(
        !ollama(StatusCode::UNAUTHORIZED) && !ollama(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
    );
    assert!(ollama(StatusCode::NOT_FOUND) && !ollama(StatusCode::BAD_GATEWAY));
}

#[test]
fn each_kind_is_asked_what_it_can_answer() {
    let asked = |backend: &Backend| {
        let plans = Probe::ALL.map(|probe| match backend.plan(probe) {
            Some(Plan::Send(probe_request)) => {
                format!("{} {}", probe_request.method, probe_request.path)
            }
            Some(Plan::Known(models)) => format!("known: {}", names(&models).join(" ")),
            None => "-".to_owned(),
        });
        plans.join(", ")
    };
    assert_eq!(
        asked(&Backend::Ollama),
        "HEAD /, GET /api/ps, GET /api/tags, GET /api/version"
    );
    assert_eq!(asked(&openai()), "HEAD /v1/models, -, GET /v1/models, -");
    let told = Backend::openai(&["Org/M".to_owned(), String::new()]);
    assert_eq!(asked(&told), "HEAD /v1/models, -, known: Org/M, -");
    assert_eq!(Method::HEAD, "HEAD");
}

fn names(models: &[ListedModel]) -> Vec<String> {
    models
        .iter()
        .map(|model| model.spelling.to_string())
        .collect()
}

fn client_request(api: Api, body: &'static str) -> ClientRequest {
    let peeked = peek(api, body.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-conversation-id", "7".parse().unwrap());
    headers.insert("accept", "*/*".parse().unwrap());
    ClientRequest {
        api,
        headers,
        model_at: peeked.model_at,
        aliased: false,
        model: peeked.model.into_owned(),
        choices: peeked.choices,
        streamed: peeked.stream,
        usage: peeked.usage,
        unload: peeked.unload,
        load_options: peeked.load_options,
        replaced: Vec::new(),
        keep_alive: None,
        body: Bytes::from_static(body.as_bytes()),
    }
}

#[test]
fn a_call_goes_unchanged_but_for_the_usage_and_the_servers_spelling() {
    let body = r#"{ "messages": [], "model" : "tiny:LATEST" , "stream": true}"#;
    let request = client_request(Api::OpenAiChat, body);
    let sent = |backend: &Backend, spelling: &str| {
        let sent = backend.request(&request, spelling, true);
        assert!(sent.hides_usage);
        let names: Vec<_> = sent.headers.keys().map(|name| name.to_string()).collect();
        (
            String::from_utf8(sent.body.to_vec()).unwrap(),
            names.join(" "),
        )
    };
    let asking = r#"{"stream_options":{"include_usage":true}, "messages": [], "model" : "tiny:LATEST" , "stream": true}"#;
    let (body, headers) = sent(&Backend::Ollama, "tiny:latest");
    assert_eq!((&*body, &*headers), (asking, "x-conversation-id accept"));
    let (body, headers) = sent(&openai(), "Tiny \"q\"");
    assert_eq!(headers, "accept");
    assert_eq!(body, asking.replace("\"tiny:LATEST\"", r#""Tiny \"q\"""#));
    let (body, _) = sent(&openai(), "tiny:LATEST");
    assert_eq!(body, asking);
    for backend in [Backend::Ollama, openai()] {
        let sent = backend.request(&request, "tiny:LATEST", false);
        assert!(!sent.hides_usage && sent.body == request.body);
    }
}

#[test]
fn what_is_not_streamed_and_spelt_as_the_server_spells_it_is_not_even_copied() {
    let request = client_request(Api::OpenAiEmbeddings, r#"{"model":"m","input":"x"}"#);
    let backend = openai();
    let sent = backend.request(&request, "m", true);
    assert_eq!(sent.body.as_ptr(), request.body.as_ptr());
    assert!(!sent.hides_usage);
}

/// What each status is taken for, with this body.
fn meaning(backend: &Backend, status: u16, body: &str) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let answer = ErrorAnswer {
        status,
        retry_after: None,
        body: body.as_bytes(),
    };
    match backend.verdict(status) {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Failover => backend.fault(&answer).name().to_owned(),
    }
}

#[test]
fn statuses_mean_what_each_kind_means_by_them() {
    let codes = [
        200, 302, 400, 401, 402, 403, 404, 405, 407, 413, 422, 429, 499, 500, 501, 502, 503, 504,
    ];
    let rows = codes.map(|code| {
        let [ollama, openai] = [&Backend::Ollama, &openai()].map(|kind| meaning(kind, code, "x"));
        format!("{code} {ollama} {openai}")
    });
    insta::assert_snapshot!(rows.join("\n"), @r"
    200 pass pass
    302 rejected rejected
    400 pass pass
    401 rejected rejected
    402 rejected rejected
    403 rejected rejected
    404 rejected rejected
    405 pass unsupported
    407 rejected rejected
    413 pass pass
    422 pass pass
    429 busy busy
    499 status pass
    500 status status
    501 status status
    502 status status
    503 busy busy
    504 status status
    ");
}

#[test]
fn a_404_is_of_the_model_only_in_ollamas_own_words() {
    let meant = |body: &str| meaning(&Backend::Ollama, 404, body);
    for missing in [
        r#"{"error":"model 'm' not found"}"#,
        r#"{"error":"model \"m\" not found, try pulling it first"}"#,
        r#"{"error":{"message":"model 'm' not found","type":"not_found_error"}}"#,
    ] {
        assert_eq!(meant(missing), "missing", "{missing}");
    }
    assert_eq!(meant("404 page not found"), "unsupported");
    for other in [
        "",
        "<html><h1>404 Not Found</h1></html>",
        r#"{"detail":"Not Found"}"#,
        r#"{"error":"no such route"}"#,
        "default backend - 404",
    ] {
        assert_eq!(meant(other), "rejected", "{other}");
    }
}

#[test]
fn a_404_of_another_kind_is_its_own_only_in_the_form_of_the_api() {
    let meant = |body: &str| meaning(&openai(), 404, body);
    for own in [
        r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#,
        r#"{"error":"no such model"}"#,
        r#"{"object":"error","message":"The model `x` does not exist.","code":404}"#,
    ] {
        assert_eq!(meant(own), "unsupported", "{own}");
    }
    for other in [
        "",
        "404 page not found",
        "<html>",
        r#"{"detail":"Not Found"}"#,
    ] {
        assert_eq!(meant(other), "rejected", "{other}");
    }
}

#[test]
fn a_load_that_failed_is_told_from_a_request_that_did() {
    for failed in [
        r#"{"error":"model requires more system memory (9.1 GiB) than is available (4.2 GiB)"}"#,
        r#"{"error":"llama runner process has terminated: exit status 2"}"#,
        r#"{"error":"model failed to load, this may be due to resource limitations"}"#,
        r#"{"error":"timed out waiting for llama runner to start - progress 0.00"}"#,
        r#"{"error":{"message":"CUDA error: Out of memory"}}"#,
    ] {
        assert_eq!(meaning(&Backend::Ollama, 500, failed), "load", "{failed}");
        assert_eq!(meaning(&openai(), 500, failed), "load", "{failed}");
    }
    let page = "  <html>sign in</html>";
    assert_eq!(meaning(&openai(), 404, page), "rejected");
    let template = r#"{"error":"template: :1: unexpected EOF"}"#;
    assert_eq!(meaning(&Backend::Ollama, 500, template), "status");
}

#[test]
fn every_kind_has_its_calls() {
    let calls = |kind: Kind| {
        let served = Api::ALL.into_iter().filter(|api| kind.serves(*api));
        served.map(Api::path).collect::<Vec<_>>()
    };
    assert_eq!(calls(Kind::Ollama).len(), Api::ALL.len());
    let openai = calls(Kind::OpenAi);
    assert!(openai.iter().all(|path| path.starts_with("/v1/")));
    assert_eq!(openai.len(), Api::ALL.len() - 5);
}

#[test]
fn a_load_names_the_model_and_has_the_options_of_its_request_and_no_text() {
    let load = |api, body: &'static str| {
        let request = client_request(api, body);
        let load = Backend::Ollama.load_for(&request).unwrap();
        assert_eq!(load.headers.as_ref(), &request.headers, "as to routers");
        (load.api, String::from_utf8(load.body.to_vec()).unwrap())
    };
    let chat = r#"{"model":"M\u0041","messages":[{"content":"x"}],"options":{"num_ctx":7}}"#;
    assert_eq!(
        load(Api::OllamaChat, chat),
        (
            Api::OllamaGenerate,
            r#"{"model":"MA","prompt":"","options":{"num_ctx":7}}"#.to_owned()
        )
    );
    let openai = r#"{"model":"m","messages":[],"options":{"num_ctx":7}}"#;
    assert_eq!(
        load(Api::OpenAiChat, openai),
        (
            Api::OllamaGenerate,
            r#"{"model":"m","prompt":""}"#.to_owned()
        )
    );
    let embed = r#"{"model":"m","input":"x","keep_alive":-1}"#;
    for api in [Api::OllamaEmbed, Api::OpenAiEmbeddings] {
        let (to, body) = load(api, embed);
        assert_eq!(to, Api::OllamaEmbed);
        assert!(body.starts_with(r#"{"model":"m","input":[]"#), "{body}");
    }
    let (to, body) = load(Api::OllamaEmbeddings, embed);
    assert_eq!(to, Api::OllamaEmbeddings);
    assert_eq!(body, r#"{"model":"m","prompt":"","keep_alive":-1}"#);
    let request = client_request(Api::OpenAiChat, openai);
    assert!(Backend::openai(&[]).load_for(&request).is_none());
}

#[test]
fn a_load_is_for_as_long_as_the_operator_wants_where_the_call_cannot_say_so() {
    let loaded = |api, body: &'static str| {
        let mut request = client_request(api, body);
        let options = request.load_options.clone();
        request.replaced = options.replaced(body, Some("-1".to_owned()), Some(9));
        request.keep_alive = Some("-1".to_owned());
        let load = Backend::Ollama.load_for(&request).unwrap();
        String::from_utf8(load.body.to_vec()).unwrap()
    };
    assert_eq!(
        loaded(Api::OpenAiChat, r#"{"model":"m","messages":[]}"#),
        r#"{"model":"m","prompt":"","keep_alive":-1}"#
    );
    assert_eq!(
        loaded(Api::OllamaChat, r#"{"model":"m","keep_alive":"1m"}"#),
        r#"{"model":"m","prompt":"","keep_alive":-1,"options":{"num_ctx":9}}"#
    );
}
