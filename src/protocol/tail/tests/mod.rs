mod typed;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CHAT: &str = r#"{"model":"llama3.2","created_at":"2026-08-21T09:00:00.123456789Z","message":{"role":"assistant","content":"The"},"done":false}
{"model":"llama3.2","message":{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":{"done":true,"error":"no"}}}]},"done":false}
{"model":"llama3.2","message":{"role":"assistant","content":"}\",\"done\":true}\u2028 \\"},"done":false}
{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":4883583458,"prompt_eval_count":26,"eval_count":282,"eval_duration":4535599000}
"#;

const SSE: &str = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[DONE] \\\"usage\\\":{\"}}],\"usage\":null}\n\n\
data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"prompt_tokens_details\":{\"prompt_tokens\":1},\"completion_tokens\":2,\"total_tokens\":11}}\n\n\
data: [DONE]\n\n";

const fn counts(input: u64, output: u64) -> Option<TokenCounts> {
    Some(TokenCounts { input, output })
}

fn watch(api: Api, streaming: bool, body: impl AsRef<[u8]>) -> Tail {
    let mut tail = Tail::new(api, streaming);
    tail.push(body.as_ref());
    tail.end();
    tail
}

fn chat(body: impl AsRef<[u8]>) -> Tail {
    watch(Api::OllamaChat, true, body)
}

fn sse(body: impl AsRef<[u8]>) -> Tail {
    watch(Api::OpenAiChat, true, body)
}

/// Everything a tail says.
fn said(tail: &Tail) -> (bool, bool, u64, Option<TokenCounts>, bool) {
    (
        tail.is_finished(),
        tail.saw_error(),
        tail.pieces(),
        tail.tokens(),
        tail.at_line_start(),
    )
}

#[test]
fn a_chat_ends_with_done_at_the_top_and_nowhere_else() {
    let mut tail = Tail::new(Api::OllamaChat, true);
    let lines: Vec<&str> = CHAT.split_inclusive('\n').collect();
    for line in &lines[..3] {
        assert!(!tail.push(line.as_bytes()).finished_now, "{line}");
        assert!(tail.at_line_start());
        assert_eq!(tail.tokens(), None);
    }
    assert!(tail.push(lines[3].as_bytes()).finished_now);
    assert!(!tail.push(b"{\"done\":true}\n").finished_now, "only once");
    assert!(tail.is_finished() && !tail.saw_error());
    assert_eq!((tail.pieces(), tail.tokens()), (3, counts(26, 282)));
}

#[test]
fn the_last_brace_is_the_end_not_the_line_end_behind_it() {
    let mut tail = Tail::new(Api::OllamaChat, true);
    assert!(!tail.push(b"{\"done\":true,\"eval_count\":2").finished_now);
    assert!(tail.push(b"}").finished_now);
    assert!(!tail.push(b"\n").finished_now);
    assert_eq!(tail.tokens(), counts(0, 2));

    let mut tail = Tail::new(Api::OpenAiChat, true);
    assert!(!tail.push(b"data: [DONE").finished_now);
    assert!(tail.push(b"]").finished_now);
}

#[test]
fn a_load_reply_without_a_line_end_is_whole() {
    let tail =
        chat(r#"{"model":"m","created_at":"x","response":"","done":true,"done_reason":"load"}"#);
    assert_eq!(said(&tail).3, None, "nothing was computed");
    assert!(tail.is_finished());
}

#[test]
fn a_stream_without_done_is_never_finished() {
    let cut = &CHAT[..CHAT.rfind("\"eval_duration").unwrap()];
    let tail = chat(cut);
    assert_eq!(said(&tail), (false, false, 3, None, false));
    for body in [
        "",
        "\n\r\n \n",
        "{\"done\":\"true\"}\n",
        "{\"done\":1}\n",
        "{\"done\":true\n}",
        "{\"done\":true,\"done\":false}\n",
        "[{\"done\":true}]\n",
        "\"done\":true\n",
        "{\"x\":{\"done\":true}}\n",
        "{\"Done\":true,\"done\\\\\":true}\n",
    ] {
        assert!(!chat(body).is_finished(), "{body}");
    }
}

#[test]
fn done_is_known_in_every_spelling_json_has() {
    for body in [
        r#"{"\u0064one":true}"#,
        r#"{"d\u006fn\u0065" : true }"#,
        "\r\n\t{ \"done\"\r:\ttrue }\r\n",
        r#"{"done":false,"done":true}"#,
        r#"{"a":[1,{"done":false}],"done":true,"b":"\\"}"#,
    ] {
        assert!(chat(body).is_finished(), "{body}");
    }
}

#[test]
fn counts_are_read_as_any_server_spells_them() {
    for (entries, expected) in [
        (
            r#""prompt_eval_count":1e3,"eval_count":2.0"#,
            counts(1000, 2),
        ),
        (
            r#""prompt_eval_count":-4,"eval_count":99999999999999999999999"#,
            None,
        ),
        (
            r#""prompt_eval_count": 26 ,"eval_count":null"#,
            counts(26, 0),
        ),
        (r#""eval_count":"7""#, None),
        (
            r#""message":{"eval_count":7},"usage":{"eval_count":7}"#,
            None,
        ),
        (r#""eval_count":1,"eval_count":3"#, counts(0, 3)),
        (
            r#""eval_count":1.00000000000000000000000000000000000000000001"#,
            None,
        ),
    ] {
        let tail = chat(format!("{{{entries},\"done\":true}}\n"));
        assert_eq!(tail.tokens(), expected, "{entries}");
    }
}

#[test]
fn an_error_line_is_seen_and_is_no_end() {
    let body = "{\"done\":false}\n{\"error\":\"model runner has unexpectedly stopped\"}\n";
    assert_eq!(said(&chat(body)), (false, true, 1, None, true));
    assert!(chat("{\"error\":{\"message\":\"x\"}}").saw_error());
    for fine in [
        "{\"error\":null}\n",
        "{\"error\":false}\n",
        "{\"x\":{\"error\":\"x\"}}\n",
        "{\"error\":\"x\n",
    ] {
        assert!(!chat(fine).saw_error(), "{fine}");
    }
}

#[test]
fn a_line_that_ends_like_a_piece_may_still_be_something_else() {
    for failed in [
        "{\"error\":\"x\",\"done\":false}\n",
        "{\"\\u0065rror\":\"x\",\"done\":false}\n",
    ] {
        assert_eq!(
            said(&chat(failed)),
            (false, true, 0, None, true),
            "{failed}"
        );
    }
    for done in [
        "{\"done\":true}{\"done\":false}\n",
        "{\"d\\u006fne\":true}{\"done\":false}\n",
    ] {
        assert!(chat(done).is_finished(), "{done}");
    }
    assert_eq!(chat("\"done\":false}\n  \n").pieces(), 1);
}

#[test]
fn a_broken_line_affects_itself_only() {
    let tail = chat("{\"a\":\"b\n{\"done\":false}\n \r\n\n}}]\n{\"done\":true}\n");
    assert_eq!(said(&tail).2, 3);
    assert!(tail.is_finished());
}

#[test]
fn one_object_is_finished_when_it_closes() {
    let body = r#"{"model":"m","message":{"content":"a}"},"done":true,"prompt_eval_count":3,"eval_count":4}"#;
    let cut = Tail::new(Api::OllamaChat, false).push(&body.as_bytes()[..body.len() - 1]);
    assert!(!cut.finished_now);
    let tail = watch(Api::OllamaChat, false, body);
    assert_eq!(said(&tail), (true, false, 0, counts(3, 4), false));
}

#[test]
fn each_api_reports_its_usage_in_its_own_way() {
    let usage =
        r#"{"object":"x","usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
    for (api, body, expected) in [
        (
            Api::OllamaEmbed,
            r#"{"embeddings":[[0.1,-2e-3]],"prompt_eval_count":8}"#,
            counts(8, 0),
        ),
        (Api::OllamaEmbed, r#"{"embeddings":[]}"#, None),
        (
            Api::OllamaEmbeddings,
            r#"{"embedding":[0.1],"prompt_eval_count":8}"#,
            None,
        ),
        (Api::OllamaShow, r#"{"model_info":{}}"#, None),
        (Api::OpenAiChat, usage, counts(5, 7)),
        (Api::OpenAiCompletions, usage, counts(5, 7)),
        (Api::OpenAiEmbeddings, usage, counts(12, 0)),
        (
            Api::OpenAiEmbeddings,
            r#"{"usage":{"prompt_tokens":5}}"#,
            counts(5, 0),
        ),
        (Api::OpenAiChat, r#"{"choices":[{}],"usage":null}"#, None),
        (Api::OpenAiChat, r#"{"choices":[{}],"usage":{}}"#, None),
        (
            Api::OpenAiChat,
            r#"{"choices":[{"usage":{"prompt_tokens":1}}]}"#,
            None,
        ),
    ] {
        let tail = watch(api, false, body);
        assert!(tail.is_finished(), "{body}");
        assert_eq!(tail.tokens(), expected, "{api:?} {body}");
    }
}

#[test]
fn cached_tokens_are_read_where_openai_says_them_and_nowhere_else() {
    for (usage, expected) in [
        (
            r#""prompt_tokens":9,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":4}"#,
            4,
        ),
        (
            r#""prompt_tokens_details" : { "cached_tokens" : 4 } , "prompt_tokens" : 9"#,
            4,
        ),
        (
            r#""prompt_tokens":9,"prompt_tokens_details":{"x":{"cached_tokens":3},"cached_tokens":4,"y":[{"cached_tokens":5}]}"#,
            4,
        ),
        (
            r#""prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":40}"#,
            9,
        ),
        (
            r#""prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":null}"#,
            0,
        ),
        (r#""prompt_tokens":9,"prompt_tokens_details":null"#, 0),
        (r#""prompt_tokens":9,"cached_tokens":4"#, 0),
        (
            r#""prompt_tokens":9,"completion_tokens_details":{"cached_tokens":4}"#,
            0,
        ),
        (
            r#""prompt_tokens":9,"prompt_tokens_details":[{"cached_tokens":4}]"#,
            0,
        ),
    ] {
        let body =
            format!(r#"{{"choices":[{{}}],"usage":{{{usage},"completion_tokens":2}},"x":1}}"#);
        let whole = watch(Api::OpenAiChat, false, &body);
        assert_eq!(
            (whole.cached(), whole.tokens()),
            (expected, counts(9, 2)),
            "{body}"
        );
        let streamed = sse(format!("data: {body}\n\ndata: [DONE]\n\n"));
        assert_eq!(
            (streamed.cached(), streamed.tokens()),
            (expected, counts(9, 2)),
            "{body}"
        );
        for cut in 0..body.len() {
            let (tail, _) = in_chunks(Api::OpenAiChat, false, body.as_bytes(), &[cut]);
            assert_eq!(
                (tail.cached(), tail.tokens()),
                (expected, counts(9, 2)),
                "{body} at {cut}"
            );
        }
    }
}

#[test]
fn cached_tokens_of_ollama_are_read_at_the_top_of_the_last_object() {
    for (entries, expected) in [
        (
            r#""prompt_eval_count":26,"prompt_eval_cached_count":20"#,
            20,
        ),
        (
            r#""prompt_eval_cached_count":200,"prompt_eval_count":26"#,
            26,
        ),
        (r#""prompt_eval_count":26,"prompt_eval_cached_count":0"#, 0),
        (
            r#""prompt_eval_count":26,"prompt_eval_cached_count":null"#,
            0,
        ),
        (
            r#""prompt_eval_count":26,"x":{"prompt_eval_cached_count":9}"#,
            0,
        ),
        (r#""prompt_eval_count":26"#, 0),
    ] {
        let body = format!(r#"{{"done":true,{entries},"eval_count":3}}"#);
        for tail in [chat(&body), watch(Api::OllamaGenerate, false, &body)] {
            assert_eq!(
                (tail.cached(), tail.tokens()),
                (expected, counts(26, 3)),
                "{body}"
            );
        }
    }
    let embedded = r#"{"embeddings":[],"prompt_eval_count":8,"prompt_eval_cached_count":5}"#;
    assert_eq!(watch(Api::OllamaEmbed, false, embedded).cached(), 5);
}

/// A piece of choice `index` with this reason, as JSON.
fn piece(index: &str, reason: &str) -> String {
    format!(
        "data: {{\"id\":\"1\",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{reason}}}],\"usage\":null}}\n\n"
    )
}

#[test]
fn events_that_said_why_they_end_are_whole_when_they_end_and_not_before() {
    let a = piece("0", "null");
    let stop = piece("0", "\"stop\"");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    for body in [
        format!("{a}{stop}"),
        format!("{a}{stop}{usage}"),
        format!("{a}{stop}{a}"),
        format!("{a}{}", piece("0", "\"length\"")),
        format!("{a}{stop}: ping\n\n"),
        format!("{a}{}", stop.trim_end()),
        format!("{a}data: {{\"choices\":[{{\"finish_reason\":\"stop\"}}]}}\n\n"),
        format!("{a}{}{stop}{}", piece("1", "null"), piece("1", "\"stop\"")),
        "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"a\"}, {\"index\":1,\"finish_reason\":\"b\"}]}\n\n"
            .to_owned(),
    ] {
        let mut tail = Tail::new(Api::OpenAiChat, true);
        assert!(!tail.push(body.as_bytes()).finished_now, "{body}");
        assert!(!tail.is_finished(), "more may come: {body}");
        tail.end();
        assert!(tail.is_finished(), "{body}");
    }
}

#[test]
fn the_words_of_ollama_are_understood_in_events_too() {
    let mut tail = Tail::framed(Api::OllamaChat, Format::Sse);
    let [piece, last] = [
        r#""done":false"#,
        r#""done":true,"prompt_eval_count":2,"eval_count":1"#,
    ]
    .map(|entries| format!("data: {{\"message\":{{}},{entries}}}\n\n"));
    tail.push(piece.as_bytes());
    tail.end();
    assert!(!tail.is_finished());
    tail.push(last.as_bytes());
    tail.end();
    assert_eq!(
        (tail.is_finished(), tail.pieces(), tail.tokens()),
        (true, 1, counts(2, 1))
    );
}

#[test]
fn events_that_did_not_say_why_they_end_are_not_whole() {
    let a = piece("0", "null");
    let stop = piece("0", "\"stop\"");
    for body in [
        String::new(),
        a.clone(),
        format!("{a}{}", piece("0", "\"\"")),
        format!("{a}{}", piece("0", "false")),
        format!("{a}{}", piece("0", "{}")),
        format!("{a}{}{stop}", piece("1", "null")),
        format!("{a}{}{stop}", piece("7e1", "null")),
        format!("{a}{stop}data: {{\"choices\":[]"),
        format!("{a}{stop}data: [DON"),
        format!("{a}{stop}data: {{\"error\":\"x\"}}\n\n"),
        "data: {\"finish_reason\":\"stop\",\"choices\":[{\"delta\":{\"finish_reason\":\"stop\"}}]}\n\n".to_owned(),
        "data: {\"choices\":{\"finish_reason\":\"stop\"}}\n\n".to_owned(),
        "data: {\"choices\":[[{\"finish_reason\":\"stop\"}]]}\n\n".to_owned(),
        "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0},{\"index\":1}]}\n\n".to_owned(),
        "data: {\"done\":false}\n\n".to_owned(),
    ] {
        assert!(!sse(&body).is_finished(), "{body}");
    }
}

#[test]
fn one_object_that_is_not_done_is_not_whole_and_what_follows_is_read() {
    let piece = r#"{"message":{"content":"a"},"done":false}"#;
    assert!(!watch(Api::OllamaChat, false, piece).is_finished());
    let tail = watch(Api::OllamaChat, false, CHAT);
    assert_eq!((tail.is_finished(), tail.tokens()), (true, counts(26, 282)));
    assert!(watch(Api::OllamaShow, false, "{}").is_finished());
    for (reason, tokens, is_whole) in [
        ("null", "0", false),
        ("null", "3", true), // some servers never say why
        ("\"stop\"", "0", true),
        ("null", "null", true),
    ] {
        let body = format!(
            r#"{{"choices":[{{"index":0,"finish_reason":{reason}}}],"usage":{{"prompt_tokens":0,"completion_tokens":{tokens}}}}}"#
        );
        let tail = watch(Api::OpenAiChat, false, &body);
        assert_eq!(tail.is_finished(), is_whole, "{body}");
    }
    assert!(watch(Api::OllamaChat, false, r#"{"error":"x","done":false}"#).is_finished());
}

#[test]
fn where_there_are_no_pieces_the_text_is_estimated_from_the_length() {
    let whole = format!(r#"{{"response":"{}","done":true}}"#, "a".repeat(1000));
    let generated = watch(Api::OllamaGenerate, false, &whole).text_bytes();
    assert!((700..=1000).contains(&generated), "{generated}");
    assert_eq!(watch(Api::OllamaEmbed, false, &whole).text_bytes(), 0);
    assert_eq!(
        watch(Api::OllamaChat, false, r#"{"done":true}"#).text_bytes(),
        0
    );
    assert_eq!(chat(CHAT).text_bytes(), 0);
    let mut unread = Tail::framed(Api::OllamaChat, Format::Unread);
    assert!(!unread.push(CHAT.as_bytes()).finished_now);
    unread.end();
    assert!(unread.is_finished());
    assert_eq!(
        (unread.text_bytes(), unread.tokens()),
        (CHAT.len() as u64, None)
    );
}

#[test]
fn events_end_with_done_and_count_their_choices() {
    let mut tail = Tail::new(Api::OpenAiChat, true);
    let (before, done) = SSE.split_at(SSE.find("data: [DONE]").unwrap());
    assert!(!tail.push(before.as_bytes()).finished_now);
    assert_eq!(said(&tail), (false, false, 2, counts(9, 2), true));
    assert!(tail.push(done.as_bytes()).finished_now);
}

#[test]
fn events_may_be_spelt_in_every_way_the_rules_allow() {
    for body in [
        "data:[DONE]",
        "data: [DONE]\r\n\r\n",
        ": comment\n\ndata: [DONE]\n\n",
        "event: message\nid: 7\nretry: 10\ndata: [DONE]\n\n",
        "data: {\"choices\":\ndata: [{}]}\n\ndata: [DONE]\n\n",
        "data\n\ndata:\n\ndata: [DONE]\r\r",
    ] {
        assert!(sse(body).is_finished(), "{body}");
    }
    let folded = sse(
        "data: {\"choices\":\r\ndata:[{}], \"usage\":\r\ndata: {\"prompt_tokens\":1\rdata:}}\r\n\r\n",
    );
    assert_eq!((folded.pieces(), folded.tokens()), (1, counts(1, 0)));
    for body in [
        "data: \"[DONE]\"\n\n",
        ": data: [DONE]\n\n",
        "event: [DONE]\n\n",
        "datax: [DONE]\n\n",
        "data: [DONE\n\ndata: ]\n\n",
        "xdata: [DONE]\n\n",
    ] {
        assert!(!sse(body).is_finished(), "{body}");
    }
}

#[test]
fn error_events_are_seen() {
    assert!(sse("data: {\"error\":{\"message\":\"x\"}}\n\n").saw_error());
    assert!(sse("event: error\ndata: x\n\n").saw_error());
    assert!(!sse("event: errors\ndata: {\"error\":null}\n\n").saw_error());
}

#[test]
fn a_line_start_is_between_lines_and_between_events() {
    for (streamed, at_start) in [
        ("", true),
        ("{", false),
        ("{}\n", true),
        ("{}\n ", false),
        ("{}", false),
    ] {
        assert_eq!(chat(streamed).at_line_start(), at_start, "{streamed:?}");
    }
    for (streamed, at_start) in [
        ("", true),
        ("d", false),
        ("data: {}\n", false),
        ("data: {}\n\n", true),
        ("data: {}\r\n\r\n", true),
        ("data: {}\n\n:", false),
        (": hello\n\n", true),
    ] {
        assert_eq!(sse(streamed).at_line_start(), at_start, "{streamed:?}");
    }
}

#[test]
fn any_size_and_depth_passes_in_the_memory_of_a_tail() {
    let mut tail = Tail::new(Api::OllamaGenerate, false);
    tail.push(b"{\"response\":\"");
    let megabyte = "\\\"done\\\":true} ".repeat(1 << 16);
    for _ in 0..100 {
        assert!(!tail.push(megabyte.as_bytes()).finished_now);
    }
    tail.push(b"\",\"deep\":");
    tail.push("{\"done\":[".repeat(10_000).as_bytes());
    tail.push("]}".repeat(10_000).as_bytes());
    assert!(!tail.is_finished());
    assert!(tail.push(b",\"eval_count\":5}").finished_now);
    assert_eq!(tail.tokens(), counts(0, 5));
    assert!(size_of::<Tail>() <= 512, "{}", size_of::<Tail>());
}

/// Shows `body` cut at `cuts`; returns what was said in the end and the chunk that finished it.
fn in_chunks(api: Api, streaming: bool, body: &[u8], cuts: &[usize]) -> (Tail, Option<usize>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    let mut tail = Tail::new(api, streaming);
    let mut finished_by = None;
    for chunk in cuts.windows(2) {
        if tail.push(&body[chunk[0]..chunk[1]]).finished_now {
            assert_eq!(finished_by.replace(chunk[1]), None);
        }
    }
    tail.end();
    (tail, finished_by)
}

/// Bytes that look like answers, and like nothing at all.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(CHAT.as_bytes().to_vec()),
        Just(SSE.as_bytes().to_vec()),
        prop::sample::select(vec![
            "{\"done\":true",
            "}",
            "{",
            "[",
            "]",
            "\"",
            "\\",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            ",",
            ":",
            " ",
            "data: ",
            "data:",
            "[DONE]",
            "event: error",
            "\"done\":",
            "true",
            "false",
            "\"d\\u006fne\"",
            "\"usage\":{",
            "\"finish_reason\":",
            "\"stop\"",
            "\"\"",
            "\"index\":1",
            "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]}\n\n",
            "\"prompt_tokens\":3",
            "\"completion_tokens\":4e1",
            "\"choices\":[",
            "\"error\":",
            "\"eval_count\":12",
            "null",
            "\\u00",
            "\u{2028}",
            "é",
            "{\"a\":\"b\",\"done\":false}",
            "\"done\":false}\n",
            "\"done\":true}",
            "\"done",
            "\"error",
            "a-key-that-is-longer-than-any-other",
            "\"type\":\"message_stop\"",
            "\"type\":\"x.delta\"",
            "\"type\":\"response.fa\\u0069led\"",
            "\"type\":null",
            "\"delta\":{",
            "\"message\":{",
            "\"stop_reason\":\"end_turn\"",
            "\"cache_read_input_tokens\":7",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"x\"},\"usage\":{\"output_tokens\":2}}\n\n",
            "data: {\"delta\":{\"stop_reason\":\"x\"},\"type\":\"content_block_delta\"}\n\n",
        ])
        .prop_map(|part| part.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

/// Objects as a server may send them, some with markers where they mean nothing.
fn any_object() -> impl Strategy<Value = Value> {
    let text = r#"[a-z"\\{}\[\]:, \né]{0,10}|"done":true|\[DONE\]"#;
    let nested = prop_oneof![
        Just(json!({"done": true, "error": "x", "usage": {"prompt_tokens": 1}})),
        text.prop_map(Value::from),
        prop::collection::vec(any::<bool>(), 0..3).prop_map(Value::from),
        Just(json!([[], {}, [{"choices": [1]}]])),
    ];
    let others = prop::collection::btree_map("[a-z\"\\\\]{1,6}", nested, 0..4);
    let counts = (
        any::<Option<u32>>(),
        any::<Option<u16>>(),
        any::<Option<u8>>(),
    );
    (
        others,
        counts,
        any::<Option<bool>>(),
        any::<bool>(),
        0..3_usize,
    )
        .prop_map(|(others, (a, b, c), done, failed, choices)| {
            let mut object = json!(others);
            for key in ["done", "error", "usage", "choices"] {
                object.as_object_mut().unwrap().remove(key);
            }
            if let Some(done) = done {
                object["done"] = json!(done);
            }
            if failed && choices == 0 {
                object["error"] = json!("failed");
            }
            object["prompt_eval_count"] = json!(a);
            object["eval_count"] = json!(b);
            object["choices"] = json!(vec![json!({"delta": {}}); choices]);
            object["usage"] = c.map_or(
                Value::Null,
                |c| json!({"prompt_tokens": c, "completion_tokens": b}),
            );
            object
        })
}

/// JSON with the spaces that Python puts into it.
fn spaced(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", join(items.iter().map(spaced).collect())),
        Value::Object(entries) => {
            let entries = entries.iter();
            let entry = |(key, value)| format!("{}: {}", json!(key), spaced(value));
            format!("{{{}}}", join(entries.map(entry).collect()))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_way_of_cutting_the_bytes_changes_the_answer(
        body in any_body(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        api in prop::sample::select(Api::ALL.to_vec()),
        streaming: bool,
    ) {
        let (whole, _) = in_chunks(api, streaming, &body, &[]);
        let every: Vec<usize> = (0..body.len()).collect();
        let (bytewise, finished_at) = in_chunks(api, streaming, &body, &every);
        let (cut, finished_by) = in_chunks(api, streaming, &body, &cuts);
        prop_assert_eq!(said(&whole), said(&bytewise));
        prop_assert_eq!(said(&whole), said(&cut));
        // Without its marker an answer is finished by the end of its body, and by no byte of it.
        prop_assert!(finished_at.is_none() || whole.is_finished());
        prop_assert!(finished_by >= finished_at, "the chunk with the marker is the one held back");
    }

    #[test]
    fn lines_are_understood_as_a_parser_understands_them(
        objects in prop::collection::vec(any_object(), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let body: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let (tail, _) = in_chunks(Api::OllamaGenerate, true, body.as_bytes(), &cuts);
        let is_last = |object: &Value| object["done"] == true && object.get("error").is_none();
        let last = objects.iter().position(is_last);
        let before = &objects[..last.unwrap_or(objects.len())];
        let failed = before.iter().filter(|object| object.get("error").is_some()).count();
        prop_assert_eq!(tail.is_finished(), last.is_some());
        prop_assert_eq!(tail.saw_error(), failed > 0);
        prop_assert_eq!(tail.pieces(), (before.len() - failed) as u64);
        let count = |object: &Value, key: &str| object[key].as_u64().unwrap_or(0);
        let says = |object: &&Value| object["eval_count"].is_u64() || object["prompt_eval_count"].is_u64();
        let expected = last.map(|at| &objects[at]).filter(says).map(|object| TokenCounts {
            input: count(object, "prompt_eval_count"),
            output: count(object, "eval_count"),
        });
        prop_assert_eq!(tail.tokens(), expected);
    }

    #[test]
    fn events_are_understood_as_a_parser_understands_them(
        objects in prop::collection::vec(any_object(), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        done: bool,
        python: bool,
    ) {
        let json = |object: &Value| if python { spaced(object) } else { object.to_string() };
        let mut body: String = objects.iter().map(|object| format!("data: {}\r\n\r\n", json(object))).collect();
        if done {
            body.push_str("data: [DONE]\r\n\r\n");
        }
        let (tail, _) = in_chunks(Api::OpenAiChat, true, body.as_bytes(), &cuts);
        let pieces = objects.iter().filter(|object| object["choices"] != json!([])).count();
        let usage = objects.iter().rev().find_map(|object| object["usage"].as_object());
        prop_assert_eq!(tail.is_finished(), done);
        prop_assert_eq!(tail.saw_error(), objects.iter().any(|object| object.get("error").is_some()));
        prop_assert_eq!(tail.pieces(), pieces as u64);
        prop_assert_eq!(tail.tokens(), usage.map(|usage| TokenCounts {
            input: usage["prompt_tokens"].as_u64().unwrap_or(0),
            output: usage["completion_tokens"].as_u64().unwrap_or(0),
        }));
    }
}
