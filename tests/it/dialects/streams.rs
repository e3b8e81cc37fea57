//! Whole answers, streamed and not.

use herdsman_simulator::Fault;

use super::{PATHS, ask, events};
use crate::support::Plan;

/// Where an answer states its usage.
fn usage<'a>(path: &str, last: &'a serde_json::Value) -> &'a serde_json::Value {
    match path {
        "/v1/responses" if last.get("response").is_some() => &last["response"]["usage"],
        _ => &last["usage"],
    }
}

#[tokio::test]
async fn an_answer_passes_unchanged_and_is_counted_streamed_and_not() {
    for path in PATHS {
        for stream in [true, false] {
            let router = Plan::servers(1).start().await;
            let answer = router.post(path, &ask(stream)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
            let (last, stated) = match stream {
                true => {
                    let events = events(answer.text());
                    let stated = events.iter().rev().find(|(_, data)| {
                        usage(path, data).is_object() && data["type"] != "message_start"
                    });
                    (events.last().unwrap().0.clone(), stated.unwrap().1.clone())
                }
                false => (String::new(), answer.json()),
            };
            assert!(
                !stream || ["message_stop", "response.completed"].contains(&last.as_str()),
                "{last}"
            );
            let usage = usage(path, &stated);
            let count = |key: &str| usage[key].as_i64().unwrap();
            let stated = (count("input_tokens"), count("output_tokens"));
            assert!(stated.0 > 0 && stated.1 == 6, "{usage}");
            assert_eq!(router.counted().await, stated, "{path} {stream}");
            let counters = router.servers[0].counters();
            assert_eq!((counters.started, counters.finished), (1, 1));
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_fails_before_the_first_byte_is_replaced() {
    for path in PATHS {
        for fault in [Fault::InternalError, Fault::Busy, Fault::ResetOnAccept] {
            let router = Plan::servers(2)
                .endpoint(1, |endpoint| endpoint.priority = 1)
                .start()
                .await;
            router.servers[0].fault(fault.clone());
            let answer = router.post(path, &ask(true)).await;
            assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1", "{fault:?}");
            router.servers[0].clear_faults();
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn they_wait_for_a_slot_like_every_other_call() {
    let router = Plan::servers(1)
        .endpoint(0, |endpoint| {
            endpoint.slots = herdsman::config::Slots::Fixed(1.try_into().unwrap());
        })
        .start()
        .await;
    let all = PATHS
        .iter()
        .flat_map(|path| [(*path, true), (*path, false)]);
    let all = all.map(|(path, stream)| {
        let router = &router;
        async move { router.post(path, &ask(stream)).await.status }
    });
    let statuses = futures_util::future::join_all(all).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(router.servers[0].counters().max_concurrent, 1);
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_server() {
    for path in PATHS {
        let router = Plan::servers(1).start().await;
        router.servers[0].fault(Fault::Stall { after: 2 });
        let mut stream = router.stream(path, &ask(true)).await;
        assert!(stream.piece().await.is_some());
        drop(stream);
        router.at_rest().await;
        let counted = router.counted().await;
        assert!(counted.1 > 0, "{counted:?}: what was generated is counted");
        router.servers[0].clear_faults();
        router.finish().await;
    }
}
