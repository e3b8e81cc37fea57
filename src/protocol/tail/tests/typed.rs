//! Answers whose events say in their `type` what they are.

use super::super::*;

/// As Ollama was recorded to answer.
const MESSAGE: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"t3\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"message_stop\\\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"u\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{\"input_tokens\":19,\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// Likewise: its keys are in the order of the alphabet.
const RESPONSE: &str = concat!(
    "event: response.created\ndata: {\"response\":{\"error\":null,\"status\":\"in_progress\",\"usage\":null},\"sequence_number\":0,\"type\":\"response.created\"}\n\n",
    "event: response.output_text.delta\ndata: {\"content_index\":0,\"delta\":\"response.completed\",\"item_id\":\"msg_1\",\"output_index\":0,\"sequence_number\":4,\"type\":\"response.output_text.delta\"}\n\n",
    "event: response.output_item.done\ndata: {\"item\":{\"type\":\"message\",\"status\":\"completed\"},\"output_index\":0,\"sequence_number\":8,\"type\":\"response.output_item.done\"}\n\n",
    "event: response.completed\ndata: {\"response\":{\"error\":null,\"output\":[{\"usage\":{\"input_tokens\":5}}],\"status\":\"completed\",\"usage\":{\"input_tokens\":19,\"input_tokens_details\":{\"cached_tokens\":7},\"output_tokens\":2,\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":21}},\"sequence_number\":9,\"type\":\"response.completed\"}\n\n",
);

fn watch(api: Api, streaming: bool, body: &str) -> Tail {
    let mut tail = Tail::new(api, streaming);
    tail.push(body.as_bytes());
    tail.end();
    tail
}

fn message(body: &str) -> Tail {
    watch(Api::AnthropicMessages, true, body)
}

fn response(body: &str) -> Tail {
    watch(Api::OpenAiResponses, true, body)
}

const fn counts(input: u64, output: u64) -> Option<TokenCounts> {
    Some(TokenCounts { input, output })
}

/// Everything a tail says but for where a line begins.
fn said(tail: &Tail) -> (bool, bool, u64, Option<TokenCounts>, u64) {
    let ends = (tail.is_finished(), tail.saw_error());
    (ends.0, ends.1, tail.pieces(), tail.tokens(), tail.cached())
}

#[test]
fn each_stream_ends_with_its_last_event_and_its_usage_is_read() {
    let streams = [
        (
            Api::AnthropicMessages,
            MESSAGE,
            (true, false, 2, counts(19, 2), 0),
        ),
        (
            Api::OpenAiResponses,
            RESPONSE,
            (true, false, 1, counts(19, 2), 7),
        ),
    ];
    for (api, body, expected) in streams {
        let mut tail = Tail::new(api, true);
        let events: Vec<&str> = body.split_inclusive("\n\n").collect();
        let (last, before) = events.split_last().unwrap();
        for event in before {
            assert!(!tail.push(event.as_bytes()).finished_now, "{event}");
        }
        assert!(!tail.is_finished());
        let (all, brace) = last.trim_end().split_at(last.trim_end().len() - 1);
        assert!(!tail.push(all.as_bytes()).finished_now);
        assert!(tail.push(brace.as_bytes()).finished_now);
        assert_eq!(said(&tail), expected, "{api:?}");
    }
}

#[test]
fn a_stream_that_was_cut_is_whole_only_if_it_had_said_why_it_ended() {
    let cut = |body: &str, at: &str| body[..body.find(at).unwrap()].to_owned();
    // As Ollama ends one whose runner has died.
    let died = message(&cut(MESSAGE, "event: content_block_stop"));
    assert_eq!(said(&died), (false, false, 2, None, 0));
    let stopped = message(&cut(MESSAGE, "event: message_stop"));
    assert_eq!(said(&stopped), (true, false, 2, counts(19, 2), 0));
    let half = message(&(cut(MESSAGE, "event: message_stop") + "data: {\"type\":"));
    assert!(!half.is_finished());
    let died = response(&cut(RESPONSE, "event: response.completed"));
    assert_eq!(said(&died), (false, false, 1, None, 0));
    let null = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}\n\n";
    assert!(!message(null).is_finished());
}

/// A proxy adds it, or a server that ends all its streams with it.
#[test]
fn a_marker_of_another_dialect_ends_only_what_had_said_that_it_is_over() {
    let done = "data: [DONE]\n\n";
    let cut = |body: &str, at: &str| body[..body.find(at).unwrap()].to_owned() + done;
    let transcript = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"x\"}\n\n";
    let chunk = "data: {\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"x\"}}\n\n";
    for (api, body, finished, cut_short) in [
        (
            Api::AnthropicMessages,
            cut(MESSAGE, "event: message_stop"),
            true,
            false,
        ),
        (
            Api::AnthropicMessages,
            cut(MESSAGE, "event: message_delta"),
            false,
            true,
        ),
        (Api::AnthropicMessages, done.to_owned(), false, true),
        (
            Api::AnthropicMessages,
            format!("{error}{done}"),
            true,
            false,
        ),
        (
            Api::OpenAiResponses,
            format!("{RESPONSE}{done}"),
            true,
            false,
        ),
        (
            Api::OpenAiResponses,
            cut(RESPONSE, "event: response.completed"),
            false,
            true,
        ),
        (Api::OpenAiResponses, done.to_owned(), false, true),
        (
            Api::OpenAiTranscriptions,
            format!("{transcript}{done}"),
            false,
            true,
        ),
        (
            Api::OpenAiTranscriptions,
            format!("{chunk}{done}"),
            true,
            false,
        ),
        (Api::OpenAiTranscriptions, done.to_owned(), true, false),
        (Api::OpenAiChat, done.to_owned(), true, false),
    ] {
        for size in [1, 7, body.len()] {
            let mut tail = Tail::new(api, true);
            let mut finished_now = 0;
            for piece in body.as_bytes().chunks(size) {
                finished_now += u8::from(tail.push(piece).finished_now);
            }
            // Nothing that follows makes it whole.
            tail.push(b"data: {\"type\":\"message_stop\"}\n\n");
            tail.end();
            assert_eq!(tail.is_finished(), finished, "{api:?} {body}");
            assert_eq!(tail.is_cut_short(), cut_short, "{api:?} {body}");
            assert_eq!(finished_now > 0, finished, "{api:?} {body}");
        }
    }
}

#[test]
fn what_has_come_behind_a_marker_is_measured() {
    let mut tail = Tail::new(Api::AnthropicMessages, true);
    tail.push(b"data: {\"type\":\"content_block_delta\"}\n\ndata: [DO");
    assert_eq!(tail.behind_done(), 0);
    tail.push(b"NE]\n\ndata: [DONE]\n\n");
    assert_eq!(tail.behind_done(), "\n\ndata: [DONE]\n\n".len());
    tail.push(b"more");
    assert_eq!(tail.behind_done(), "\n\ndata: [DONE]\n\nmore".len());
}

#[test]
fn what_a_message_said_at_its_beginning_is_known_while_nothing_else_is() {
    let start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":100}}}\n\n";
    let begun = message(start);
    assert_eq!((begun.read(), begun.cached()), (Some(110), 100));
    assert_eq!(begun.tokens(), None);
    let nothing =
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":0}}}\n\n";
    assert_eq!(message(nothing).read(), None);
    assert_eq!(response(RESPONSE).read(), None);
}

#[test]
fn what_was_in_the_cache_is_part_of_what_a_message_read() {
    let start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n";
    let end = |usage: &str| {
        let delta = format!(
            "data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{usage}}}\n\n"
        );
        let tail = message(&format!(
            "{start}{delta}data: {{\"type\":\"message_stop\"}}\n\n"
        ));
        assert!(tail.is_finished());
        (tail.tokens(), tail.cached())
    };
    assert_eq!(message(start).tokens(), None, "nothing has ended");
    assert_eq!(end("{\"output_tokens\":7}"), (counts(115, 7), 100));
    assert_eq!(
        end("{\"input_tokens\":0,\"output_tokens\":7}"),
        (counts(115, 7), 100)
    );
    assert_eq!(
        end("{\"input_tokens\":3,\"cache_read_input_tokens\":20,\"output_tokens\":7}"),
        (counts(23, 7), 20)
    );
}

#[test]
fn an_answer_that_says_it_failed_has_failed_and_may_have_used_something() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
    assert_eq!(said(&message(error)), (false, true, 0, None, 0));
    let error =
        "data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"param\":null}\n\n";
    assert_eq!(said(&response(error)), (false, true, 0, None, 0));
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"},\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\n";
    assert_eq!(said(&response(failed)), (true, true, 0, counts(4, 1), 0));
    let incomplete = "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\n";
    assert_eq!(
        said(&response(incomplete)),
        (true, false, 0, counts(4, 1), 0)
    );
}

#[test]
fn answers_that_are_not_streamed_say_what_they_used() {
    let whole = |api, body| {
        let tail = watch(api, false, body);
        (tail.is_finished(), tail.tokens(), tail.cached())
    };
    let message = r#"{"id":"msg_1","type":"message","content":[{"type":"text","text":"y2"}],"stop_reason":"max_tokens","usage":{"input_tokens":19,"output_tokens":2}}"#;
    assert_eq!(
        whole(Api::AnthropicMessages, message),
        (true, counts(19, 2), 0)
    );
    // Without a reason and without a token its runner has died.
    let given_up =
        r#"{"type":"message","content":[],"usage":{"input_tokens":0,"output_tokens":0}}"#;
    assert!(!whole(Api::AnthropicMessages, given_up).0);
    let response = r#"{"object":"response","status":"completed","output":[],"error":null,"usage":{"input_tokens":19,"output_tokens":2,"total_tokens":21,"input_tokens_details":{"cached_tokens":3}}}"#;
    assert_eq!(
        whole(Api::OpenAiResponses, response),
        (true, counts(19, 2), 3)
    );
    let failed = r#"{"object":"response","status":"failed","error":{"message":"x"}}"#;
    assert!(watch(Api::OpenAiResponses, false, failed).saw_error());
    let error = r#"{"type":"error","code":"server_error","message":"x"}"#;
    assert!(watch(Api::OpenAiResponses, false, error).saw_error());
}

#[test]
fn a_transcription_is_understood_in_every_form_it_has() {
    let read = |format, body: &str| {
        let mut tail = Tail::framed(Api::OpenAiTranscriptions, format);
        tail.push(body.as_bytes());
        tail.end();
        (tail.is_finished(), tail.tokens(), tail.text_bytes())
    };
    assert_eq!(
        read(Format::Json, r#"{"text":"four words are here"}"#),
        (true, None, 0)
    );
    assert_eq!(
        read(
            Format::Json,
            r#"{"text":"x","usage":{"type":"tokens","input_tokens":14,"output_tokens":2}}"#
        )
        .1,
        counts(14, 2)
    );
    assert_eq!(
        read(Format::Unread, "[Music] and words\n"),
        (true, None, 18)
    );
    let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"x\"}\n\n\
                  data: {\"type\":\"transcript.text.done\",\"text\":\"x\",\"usage\":{\"input_tokens\":14,\"output_tokens\":2}}\n\n";
    assert_eq!(read(Format::Sse, events), (true, counts(14, 2), 0));
    let chunks = "data: {\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n\
                  data: [DONE]\n\n";
    assert_eq!(read(Format::Sse, chunks), (true, None, 0));
}

#[test]
fn no_way_of_cutting_the_bytes_changes_what_is_read() {
    for (api, body) in [
        (Api::AnthropicMessages, MESSAGE),
        (Api::OpenAiResponses, RESPONSE),
    ] {
        let whole = watch(api, true, body);
        for size in 1..=97 {
            let mut tail = Tail::new(api, true);
            for chunk in body.as_bytes().chunks(size) {
                tail.push(chunk);
            }
            tail.end();
            assert_eq!(said(&tail), said(&whole), "{api:?} in pieces of {size}");
        }
    }
}
