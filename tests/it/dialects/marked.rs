//! Streams that end with a marker of another dialect, and what is counted of messages that end too early.

use herdsman::config::Kind;
use serde_json::json;

use super::{ask, booked, in_front_of};
use crate::support::{Framing, Reply, Scripted};

const DONE: &str = "data: [DONE]\n\n";
const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
const STOPPED: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n";
const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"error\":null}}\n\n";
const PIECE: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";

fn message() -> String {
    [START, DELTA, DELTA].concat()
}

#[tokio::test]
async fn a_marker_of_another_dialect_does_not_make_half_an_answer_whole() {
    for (path, sent, name) in [
        ("/v1/messages", message(), "event: error\n"),
        (
            "/v1/responses",
            [CREATED, PIECE, PIECE].concat(),
            "event: response.failed\n",
        ),
    ] {
        for end in [
            DONE.to_owned(),
            format!("{PIECE}{DONE}"),
            format!("{DONE}{STOPPED}{DONE}"),
        ] {
            let mut reply = Reply::ok("text/event-stream", sent.clone());
            reply.then = end.clone().into();
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&[(&server, Kind::OpenAi)]).await;
            let answer = router.post(path, &ask(true)).await;
            let text = answer.text();
            assert!(answer.status == 200 && !answer.broken, "{text}");
            assert!(text.starts_with(&sent), "{text}");
            assert!(!text.contains("[DONE]"), "{text}");
            let last = text.trim_end().rsplit("\n\n").next().unwrap();
            assert!(last.starts_with(name), "{text}");
            let (input, output) = router.counted().await;
            assert!(output >= 2, "{path}: {output}");
            assert!(path != "/v1/messages" || input == 115, "{input}");
            assert_eq!(booked(&router).await, (json!(0), json!(1)), "{path}");
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn it_ends_an_answer_that_has_said_why_it_is_over() {
    let sent = [START, DELTA, DELTA, STOPPED, DONE].concat();
    let reply = Reply::ok("text/event-stream", sent.clone());
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&[(&server, Kind::OpenAi)]).await;
    let answer = router.post("/v1/messages", &ask(true)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, sent.as_str())
    );
    assert_eq!(router.counted().await, (115, 2));
    assert_eq!(booked(&router).await, (json!(1), json!(0)));
    router.finish().await;
}

#[tokio::test]
async fn before_the_first_byte_another_server_is_tried() {
    for path in super::PATHS {
        for framing in [Framing::Chunked, Framing::Length] {
            let reply = Reply::ok("text/event-stream", DONE).framed(framing);
            let broken = Scripted::start(move |_| reply.clone()).await;
            let serves =
                Scripted::start(|_| Reply::ok("application/json", r#"{"output":[]}"#)).await;
            let servers = [(&broken, Kind::OpenAi), (&serves, Kind::OpenAi)];
            let router = in_front_of(&servers).await;
            let answer = router.post(path, &ask(true)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "odd-1", "{path}");
            router.finish().await;
        }
    }
}

/// However it ends: its beginning has said what was read.
#[tokio::test]
async fn what_a_message_has_read_is_counted_when_it_breaks_or_its_client_leaves() {
    let sent = message();
    for framing in [Framing::ChunkedCut, Framing::Chunked, Framing::Stalled] {
        let reply = Reply::ok("text/event-stream", sent.clone()).framed(framing);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&[(&server, Kind::OpenAi)]).await;
        let mut stream = router.stream("/v1/messages", &ask(true)).await;
        let mut length = 0;
        while length < sent.len() {
            length += stream.piece().await.expect("all that was sent").len();
        }
        if framing != Framing::Stalled {
            let rest = stream.piece().await.expect("an error");
            assert!(rest.starts_with(b"event: error"), "{framing:?}");
        }
        drop(stream);
        router.at_rest().await;
        assert_eq!(router.counted().await, (115, 2), "{framing:?}");
        router.finish().await;
    }
}
