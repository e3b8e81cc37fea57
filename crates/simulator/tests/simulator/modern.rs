//! `/v1`: OpenAI's and Anthropic's shapes as Ollama makes them.

use herdsman_simulator::{Config, Fault, Model, prompt_tokens};
use serde_json::{Value, json};

use super::wire::{End, call, post};
use super::{MODEL, start};

fn hello(extra: Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().cloned().unwrap());
    body
}

fn short() -> Config {
    Config {
        default_predict: 2,
        ..Config::default()
    }
}

fn created(text: &str) -> String {
    let at = text.find("\"created\":").unwrap() + 10;
    let end = text[at..].find(',').unwrap() + at;
    format!("{}0{}", &text[..at], &text[end..])
}

#[tokio::test]
async fn models_are_listed_and_an_empty_list_is_null() {
    let server = start(Config::default()).await;
    let answer = call(server.addr(), "GET", "/v1/models", "").await;
    let model =
        r#"{"id":"llama3.2:latest","object":"model","created":1755766800,"owned_by":"library"}"#;
    assert_eq!(
        answer.body(),
        format!(r#"{{"object":"list","data":[{model}]}}"#)
    );
    let answer = call(server.addr(), "GET", "/v1/models/llama3.2", "").await;
    assert_eq!(answer.json()["id"], MODEL);
    let answer = call(server.addr(), "GET", "/v1/models/no", "").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (404, Value::Null)
    );
    server.set_models(&[]);
    let answer = call(server.addr(), "GET", "/v1/models", "").await;
    assert_eq!(answer.body(), r#"{"object":"list","data":null}"#);
}

#[tokio::test]
async fn a_chat_stream_ends_with_a_finish_reason_and_done() {
    let server = start(short()).await;
    let answer = post(
        server.addr(),
        "/v1/chat/completions",
        hello(json!({"stream": true})),
    )
    .await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert!(
        answer
            .frames
            .iter()
            .all(|frame| frame.starts_with("data: ") && frame.ends_with("\n\n"))
    );
    let events = answer.events();
    assert_eq!(
        created(&events[0]),
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":0,"model":"llama3.2","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"sim-1-0 "},"finish_reason":null}]}"#
    );
    assert_eq!(
        created(&events[2]),
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":0,"model":"llama3.2","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#
    );
    assert_eq!((events.len(), events[3].as_str()), (4, "[DONE]"));
}

#[tokio::test]
async fn usage_is_streamed_only_on_request() {
    let server = start(short()).await;
    for (path, prompt) in [
        ("/v1/chat/completions", hello(json!({}))),
        (
            "/v1/completions",
            json!({"model": MODEL, "prompt": "hello"}),
        ),
    ] {
        let mut body = prompt;
        body["stream"] = true.into();
        assert!(
            !post(server.addr(), path, body.clone())
                .await
                .body()
                .contains("usage")
        );
        body["stream_options"] = json!({"include_usage": true});
        let events = post(server.addr(), path, body).await.events();
        let usage: Value = serde_json::from_str(&events[3]).unwrap();
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(
            usage["usage"],
            json!({"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8})
        );
        assert_eq!(events[4], "[DONE]");
    }
}

#[tokio::test]
async fn whole_answers_have_their_usage() {
    let server = start(short()).await;
    let answer = post(
        server.addr(),
        "/v1/chat/completions",
        hello(json!({"max_tokens": 1})),
    )
    .await;
    assert_eq!(
        created(&answer.body()),
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"llama3.2\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"sim-1-0 \"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":1,\"total_tokens\":7}}\n"
    );
    let answer = post(
        server.addr(),
        "/v1/completions",
        json!({"model": MODEL, "prompt": "hello"}),
    )
    .await
    .json();
    assert_eq!(answer["choices"][0]["text"], "sim-2-0 sim-2-1 ");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let parts = json!([{"type": "text", "text": "he"}, {"type": "image_url"}, {"type": "text", "text": "llo"}]);
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": parts}]});
    assert_eq!(
        post(server.addr(), "/v1/chat/completions", body)
            .await
            .json()["usage"]["prompt_tokens"],
        6
    );
}

#[tokio::test]
async fn embeddings_are_listed() {
    let server = start(Config {
        models: vec![Model::embedding("e")],
        ..short()
    })
    .await;
    let body = json!({"model": "e", "input": ["a", "b"]});
    let native = post(server.addr(), "/api/embed", body.clone()).await.json();
    let answer = post(server.addr(), "/v1/embeddings", body).await.json();
    assert_eq!(answer["data"][1]["embedding"], native["embeddings"][1]);
    assert_eq!(answer["data"][1]["index"], 1);
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 10, "total_tokens": 10})
    );
}

#[tokio::test]
async fn errors_have_the_shape_of_the_path() {
    let server = start(short()).await;
    let openai = |message: &str, kind: &str| {
        format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":null}}}}"#)
    };
    let answer = post(
        server.addr(),
        "/v1/chat/completions",
        json!({"model": MODEL, "messages": []}),
    )
    .await;
    assert_eq!(
        (answer.status, answer.body()),
        (
            400,
            openai("[] is too short - 'messages'", "invalid_request_error")
        )
    );
    let answer = post(
        server.addr(),
        "/v1/completions",
        json!({"model": "no", "prompt": "a"}),
    )
    .await;
    assert_eq!(
        (answer.status, answer.body()),
        (404, openai("model 'no' not found", "not_found_error"))
    );
    server.fault(Fault::Busy.next(2));
    let answer = post(server.addr(), "/v1/chat/completions", hello(json!({}))).await;
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(
        (answer.status, answer.body()),
        (503, openai(busy, "api_error"))
    );
    let answer = post(
        server.addr(),
        "/v1/messages",
        hello(json!({"max_tokens": 9})),
    )
    .await;
    assert_eq!(
        answer.body(),
        format!(
            r#"{{"type":"error","error":{{"type":"overloaded_error","message":"{busy}"}},"request_id":"req_0"}}"#
        )
    );
    assert_eq!(
        post(server.addr(), "/v1/messages", hello(json!({})))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn an_error_inside_a_stream_is_lost() {
    let server = start(short()).await;
    server.fault(Fault::ErrorLine { after: 1 });
    let answer = post(
        server.addr(),
        "/v1/chat/completions",
        hello(json!({"stream": true})),
    )
    .await;
    let events = answer.events();
    assert_eq!((answer.end, events.len()), (End::Whole, 2));
    assert_eq!(
        created(&events[1]),
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":0,"model":"","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{},"finish_reason":null}]}"#
    );
    for (path, last) in [
        ("/v1/messages", "message_stop"),
        ("/v1/responses", "response.completed"),
    ] {
        let body = hello(json!({"stream": true, "max_tokens": 9, "input": "hello"}));
        let answer = post(server.addr(), path, body).await;
        assert_eq!((answer.status, answer.end), (200, End::Whole));
        assert!(answer.body().contains("delta") && !answer.body().contains(last));
    }
}

#[tokio::test]
async fn messages_are_blocks_between_a_start_and_a_stop() {
    let server = start(short()).await;
    let body = hello(json!({"stream": true, "max_tokens": 9, "system": "be kind"}));
    let answer = post(server.addr(), "/v1/messages", body.clone()).await;
    let names: Vec<_> = answer
        .body()
        .lines()
        .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
        .collect();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let data: Vec<Value> = answer
        .events()
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    for (name, data) in names.iter().zip(&data) {
        assert_eq!(data["type"], name.as_str());
    }
    let expected = prompt_tokens(["be kind", "hello"]);
    assert_eq!(
        data[5]["usage"],
        json!({"input_tokens": expected, "output_tokens": 2})
    );
    assert_eq!(data[5]["delta"]["stop_reason"], "end_turn");

    let mut body = body;
    body["stream"] = false.into();
    let whole = post(server.addr(), "/v1/messages", body).await.json();
    assert_eq!(
        whole["content"],
        json!([{"type": "text", "text": "sim-2-0 sim-2-1 "}])
    );
    assert_eq!(whole["usage"]["output_tokens"], 2);
}

#[tokio::test]
async fn responses_are_numbered_events() {
    let server = start(short()).await;
    let body = json!({"model": MODEL, "input": "hello", "stream": true});
    let answer = post(server.addr(), "/v1/responses", body).await;
    let data: Vec<Value> = answer
        .events()
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    for (index, data) in data.iter().enumerate() {
        assert_eq!(data["sequence_number"], index);
    }
    let last = data.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(
        last["response"]["output"][0]["content"][0]["text"],
        "sim-1-0 sim-1-1 "
    );
    assert_eq!(last["response"]["usage"]["total_tokens"], 8);
    let whole = post(
        server.addr(),
        "/v1/responses",
        json!({"model": MODEL, "input": "hello"}),
    )
    .await
    .json();
    assert_eq!(whole["status"], "completed");
    assert_eq!(whole["usage"]["input_tokens"], 6);
}

#[tokio::test]
async fn offered_tools_are_called_in_every_dialect() {
    let server = start(short()).await;
    let tools = json!({"stream": true, "max_tokens": 99, "tools": [{"type": "function", "name": "w", "function": {"name": "w"}}]});
    let chat = post(server.addr(), "/v1/chat/completions", hello(tools.clone()))
        .await
        .events();
    let call: Value = serde_json::from_str(&chat[2]).unwrap();
    assert_eq!(
        call["choices"][0]["delta"]["tool_calls"][0]["function"],
        json!({"name": "w", "arguments": "{}"})
    );
    assert!(chat[3].contains(r#""finish_reason":"tool_calls""#));
    let messages = post(server.addr(), "/v1/messages", hello(tools))
        .await
        .body();
    assert!(messages.contains(r#""type":"tool_use","id":"call_2","name":"w""#));
    assert!(messages.contains(r#""stop_reason":"tool_use""#));
}
