//! Values that come in more than one JSON type.

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::go::go_object;
use crate::scheduler::KeepAlive;

/// `think`: a bool, or how hard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Think(pub bool);

/// Text, or parts that may have text.
#[derive(Clone, Debug, Default)]
pub struct Content(pub String);

/// `input` of `/v1/responses`: a text or messages.
#[derive(Clone, Debug, Default)]
pub struct Input(pub Vec<PartedMessage>);

go_object! {
    /// A message whose content may come in parts.
    pub struct PartedMessage { role: String = "role", content: Content = "content", }
}

go_object! {
    struct Part { text: String = "text", }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = KeepAlive;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds or a duration")
            }

            fn visit_i64<E>(self, seconds: i64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds as f64))
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds as f64))
            }

            fn visit_f64<E>(self, seconds: f64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeepAlive, E> {
                let invalid = || E::custom(format_args!("time: invalid duration {text:?}"));
                KeepAlive::text(text).ok_or_else(invalid)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Think {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Think;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false, \"low\", \"medium\", \"high\" or \"max\"")
            }

            fn visit_bool<E>(self, think: bool) -> Result<Think, E> {
                Ok(Think(think))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Think, E> {
                match text {
                    "low" | "medium" | "high" | "max" => Ok(Think(true)),
                    _ => Err(E::custom(format_args!("invalid think value: {text:?}"))),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Content;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text or parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content(text.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut text = String::new();
                while let Some(part) = parts.next_element::<Part>()? {
                    text.push_str(&part.text);
                }
                Ok(Content(text))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Input;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text or messages")
            }

            fn visit_str<E>(self, text: &str) -> Result<Input, E> {
                let content = Content(text.to_owned());
                let role = "user".to_owned();
                Ok(Input(vec![PartedMessage { role, content }]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = items.next_element()? {
                    messages.push(message);
                }
                Ok(Input(messages))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
