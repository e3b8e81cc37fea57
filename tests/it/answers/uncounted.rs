//! Answers that do not say what they used, or say more than that.

use herdsman::config::Kind;
use serde_json::json;

use super::{DONE, EVENT, FINISH, LINE, chat, counted, events, lines};
use crate::support::{Plan, Reply, eventually};

#[tokio::test]
async fn every_answer_without_usage_is_counted_by_estimate() {
    let last = r#"{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true}"#;
    let prompt = json!({"model": "llama3.2", "prompt": "hi there", "stream": false});
    let text = "a".repeat(400);
    let whole = format!(r#"{{"response":"{text}","done":true}}"#);
    let completion = format!(r#"{{"choices":[{{"index":0,"message":{{"content":"{text}"}}}}]}}"#);
    let zero = r#","usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let completion = completion.replace("\"index\"", "\"finish_reason\":\"stop\",\"index\"");
    let zero = format!("{}{zero}", &completion[..completion.len() - 1]);
    let vector = r#"{"embeddings":[[0.1,0.2]]}"#.to_owned();
    let input = json!({"model": "llama3.2", "input": "hi there"});
    for (path, body, sent, (least, most)) in [
        (
            "/api/chat",
            &chat(true),
            lines(&[LINE, LINE, LINE, last]),
            (3, 3),
        ),
        (
            "/v1/chat/completions",
            &chat(true),
            events(&[EVENT, EVENT, FINISH, DONE]),
            (3, 3),
        ),
        (
            "/v1/chat/completions",
            &chat(true),
            events(&[EVENT, FINISH]),
            (2, 2),
        ),
        ("/api/generate", &prompt, whole, (30, 110)),
        ("/v1/chat/completions", &chat(false), completion, (30, 110)),
        ("/v1/chat/completions", &chat(false), zero, (30, 120)),
        (
            "/api/chat",
            &chat(true),
            last.replace("\"content\":\"\"", &format!("\"content\":\"{text}\"")),
            (100, 100),
        ),
        (
            "/api/chat",
            &chat(false),
            last.replace("\"content\":\"\"", "\"content\":\"hello\""),
            (2, 2),
        ),
        (
            "/v1/chat/completions",
            &chat(true),
            events(&[
                &FINISH.replace("{}", &format!("{{\"content\":\"{text}\"}}")),
                DONE,
            ]),
            (50, 110),
        ),
        // What is said of the beginning is not of the whole.
        (
            "/v1/chat/completions",
            &chat(true),
            events(&[
                &EVENT.replace(
                    "{\"choices\"",
                    "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0},\"choices\"",
                ),
                EVENT,
                FINISH,
                DONE,
            ]),
            (3, 3),
        ),
        ("/api/embed", &input, vector.clone(), (0, 0)),
        ("/v1/embeddings", &input, vector, (0, 0)),
    ] {
        let (_, (input, output)) = counted(path, body, Reply::ok("text/plain", sent.clone())).await;
        assert!(input > 0, "{path} {sent}");
        assert!((least..=most).contains(&output), "{path} {sent}: {output}");
    }
}

/// Of newer Ollama servers, in their own API and in OpenAI's.
#[tokio::test]
async fn what_a_server_had_read_before_has_the_price_of_cached_input() {
    let router = Plan::servers(1)
        .each(|server| server.cached_counts = true)
        .set("price=[{ model = \"llama3.2\", input = 1.0, cached_input = 0.25, output = 0.0 }]")
        .start()
        .await;
    let mut cost = 0;
    let mut nano_usd = async |expected: i64| {
        router.counted().await;
        let report = router
            .get("/admin/spend?group_by=kind&kind=key")
            .await
            .json();
        let total = report["items"][0]["spend_nano_usd"]
            .as_i64()
            .unwrap_or_default();
        assert_eq!(total - cost, expected, "{report}");
        cost = total;
    };
    let first = router.post("/api/chat", &chat(false)).await.json();
    let tokens = first["prompt_eval_count"].as_i64().unwrap();
    assert_eq!(first["prompt_eval_cached_count"], 0);
    nano_usd(tokens * 1_000).await;
    for (path, streamed) in [
        ("/api/chat", false),
        ("/api/chat", true),
        ("/v1/chat/completions", false),
        ("/v1/chat/completions", true),
    ] {
        assert_eq!(router.post(path, &chat(streamed)).await.status, 200);
        nano_usd(tokens * 250).await;
    }
    router.finish().await;
}

#[tokio::test]
async fn what_came_from_a_cache_is_input_where_no_other_is_said() {
    let said =
        r#"{"message":{"content":"a"},"done":true,"prompt_eval_cached_count":8,"eval_count":3}"#;
    let answer = counted(
        "/api/chat",
        &chat(false),
        Reply::ok("application/json", said),
    )
    .await;
    assert_eq!(answer, (said.to_owned(), (8, 3)));
}

/// Asked again without what it refuses, a server is not asked for it each time.
#[tokio::test]
async fn a_server_that_takes_no_stream_options_streams_and_is_counted_by_estimate() {
    use crate::support::Scripted;

    for (status, said) in [
        (
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#,
        ),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#,
        ),
    ] {
        let mut server = Scripted::start(move |request| {
            if request.contains("stream_options") {
                return Reply::ok("application/json", said).status(status);
            }
            Reply::ok("text/event-stream", events(&[EVENT, EVENT, FINISH, DONE]))
        })
        .await;
        let router = super::in_front_of(&server, Kind::OpenAi).await;
        for times in [1, 2, 3] {
            let answer = router.post("/v1/chat/completions", &chat(true)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.text(), events(&[EVENT, EVENT, FINISH, DONE]));
            assert_eq!(answer.header("x-herdsman-attempts"), "1");
            let asked = server.asked();
            assert_eq!(asked.len(), if times == 1 { 2 } else { 1 });
            assert_eq!(router.counted().await, (2 * times, 3 * times));
        }
        // What the client asks for itself is its own.
        let mut asking = chat(true);
        asking["stream_options"] = json!({"include_usage": true});
        let refused = router.post("/v1/chat/completions", &asking).await;
        assert_eq!(refused.status, status);
        let error = &refused.json()["error"]["message"];
        assert!(
            error
                .as_str()
                .is_some_and(|said| said.contains("stream_options")),
            "{error}"
        );
        assert_eq!(server.asked().len(), 1);
        eventually("the endpoint is not blamed", || {
            router
                .app
                .fleet()
                .observed()
                .iter()
                .all(|server| server.serves())
        })
        .await;
        router.finish().await;
    }
}
