//! Every call, as Ollama answers it.

use serde_json::json;

use crate::support::Plan;

#[tokio::test]
async fn a_chat_streams_to_its_end_and_is_counted() {
    let herd = Plan::servers(1).start().await;
    let chat = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]});
    let answer = herd.post("/api/chat", &chat).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
    assert_eq!(answer.header("x-herdsman-route"), "cold");
    let lines = answer.lines();
    let last = lines.last().unwrap();
    assert_eq!((lines.len(), &last["done"]), (9, &json!(true)));
    let (input, output) = herd.counted().await;
    assert_eq!((Some(input), Some(output)), (last["prompt_eval_count"].as_i64(), Some(8)));
    herd.finish().await;
}
