//! Random numbers from a seed: when requests come, for which model, and how long they take.

use std::f64::consts::TAU;

use fastrand::Rng;

/// The pause until the next of so many events in a second, in microseconds.
pub fn pause(rng: &mut Rng, per_second: f64) -> u64 {
    let pause = -(1.0 - rng.f64()).ln() / per_second;
    (pause * 1e6) as u64
}

/// Between the two, in microseconds.
pub fn between(rng: &mut Rng, least_ms: f64, most_ms: f64) -> u64 {
    ((least_ms + (most_ms - least_ms) * rng.f64()) * 1e3) as u64
}

/// Log-normal with this mean, in microseconds: most are short, a few are long.
pub fn duration(rng: &mut Rng, mean_s: f64, sigma: f64) -> u64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos();
    let median = mean_s * (-sigma * sigma / 2.0).exp();
    (median * (sigma * normal).exp() * 1e6) as u64
}

/// What is drawn in proportion to its weight.
#[derive(Debug)]
pub struct Weighted {
    sums: Vec<f64>,
}

impl Weighted {
    /// By these weights.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let add = |weight| {
            sum += weight;
            sum
        };
        Self {
            sums: weights.into_iter().map(add).collect(),
        }
    }

    /// Which one.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let at = rng.f64() * all;
        self.sums
            .partition_point(|sum| *sum <= at)
            .min(self.sums.len() - 1)
    }
}

/// How popular the models are: the second half as much as the first, the third a third as much.
pub fn zipf(models: usize) -> impl Iterator<Item = f64> + Clone {
    (1..=models).map(|rank| 1.0 / rank as f64)
}
