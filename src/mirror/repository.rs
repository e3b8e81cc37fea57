//! Where a model is in the registry. Pure.
//!
//! Read strictly: every part is a part of a model's name by Ollama's rules, so none of them leads anywhere else,
//! neither in the registry nor on the disk.

use std::fmt;
use std::sync::Arc;

use crate::domain::NameParts;

/// `namespace/model`, in the letters it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository(Arc<str>);

/// A model and which one of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// Which one.
    pub tag: Arc<str>,
}

impl Repository {
    /// The repository of these two parts of a path.
    #[must_use]
    pub fn at(namespace: &str, model: &str) -> Option<Self> {
        let path = format!("{namespace}/{model}");
        let parts = NameParts::of(&path).ok()?;
        let is_it = (parts.namespace, parts.model) == (namespace, model);
        is_it.then(|| Self(path.into()))
    }
}

impl Reference {
    /// The model of this name, unless it is one of another registry.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let parts = NameParts::of(name).ok()?;
        let repository = Repository::at(parts.namespace, parts.model)?;
        parts.is_of_default_host().then(|| Self {
            repository,
            tag: parts.tag.into(),
        })
    }

    /// The one of these parts of a path.
    #[must_use]
    pub fn at(namespace: &str, model: &str, tag: &str) -> Option<Self> {
        let path = format!("{namespace}/{model}:{tag}");
        let parts = NameParts::of(&path).ok()?;
        let is_it = (parts.namespace, parts.model, parts.tag) == (namespace, model, tag);
        is_it.then_some(())?;
        Some(Self {
            repository: Repository::at(namespace, model)?,
            tag: tag.into(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_repository_in_its_own_letters() {
        let at = |name| Reference::of(name).map(|one| one.to_string());
        assert_eq!(at("llama3.2").unwrap(), "library/llama3.2:latest");
        assert_eq!(at("me/M:3b-Q4_K_M").unwrap(), "me/M:3b-Q4_K_M");
        assert_eq!(at("hf.co/a/b:c"), None);
        assert_eq!(at("../b"), None);
    }

    #[test]
    fn no_part_of_a_path_leads_anywhere_else() {
        assert!(Reference::at("library", "big", "latest").is_some());
        for (namespace, model, tag) in [
            ("..", "big", "latest"),
            ("library", "..", "latest"),
            ("library", "big", ".."),
            ("library", "a/b", "latest"),
            ("library", "big", "a/b"),
            ("library", "big:x", "latest"),
            ("a.b", "big", "latest"),
            ("library", " big", "latest"),
            ("library", "big", "latest:local"),
            ("", "big", "latest"),
            ("library", "big", ""),
        ] {
            let at = Reference::at(namespace, model, tag);
            assert_eq!(at, None, "{namespace} {model} {tag}");
        }
    }
}
