//! The models a server has: an immutable table that is replaced whole.
//!
//! Reading is what every request does; changing is rare (pull, copy, delete, create). So the table
//! is never changed in place: a change makes the next table, and requests in flight keep theirs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::name::ModelName;

use super::counters::Stats;
use super::{Config, Model, go};

/// One model, with what requests need precomputed.
pub struct Entry {
    pub name: ModelName,
    /// As `/api/tags` shows it: the case it was created with, defaults dropped, tag kept.
    pub display: String,
    pub digest: String,
    pub model: Model,
    /// The model's pieces as they stand inside a JSON string; empty: tokens are marks only.
    pub pieces: Vec<Box<[u8]>>,
    pub stats: Arc<Stats>,
}

/// All models, and the counters of every model there ever was.
#[derive(Default)]
pub struct Catalogue {
    /// By every spelling that costs nothing to look up; others are parsed first.
    spellings: HashMap<Box<str>, Arc<Entry>>,
    entries: Vec<Arc<Entry>>,
    stats: HashMap<ModelName, Arc<Stats>>,
}

impl Catalogue {
    /// A table of these models. Names that Ollama would refuse are left out.
    pub fn new(models: &[Model], config: &Config) -> Self {
        models.iter().fold(Self::default(), |catalogue, model| {
            catalogue.with(model, config)
        })
    }

    /// The model by any spelling of its name.
    pub fn find(&self, spelling: &str) -> Option<&Arc<Entry>> {
        if let Some(entry) = self.spellings.get(spelling) {
            return Some(entry);
        }
        let name = ModelName::parse(spelling).ok()?;
        self.spellings.get(name.as_str())
    }

    /// Newest first, as `/api/tags` lists them; among equals by name.
    pub fn newest_first(&self) -> Vec<&Arc<Entry>> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| {
            b.model
                .modified
                .cmp(&a.model.modified)
                .then_with(|| a.name.cmp(&b.name))
        });
        entries
    }

    /// Counters of every model there ever was.
    pub fn stats(&self) -> impl Iterator<Item = (&ModelName, &Arc<Stats>)> {
        self.stats.iter()
    }

    /// The table with `model` added, or replaced when its name is taken.
    pub fn with(&self, model: &Model, config: &Config) -> Self {
        let Ok(name) = ModelName::parse(&model.name) else {
            return self.filtered(|_| true);
        };
        let mut next = self.filtered(|entry| entry.name != name);
        let stats = next.stats.entry(name.clone()).or_default().clone();
        next.entries.push(Arc::new(Entry {
            display: display(&model.name, &name),
            digest: model.digest(name.as_str(), config.seed),
            pieces: model.pieces.iter().map(|piece| escaped(piece)).collect(),
            model: model.clone(),
            name,
            stats,
        }));
        next.index()
    }

    /// The table without that model.
    pub fn without(&self, name: &ModelName) -> Self {
        self.filtered(|entry| entry.name != *name)
    }

    /// The table without any model.
    pub fn emptied(&self) -> Self {
        self.filtered(|_| false)
    }

    fn filtered(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        Self {
            spellings: HashMap::new(),
            entries: self
                .entries
                .iter()
                .filter(|entry| keep(entry))
                .cloned()
                .collect(),
            stats: self.stats.clone(),
        }
        .index()
    }

    fn index(mut self) -> Self {
        self.spellings.clear();
        for entry in &self.entries {
            let canonical = entry.name.as_str();
            self.spellings.insert(canonical.into(), entry.clone());
            if let Some(short) = canonical.strip_suffix(":latest") {
                self.spellings.insert(short.into(), entry.clone());
            }
        }
        self
    }
}

fn escaped(piece: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(piece.len());
    go::escape(&mut out, piece);
    out.into()
}

/// The canonical name in the letters the user wrote it with. The canonical form is the end of the
/// given one, plus a tag where none was given.
fn display(given: &str, name: &ModelName) -> String {
    let canonical = name.as_str();
    for end in ["", ":latest"] {
        let full = format!("{}{end}", given.trim());
        let tail = full
            .len()
            .checked_sub(canonical.len())
            .and_then(|at| full.get(at..));
        if let Some(tail) = tail.filter(|tail| tail.eq_ignore_ascii_case(canonical)) {
            return tail.to_owned();
        }
    }
    canonical.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_every_spelling_and_shown_in_its_own() {
        let config = Config::default();
        let catalogue = Catalogue::new(
            &[
                Model::named("hf.co/Org/Model-GGUF:Q4_K_M"),
                Model::named("llama3.2"),
            ],
            &config,
        );
        let entry = catalogue.find("HF.co/org/model-gguf:q4_k_m").unwrap();
        assert_eq!(entry.display, "hf.co/Org/Model-GGUF:Q4_K_M");
        assert_eq!(
            catalogue.find("library/LLAMA3.2").unwrap().display,
            "llama3.2:latest"
        );
        assert!(catalogue.find("llama3.2:1b").is_none());
    }

    #[test]
    fn counters_outlive_their_model() {
        let config = Config::default();
        let name = ModelName::parse("a").unwrap();
        let first = Catalogue::new(&[Model::named("a")], &config);
        let stats = first.find("a").unwrap().stats.clone();
        let later = first.without(&name);
        assert!(later.find("a").is_none());
        assert_eq!(later.stats().count(), 1);
        let again = later.with(&Model::named("A"), &config);
        assert!(Arc::ptr_eq(&again.find("a").unwrap().stats, &stats));
        assert_eq!(again.newest_first().len(), 1);
    }
}
