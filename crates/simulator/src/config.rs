//! How one simulated server behaves when nothing is wrong with it.
//!
//! The defaults make the fastest server there is: nothing takes time, an answer is a burst of
//! tokens. A test that needs time to pass says so. Durations are text where the configuration is
//! text (`"1m30s"`).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Model;

/// One simulated Ollama server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Its name: every token of an answer contains it.
    pub node: String,
    /// Where it listens; absent: a free port of 127.0.0.1.
    pub listen: Option<SocketAddr>,
    /// Where `/_sim` can always be reached, also while `listen` refuses; absent: a free port.
    pub control_listen: Option<SocketAddr>,
    /// The models it has.
    pub models: Vec<Model>,
    /// What can be pulled; absent: anything with a valid name.
    pub registry: Option<Vec<Model>>,
    /// Slots of a loaded model (`OLLAMA_NUM_PARALLEL`).
    pub parallel: usize,
    /// Cold requests that may wait (`OLLAMA_MAX_QUEUE`), beside the one being loaded.
    pub max_queue: usize,
    /// Models loaded at the same time (`OLLAMA_MAX_LOADED_MODELS`).
    pub max_loaded: usize,
    /// Bytes of graphics memory. A model that is too large still loads when it is alone.
    pub vram: u64,
    /// How long an idle model stays loaded (`OLLAMA_KEEP_ALIVE`). Never scaled: clients see it.
    #[serde(with = "text")]
    pub keep_alive: Duration,
    /// `num_ctx` of a request that names none (`OLLAMA_CONTEXT_LENGTH`).
    pub context: u64,
    /// Time to load a model.
    #[serde(with = "text")]
    pub load: Duration,
    /// Time to load a model by its size, added to `load`; 0 is none.
    pub load_bytes_per_second: f64,
    /// Prompt tokens read per second; 0 is at once. What is cached from an earlier prompt is free.
    pub prefill_tokens_per_second: f64,
    /// Time between two tokens; 0 is a burst.
    #[serde(with = "text")]
    pub decode_interval: Duration,
    /// How much slower each further busy slot makes `decode_interval`: 0.1 is a tenth of it.
    pub decode_contention: f64,
    /// Tokens of an answer that no `num_predict` cuts short.
    pub default_predict: usize,
    /// Speed of a pull; 0 is at once.
    pub pull_bytes_per_second: f64,
    /// The smallest part in which a blob is fetched from another registry.
    pub pull_part_bytes: u64,
    /// Factor on every simulated time except `keep_alive` and the times of faults.
    pub time_scale: f64,
    /// What `/api/version` says.
    pub version: String,
    /// Varies digests and embedding vectors.
    pub seed: u64,
    /// Browser origins allowed beside the local ones (`OLLAMA_ORIGINS`); `*` may stand in each.
    pub origins: Vec<String>,
    /// Seconds by which this server's clock is wrong.
    pub clock_skew: i64,
    /// Answers as older releases do: no `context_length` in `/api/ps`, no `capabilities` in
    /// `/api/tags`, no `done_reason` when a model was only loaded.
    pub old_shapes: bool,
    /// Says how much of a prompt it had read before, as newer releases do:
    /// `prompt_eval_cached_count`, and `cached_tokens` in `/v1`.
    pub cached_counts: bool,
    /// A client that leaves while its prompt is being read keeps the slot until it has been read.
    pub cancel_after_prefill: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: "sim".to_owned(),
            listen: None,
            control_listen: None,
            models: Vec::new(),
            registry: None,
            parallel: 4,
            max_queue: 512,
            max_loaded: 3,
            vram: 96 << 30,
            keep_alive: Duration::from_mins(5),
            context: 4096,
            load: Duration::ZERO,
            load_bytes_per_second: 0.0,
            prefill_tokens_per_second: 0.0,
            decode_interval: Duration::ZERO,
            decode_contention: 0.0,
            default_predict: 32,
            pull_bytes_per_second: 0.0,
            pull_part_bytes: 100_000_000,
            time_scale: 1.0,
            version: "0.12.6".to_owned(),
            seed: 0,
            origins: Vec::new(),
            clock_skew: 0,
            old_shapes: false,
            cached_counts: false,
            cancel_after_prefill: false,
        }
    }
}

impl Config {
    /// `duration` on this server's time scale. Nonsense (negative, infinite) is no time at all.
    pub(super) fn scaled(&self, duration: Duration) -> Duration {
        scale(duration, self.time_scale)
    }

    /// The scaled time of doing `amount` things at `per_second`, where 0 means at once.
    pub(super) fn time_for(&self, amount: u64, per_second: f64) -> Duration {
        if per_second <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = amount as f64 / per_second * self.time_scale;
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// Time from one token to the next while `busy` slots are decoding.
    pub(super) fn interval(&self, busy: usize) -> Duration {
        if self.decode_interval.is_zero() {
            return Duration::ZERO;
        }
        let others = busy.saturating_sub(1) as f64;
        let slowed = scale(self.decode_interval, 1.0 + self.decode_contention * others);
        self.scaled(slowed)
    }
}

fn scale(duration: Duration, factor: f64) -> Duration {
    if (factor - 1.0).abs() < f64::EPSILON {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or_default()
}

/// Durations as people write them.
pub(super) mod text {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_being_written_down() {
        let config = Config {
            decode_interval: Duration::from_millis(20),
            models: vec![Model::named("llama3.2")],
            ..Config::default()
        };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""decode_interval":"20ms""#), "{text}");
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"nodes":"a"}"#).is_err());
    }

    #[test]
    fn time_is_scaled_and_contention_slows_it() {
        let config = Config {
            time_scale: 0.5,
            decode_interval: Duration::from_millis(10),
            decode_contention: 0.5,
            ..Config::default()
        };
        assert_eq!(config.time_for(100, 50.0), Duration::from_secs(1));
        assert_eq!(config.time_for(100, 0.0), Duration::ZERO);
        assert_eq!(config.interval(1), Duration::from_millis(5));
        assert_eq!(config.interval(3), Duration::from_millis(10));
    }
}
