//! Streams that end with or without saying why.

use herdsman::config::Kind;
use serde_json::json;

use super::{
    DONE, EVENT, FINISH, LAST, LINE, USAGE, beside_another, chat, counted, events, in_front_of,
    lines,
};
use crate::support::{Framing, Reply, Scripted};

async fn text(path: &str, reply: Reply) -> String {
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    let answer = router.post(path, &chat(true)).await;
    assert!(!answer.broken, "{}", answer.text());
    router.finish().await;
    answer.text().to_owned()
}

#[tokio::test]
async fn a_stream_that_has_said_why_it_ended_is_whole_without_its_last_marker() {
    for framing in [Framing::Chunked, Framing::Close] {
        for sent in [
            events(&[EVENT, FINISH, USAGE]),
            events(&[EVENT, FINISH, USAGE]).trim_end().to_owned(),
            events(&[EVENT, FINISH, USAGE, ": bye"]),
        ] {
            let reply = Reply::ok("text/event-stream", sent.clone()).framed(framing);
            let (text, counted) = counted("/v1/chat/completions", &chat(true), reply).await;
            assert!(!text.contains("error"), "{framing:?}: {text}");
            assert!(text.starts_with(&events(&[EVENT, FINISH])), "{text}");
            assert_eq!(counted, (7, 5), "{framing:?} {sent}");
        }
        let last = lines(&[LINE, LAST]).trim_end().to_owned();
        let reply = Reply::ok("application/x-ndjson", last.clone()).framed(framing);
        let answer = counted("/api/chat", &chat(true), reply).await;
        assert_eq!(answer, (last, (7, 5)), "{framing:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_saying_why_ends_with_an_error() {
    let empty = EVENT.replace("null", "\"\"");
    let second = EVENT.replace("\"index\":0", "\"index\":1");
    for framing in [Framing::Chunked, Framing::Close, Framing::ChunkedCut] {
        for sent in [
            events(&[EVENT, EVENT]),
            events(&[EVENT, USAGE]),
            events(&[EVENT, &empty]),
            // Two answers to one prompt, of which one has ended.
            events(&[EVENT, &second, FINISH]),
            events(&[EVENT, "data: {\"choices\":[{\"finish_reason\":\"sto"]),
        ] {
            let reply = Reply::ok("text/event-stream", sent.clone()).framed(framing);
            let text = text("/v1/chat/completions", reply).await;
            assert!(
                text.contains("data: {\"error\""),
                "{framing:?} {sent}: {text}"
            );
            assert!(!text.contains(DONE), "{framing:?} {sent}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_behind_the_reason_of_its_end_has_not_ended_well() {
    let whole = events(&[EVENT, FINISH]);
    let reply = Reply::ok("text/event-stream", whole.clone()).framed(Framing::ChunkedCut);
    let said = text("/v1/chat/completions", reply).await;
    assert!(said.contains("data: {\"error\""), "{said}");
    let half = format!("{whole}data: {{\"choices\":[],\"usa");
    let said = text("/v1/chat/completions", Reply::ok("text/event-stream", half)).await;
    assert!(said.contains("data: {\"error\""), "{said}");
    // What has a length is read whole first, so that nothing of it has been sent yet.
    let reply = Reply::ok("text/event-stream", whole).framed(Framing::Short);
    let said = text("/v1/chat/completions", reply).await;
    assert!(said.starts_with("{\"error\""), "{said}");
}

#[tokio::test]
async fn a_stream_that_has_said_all_is_whole_though_its_body_does_not_end() {
    let sent = events(&[EVENT, FINISH, USAGE]);
    let reply = Reply::ok("text/event-stream", sent).framed(Framing::Stalled);
    let answer = counted("/v1/chat/completions", &chat(true), reply).await;
    assert_eq!(answer, (events(&[EVENT, FINISH]), (7, 5)));
}

/// Where nothing has been passed on, another server is tried first.
#[tokio::test]
async fn a_page_or_an_end_without_an_answer_is_no_stream() {
    let page = "<html><style>p { margin: 0 }</style></html>";
    for (path, sent) in [
        ("/v1/chat/completions", page.to_owned()),
        ("/api/chat", page.to_owned()),
        ("/v1/chat/completions", events(&[DONE])),
        ("/v1/chat/completions", events(&[": hi", DONE])),
    ] {
        let reply = Reply::ok("text/html", sent.clone()).framed(Framing::Close);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = beside_another(&server).await;
        let answer = router.post(path, &chat(true)).await;
        assert_eq!(
            answer.header("x-herdsman-endpoint"),
            "gpu-0",
            "{path} {sent}"
        );
        router.finish().await;
        let router = in_front_of(&server, Kind::Ollama).await;
        let answer = router.post(path, &chat(true)).await;
        assert_eq!(answer.status, 502, "{path} {sent}: {}", answer.text());
        assert!(!answer.text().contains("html"), "{}", answer.text());
        router.finish().await;
    }
}

/// Choices that come one after another: with the first, only one of them is over.
#[tokio::test]
async fn a_stream_of_several_choices_is_whole_when_as_many_as_were_asked_for_have_ended() {
    let second = |event: &str| event.replace("\"index\":0", "\"index\":1");
    let (begins, ends) = (second(EVENT), second(FINISH));
    for (wanted, sent, is_whole) in [
        (2, events(&[EVENT, FINISH]), false),
        (2, events(&[EVENT, FINISH, &begins]), false),
        (2, events(&[EVENT, FINISH, &begins, &ends]), true),
        (3, events(&[EVENT, FINISH, &begins, &ends]), false),
        (1, events(&[EVENT, FINISH]), true),
        // It says itself that there is no more.
        (2, events(&[EVENT, FINISH, DONE]), true),
    ] {
        let reply = Reply::ok("text/event-stream", sent.clone());
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let mut body = chat(true);
        body["n"] = json!(wanted);
        let answer = router.post("/v1/chat/completions", &body).await;
        let is_broken = answer.text().contains("data: {\"error\"");
        assert_eq!(is_broken, !is_whole, "{wanted} {sent}: {}", answer.text());
        router.finish().await;
    }
}
