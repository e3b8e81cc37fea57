//! What is measured, and what herdsman must reach.
//!
//! One file, so that the numbers that decide can be read in one place. A *lane* is one contender in
//! front of so many servers with so many models; the lanes of a scenario are run in turn, forwards
//! in one round and backwards in the next, so that a drift of the machine affects all alike.

use clap::ValueEnum;
use serde::Serialize;

use crate::figures::Figure;
use crate::plan::{Arrivals, Ask, Plan};
use crate::proxies::Contender;

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Answers in one piece, at saturation.
    Whole,
    /// Streams whose pieces come as fast as they can.
    Burst,
    /// Streams as people read them: many, and slow.
    Paced,
    /// Memory of an open stream.
    Memory,
    /// The first byte at a rate that is far from saturation.
    FirstByte,
    /// What a request costs in front of many servers and models.
    Growth,
}

/// One contender in front of so many servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// The contender.
    pub contender: Contender,
    /// Servers behind it.
    pub endpoints: u16,
    /// Models on each of them, asked for in turn.
    pub models: u64,
}

/// One measurement of several lanes, several times.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// What it is about.
    pub topic: Topic,
    /// What the generator does; its models are each lane's.
    pub plan: Plan,
    /// The lanes that are measured.
    pub lanes: Vec<Lane>,
    /// How often.
    pub rounds: usize,
    /// What is reported.
    pub figures: Vec<Figure>,
    /// What must be reached.
    pub aims: Vec<Aim>,
}

/// A bound on one of herdsman's figures, and the next ones once it is reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Aim {
    /// Which figure.
    pub figure: Figure,
    /// Compared with what.
    pub against: Against,
    /// Upper bounds, today's first.
    pub limits: &'static [f64],
}

/// What a figure is compared with, in the same round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Against {
    /// So many times another contender's.
    Times(Contender),
    /// So much more than another contender's.
    Over(Contender),
    /// So many times that of the first lane.
    TimesFirstLane,
    /// Nothing: the figure itself.
    Nothing,
}

/// How long a whole programme may take and how thorough it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Under a minute: to find a regression.
    Quick,
    /// Under eight minutes: to publish.
    Full,
}

impl Mode {
    fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }

    /// No scenario's second or later round starts later than this; its first one always runs.
    pub fn budget(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.pick(38, 430))
    }
}

/// The programme: the chosen topics (all if none is) for the chosen contenders (likewise).
pub fn programme(mode: Mode, topics: &[Topic], only: &[Contender]) -> Vec<Scenario> {
    let mut programme = Vec::new();
    for topic in Topic::value_variants() {
        let mut scenario = topic.scenario(mode);
        scenario
            .lanes
            .retain(|lane| only.is_empty() || only.contains(&lane.contender));
        let chosen = topics.is_empty() || topics.contains(topic);
        if chosen && !scenario.lanes.is_empty() {
            programme.push(scenario);
        }
    }
    programme
}

impl Topic {
    /// As it is called in the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Whole => "not streamed, 16 clients, saturated",
            Self::Burst => "streamed in a burst of 33 pieces, 16 clients, saturated",
            Self::Paced => "400 paced streams, 101 pieces 20 ms apart",
            Self::Memory => "4,000 open streams",
            Self::FirstByte => "5 pieces, 16 clients, 2,000 req/s open loop",
            Self::Growth => "not streamed, 16 clients, saturated",
        }
    }

    fn scenario(self, mode: Mode) -> Scenario {
        use Figure::{
            CpuPerPiece, CpuPerRequest, EndP50, EndP99, FirstByteP50, FirstByteP99, GapP99,
            MemoryPerStream, RequestsPerSecond,
        };
        let whole = Ask::Whole;
        let stream = |tokens, pace_ms| Ask::Stream { tokens, pace_ms };
        let saturate = |millis| Arrivals::Saturate { millis };
        let together = |each, ramp_millis| Arrivals::Together { each, ramp_millis };
        let aim = |figure, against, limits| Aim {
            figure,
            against,
            limits,
        };
        let (clients, ask, arrivals, rounds) = match self {
            Self::Whole => (
                16,
                whole,
                saturate(mode.pick(1_000, 4_000)),
                mode.pick(2, 5),
            ),
            Self::Burst => (
                16,
                stream(32, 0),
                saturate(mode.pick(1_000, 3_000)),
                mode.pick(2, 5),
            ),
            Self::Paced => (
                400,
                stream(100, 20),
                together(mode.pick(1, 2), 1_000),
                mode.pick(1, 3),
            ),
            Self::Memory => {
                let (ramp, tokens, pace) = mode.pick((1_000, 5, 400), (1_500, 9, 500));
                (
                    4_000,
                    stream(tokens, pace),
                    together(1, ramp),
                    mode.pick(1, 2),
                )
            }
            Self::FirstByte => {
                let steady = Arrivals::Steady {
                    per_second: 2_000,
                    millis: mode.pick(1_000, 4_000),
                };
                (16, stream(4, 0), steady, mode.pick(2, 5))
            }
            Self::Growth => (16, whole, saturate(mode.pick(700, 3_000)), mode.pick(1, 2)),
        };
        let figures = match self {
            Self::Whole => vec![CpuPerRequest, EndP50, EndP99, RequestsPerSecond],
            Self::Burst => vec![
                CpuPerRequest,
                CpuPerPiece,
                FirstByteP50,
                FirstByteP99,
                EndP50,
                EndP99,
                RequestsPerSecond,
            ],
            Self::Paced => vec![
                CpuPerRequest,
                CpuPerPiece,
                FirstByteP50,
                FirstByteP99,
                GapP99,
            ],
            Self::Memory => vec![MemoryPerStream],
            Self::FirstByte => {
                vec![FirstByteP50, FirstByteP99, EndP50, EndP99, CpuPerRequest]
            }
            Self::Growth => vec![CpuPerRequest],
        };
        let aims = match self {
            Self::Whole => {
                vec![aim(
                    CpuPerRequest,
                    Against::Times(Contender::Haproxy),
                    &[2.0, 1.4, 1.0],
                )]
            }
            Self::Paced => {
                vec![aim(
                    CpuPerPiece,
                    Against::Times(Contender::Nginx),
                    &[1.3, 1.0],
                )]
            }
            Self::Memory => vec![aim(MemoryPerStream, Against::Nothing, &[60.0, 30.0])],
            Self::FirstByte => vec![
                aim(FirstByteP50, Against::Over(Contender::Direct), &[0.15]),
                aim(FirstByteP99, Against::Over(Contender::Direct), &[0.5]),
            ],
            // One in ten is the noise of this figure between runs on a shared machine.
            Self::Growth => vec![aim(CpuPerRequest, Against::TimesFirstLane, &[1.1])],
            Self::Burst => Vec::new(),
        };
        let plan = Plan {
            clients,
            ask,
            arrivals,
            models: 1,
        };
        Scenario {
            topic: self,
            plan,
            lanes: self.lanes(mode),
            rounds,
            figures,
            aims,
        }
    }

    fn lanes(self, mode: Mode) -> Vec<Lane> {
        let one = |contender| Lane {
            contender,
            endpoints: 1,
            models: 1,
        };
        let herdsman = |endpoints, models| Lane {
            contender: Contender::Herdsman,
            endpoints,
            models,
        };
        match self {
            Self::Memory => {
                vec![
                    one(Contender::Haproxy),
                    one(Contender::Nginx),
                    one(Contender::Herdsman),
                ]
            }
            Self::Growth => mode.pick(
                vec![herdsman(1, 1), herdsman(256, 1), herdsman(1, 1_000)],
                vec![
                    herdsman(1, 1),
                    herdsman(16, 1),
                    herdsman(64, 1),
                    herdsman(256, 1),
                    herdsman(1, 1_000),
                ],
            ),
            _ => Contender::value_variants()
                .iter()
                .copied()
                .map(one)
                .collect(),
        }
    }
}
