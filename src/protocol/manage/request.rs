//! The body of a call, in its fields.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::ManageApi;
use crate::protocol::BadRequest;
use crate::protocol::peek::{entries, folded, kind};

/// Fields of a body that name blobs, each a map from a file to its digest.
const BLOBS: [&str; 3] = ["files", "adapters", "draft_files"];

/// A body by its fields. Keys are matched as Go matches them, the last of several in the body counts, and what
/// follows the object is not looked at. A server is sent each field once ([`body`](Self::body)), so what
/// was checked here is what it reads.
#[derive(Clone, Debug)]
pub struct ManageRequest {
    api: ManageApi,
    /// By folded key, each value as it was written; those that are `null` are left out.
    fields: BTreeMap<String, Box<RawValue>>,
}

impl ManageRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`BadRequest`], when it is no object.
    pub fn read(api: ManageApi, body: &[u8]) -> Result<Self, BadRequest> {
        // Bad bytes are replaced, as Go does.
        let body = String::from_utf8_lossy(body);
        let first = body.trim_ascii_start().as_bytes().first();
        let first = *first.ok_or(BadRequest::MissingBody)?;
        let mut json = serde_json::Deserializer::from_str(&body);
        match first {
            b'{' => {}
            _ => {
                IgnoredAny::deserialize(&mut json).map_err(|error| BadRequest::not_json(&error))?;
                return match first {
                    b'n' => Ok(Self::empty(api)), // `null` is an object without keys
                    _ => Err(BadRequest::NotAnObject {
                        found: kind(first),
                        package: "api",
                        request: api.request_type(),
                    }),
                };
            }
        }
        let mut fields = BTreeMap::new();
        let read = entries(&body, |key, value: &RawValue| {
            if value.get() != "null" {
                fields.insert(folded(key), value.to_owned());
            }
        });
        read.map_err(|error| BadRequest::not_json(&error))?;
        Ok(Self { api, fields })
    }

    fn empty(api: ManageApi) -> Self {
        Self {
            api,
            fields: BTreeMap::new(),
        }
    }

    /// Which call it is.
    #[must_use]
    pub const fn api(&self) -> ManageApi {
        self.api
    }

    /// The model it is about, in the client's spelling: `model`, or `name`, where older clients have it. Empty
    /// without one.
    ///
    /// # Errors
    /// [`BadRequest`], when it is no text.
    pub fn model(&self) -> Result<String, BadRequest> {
        let model = self.text("model")?;
        match model.is_empty() {
            true => self.text("name"),
            false => Ok(model),
        }
    }

    /// The text of a field; empty without it.
    ///
    /// # Errors
    /// [`BadRequest`], when it is something else.
    pub fn text(&self, key: &'static str) -> Result<String, BadRequest> {
        let Some(value) = self.fields.get(key) else {
            return Ok(String::new());
        };
        serde_json::from_str(value.get()).map_err(|_| self.wrong(key, value, "string"))
    }

    /// The value of a switch, if it is set.
    ///
    /// # Errors
    /// [`BadRequest`], when it is none.
    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, BadRequest> {
        let Some(value) = self.fields.get(key) else {
            return Ok(None);
        };
        let read = serde_json::from_str(value.get());
        read.map(Some).map_err(|_| self.wrong(key, value, "bool"))
    }

    /// Whether the answer is to come in lines.
    ///
    /// # Errors
    /// [`BadRequest`], when nobody can tell.
    pub fn streams(&self) -> Result<bool, BadRequest> {
        Ok(self.flag("stream")?.unwrap_or(true))
    }

    /// The digests of the blobs that it names, each once, as they are compared. Of what is no map of
    /// digests the servers say so.
    #[must_use]
    pub fn blobs(&self) -> Vec<String> {
        let maps = BLOBS.iter().filter_map(|key| self.fields.get(*key));
        let maps = maps.filter_map(|value| {
            serde_json::from_str::<BTreeMap<String, Option<String>>>(value.get()).ok()
        });
        let digests = maps.flat_map(BTreeMap::into_values).flatten();
        let mut digests: Vec<String> = digests
            .filter_map(|digest| canonical_digest(&digest))
            .collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// The body for a server, which answers in lines whatever the client wants, so that it can be seen how far it
    /// is.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let mut fields: BTreeMap<&str, &RawValue> = BTreeMap::new();
        for (key, value) in &self.fields {
            fields.insert(key, value);
        }
        fields.remove("stream"); // it streams unless told otherwise
        serde_json::to_vec(&fields).unwrap_or_default().into()
    }

    fn wrong(&self, key: &'static str, value: &RawValue, wanted: &'static str) -> BadRequest {
        let first = value.get().as_bytes().first();
        BadRequest::WrongType {
            found: kind(first.copied().unwrap_or_default()),
            request: self.api.request_type(),
            key,
            wanted,
        }
    }
}

/// `sha256:` and 64 hex digits, of a digest in either of its two forms.
#[must_use]
pub fn canonical_digest(digest: &str) -> Option<String> {
    let hex = digest
        .strip_prefix("sha256:")
        .or_else(|| digest.strip_prefix("sha256-"))?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("sha256:{}", hex.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ManageRequest, BadRequest> {
        ManageRequest::read(ManageApi::Create, body.as_bytes())
    }

    #[test]
    fn a_body_is_read_as_go_reads_it() {
        let request = read(r#"{"Model":"a","model":"","NAME":"b","x":1.0}tail"#).unwrap();
        assert_eq!(request.model().unwrap(), "b");
        assert!(request.streams().unwrap());
        assert_eq!(&*request.body(), br#"{"model":"","name":"b","x":1.0}"#);
        let request = read(r#"{"model":"a","name":"b","stream":false,"y":null}"#).unwrap();
        assert_eq!(request.model().unwrap(), "a");
        assert!(!request.streams().unwrap());
        assert_eq!(&*request.body(), br#"{"model":"a","name":"b"}"#);
        // The last in the body, in whatever spelling.
        for body in [
            r#"{"model":"a","Model":"b"}"#,
            r#"{"Model":"a","model":"b"}"#,
            r#"{"MODEL":"a","mODEL":"c","model":"b","model":null}"#,
        ] {
            assert_eq!(&*read(body).unwrap().body(), br#"{"model":"b"}"#, "{body}");
        }
        let request = read(r#"{"source":"a","ſource":"b","in\u017fecure":true}"#).unwrap();
        assert_eq!(request.text("source").unwrap(), "b");
        assert_eq!(request.flag("insecure").unwrap(), Some(true));
        assert_eq!(&*request.body(), br#"{"insecure":true,"source":"b"}"#);
        let request = read(r#"{"model":"a","\ud800":1}"#).unwrap();
        assert_eq!(request.model().unwrap(), "a");
        assert_eq!(read("null").unwrap().model().unwrap(), "");
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_ollamas_words() {
        let refused = |body: &str| {
            let request = read(body).and_then(|request| request.model().map(drop));
            request.unwrap_err().to_string()
        };
        assert_eq!(refused(" "), "missing request body");
        assert_eq!(refused(r#"{"model":"#), "unexpected EOF");
        assert_eq!(
            refused("[1]"),
            "json: cannot unmarshal array into Go value of type api.CreateRequest"
        );
        assert_eq!(
            refused(r#"{"model":1}"#),
            "json: cannot unmarshal number into Go struct field CreateRequest.model of type string"
        );
        let stream = read(r#"{"stream":"no"}"#).unwrap().streams();
        assert!(stream.unwrap_err().to_string().contains("of type bool"));
        let nested = format!("{}{}", r#"{"a":"#, "[".repeat(100_000));
        assert!(read(&nested).is_err());
    }

    #[test]
    fn blobs_are_named_once_and_in_one_form() {
        let (a, b) = ("A".repeat(64), "b".repeat(64));
        let body = format!(
            r#"{{"files":{{"m":"sha256:{a}","n":"sha256-{a}"}},"adapters":{{"x":"sha256:{b}","y":"../z"}},"draft_files":7}}"#
        );
        let blobs = read(&body).unwrap().blobs();
        assert_eq!(
            blobs,
            [format!("sha256:{}", "a".repeat(64)), format!("sha256:{b}")]
        );
        for wrong in [
            "",
            "sha256:",
            "sha256:zz",
            &format!("md5:{b}"),
            &format!("sha256:{b}0"),
        ] {
            assert_eq!(canonical_digest(wrong), None, "{wrong}");
        }
    }
}
