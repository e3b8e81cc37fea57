//! What is simulated: how many routers, servers and requests, and which models are where.

use std::sync::Arc;

use fastrand::Rng;

use super::chance;
use super::events::{Moment, SECOND};

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Two simulations with one seed are the same.
    pub seed: u64,
    /// Routers.
    pub routers: usize,
    /// Servers, each with [`MODELS_EACH`] models in memory.
    pub servers: usize,
    /// Models, of which the first are asked for most.
    pub models: usize,
    /// Requests that come, in parts of what all slots together can serve.
    pub load: f64,
    /// A router may have one request of each pool whatever its share is.
    pub safe: bool,
    /// Nine tenths of the requests come to the first tenth of the routers.
    pub uneven: bool,
    /// In the middle of the measurement a router is killed, one joins, and Redis forgets everything.
    pub trouble: bool,
    /// Before anything is measured.
    pub settle: Moment,
    /// How long is measured.
    pub measure: Moment,
}

/// Models in the memory of each server.
pub const MODELS_EACH: usize = 2;
/// How long the server works on a request, on average.
pub const SERVICE_S: f64 = 4.0;
/// Its spread: of a hundred requests one takes five times the mean.
pub const SIGMA: f64 = 0.8;
/// There and back to Redis takes from so long to so long without its own work, in milliseconds.
pub const ROUND_TRIP_MS: (f64, f64) = (0.3, 2.0);
/// How long a wake takes.
pub const WAKE: Moment = 500;
/// One call of so many is lost, half of them on the way back.
pub const ONE_LOST_OF: usize = 1_000;
/// After so long without renewing it a router's registration in the database is over.
pub const REGISTERED: Moment = 10 * SECOND;

/// The slots of one model on one server.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// What all routers call it.
    pub key: Arc<str>,
    /// Where.
    pub server: usize,
    /// Of what.
    pub model: usize,
    /// How many.
    pub slots: u32,
}

/// Which models are loaded where.
#[derive(Debug)]
pub struct Herd {
    /// All pools.
    pub pools: Vec<PoolPlan>,
    /// The pools of each model.
    pub of_model: Vec<Vec<usize>>,
}

impl Plan {
    /// As in the issue of many routers: 1,000 servers and 200 models, for a minute.
    pub fn large(seed: u64, routers: usize, load: f64) -> Self {
        Self {
            seed,
            routers,
            servers: 1_000,
            models: 200,
            load,
            safe: false,
            uneven: false,
            trouble: false,
            settle: 20 * SECOND,
            measure: 60 * SECOND,
        }
    }

    /// Small enough for a test, and with more routers than slots of a pool.
    pub fn small(seed: u64, routers: usize, load: f64) -> Self {
        Self {
            servers: 12,
            models: 6,
            settle: 8 * SECOND,
            measure: 24 * SECOND,
            ..Self::large(seed, routers, load)
        }
    }

    /// So many requests may be on a server beyond its slots.
    pub fn most_beyond(&self) -> usize {
        let routers = self.routers + usize::from(self.trouble);
        match self.safe {
            true => routers - 1,
            false => 0,
        }
    }

    /// When it is over.
    pub fn end(&self) -> Moment {
        self.settle + self.measure
    }

    /// Every model is loaded so often as it is popular, at least once.
    pub fn herd(&self) -> Herd {
        let mut rng = Rng::with_seed(self.seed);
        let places = self.servers * MODELS_EACH;
        let popular = chance::zipf(self.models);
        let all: f64 = popular.clone().sum();
        let mut models: Vec<usize> = Vec::with_capacity(places);
        for (model, weight) in popular.enumerate() {
            let copies = (weight / all * places as f64).round() as usize;
            models.extend(std::iter::repeat_n(model, copies.max(1)));
        }
        // Rounding: the most popular has what is left over.
        models.resize(places.max(models.len()), 0);
        models.sort_unstable();
        let servers = models.len() / MODELS_EACH;
        let slots: Vec<u32> = (0..servers).map(|_| rng.u32(2..=4)).collect();
        let mut herd = Herd {
            pools: Vec::new(),
            of_model: vec![Vec::new(); self.models],
        };
        // One after the other on all servers, so that no server has a model twice.
        for (at, model) in models.into_iter().enumerate() {
            let server = at % servers;
            herd.of_model[model].push(herd.pools.len());
            let (high, low) = (server / 250, server % 250);
            herd.pools.push(PoolPlan {
                key: format!("model{model}:latest http://10.0.{high}.{low}:11434").into(),
                server,
                model,
                slots: slots[server],
            });
        }
        herd
    }
}

impl Herd {
    /// How many slots a model has.
    pub fn slots_of(&self, model: usize) -> u32 {
        self.of_model[model]
            .iter()
            .map(|pool| self.pools[*pool].slots)
            .sum()
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.pools.iter().map(|pool| pool.slots).sum()
    }

    /// How many servers.
    pub fn servers(&self) -> usize {
        self.pools
            .iter()
            .map(|pool| pool.server + 1)
            .max()
            .unwrap_or(0)
    }
}
