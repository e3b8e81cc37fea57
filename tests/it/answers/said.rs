//! Errors inside answers whose status is 200.

use herdsman::config::Kind;
use serde_json::json;

use super::{
    CHAT, COMPLETION, DONE, EVENT, FINISH, LAST, LINE, USAGE, beside_another, chat, counted,
    events, failing, in_front_of, is_listed, lines,
};
use crate::support::{Framing, Plan, Reply, Scripted, eventually};

const FRAMINGS: [Framing; 3] = [Framing::Chunked, Framing::Length, Framing::Close];

/// As vLLM, as Ollama, and by its name alone.
fn first_events() -> Vec<(&'static str, bool, String)> {
    let text = r#"{"error":{"message":"no such template","code":null}}"#;
    let line = r#"{"error":"no such template"}"#;
    let event = format!("data: {text}");
    let named = "event: error\ndata: {\"message\":\"no such template\"}";
    vec![
        ("/api/chat", true, lines(&[line])),
        ("/api/chat", true, line.to_owned()),
        ("/api/chat", true, format!("\n{line}\n")),
        ("/api/chat", false, line.to_owned()),
        ("/api/chat", false, lines(&[line, LAST])),
        ("/v1/chat/completions", true, events(&[&event, DONE])),
        ("/v1/chat/completions", true, events(&[": ping", &event])),
        ("/v1/chat/completions", true, events(&[named])),
        ("/v1/chat/completions", true, text.to_owned()),
        ("/v1/chat/completions", false, text.to_owned()),
    ]
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_is_tried_elsewhere() {
    for (path, streamed, body) in first_events() {
        for framing in FRAMINGS {
            let case = format!("{path} {streamed} {framing:?} {body}");
            let reply = Reply::ok("text/plain", body.clone()).framed(framing);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = beside_another(&server).await;
            let answer = router.post(path, &chat(streamed)).await;
            assert_eq!(answer.status, 200, "{case}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{case}");
            assert_eq!(answer.header("x-herdsman-attempts"), "2", "{case}");
            eventually("the server is blamed", || failing(&router) == ["status"]).await;
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn an_error_that_no_server_does_without_is_said_with_a_status() {
    for (path, streamed, body) in first_events() {
        for framing in FRAMINGS {
            let case = format!("{path} {streamed} {framing:?} {body}");
            let reply = Reply::ok("text/event-stream", body.clone()).framed(framing);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post(path, &chat(streamed)).await;
            assert_eq!(answer.status, 500, "{case}: {}", answer.text());
            assert!(
                answer
                    .header("content-type")
                    .starts_with("application/json")
            );
            let error = &answer.json()["error"];
            let said = if path.starts_with("/v1") {
                &error["message"]
            } else {
                error
            };
            assert_eq!(said, "no such template", "{case}");
            assert!(!answer.broken && failing(&router).is_empty(), "{case}");
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn the_status_that_an_error_names_is_what_it_means() {
    for (code, status, fault) in [
        (400, 400, None),
        (422, 422, None),
        (429, 429, Some("busy")),
        (401, 502, Some("rejected")),
        (501, 501, None),
    ] {
        let text = json!({"error": {"message": "no", "code": code}}).to_string();
        let body = events(&[&format!("data: {text}"), DONE]);
        let mut server =
            Scripted::start(move |_| Reply::ok("text/event-stream", body.clone())).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(server.asked().len(), 1, "{code}");
        let expected: Vec<_> = fault.into_iter().collect();
        eventually("what follows", || failing(&router) == expected).await;
        router.finish().await;
    }
}

#[tokio::test]
async fn an_error_that_two_servers_say_alike_inside_their_answers_blames_nobody() {
    let reply = |_: &str| Reply::ok("text/plain", r#"{"error":"bad template at 12"}"#);
    let (one, other) = (Scripted::start(reply).await, Scripted::start(reply).await);
    let router = Plan::servers(0)
        .and(one.endpoint("one", Kind::Ollama))
        .and(other.endpoint("other", Kind::Ollama))
        .start()
        .await;
    is_listed(&router).await;
    let answer = router.post("/api/chat", &chat(true)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (500, r#"{"error":"bad template at 12"}"#)
    );
    assert!(failing(&router).is_empty());
    router.finish().await;
}

#[tokio::test]
async fn a_load_that_failed_is_one_wherever_it_is_said() {
    let body = r#"{"error":"llama runner process has terminated: exit status 2"}"#;
    let server = Scripted::start(move |_| Reply::ok("application/x-ndjson", body)).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    assert_eq!(router.post("/api/chat", &chat(true)).await.status, 500);
    eventually("it is on record", || failing(&router) == ["load"]).await;
    router.finish().await;
}

#[tokio::test]
async fn a_field_for_errors_that_says_nothing_is_no_error() {
    for nothing in ["\"\"", "{}", "{ }", "null", "[]", "false"] {
        let with = |text: &str| text.replacen('{', &format!("{{\"error\":{nothing},"), 1);
        let stream = events(&[&with(EVENT), &with(FINISH), &with(USAGE), DONE]);
        let seen = events(&[&with(EVENT), &with(FINISH), DONE]);
        for (path, streamed, sent, seen) in [
            ("/api/chat", false, with(CHAT), None),
            ("/v1/chat/completions", false, with(COMPLETION), None),
            ("/api/chat", true, lines(&[&with(LINE), &with(LAST)]), None),
            ("/v1/chat/completions", true, stream, Some(seen)),
        ] {
            let seen = seen.unwrap_or_else(|| sent.clone());
            let answer = counted(path, &chat(streamed), Reply::ok("text/plain", sent)).await;
            assert_eq!(answer, (seen, (7, 5)), "{path} {streamed} {nothing}");
        }
    }
}

/// As Google's servers, as older releases of vLLM, and behind a mark that some write first.
#[tokio::test]
async fn an_error_in_another_form_is_one_too() {
    let array = r#"[{"error":{"message":"no","code":503}}]"#;
    let vllm = r#"{"object":"error","message":"no","type":"x","code":503}"#;
    let marked = "\u{feff}{\"error\":{\"message\":\"no\",\"code\":503}}";
    for said in [array, vllm, marked] {
        let event = events(&[&format!("data: {said}"), DONE]);
        for (streamed, body) in [
            (false, said.to_owned()),
            (true, said.to_owned()),
            (true, event),
        ] {
            let server = Scripted::start(move |_| Reply::ok("text/plain", body.clone())).await;
            let router = beside_another(&server).await;
            let answer = router.post("/v1/chat/completions", &chat(streamed)).await;
            assert_eq!(
                answer.header("x-herdsman-endpoint"),
                "gpu-0",
                "{said}: {}",
                answer.text()
            );
            eventually("it is busy", || failing(&router) == ["busy"]).await;
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn a_pause_in_the_head_of_a_200_counts_for_the_error_in_it() {
    let said = events(&[r#"data: {"error":{"message":"slow","code":429}}"#, DONE]);
    let mut server = Scripted::start(move |_| {
        Reply::ok("text/event-stream", said.clone()).header("retry-after: 30")
    })
    .await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    for _ in 0..2 {
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(["29", "30"].contains(&answer.header("retry-after")));
        eventually("it is on record", || failing(&router) == ["busy"]).await;
    }
    assert_eq!(server.asked().len(), 1);
    router.finish().await;
}

/// The answer has begun: it cannot be tried elsewhere any more, and must not look whole.
#[tokio::test]
async fn an_answer_that_ends_with_an_error_is_not_whole_whatever_follows() {
    let error = r#"data: {"error":{"message":"no","code":500}}"#;
    let sent = events(&[EVENT, EVENT]);
    for end in [
        events(&[error, DONE]),
        events(&[error]),
        events(&[error, EVENT, DONE]),
    ] {
        let mut reply = Reply::ok("text/event-stream", sent.clone());
        reply.then = end.clone().into();
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.starts_with(&sent) && text.contains(error), "{text}");
        assert!(!text.contains(DONE) && !answer.broken, "{text}");
        router.counted().await;
        let report = router.get("/admin/spend?group_by=model").await.json();
        let row = &report["items"][0];
        assert_eq!(
            (&row["requests"], &row["failed_requests"]),
            (&json!(0), &json!(1)),
            "{report}"
        );
        router.finish().await;
    }
    let mut reply = Reply::ok("application/x-ndjson", lines(&[LINE]));
    reply.then = lines(&[r#"{"error":"no"}"#]).into();
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let answer = router.post("/api/chat", &chat(true)).await;
    assert_eq!(answer.text(), lines(&[LINE, r#"{"error":"no"}"#]));
    router.finish().await;
}

/// The first event comes in pieces of a few bytes.
#[tokio::test]
async fn an_error_is_known_however_it_is_cut() {
    for (path, streamed, body) in first_events() {
        let case = format!("{path} {streamed} {body}");
        let (first, rest) = body.split_at(9);
        let mut reply = Reply::ok("text/plain", first);
        reply.then = rest.into();
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = beside_another(&server).await;
        let answer = router.post(path, &chat(streamed)).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{case}");
        assert!(!answer.text().contains("template"), "{case}");
        router.finish().await;
    }
}
