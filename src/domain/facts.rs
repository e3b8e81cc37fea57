//! What an agent says of its server and of the machine under it.
//!
//! Whatever cannot be found out is not said. What another version says besides is not read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// No server is said to have more models than these.
pub const MAX_FACT_MODELS: usize = 1_000;

/// A server, as its agent sees it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerFacts {
    /// What it speaks, as in a configuration.
    pub kind: String,
    /// Concurrent requests per model; none: nobody said.
    pub slots: Option<u32>,
    /// Its share of the work.
    pub weight: f64,
    /// Its tier.
    pub priority: i32,
    /// What it is also called.
    pub labels: Vec<String>,
    /// It is to take nothing new: its agent is about to leave.
    pub draining: bool,
    /// Why it does not answer its agent; none: it does.
    pub why: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The models it lists.
    pub models: Vec<String>,
    /// Those of them that are in memory.
    pub loaded: Vec<String>,
    /// How it was started: what it was told by its environment.
    pub settings: BTreeMap<String, String>,
    /// What is under it.
    pub machine: Machine,
}

/// A machine. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Machine {
    /// Its name.
    pub host: Option<String>,
    /// What it runs.
    pub os: String,
    /// Its memory.
    pub memory: Option<u64>,
    /// What of it is free.
    pub memory_free: Option<u64>,
    /// What is free on the disk with the models.
    pub disk_free: Option<u64>,
    /// Its graphics processors.
    pub gpus: Vec<Gpu>,
}

/// A graphics processor. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Gpu {
    /// What it is.
    pub name: String,
    /// Its memory.
    pub memory: Option<u64>,
    /// What of it is free.
    pub memory_free: Option<u64>,
    /// In degrees Celsius.
    pub temperature: Option<i64>,
}

impl ServerFacts {
    /// The memory of all its graphics processors, where all of them say so.
    #[must_use]
    pub fn gpu_memory(&self) -> Option<u64> {
        let gpus = &self.machine.gpus;
        let sum: Option<u64> = gpus.iter().map(|gpu| gpu.memory).sum();
        sum.filter(|_| !gpus.is_empty())
    }

    /// What says how the server is to be used. The rest changes with every look at it.
    #[must_use]
    pub fn of_use(mut self) -> Self {
        if self.kind == "ollama" {
            // It is asked itself.
            self.models.clear();
        }
        let of_use = |gpu: Gpu| Gpu {
            memory: gpu.memory,
            ..Gpu::default()
        };
        let gpus = std::mem::take(&mut self.machine.gpus).into_iter();
        Self {
            why: None,
            version: None,
            loaded: Vec::new(),
            settings: BTreeMap::new(),
            machine: Machine {
                gpus: gpus.map(of_use).collect(),
                ..Machine::default()
            },
            ..self
        }
    }
}

impl Default for ServerFacts {
    fn default() -> Self {
        Self {
            kind: "ollama".to_owned(),
            slots: None,
            weight: 1.0,
            priority: 0,
            labels: Vec::new(),
            draining: false,
            why: None,
            version: None,
            models: Vec::new(),
            loaded: Vec::new(),
            settings: BTreeMap::new(),
            machine: Machine::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again_and_what_is_not_said_is_as_in_a_configuration() {
        let facts = ServerFacts {
            slots: Some(4),
            machine: Machine {
                gpus: vec![Gpu {
                    memory: Some(7),
                    ..Gpu::default()
                }],
                ..Machine::default()
            },
            ..ServerFacts::default()
        };
        let written = serde_json::to_string(&facts).unwrap();
        assert_eq!(
            serde_json::from_str::<ServerFacts>(&written).unwrap(),
            facts
        );
        let newer: ServerFacts = serde_json::from_str(r#"{"fans":3}"#).unwrap();
        assert_eq!(newer, ServerFacts::default());
        assert_eq!(facts.gpu_memory(), Some(7));
        assert_eq!(newer.gpu_memory(), None);
    }

    #[test]
    fn what_changes_with_every_look_is_not_of_use() {
        let facts = |free: u64| ServerFacts {
            weight: 2.0,
            loaded: vec!["a".to_owned()],
            settings: BTreeMap::from([("OLLAMA_KEEP_ALIVE".to_owned(), free.to_string())]),
            models: vec!["a".to_owned()],
            machine: Machine {
                memory_free: Some(free),
                gpus: vec![Gpu {
                    memory: Some(7),
                    memory_free: Some(free),
                    ..Gpu::default()
                }],
                ..Machine::default()
            },
            ..ServerFacts::default()
        };
        let used = facts(1).of_use();
        assert_eq!(used, facts(2).of_use());
        assert_eq!((used.weight, used.gpu_memory()), (2.0, Some(7)));
        let openai = ServerFacts {
            kind: "openai".to_owned(),
            ..facts(1)
        };
        assert_eq!(openai.of_use().models, ["a"], "it is named by its models");
    }
}
