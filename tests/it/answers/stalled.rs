//! Errors whose body does not come, or not all of it.

use std::time::Duration;

use tokio::time::Instant;

use super::{beside_another, chat, failing, in_front_of};
use crate::support::{Framing, Reply, Scripted, eventually};
use herdsman::config::Kind;

const CUT: [Framing; 3] = [Framing::Stalled, Framing::ChunkedCut, Framing::Short];

#[tokio::test]
async fn an_error_status_counts_however_its_body_ends_and_nobody_waits_for_it() {
    for (status, fault) in [
        (401, "rejected"),
        (407, "rejected"),
        (404, "rejected"),
        (429, "busy"),
        (503, "busy"),
        (500, "status"),
        (502, "status"),
        (400, "broken"),
    ] {
        for framing in CUT {
            for said in ["", "{\"err"] {
                let reply = Reply::ok("application/json", said)
                    .status(status)
                    .framed(framing);
                let server = Scripted::start(move |_| reply.clone()).await;
                let router = beside_another(&server).await;
                let began = Instant::now();
                let answer = router.post("/api/chat", &chat(false)).await;
                let case = format!("{status} {framing:?} {said}: {}", answer.text());
                assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{case}");
                assert!(began.elapsed() < Duration::from_secs(5), "{case}");
                eventually("it is on record", || failing(&router) == [fault]).await;
                router.finish().await;
            }
        }
    }
}

#[tokio::test]
async fn a_pause_that_was_asked_for_counts_however_the_body_ends() {
    for framing in CUT {
        let reply = Reply::ok("application/json", "{\"error\":")
            .status(503)
            .header("retry-after: 30")
            .framed(framing);
        let mut server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::Ollama).await;
        for _ in 0..2 {
            let answer = router.post("/api/chat", &chat(false)).await;
            assert_eq!(answer.status, 503, "{framing:?}: {}", answer.text());
            assert!(["29", "30"].contains(&answer.header("retry-after")));
            assert!(answer.json()["error"].is_string(), "{}", answer.text());
            eventually("it is on record", || failing(&router) == ["busy"]).await;
        }
        assert_eq!(server.asked().len(), 1, "{framing:?}");
        router.finish().await;
    }
}
