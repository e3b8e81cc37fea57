//! Values that come in more than one JSON type.

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::go::go_object;
use crate::scheduler::KeepAlive;

/// `think`: a bool, or how hard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Think(pub bool);

/// Text, or parts that may have text.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub text: String,
    /// The address of an image among the parts.
    pub image: Option<String>,
}

/// `license` of `/api/create`: a text or several.
#[derive(Clone, Debug, Default)]
pub struct License(pub String);

/// An image in base64, which is checked and not kept.
#[derive(Clone, Copy, Debug)]
pub struct Image;

/// An address, or an object with it.
#[derive(Clone, Debug, Default)]
struct ImageUrl(String);

/// `input` of `/v1/responses`: a text or messages.
#[derive(Clone, Debug, Default)]
pub struct Input(pub Vec<PartedMessage>);

go_object! {
    /// A message whose content may come in parts.
    pub struct PartedMessage { role: String = "role", content: Content = "content", }
}

go_object! {
    struct Part { text: String = "text", image_url: Option<ImageUrl> = "image_url", }
}

go_object! {
    struct Address { url: String = "url", }
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
                    _ => Err(E::custom(format_args!(
                        "invalid think value: {text:?} (must be \"high\", \"medium\", \"low\", \
                         \"max\", true, or false)"
                    ))),
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
                Ok(Content {
                    text: text.to_owned(),
                    image: None,
                })
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut content = Content::default();
                while let Some(part) = parts.next_element::<Part>()? {
                    content.text.push_str(&part.text);
                    content.image = part.image_url.map(|url| url.0).or(content.image);
                }
                Ok(content)
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
                let content = Content {
                    text: text.to_owned(),
                    image: None,
                };
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

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match illegal_base64(&text) {
            None => Ok(Self),
            Some(at) => Err(de::Error::custom(format_args!(
                "illegal base64 data at input byte {at}"
            ))),
        }
    }
}

fn illegal_base64(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let illegal = digits.bytes().position(|byte| !legal(byte));
    illegal.or_else(|| (!text.len().is_multiple_of(4)).then_some(text.len()))
}

impl<'de> Deserialize<'de> for ImageUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = ImageUrl;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address or an object with it")
            }

            fn visit_str<E>(self, text: &str) -> Result<ImageUrl, E> {
                Ok(ImageUrl(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ImageUrl, A::Error> {
                let address = Address::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ImageUrl(address.url))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for License {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Loose {
            One(String),
            More(Vec<String>),
        }
        Ok(Self(match Loose::deserialize(deserializer)? {
            Loose::One(text) => text,
            Loose::More(texts) => texts.join("\n"),
        }))
    }
}
