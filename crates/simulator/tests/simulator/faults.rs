//! Every fault, on demand.

use std::time::Duration;

use herdsman_simulator::{Config, Fault, Model, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::wire::{Client, End, call, post, try_call};
use super::{MODEL, eventually, start};

fn body(stream: bool) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": "a"}], "stream": stream})
}

async fn chat(server: &Simulator, stream: bool) -> super::wire::Answer {
    post(server.addr(), "/api/chat", body(stream)).await
}

async fn short() -> Simulator {
    start(Config {
        default_predict: 4,
        ..Config::default()
    })
    .await
}

#[tokio::test]
async fn a_server_that_refuses_cuts_and_listens_again_on_its_port() {
    let server = short().await;
    let mut idle = Client::connect(server.addr()).await.unwrap();
    idle.send("GET", "/", &[], "").await;
    idle.answer("GET").await.unwrap();
    server.fault(Fault::Refuse);
    let refused = TcpStream::connect(server.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    idle.send("GET", "/", &[], "").await;
    assert!(idle.answer("GET").await.is_err());
    let counters = call(server.control_addr(), "GET", "/_sim/counters", "").await;
    assert_eq!(counters.json()["http_requests"], 1);
    server.clear_faults();
    assert_eq!(call(server.addr(), "GET", "/", "").await.status, 200);
}

#[tokio::test]
async fn a_connection_can_be_reset_at_once() {
    let server = short().await;
    server.fault(Fault::ResetOnAccept.next(1));
    assert_eq!(
        try_call(server.addr(), "GET", "/", "").await.unwrap_err(),
        End::Reset
    );
    assert_eq!(call(server.addr(), "GET", "/", "").await.status, 200);
}

#[tokio::test]
async fn a_silent_server_reads_and_never_answers() {
    let server = short().await;
    server.fault(Fault::Silent.next(1));
    let silence = timeout(
        Duration::from_millis(50),
        call(server.addr(), "GET", "/", ""),
    )
    .await;
    assert!(silence.is_err());
    assert_eq!(call(server.addr(), "GET", "/", "").await.status, 200);
    server.fault(Fault::Silent.on(MODEL));
    assert_eq!(call(server.addr(), "GET", "/", "").await.status, 200);
    assert!(
        timeout(Duration::from_millis(50), chat(&server, true))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn heads_and_lists_can_be_delayed() {
    let server = short().await;
    let delay = Duration::from_millis(40);
    for (fault, path) in [
        (Fault::SlowHeaders { delay }, "/"),
        (Fault::StallPs { delay }, "/api/ps"),
        (Fault::StallTags { delay }, "/api/tags"),
        (Fault::StallTags { delay }, "/v1/models"),
    ] {
        server.fault(fault.next(1));
        let begun = Instant::now();
        assert_eq!(call(server.addr(), "GET", path, "").await.status, 200);
        assert!(begun.elapsed() >= delay, "{path}");
    }
}

#[tokio::test]
async fn lists_can_be_refused_while_all_else_is_answered() {
    let server = short().await;
    for (fault, path) in [
        (Fault::ForbidPs, "/api/ps"),
        (Fault::ForbidTags, "/api/tags"),
        (Fault::ForbidTags, "/v1/models"),
    ] {
        server.fault(fault);
        assert_eq!(
            call(server.addr(), "GET", path, "").await.status,
            403,
            "{path}"
        );
        assert_eq!(call(server.addr(), "HEAD", "/", "").await.status, 200);
        assert_eq!(chat(&server, false).await.status, 200);
        server.clear_faults();
        assert_eq!(
            call(server.addr(), "GET", path, "").await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn errors_before_the_first_byte_have_their_status() {
    let server = short().await;
    for (fault, status, text) in [
        (
            Fault::InternalError,
            500,
            r#"{"error":"an error was encountered while running the model"}"#,
        ),
        (
            Fault::Busy,
            503,
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
        ),
        (
            Fault::StaleCatalogue,
            404,
            r#"{"error":"model 'llama3.2' not found"}"#,
        ),
        (
            Fault::OutOfMemory,
            500,
            r#"{"error":"llama-server: CUDA error: out of memory"}"#,
        ),
    ] {
        for stream in [true, false] {
            server.fault(fault.clone().next(1));
            let answer = chat(&server, stream).await;
            assert_eq!((answer.status, answer.body().as_str()), (status, text));
            assert_eq!(chat(&server, stream).await.status, 200);
        }
    }
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert_eq!(tags["models"][0]["name"], "llama3.2:latest");
}

#[tokio::test]
async fn a_stale_catalogue_lists_a_model_that_is_missing() {
    let server = short().await;
    server.fault(Fault::StaleCatalogue.on(MODEL));
    assert_eq!(chat(&server, true).await.status, 404);
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert_eq!(tags["models"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_error_line_ends_a_stream_in_good_order() {
    let server = short().await;
    server.fault(Fault::ErrorLine { after: 2 }.next(2));
    let answer = chat(&server, true).await;
    assert_eq!(
        (answer.status, answer.end, answer.frames.len()),
        (200, End::Whole, 3)
    );
    assert_eq!(
        answer.frames[2],
        "{\"error\":\"model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details\"}\n"
    );
    assert_eq!(chat(&server, false).await.status, 500);
    let counters = server.counters();
    assert_eq!(
        (counters.failed, counters.finished, counters.wasted_tokens),
        (2, 0, 2)
    );
}

#[tokio::test]
async fn a_stream_can_be_reset_or_closed_after_some_tokens() {
    let server = short().await;
    server.fault(Fault::Reset { after: 2 }.next(1));
    let answer = chat(&server, true).await;
    assert_eq!((answer.end, answer.frames.len()), (End::Reset, 2));
    server.fault(Fault::HalfLine { after: 2 }.next(1));
    let answer = chat(&server, true).await;
    assert_eq!((answer.end, answer.frames.len()), (End::Closed, 3));
    assert!(serde_json::from_str::<Value>(&answer.frames[2]).is_err());
    for (fault, end) in [
        (Fault::Reset { after: 0 }, End::Reset),
        (Fault::HalfLine { after: 0 }, End::Closed),
    ] {
        server.fault(fault.next(1));
        assert_eq!(chat(&server, false).await.end, end);
    }
    assert_eq!(chat(&server, true).await.frames.len(), 5);
}

#[tokio::test]
async fn a_stream_can_end_without_its_end() {
    let server = short().await;
    server.fault(Fault::CleanEnd { after: 2 }.next(2));
    let answer = chat(&server, true).await;
    assert_eq!((answer.end, answer.frames.len()), (End::Whole, 2));
    let answer = chat(&server, false).await.json();
    assert_eq!(answer["done"], false);
    assert_eq!(answer["message"]["content"], "sim-2-0 sim-2-1 ");
    assert_eq!(server.counters().finished, 0);
}

#[tokio::test]
async fn a_break_behind_the_last_token_still_comes_before_the_end() {
    let server = short().await;
    server.fault(Fault::CleanEnd { after: 99 });
    let lines = chat(&server, true).await.lines();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["done"] == false));
}

#[tokio::test]
async fn a_stalled_stream_keeps_its_slot_until_the_client_leaves() {
    let server = start(Config {
        parallel: 1,
        default_predict: 4,
        ..Config::default()
    })
    .await;
    for stream in [true, false] {
        server.fault(Fault::Stall { after: 2 }.next(1));
        let (before, started) = (server.counters().cancelled, server.counters().started);
        let mut client = Client::connect(server.addr()).await.unwrap();
        client
            .send("POST", "/api/chat", &[], &body(stream).to_string())
            .await;
        if stream {
            client.head().await.ok().unwrap();
            client.chunk().await.unwrap();
            client.chunk().await.unwrap();
            assert!(
                timeout(Duration::from_millis(30), client.chunk())
                    .await
                    .is_err()
            );
        } else {
            assert!(
                timeout(Duration::from_millis(30), client.head())
                    .await
                    .is_err()
            );
        }
        let mut waiting = Client::connect(server.addr()).await.unwrap();
        waiting
            .send("POST", "/api/chat", &[], &body(true).to_string())
            .await;
        eventually(&server, |counters| counters.started == started + 2).await;
        assert!(
            timeout(Duration::from_millis(30), waiting.head())
                .await
                .is_err()
        );
        drop(client);
        assert_eq!(waiting.answer("POST").await.unwrap().frames.len(), 5);
        eventually(&server, |counters| counters.cancelled == before + 1).await;
        assert_eq!(chat(&server, true).await.frames.len(), 5);
    }
}

#[tokio::test]
async fn a_line_can_be_huge() {
    let server = short().await;
    server.fault(
        Fault::HugeLine {
            after: 1,
            bytes: 3_000_000,
        }
        .next(2),
    );
    let answer = chat(&server, true).await;
    assert_eq!(answer.end, End::Whole);
    let body = answer.body();
    let (_, huge) = body.split_once('\n').unwrap();
    assert_eq!((huge.len(), huge.contains('\n')), (3_000_000, false));
    assert_eq!(chat(&server, false).await.body().len(), 3_000_000);
}

#[tokio::test]
async fn an_answer_can_come_byte_by_byte() {
    let server = start(Config {
        default_predict: 1,
        ..Config::default()
    })
    .await;
    for stream in [true, false] {
        server.fault(
            Fault::Trickle {
                every: Duration::from_micros(10),
            }
            .next(1),
        );
        let answer = chat(&server, stream).await;
        assert_eq!(answer.end, End::Whole);
        assert!(!stream || answer.frames.iter().all(|frame| frame.len() == 1));
        let last: Value = serde_json::from_str(answer.body().lines().last().unwrap()).unwrap();
        assert_eq!(last["done"], true);
    }
}

#[tokio::test]
async fn a_crashed_runner_is_loaded_again() {
    let server = short().await;
    server.fault(Fault::Crash { after: 1 }.next(1));
    assert!(chat(&server, true).await.frames[1].starts_with("{\"error\""));
    assert_eq!(chat(&server, true).await.frames.len(), 5);
    assert_eq!(server.counters().loads, 2);
}

#[tokio::test]
async fn running_out_of_memory_unloads_every_model() {
    let models = vec![Model::named(MODEL), Model::named("other")];
    let server = start(Config {
        models,
        ..Config::default()
    })
    .await;
    post(server.addr(), "/api/generate", json!({"model": "other"})).await;
    server.fault(Fault::OutOfMemory.on(MODEL));
    assert_eq!(chat(&server, true).await.status, 500);
    loop {
        let ps = call(server.addr(), "GET", "/api/ps", "").await.json();
        if ps["models"].as_array().unwrap().is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn a_leaked_slot_is_never_given_back() {
    let server = start(Config {
        parallel: 2,
        default_predict: 1,
        ..Config::default()
    })
    .await;
    server.fault(Fault::LeakSlot.next(2));
    assert_eq!(chat(&server, true).await.frames.len(), 2);
    assert_eq!(chat(&server, true).await.frames.len(), 2);
    assert!(
        timeout(Duration::from_millis(50), chat(&server, true))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_fault_affects_only_the_requests_of_its_rule() {
    let models = vec![Model::named(MODEL), Model::named("other")];
    let server = start(Config {
        models,
        ..Config::default()
    })
    .await;
    server.fault(Fault::InternalError.on("other"));
    assert_eq!(chat(&server, true).await.status, 200);
    let other = json!({"model": "Other:latest", "prompt": "a"});
    assert_eq!(
        post(server.addr(), "/api/generate", other.clone())
            .await
            .status,
        500
    );
    server.clear_faults();
    assert_eq!(
        post(server.addr(), "/api/generate", other).await.status,
        200
    );
}

#[tokio::test]
async fn a_restart_cuts_unloads_and_listens_on_the_same_port() {
    let server = start(Config {
        decode_interval: Duration::from_millis(5),
        default_predict: 10_000,
        ..Config::default()
    })
    .await;
    let mut client = Client::connect(server.addr()).await.unwrap();
    client
        .send("POST", "/api/chat", &[], &body(true).to_string())
        .await;
    client.head().await.ok().unwrap();
    client.chunk().await.unwrap();
    let addr = server.addr();
    let begun = Instant::now();
    let restart = server.restart(Duration::from_secs(1));
    let cut = async {
        while client.chunk().await.is_ok() {}
        TcpStream::connect(addr).await.unwrap_err().kind()
    };
    let ((), refused) = tokio::join!(restart, cut);
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        call(addr, "GET", "/api/ps", "").await.body(),
        r#"{"models":[]}"#
    );
    let counters = server.counters();
    assert_eq!((counters.cancelled, counters.loads), (1, 1));
}

#[tokio::test]
async fn stopping_cuts_everything_and_closes_the_port() {
    let server = start(Config {
        load: Duration::from_secs(600),
        ..Config::default()
    })
    .await;
    let mut client = Client::connect(server.addr()).await.unwrap();
    client
        .send("POST", "/api/chat", &[], &body(true).to_string())
        .await;
    eventually(&server, |counters| counters.started == 1).await;
    let addr = server.addr();
    server.stop().await;
    assert!(client.head().await.is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}
