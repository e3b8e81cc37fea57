//! Answers whose content type says something else than their bytes.

use herdsman::config::Kind;

use super::{
    CHAT, COMPLETION, DONE, EVENT, FINISH, LAST, LINE, USAGE, chat, counted, events, in_front_of,
    lines,
};
use crate::support::{Framing, Reply, Scripted};

const KINDS: [&str; 5] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/json",
    "text/plain; charset=utf-8",
    "application/octet-stream",
];

#[tokio::test]
async fn a_stream_is_read_by_what_was_asked_for_and_what_came_and_not_by_its_content_type() {
    let seen = events(&[EVENT, FINISH, DONE]);
    let sent = events(&[EVENT, FINISH, USAGE, DONE]);
    let stream = lines(&[LINE, LAST]);
    for kind in KINDS {
        for framing in [Framing::Chunked, Framing::Length] {
            let reply = |body: &str| Reply::ok(kind, body).framed(framing);
            let answer = counted("/v1/chat/completions", &chat(true), reply(&sent)).await;
            assert_eq!(answer, (seen.clone(), (7, 5)), "{kind} {framing:?}");
            let answer = counted("/api/chat", &chat(true), reply(&stream)).await;
            assert_eq!(answer, (stream.clone(), (7, 5)), "{kind} {framing:?}");
        }
    }
}

#[tokio::test]
async fn one_object_is_read_as_one_whatever_was_asked_for_and_its_content_type_says() {
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(CHAT).unwrap())
            .unwrap();
    for kind in KINDS {
        for streamed in [true, false] {
            for (path, body) in [
                ("/v1/chat/completions", COMPLETION),
                ("/api/chat", CHAT),
                ("/api/chat", &pretty),
            ] {
                let answer = counted(path, &chat(streamed), Reply::ok(kind, body)).await;
                assert_eq!(
                    answer,
                    (body.to_owned(), (7, 5)),
                    "{kind} {streamed} {path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_was_not_asked_for_is_counted_as_one() {
    let sse = events(&[EVENT, FINISH, USAGE, DONE]);
    let answer = counted(
        "/v1/chat/completions",
        &chat(false),
        Reply::ok(KINDS[0], sse.clone()),
    )
    .await;
    assert_eq!(answer, (sse, (7, 5)));
    let ndjson = lines(&[LINE, LINE, LAST]);
    let answer = counted(
        "/api/chat",
        &chat(false),
        Reply::ok(KINDS[1], ndjson.clone()),
    )
    .await;
    assert_eq!(answer, (ndjson, (7, 5)));
}

#[tokio::test]
async fn a_stream_of_any_content_type_that_breaks_ends_with_its_own_kind_of_error() {
    for kind in KINDS {
        for (path, body, error) in [
            (
                "/v1/chat/completions",
                events(&[EVENT, EVENT]),
                "\n\ndata: {\"error\"",
            ),
            ("/api/chat", lines(&[LINE, LINE]), "\n{\"error\""),
        ] {
            let reply = Reply::ok(kind, body).framed(Framing::ChunkedCut);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post(path, &chat(true)).await;
            assert!(
                answer.text().contains(error),
                "{kind} {path}: {}",
                answer.text()
            );
            assert!(!answer.broken);
            router.finish().await;
        }
    }
}

/// A chunk of usage that is taken out makes the body shorter than its server said.
#[tokio::test]
async fn a_body_that_is_changed_has_not_the_length_of_the_unchanged_one() {
    for kind in KINDS {
        let sent = events(&[EVENT, FINISH, USAGE, DONE]);
        let reply = Reply::ok(kind, sent).framed(Framing::Length);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert_eq!(answer.header("content-length"), "", "{kind}");
        assert!(!answer.broken, "{kind}");
        assert_eq!(answer.text(), events(&[EVENT, FINISH, DONE]), "{kind}");
        assert_eq!(router.counted().await, (7, 5), "{kind}");
        router.finish().await;
    }
}
