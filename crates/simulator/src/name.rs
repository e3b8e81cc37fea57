//! Model names as Ollama reads them. Pure.
//!
//! Written for the simulator alone: so a router that reads names differently fails its tests.

use std::fmt;

/// What is left out of a spelling, in this order, means this.
const REGISTRY: &str = "registry.ollama.ai";
const LIBRARY: &str = "library";
const LATEST: &str = "latest";

/// All spellings of one model are one name: `llama3.2`, `Library/llama3.2:LATEST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    /// Lower case, without what is understood, and with the tag.
    canonical: String,
}

/// No name of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAName;

impl ModelName {
    /// Reads `[scheme://][[host/]namespace/]model[:tag]`.
    pub fn parse(spelling: &str) -> Result<Self, NotAName> {
        let lower = spelling.trim().to_ascii_lowercase();
        let named = match lower.find("://") {
            Some(scheme) => &lower[scheme + 3..],
            None => &lower,
        };
        // Where the model is kept; one that is kept here is named like any other.
        let named = named.strip_suffix(":local").unwrap_or(named);
        let mut path: Vec<&str> = named.split('/').collect();
        let last = path.pop().ok_or(NotAName)?;
        let (model, tag) = last.rsplit_once(':').unwrap_or((last, LATEST));
        let namespace = path.pop().unwrap_or(LIBRARY);
        // Whatever stands before two slashes is the host, slashes included, and those are refused.
        let host = match path.is_empty() {
            true => REGISTRY.to_owned(),
            false => path.join("/"),
        };
        let all_well = well_formed(&host, 350, "._-:")
            && well_formed(namespace, 80, "_-")
            && well_formed(model, 80, "._-")
            && well_formed(tag, 80, "._-");
        if !all_well {
            return Err(NotAName);
        }
        let canonical = match (host.as_str(), namespace) {
            (REGISTRY, LIBRARY) => format!("{model}:{tag}"),
            (REGISTRY, _) => format!("{namespace}/{model}:{tag}"),
            _ => format!("{host}/{namespace}/{model}:{tag}"),
        };
        Ok(Self { canonical })
    }

    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// With everything that is understood: `registry.ollama.ai/library/llama3.2:latest`.
    pub fn full(&self) -> String {
        match self.canonical.matches('/').count() {
            0 => format!("{REGISTRY}/{LIBRARY}/{self}"),
            1 => format!("{REGISTRY}/{self}"),
            _ => self.canonical.clone(),
        }
    }

    /// Whether only Ollama's cloud has it.
    pub fn is_cloud(&self) -> bool {
        self.canonical.ends_with(":cloud") || self.canonical.ends_with("-cloud")
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

/// Letters, digits and some marks; never a mark first, except `_`.
fn well_formed(part: &str, longest: usize, marks: &str) -> bool {
    part.len() <= longest
        && part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && part
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || marks.contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_understood() {
        for (spelling, canonical) in [
            ("llama3.2", "llama3.2:latest"),
            (" LLAMA3.2:Latest ", "llama3.2:latest"),
            ("library/llama3.2", "llama3.2:latest"),
            (
                "https://registry.ollama.ai/library/llama3.2",
                "llama3.2:latest",
            ),
            ("llama3.2:latest:LOCAL", "llama3.2:latest"),
            ("me/mine:7b", "me/mine:7b"),
            ("hf.co/Org/Model-GGUF:Q4_K_M", "hf.co/org/model-gguf:q4_k_m"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("h.io/library/b", "h.io/library/b:latest"),
        ] {
            let name = ModelName::parse(spelling).expect(spelling);
            assert_eq!(name.as_str(), canonical, "{spelling}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for spelling in [
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
            assert_eq!(ModelName::parse(spelling), Err(NotAName), "{spelling}");
        }
        assert_eq!(ModelName::parse(&"a".repeat(81)), Err(NotAName));
    }
}
