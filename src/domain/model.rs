//! Model names by Ollama's rules.
//!
//! `[scheme://]host/namespace/model:tag`, with the defaults `registry.ollama.ai`, `library` and
//! `latest`. Two spellings that Ollama takes for one model are one [`ModelName`] here, so that the
//! caches, slots and counters of a model never split in two. The client's own spelling is not kept:
//! it is sent to the server inside the request, and the server returns it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_PART: usize = 80;
const MAX_HOST: usize = 350;
/// Of other rules the parts are not known; no service has names that long.
const MAX_FOREIGN: usize = 255;

/// A model's canonical name: lower case, shortest form, always with its tag (`llama3.2:latest`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ModelName(Arc<str>);

/// The parts of a name in the letters it was written with, and what is understood where one is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameParts<'a> {
    /// Of the registry, perhaps with a port.
    pub host: &'a str,
    /// Whose model it is.
    pub namespace: &'a str,
    /// The model.
    pub model: &'a str,
    /// Which one of that name.
    pub tag: &'a str,
}

/// The text is not a model name by Ollama's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidModelName;

impl ModelName {
    /// Reads any spelling of a name.
    ///
    /// # Errors
    /// [`InvalidModelName`] when a part is empty, too long or has a character Ollama refuses.
    pub fn parse(text: &str) -> Result<Self, InvalidModelName> {
        let NameParts {
            host,
            namespace,
            model,
            tag,
        } = NameParts::of(text)?;
        let mut name = String::with_capacity(text.len() + DEFAULT_TAG.len() + 1);
        let own_host = !host.eq_ignore_ascii_case(DEFAULT_HOST);
        if own_host {
            name.push_str(host);
            name.push('/');
        }
        if own_host || !namespace.eq_ignore_ascii_case(DEFAULT_NAMESPACE) {
            name.push_str(namespace);
            name.push('/');
        }
        name.push_str(model);
        name.push(':');
        name.push_str(tag);
        name.make_ascii_lowercase();
        Ok(Self(name.into()))
    }

    /// Reads a name that may follow another kind of server's rules: by Ollama's where it can be, so
    /// that one model has one name, else letter for letter.
    ///
    /// # Errors
    /// [`InvalidModelName`] when it is empty, too long, or not visible ASCII.
    pub fn parse_any(text: &str) -> Result<Self, InvalidModelName> {
        Self::parse(text).or_else(|invalid| {
            let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            if is_word && text.len() <= MAX_FOREIGN {
                Ok(Self(text.into()))
            } else {
                Err(invalid)
            }
        })
    }

    /// Stands for all the names that clients ask for and no server has. No name that is read is equal to it: each
    /// has a tag.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".into())
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only Ollama's cloud has it, by its tag.
    #[must_use]
    pub fn is_cloud(&self) -> bool {
        self.0.ends_with(":cloud") || self.0.ends_with("-cloud")
    }

    /// Whether it is a name of the registry at this host.
    #[must_use]
    pub fn is_under(&self, host: &str) -> bool {
        let is_it = |(first, _): (&str, &str)| first.eq_ignore_ascii_case(host);
        self.0.split_once('/').is_some_and(is_it)
    }

    /// The canonical text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl<'a> NameParts<'a> {
    /// The parts of any spelling of a name.
    ///
    /// # Errors
    /// [`InvalidModelName`] when one is empty, too long or has a character Ollama refuses.
    pub fn of(text: &'a str) -> Result<Self, InvalidModelName> {
        let text = text.trim();
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (path, tag) = split_tag(strip_source(text));
        let mut parts = path.rsplitn(3, '/');
        let model = parts.next().unwrap_or_default();
        let namespace = parts.next().unwrap_or(DEFAULT_NAMESPACE);
        let host = parts.next().unwrap_or(DEFAULT_HOST);
        let tag = tag.unwrap_or(DEFAULT_TAG);
        let valid = is_part(model, MAX_PART, b".-_")
            && is_part(tag, MAX_PART, b".-_")
            && is_part(namespace, MAX_PART, b"-_")
            && is_part(host, MAX_HOST, b".-_:");
        let parts = Self {
            host,
            namespace,
            model,
            tag,
        };
        valid.then_some(parts).ok_or(InvalidModelName)
    }

    /// Whether the name says nothing of another registry than Ollama's.
    #[must_use]
    pub fn is_of_default_host(&self) -> bool {
        self.host.eq_ignore_ascii_case(DEFAULT_HOST)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InvalidModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid model name")
    }
}

impl std::error::Error for InvalidModelName {}

/// `llama3.2:latest:local` names the same model as `llama3.2:latest`.
fn strip_source(text: &str) -> &str {
    match text.len().checked_sub(":local".len()) {
        Some(at) if text.is_char_boundary(at) && text[at..].eq_ignore_ascii_case(":local") => {
            &text[..at]
        }
        _ => text,
    }
}

/// The tag is what follows the last colon behind the last slash.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last_slash = text.rfind('/').map_or(0, |at| at + 1);
    match text[last_slash..].rfind(':') {
        Some(at) => (&text[..last_slash + at], Some(&text[last_slash + at + 1..])),
        None => (text, None),
    }
}

fn is_part(part: &str, max: usize, punctuation: &[u8]) -> bool {
    let Some((&first, rest)) = part.as_bytes().split_first() else {
        return false;
    };
    part.len() <= max
        && (first.is_ascii_alphanumeric() || first == b'_')
        && rest
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || punctuation.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        ModelName::parse(text).expect(text).to_string()
    }

    #[test]
    fn spellings_of_one_model_are_one_name() {
        for text in [
            "llama3.2",
            "LLAMA3.2:latest",
            " llama3.2 ",
            "library/llama3.2",
            "registry.ollama.ai/library/llama3.2:latest",
            "https://registry.ollama.ai/library/llama3.2",
            "llama3.2:latest:local",
        ] {
            assert_eq!(canonical(text), "llama3.2:latest", "{text}");
        }
    }

    #[test]
    fn other_hosts_and_namespaces_are_kept() {
        assert_eq!(canonical("me/mine:7b"), "me/mine:7b");
        assert_eq!(
            canonical("hf.co/Org/Model-GGUF:Q4_K_M"),
            "hf.co/org/model-gguf:q4_k_m"
        );
        assert_eq!(canonical("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(canonical("h.io/library/b"), "h.io/library/b:latest");
    }

    #[test]
    fn the_parts_of_a_name_keep_their_letters() {
        let parts = |text| {
            let parts = NameParts::of(text).unwrap();
            let NameParts {
                host,
                namespace,
                model,
                tag,
            } = parts;
            (
                parts.is_of_default_host(),
                [host, namespace, model, tag].join(" "),
            )
        };
        assert_eq!(
            parts(" Llama3.2:3b-Q4_K_M:local"),
            (true, "registry.ollama.ai library Llama3.2 3b-Q4_K_M".into())
        );
        assert_eq!(
            parts("http://Registry.Ollama.ai/me/m"),
            (true, "Registry.Ollama.ai me m latest".into())
        );
        assert_eq!(parts("h:5/a/b:c"), (false, "h:5 a b c".into()));
        assert!(NameParts::of("a/../b").is_err());
    }

    #[test]
    fn what_ollama_refuses_is_refused() {
        for text in [
            "",
            ":",
            "a:",
            "/a",
            "a//b",
            "-a",
            "a b",
            "a@sha256:0",
            "ü",
            "n.s/m/x/y/z",
        ] {
            assert!(ModelName::parse(text).is_err(), "{text}");
        }
        assert!(ModelName::parse(&"a".repeat(81)).is_err());
    }

    #[test]
    fn other_servers_names_are_taken_letter_for_letter_where_ollama_would_refuse_them() {
        let any = |text: &str| ModelName::parse_any(text).map(|name| name.to_string());
        let hosted = "accounts/fireworks/models/Llama-v3";
        assert_eq!(any(hosted).as_deref(), Ok(hosted));
        assert_eq!(any("@cf/meta/llama").as_deref(), Ok("@cf/meta/llama"));
        assert_eq!(any("Tiny").as_deref(), Ok("tiny:latest"));
        for text in ["", " ", "a b", "a\nb", "mödel", &"a/".repeat(200)] {
            assert_eq!(any(text), Err(InvalidModelName), "{text}");
        }
    }
}
