use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn chat(body: &str) -> Result<Peek<'_>, BadRequest> {
    peek(Api::OllamaChat, body.as_bytes())
}

fn words(api: Api, body: impl AsRef<[u8]>) -> String {
    let refused = peek(api, body.as_ref()).unwrap_err();
    assert_eq!(refused.status(), 400);
    refused.to_string()
}

#[test]
fn an_ordinary_chat_is_read() {
    let body = r#"{"model":"Llama3.2","messages":[{"role":"user","content":"Why is the sky blue?"}],
        "keep_alive":"5m","options":{"temperature":0.1}}"#;
    insta::assert_debug_snapshot!(chat(body).unwrap(), @r#"
    Peek {
        model: "Llama3.2",
        model_at: 9..19,
        stream: true,
        usage: Unasked,
        prompt_bytes: 20,
        max_output: Unsaid,
        choices: 1,
        unload: No,
        load_options: LoadOptions {
            keep_alive: Some(
                104..108,
            ),
            keeps: true,
            options: Some(
                119..138,
            ),
            shift: None,
            inside: Some(
                1,
            ),
        },
        user: None,
    }
    "#);
}

#[test]
fn nothing_is_copied_of_a_plain_model_name() {
    let body = r#"{"model":"m"}"#;
    assert!(matches!(chat(body).unwrap().model, Cow::Borrowed("m")));
    assert_eq!(chat(r#"{"model":"\u006d\/x"}"#).unwrap().model, "m/x");
}

#[test]
fn refusals_speak_ollamas_words() {
    let chat = Api::OllamaChat;
    let said = [
        words(chat, ""),
        words(chat, " \n"),
        words(chat, b"{\"model\":\"\xff\"}"),
        words(chat, "{\"model\":\"m\""),
        words(chat, "{\n  'model': 1}"),
        words(chat, "{\"model\":\"m\",}"),
        words(chat, "{\"model\":\"a\nb\"}"),
        words(chat, r#"{"model":"\ud80"}"#),
        words(chat, "[1]"),
        words(chat, "[1"),
        words(chat, "\"m\""),
        words(chat, "null"),
        words(chat, "{}"),
        words(chat, r#"{"model":""}"#),
        words(chat, r#"{"model":null}"#),
        words(chat, r#"{"model":7}"#),
        words(Api::OllamaShow, r#"{"name":["m"]}"#),
        words(Api::OpenAiChat, r#"{"model":"m","stream":"yes"}"#),
        words(chat, r#"{"model":"a","MODEL":"b"}"#),
        words(chat, r#"{"model":"a","stream":true,"ſtream":false}"#),
    ]
    .join("\n");
    insta::assert_snapshot!(said, @r#"
    missing request body
    missing request body
    invalid UTF-8 in request body at byte 10
    unexpected EOF
    invalid JSON in request body: key must be a string at line 2 column 3
    invalid JSON in request body: trailing comma at line 1 column 14
    invalid JSON in request body: control character (\u0000-\u001F) found while parsing a string at line 1 column 11
    invalid JSON in request body: invalid escape at line 1 column 16
    json: cannot unmarshal array into Go value of type api.ChatRequest
    unexpected EOF
    json: cannot unmarshal string into Go value of type api.ChatRequest
    model is required
    model is required
    model is required
    model is required
    json: cannot unmarshal number into Go struct field ChatRequest.model of type string
    json: cannot unmarshal array into Go struct field ShowRequest.name of type string
    json: cannot unmarshal string into Go struct field ChatCompletionRequest.stream of type bool
    "model" must not be given twice
    "stream" must not be given twice
    "#);
}

#[test]
fn a_model_below_the_top_is_no_model() {
    let body = r#"{"options":{"model":"x"},"messages":[{"model":"y"}],"model":"m"}"#;
    assert_eq!(chat(body).unwrap().model, "m");
    assert_eq!(
        chat(r#"{"x":{"model":"m"}}"#),
        Err(BadRequest::ModelRequired)
    );
}

#[test]
fn any_case_of_a_key_counts() {
    let peek = chat(r#"{"MODEL":"m","Stream":false,"USER":"ann"}"#).unwrap();
    assert_eq!(
        (&*peek.model, peek.stream, peek.user.as_deref()),
        ("m", false, Some("ann"))
    );
}

#[test]
fn only_show_takes_name_for_model() {
    for api in Api::ALL {
        let read = peek(api, br#"{"name":"m"}"#);
        assert_eq!(read.is_ok(), api == Api::OllamaShow, "{api:?}");
    }
    let both = br#"{"name":"b","model":"a"}"#;
    assert_eq!(peek(Api::OllamaShow, both).unwrap().model, "a");
    let empty = br#"{"name":"b","model":""}"#;
    assert_eq!(peek(Api::OllamaShow, empty).unwrap().model, "b");
}

#[test]
fn stream_is_the_dialects_default_when_not_said() {
    for api in Api::ALL {
        for body in [r#"{"model":"m"}"#, r#"{"model":"m","stream":null}"#] {
            let peek = peek(api, body.as_bytes()).unwrap();
            assert_eq!(peek.stream, api.streams_when_omitted(), "{api:?}");
        }
        let asked = peek(api, br#"{"model":"m","stream":true}"#).unwrap();
        assert_eq!(asked.stream, api.can_stream(), "{api:?}");
        assert!(
            !peek(api, br#"{"model":"m","stream":false}"#)
                .unwrap()
                .stream
        );
    }
}

#[test]
fn depth_and_size_are_refused_or_passed_but_never_felt() {
    let nested = |depth: usize| {
        let (open, close) = (r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
        format!(r#"{{"model":"m","format":{open}{close}}}"#)
    };
    assert!(chat(&nested(9_998)).is_ok());
    assert_eq!(chat(&nested(1_000_000)), Err(BadRequest::TooDeep));
    assert!(chat(&"[".repeat(1_000_000)).is_err());
    assert!(chat(&"{\"a\":".repeat(5_000)).is_err());
    assert!(
        chat(r#"{"model":"m","x":1e999999,"options":{"num_ctx":1e999999},"keep_alive":-1e999}"#)
            .is_ok()
    );
    assert!(
        chat(r#"{"model":"m","messages":[{"content":"cut in an emoji \ud83d","\ud83d":1}]}"#)
            .is_ok()
    );
}

#[test]
fn text_weighs_and_images_do_not() {
    let weigh = |messages: &str| {
        chat(&format!(r#"{{"model":"m","messages":{messages}}}"#))
            .unwrap()
            .prompt_bytes
    };
    assert_eq!(
        weigh(r#"[{"role":"user","content":"12345"},{"content":"678"}]"#),
        8
    );
    assert_eq!(
        weigh(r#"[{"content":"12345","images":["AAAAAAAAAAAAAAAA"]}]"#),
        5
    );
    assert_eq!(
        weigh(
            r#"[{"content":[{"type":"text","text":"123"},{"type":"image_url","image_url":{"url":"data:AAAA"}}]}]"#
        ),
        3
    );
    let generate = br#"{"model":"m","prompt":"123","system":"45","images":["AAAA"]}"#;
    assert_eq!(peek(Api::OllamaGenerate, generate).unwrap().prompt_bytes, 5);
    assert_eq!(weigh(r#""not messages""#), 12);
    let message = br#"{"model":"m","max_tokens":1,"system":[{"type":"text","text":"12"}],"metadata":{"user_id":"u"},"messages":[
        {"role":"user","content":[{"type":"text","text":"345"},{"type":"image","source":{"data":"AAAA"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"6"},{"type":"tool_use","input":{"a":1}}]},
        {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"78"},{"type":"image","source":{"data":"AAAA"}}]},
            {"type":"tool_result","content":"9"}]}]}"#;
    let message = peek(Api::AnthropicMessages, message).unwrap();
    assert_eq!(
        (message.prompt_bytes, message.user.as_deref()),
        (14, Some("u"))
    );
    let response = |input: &str| {
        let body = format!(r#"{{"model":"m","instructions":"12","stream":true,"input":{input}}}"#);
        let peek = peek(Api::OpenAiResponses, body.as_bytes()).unwrap();
        assert_eq!((peek.stream, peek.usage), (true, AskUsage::Unasked));
        peek.prompt_bytes
    };
    assert_eq!(response(r#""345""#), 5);
    assert_eq!(
        response(
            r#"[{"role":"user","content":[{"type":"input_text","text":"345"}]},{"type":"function_call","arguments":"{}"},{"type":"function_call_output","output":"6"}]"#
        ),
        8
    );
}

#[test]
fn half_a_surrogate_pair_in_a_name_is_read_as_ollama_reads_it() {
    let model = |json: &str| {
        chat(&format!(r#"{{"model":{json}}}"#))
            .unwrap()
            .model
            .into_owned()
    };
    assert_eq!(model(r#""\ud800""#), "\u{fffd}");
    assert_eq!(model(r#""a\ud83d\ud83d\ude00\n""#), "a\u{fffd}\u{1f600}\n");
}

#[test]
fn a_user_is_told_if_it_is_a_text() {
    let user = |json: &str| {
        let body = format!(r#"{{"model":"m","user":{json}}}"#);
        peek(Api::OpenAiChat, body.as_bytes())
            .unwrap()
            .user
            .map(Cow::into_owned)
    };
    assert_eq!(user(r#""ann\u0061""#).as_deref(), Some("anna"));
    assert_eq!(user("7"), None);
    assert_eq!(user(r#""\ud800""#).as_deref(), Some("\u{fffd}"));
}

#[test]
fn usage_is_asked_for_where_the_client_did_not() {
    let cases = [
        r#" {"model":"m","stream":true}"#,
        r#"{"model":"m","stream":true,"stream_options":null}"#,
        r#"{"stream_options": { } ,"model":"m","stream":true}"#,
        r#"{"model":"m","stream":true,"stream_options":{"x":"}"}}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage" : false,"x":1}}"#,
        r#"{"model":"m","stream":true,"Stream_Options":{"Include_Usage":null}}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"model":"m","stream":true,"stream_options":7}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"model":"m"}"#,
    ];
    let sent = cases.map(
        |body| match peek(Api::OpenAiChat, body.as_bytes()).unwrap().usage {
            AskUsage::Splice(splice) => {
                let sent = super::splice(&Bytes::from_static(body.as_bytes()), &[splice]);
                String::from_utf8(sent.to_vec()).unwrap()
            }
            usage => format!("{usage:?}"),
        },
    );
    insta::assert_snapshot!(sent.join("\n"), @r#"
     {"stream_options":{"include_usage":true},"model":"m","stream":true}
    {"model":"m","stream":true,"stream_options":{"include_usage":true}}
    {"stream_options": {"include_usage":true } ,"model":"m","stream":true}
    {"model":"m","stream":true,"stream_options":{"include_usage":true,"x":"}"}}
    {"model":"m","stream":true,"stream_options":{"include_usage" : true,"x":1}}
    {"model":"m","stream":true,"Stream_Options":{"Include_Usage":true}}
    Asked
    Unasked
    Unasked
    Unasked
    "#);
}

#[test]
fn of_usage_asked_for_twice_the_last_counts() {
    let body = r#"{"model":"m","stream":true,"stream_options":null,"STREAM_OPTIONS":{}}"#;
    let refused = peek(Api::OpenAiChat, body.as_bytes()).unwrap_err();
    assert!(refused.can_be_settled(), "{refused}");
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":false,"include_usage":true}}"#;
    let read = peek(Api::OpenAiChat, body.as_bytes()).unwrap();
    assert_eq!(read.usage, AskUsage::Asked);
}

#[test]
fn what_follows_the_value_is_not_looked_at() {
    for body in [r#"{"model":"m"}xx"#, r#"{"model":"m"}{"model":"n"}"#] {
        assert_eq!(chat(body), Err(BadRequest::Followed));
        let body = settle(Api::OllamaChat, &Bytes::from_static(body.as_bytes()));
        assert_eq!(peek(Api::OllamaChat, &body).unwrap().model, "m");
    }
    assert!(chat("{\"model\":\"m\"} \r\n\t").is_ok());
    assert!(matches!(chat("[1]x"), Err(BadRequest::NotAnObject { .. })));
}

#[test]
fn a_key_given_twice_alike_is_no_question() {
    assert_eq!(chat(r#"{"model":"m","MODEL":"m"}"#).unwrap().model, "m");
    let body = Bytes::from_static(br#"{"model":"m","MODEL":"n"}"#);
    assert!(peek(Api::OllamaChat, &body).unwrap_err().can_be_settled());
    let body = settle(Api::OllamaChat, &body);
    assert_eq!(peek(Api::OllamaChat, &body).unwrap().model, "n");
}

/// JSON as clients write it, with texts that try to look like structure.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        r#"[a-z"\\{}\[\]:, é\u{2028}]{0,12}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_\"\\\\]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_spliced_body_says_the_same_and_asks_for_usage(
        rest in prop::collection::btree_map("[a-z_]{1,9}", any_json(), 0..5),
        options in prop_oneof![
            Just(None),
            Just(Some(Value::Null)),
            prop::collection::btree_map("[a-z_]{1,9}", any_json(), 0..3)
                .prop_map(|map| Some(json!(map))),
            any::<Option<bool>>().prop_map(|asked| Some(json!({"a": 1, "include_usage": asked, "z": "}"}))),
        ],
        pretty in any::<bool>(),
    ) {
        let mut body = json!(rest);
        body["model"] = json!("m");
        body["stream"] = json!(true);
        body.as_object_mut().unwrap().remove("stream_options");
        if let Some(options) = options {
            body["stream_options"] = options;
        }
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let text = Bytes::from(text.unwrap());
        let sent = match peek(Api::OpenAiCompletions, &text).unwrap().usage {
            AskUsage::Splice(asking) => splice(&text, &[asking]),
            usage => {
                prop_assert_eq!(usage, AskUsage::Asked);
                text
            }
        };
        if body["stream_options"].is_null() {
            body["stream_options"] = json!({});
        }
        body["stream_options"]["include_usage"] = json!(true);
        prop_assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), body);
    }

    #[test]
    fn what_is_read_is_what_a_parser_reads(
        rest in prop::collection::btree_map("[a-z_]{1,9}", any_json(), 0..6),
        model in "[a-z\"\\\\:é]{1,9}",
        stream in any::<bool>(),
    ) {
        let mut body = json!(rest);
        body["model"] = json!(model);
        body["stream"] = json!(stream);
        let text = body.to_string();
        let read = peek(Api::OllamaChat, text.as_bytes()).unwrap();
        prop_assert_eq!((&*read.model, read.stream), (&*model, stream));
    }

    #[test]
    fn no_body_breaks_it(body in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9\\\\ ]{0,80}") {
        for api in Api::ALL {
            for body in [Bytes::from(body.clone()), Bytes::from(text.clone())] {
                let read = peek(api, &body).err();
                if read.is_some_and(|refused| refused.can_be_settled()) {
                    let again = settle(api, &body);
                    let refused = peek(api, &again).err();
                    prop_assert!(!refused.is_some_and(|refused| refused.can_be_settled()), "{:?}", again);
                }
            }
        }
    }
}
