//! Clients that leave, servers that stall or break, and the end of the program.

use std::time::Duration;

use herdsman_simulator::Fault;
use serde_json::{Value, json};

use crate::support::{Plan, TestRouter, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

fn slow() -> Plan {
    Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .set("routing.slots=1")
}

fn waiting(router: &TestRouter) -> usize {
    router
        .app
        .fleet()
        .queue_lengths()
        .iter()
        .map(|(_, n)| n)
        .sum()
}

#[tokio::test]
async fn a_client_that_leaves_its_stream_frees_the_slot_and_stops_the_server() {
    let router = slow().start().await;
    let mut stream = router.stream("/api/chat", &chat()).await;
    stream.piece().await;
    assert_eq!(router.in_flight(), 1);
    drop(stream);
    eventually("the server cancels it", || {
        router.servers[0].counters().cancelled == 1
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_stops_the_server_too() {
    let router = slow()
        .each(|server| server.prefill_tokens_per_second = 0.001)
        .start()
        .await;
    let body = chat();
    {
        let request = router.post("/api/chat", &body);
        tokio::pin!(request);
        let started = eventually("the server reads the prompt", || {
            router.servers[0].counters().started == 1
        });
        tokio::select! {
            _ = &mut request => panic!("it cannot be answered"),
            () = started => {}
        }
    }
    eventually("the server cancels it", || {
        router.servers[0].counters().cancelled == 1
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_removed_from_it() {
    let router = slow().start().await;
    let mut running = router.stream("/api/chat", &chat()).await;
    running.piece().await;
    let body = chat();
    {
        let request = router.post("/api/chat", &body);
        tokio::pin!(request);
        tokio::select! {
            _ = &mut request => panic!("there is no slot"),
            () = eventually("it waits", || waiting(&router) == 1) => {}
        }
    }
    eventually("it is out of the queue", || waiting(&router) == 0).await;
    drop(running);
    router.at_rest().await;
    assert_eq!(router.servers[0].counters().started, 1);
    router.finish().await;
}

#[tokio::test]
async fn a_stalled_server_is_cut_and_the_client_gets_an_error_in_its_dialect() {
    let router = Plan::servers(1)
        .set("routing.idle_timeout=200ms")
        .start()
        .await;
    router.servers[0].fault(Fault::Stall { after: 3 });
    let ollama = router.post("/api/chat", &chat()).await;
    let lines = ollama.lines();
    assert_eq!(lines.len(), 4);
    assert!(lines[3]["error"].is_string(), "{}", ollama.text());
    eventually("the connection to the server is closed", || {
        router.servers[0].counters().cancelled == 1
    })
    .await;
    router.servers[0].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn whatever_breaks_a_stream_the_client_cannot_take_it_for_whole() {
    let faults = [
        Fault::Reset { after: 3 },
        Fault::CleanEnd { after: 3 },
        Fault::HalfLine { after: 3 },
        Fault::ErrorLine { after: 3 },
        Fault::Crash { after: 3 },
    ];
    let router = Plan::servers(1).start().await;
    let mut openai = chat();
    openai["stream"] = json!(true);
    for fault in faults {
        router.servers[0].fault(fault.clone());
        let broken = router.post("/api/chat", &chat()).await;
        assert_eq!(broken.status, 200, "{fault:?}");
        let last = broken.text().lines().last().unwrap();
        let last: Value = serde_json::from_str(last).expect("the last line is whole");
        assert!(last["error"].is_string(), "{fault:?}: {}", broken.text());

        let events = router.post("/v1/chat/completions", &openai).await;
        assert!(
            events.text().contains("data: {\"error\""),
            "{fault:?}: {}",
            events.text()
        );
        assert!(!events.text().contains("[DONE]"), "{fault:?}");

        let mut whole = chat();
        whole["stream"] = json!(false);
        let whole = router.post("/api/chat", &whole).await;
        // A server that ends early reports it itself when it does not stream.
        let says_so = || whole.json()["done"] == false;
        assert!(
            whole.broken || whole.status.is_server_error() || says_so(),
            "{fault:?}: {whole:?}"
        );
        router.servers[0].clear_faults();
        let again = async || router.post("/api/chat", &chat()).await;
        while again().await.status != 200 {
            tokio::task::yield_now().await;
        }
    }
    router.finish().await;
}

#[tokio::test]
async fn open_streams_finish_at_shutdown_and_new_requests_are_refused() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100;
            server.decode_interval = Duration::from_millis(5);
        })
        .start()
        .await;
    let mut stream = router.stream("/api/chat", &chat()).await;
    stream.piece().await;
    let stopping = router.app.shutdown();
    let (whole, ()) = tokio::join!(stream.whole(), stopping);
    assert_eq!(
        whole
            .text()
            .lines()
            .last()
            .map(|last| last.contains("\"done\":true")),
        Some(true)
    );
    let counts = counts_on_disk(&router.dir).await;
    assert_eq!(counts.1, 100);
}

#[tokio::test]
async fn streams_longer_than_the_grace_end_with_an_error_and_are_counted() {
    let router = slow().set("server.grace=100ms").start().await;
    let mut stream = router.stream("/api/chat", &chat()).await;
    stream.piece().await;
    let (cut, ()) = tokio::join!(stream.whole(), router.app.shutdown());
    let last: Value = serde_json::from_str(cut.text().lines().last().unwrap()).unwrap();
    assert!(
        last["error"]
            .as_str()
            .is_some_and(|why| why.contains("shutting down")),
        "{last}"
    );
    let seen = i64::try_from(cut.text().lines().count()).unwrap();
    let (_, output) = counts_on_disk(&router.dir).await;
    assert_eq!(
        output, seen,
        "the first piece, and all but the error of the rest"
    );
}

async fn counts_on_disk(dir: &tempfile::TempDir) -> (i64, i64) {
    let store = herdsman::store::Store::open("", dir.path()).await.unwrap();
    let rows = store.token_counts().await.unwrap();
    (
        rows.iter().map(|row| row.input_tokens).sum(),
        rows.iter().map(|row| row.output_tokens).sum(),
    )
}
