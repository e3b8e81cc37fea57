//! The cost of a request inside the router, step by step. Run alone on an idle machine:
//! `cargo bench --profile dist --bench hot_path`.

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use herdsman::protocol::{Api, Tail, UsageFilter, peek};

fn main() {
    divan::main();
}

/// A chat of about `bytes` bytes in turns of a few sentences, as clients escape them.
fn chat(bytes: usize) -> String {
    let turn = r#"{"role":"user","content":"Why is the sky blue?\nSay it in \"one\" sentence, and then in ten, for someone who has never seen the sky but knows the sea well."},{"role":"assistant","content":"It scatters.\n"}"#;
    let turns = vec![turn; (bytes / turn.len()).max(1)].join(",");
    format!(
        r#"{{"model":"llama3.2","messages":[{turns}],"stream":true,"options":{{"num_ctx":8192}}}}"#
    )
}

/// One image of about `bytes` bytes in a chat.
fn image(bytes: usize) -> String {
    let image = "iVBORw0K".repeat(bytes / 8);
    format!(
        r#"{{"model":"llava","messages":[{{"role":"user","content":"what is this?","images":["{image}"]}}]}}"#
    )
}

const LINE: &str = "{\"model\":\"llama3.2\",\"created_at\":\"2026-08-21T09:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\" the\"},\"done\":false}\n";
const LAST: &str = "{\"model\":\"llama3.2\",\"created_at\":\"2026-08-21T09:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":4883583458,\"load_duration\":1334875,\"prompt_eval_count\":26,\"prompt_eval_duration\":342546000,\"eval_count\":282,\"eval_duration\":4535599000}\n";
const EVENT: &str = "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1787302800,\"model\":\"llama3.2\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\" the\"},\"finish_reason\":null}]}\n\n";

mod request {
    use super::*;

    #[divan::bench(args = [1 << 10, 1 << 20])]
    fn peek_at_a_chat(bencher: Bencher, bytes: usize) {
        let body = chat(bytes);
        bencher
            .counter(BytesCount::new(body.len()))
            .bench(|| peek(Api::OllamaChat, black_box(body.as_bytes())).is_ok());
    }

    #[divan::bench(args = [1 << 20])]
    fn peek_at_an_image(bencher: Bencher, bytes: usize) {
        let body = image(bytes);
        bencher
            .counter(BytesCount::new(body.len()))
            .bench(|| peek(Api::OllamaChat, black_box(body.as_bytes())).is_ok());
    }
}

mod answer {
    use super::*;

    #[divan::bench]
    fn tail_of_one_line(bencher: Bencher) {
        let mut tail = Tail::new(Api::OllamaChat, true);
        bencher
            .counter(BytesCount::new(LINE.len()))
            .bench_local(|| tail.push(black_box(LINE.as_bytes())));
    }

    #[divan::bench]
    fn tail_of_one_event(bencher: Bencher) {
        let mut tail = Tail::new(Api::OpenAiChat, true);
        bencher
            .counter(BytesCount::new(EVENT.len()))
            .bench_local(|| tail.push(black_box(EVENT.as_bytes())));
    }

    #[divan::bench]
    fn usage_filter_of_one_event(bencher: Bencher) {
        let mut filter = UsageFilter::new();
        let event = Bytes::from_static(EVENT.as_bytes());
        bencher
            .counter(BytesCount::new(EVENT.len()))
            .bench_local(|| filter.push(black_box(event.clone())));
    }

    #[divan::bench]
    fn tail_of_a_stream_of_100_pieces(bencher: Bencher) {
        bencher.counter(ItemsCount::new(100_usize)).bench(|| {
            let mut tail = Tail::new(Api::OllamaChat, true);
            for _ in 0..99 {
                tail.push(black_box(LINE.as_bytes()));
            }
            tail.push(black_box(LAST.as_bytes()));
            tail.end();
            assert!(tail.is_finished());
            tail.tokens()
        });
    }

    /// One object with a text of a MiB, as it is not streamed.
    #[divan::bench]
    fn tail_of_a_mebibyte_of_text(bencher: Bencher) {
        let text = "It scatters.\\nThe \\\"blue\\\" more than the red. ".repeat((1 << 20) / 46);
        let body = format!("{{\"response\":\"{text}\",\"done\":true,\"eval_count\":7}}");
        whole(bencher, Api::OllamaGenerate, &body);
    }

    /// One object with a MiB of embeddings.
    #[divan::bench]
    fn tail_of_a_mebibyte_of_numbers(bencher: Bencher) {
        let vector = vec!["-0.012345678"; 4096].join(",");
        let vectors = vec![format!("[{vector}]"); (1 << 20) / vector.len()].join(",");
        let body = format!("{{\"embeddings\":[{vectors}],\"prompt_eval_count\":7}}");
        whole(bencher, Api::OllamaEmbed, &body);
    }

    fn whole(bencher: Bencher, api: Api, body: &str) {
        bencher.counter(BytesCount::new(body.len())).bench(|| {
            let mut tail = Tail::new(api, false);
            for chunk in black_box(body.as_bytes()).chunks(16 * 1024) {
                tail.push(chunk);
            }
            assert!(tail.is_finished());
            tail.tokens()
        });
    }
}
