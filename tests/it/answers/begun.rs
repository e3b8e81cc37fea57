//! How an answer begins: cut anywhere, behind comments, or not at all.

use std::time::Duration;

use herdsman::config::Kind;
use tokio::time::Instant;

use super::{
    CHAT, COMPLETION, DONE, EVENT, FINISH, LAST, LINE, USAGE, beside_another, chat, counted,
    events, failing, in_front_of, is_listed, lines,
};
use crate::support::{Framing, Plan, Reply, Scripted, eventually};

const PING: &str = ": ping\n\n";

#[tokio::test]
async fn how_an_answer_is_framed_does_not_depend_on_where_it_was_cut() {
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(CHAT).unwrap())
            .unwrap();
    let stream = events(&[EVENT, FINISH, USAGE, DONE]);
    let seen = events(&[EVENT, FINISH, DONE]);
    let of_lines = lines(&[LINE, LAST]);
    for (path, streamed, sent, seen) in [
        ("/api/chat", true, pretty.clone(), pretty),
        (
            "/api/chat",
            true,
            format!("\n{of_lines}"),
            format!("\n{of_lines}"),
        ),
        (
            "/api/chat",
            false,
            format!("\u{feff}{CHAT}"),
            format!("\u{feff}{CHAT}"),
        ),
        (
            "/v1/chat/completions",
            true,
            format!(" \n{COMPLETION}"),
            format!(" \n{COMPLETION}"),
        ),
        ("/v1/chat/completions", true, stream.clone(), seen),
        ("/v1/chat/completions", false, stream.clone(), stream),
    ] {
        for at in [1, 2, 3] {
            let mut reply = Reply::ok("text/plain", &sent.as_bytes()[..at]);
            reply.then = sent.as_bytes()[at..].to_vec();
            let answer = counted(path, &chat(streamed), reply).await;
            assert_eq!(answer, (seen.clone(), (7, 5)), "{path} {streamed} at {at}");
        }
    }
}

#[tokio::test]
async fn a_text_in_place_of_a_stream_is_tried_elsewhere() {
    for said in [
        "upstream connect error\n",
        "upstream connect error\n\n",
        "upstream: reset\n\n",
        "d",
        "{",
        "event: x\n",
    ] {
        for path in ["/api/chat", "/v1/chat/completions"] {
            let server = Scripted::start(move |_| Reply::ok("text/plain", said)).await;
            let router = beside_another(&server).await;
            let answer = router.post(path, &chat(true)).await;
            assert_eq!(
                answer.header("x-herdsman-endpoint"),
                "gpu-0",
                "{path} {said}"
            );
            eventually("it is on record", || failing(&router) == ["broken"]).await;
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn comments_pass_at_once_and_are_no_answer() {
    let error = r#"data: {"error":{"message":"boom"}}"#;
    for (then, fault) in [
        ("".to_owned(), "broken"),
        (events(&[DONE]), "broken"),
        (events(&[error]), "status"),
        (events(&[error, DONE]), "status"),
    ] {
        let mut reply = Reply::ok("text/event-stream", PING);
        reply.then = then.clone().into();
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        let text = answer.text();
        assert!(
            text.starts_with(PING) && text.contains("\"error\""),
            "{then}: {text}"
        );
        assert!(!text.contains(DONE), "{then}: {text}");
        eventually("it is on record", || failing(&router) == [fault]).await;
        router.finish().await;
    }
}

#[tokio::test]
async fn an_answer_behind_comments_is_whole() {
    let mut reply = Reply::ok("text/event-stream", PING);
    reply.then = events(&[EVENT, FINISH, USAGE, DONE]).into();
    let (text, used) = counted("/v1/chat/completions", &chat(true), reply).await;
    let seen = format!("{PING}{}", events(&[EVENT, FINISH, DONE]));
    assert_eq!((text, used), (seen, (7, 5)));
}

#[tokio::test]
async fn comments_do_not_extend_the_time_for_the_first_event() {
    let server =
        Scripted::start(|_| Reply::ok("text/event-stream", PING).framed(Framing::Stalled)).await;
    let router = Plan::servers(0)
        .and(server.endpoint("odd", Kind::OpenAi))
        .set("routing.first_byte_timeout=500ms")
        .start()
        .await;
    is_listed(&router).await;
    let began = Instant::now();
    let answer = router.post("/v1/chat/completions", &chat(true)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(
        answer.text().contains("data: {\"error\""),
        "{}",
        answer.text()
    );
    eventually("it is on record", || failing(&router) == ["silent"]).await;
    router.finish().await;
}
