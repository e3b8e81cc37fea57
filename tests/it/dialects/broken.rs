//! Streams that break: their client is told, in an event that it cannot take for the end of an answer.

use herdsman_simulator::Fault;

use super::{PATHS, ask, events};
use crate::support::Plan;

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_error_event_of_its_dialect() {
    for path in PATHS {
        for fault in [
            // As a real server ends it when its runner has died.
            Fault::ErrorLine { after: 2 },
            Fault::CleanEnd { after: 2 },
            Fault::Reset { after: 2 },
        ] {
            let router = Plan::servers(1).start().await;
            router.servers[0].fault(fault.clone());
            let answer = router.post(path, &ask(true)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let events = events(answer.text());
            let (name, data) = events.last().unwrap();
            assert_eq!(data["type"], **name, "{fault:?}");
            assert!(data["error"]["message"].is_string(), "{data}");
            match path {
                "/v1/messages" => assert_eq!(name, "error"),
                _ => {
                    assert_eq!(name, "response.failed");
                    assert_eq!(data["response"]["status"], "failed");
                    assert!(data["response"]["error"]["message"].is_string());
                }
            }
            let ends = ["message_stop", "message_delta", "response.completed"];
            assert!(!events.iter().any(|(name, _)| ends.contains(&name.as_str())));
            let (input, output) = router.counted().await;
            assert!(input > 0 && output == 2, "{fault:?}: {input} {output}");
            router.servers[0].clear_faults();
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn an_event_that_breaks_in_the_middle_is_ended_before_the_error() {
    for path in PATHS {
        let router = Plan::servers(1).start().await;
        router.servers[0].fault(Fault::HalfLine { after: 1 });
        let answer = router.post(path, &ask(true)).await;
        let last = answer.text().trim_end().rsplit("\n\n").next().unwrap();
        assert!(
            ["event: error\ndata: {", "event: response.failed\ndata: {"]
                .iter()
                .any(|begin| last.starts_with(begin)),
            "{last}"
        );
        router.servers[0].clear_faults();
        router.finish().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_whole_or_another_servers() {
    for path in PATHS {
        for fault in [Fault::Reset { after: 2 }, Fault::ErrorLine { after: 2 }] {
            let router = Plan::servers(2)
                .endpoint(1, |endpoint| endpoint.priority = 1)
                .start()
                .await;
            router.servers[0].fault(fault.clone());
            let answer = router.post(path, &ask(false)).await;
            assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1", "{fault:?}");
            assert!(!answer.broken && answer.json().is_object());
            router.servers[0].clear_faults();
            router.finish().await;
        }
    }
}
