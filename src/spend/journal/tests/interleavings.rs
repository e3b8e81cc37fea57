//! Any order of anything: what was acknowledged is in the database once, whatever else at most once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;
use crate::store::BatchId;

/// A few rows are on their way, and all others wait in their segments.
const NARROW: Limits = Limits {
    out_rows: 6,
    ..LIMITS
};

#[derive(Clone, Debug)]
enum Step {
    Record(u8),
    Seal,
    /// The disk's next sync ends, well or not.
    Sync {
        fails: bool,
    },
    /// The database takes some of what is in transit; the journal is told, or not.
    Commit {
        take: u8,
        reply_lost: bool,
    },
    /// The sealing actor crashes: its next incarnation attaches.
    Attach,
    /// The other thread reads a segment again.
    Load,
    /// Nothing arrives anywhere for so many seconds.
    Pass(u8),
    /// The flush actor crashes, with all it had.
    LoseInTransit,
    /// `kill -9`, perhaps in the middle of a write.
    Kill {
        torn: Option<u8>,
    },
    LosePower {
        keep: u8,
    },
    Full {
        room: u8,
    },
    ClearFaults,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u8).prop_map(Step::Record),
        4 => Just(Step::Seal),
        4 => proptest::bool::weighted(0.1).prop_map(|fails| Step::Sync { fails }),
        4 => (any::<u8>(), any::<bool>())
            .prop_map(|(take, reply_lost)| Step::Commit { take, reply_lost }),
        1 => Just(Step::Attach),
        3 => Just(Step::Load),
        2 => (0..12_u8).prop_map(Step::Pass),
        1 => Just(Step::LoseInTransit),
        1 => proptest::option::of(any::<u8>()).prop_map(|torn| Step::Kill { torn }),
        1 => any::<u8>().prop_map(|keep| Step::LosePower { keep }),
        1 => any::<u8>().prop_map(|room| Step::Full { room }),
        2 => Just(Step::ClearFaults),
    ]
}

/// The database: what `store` does, in five lines.
#[derive(Default)]
struct Database {
    ids: HashSet<BatchId>,
    rows: BTreeMap<i64, u64>,
}

impl Database {
    fn apply(&mut self, batch: &SealedBatch) {
        if self.ids.insert(batch.id) {
            for row in &batch.rows {
                *self.rows.entry(row.minute / 60).or_default() += row.tokens.input;
            }
        }
    }
}

struct World {
    durability: Durability,
    disk: SimulatedDisk,
    process: Process,
    database: Database,
    in_transit: Vec<Arc<SealedBatch>>,
    next: u32,
    unanswered: Vec<(u32, Answer)>,
    /// Numbers of records that must not be lost.
    acknowledged: BTreeSet<i64>,
}

impl World {
    fn new(durability: Durability) -> Self {
        let disk = SimulatedDisk::default();
        Self {
            durability,
            process: Process::with_limits(&disk, durability, NARROW),
            disk,
            database: Database::default(),
            in_transit: Vec::new(),
            next: 0,
            unanswered: Vec::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Record(count) => self.record(u32::from(count)),
            Step::Seal => self.process.writer.seal(),
            Step::Sync { fails } => self.sync(fails),
            Step::Commit { take, reply_lost } => self.commit(take, reply_lost),
            Step::Attach => self.process.attach(),
            Step::Load => {
                if let Some((name, reading)) = self.process.writer.next_load() {
                    let found = reload(name, reading);
                    self.process.writer.loaded(name, found);
                }
            }
            Step::Pass(seconds) => self.process.pass(Duration::from_secs(seconds.into())),
            Step::LoseInTransit => {
                self.in_transit.clear();
                self.process.attach();
            }
            Step::Kill { torn } => {
                if let Some(room) = torn {
                    self.disk.leave_room(room.into());
                    self.disk.fail_truncate(true);
                    self.record(3);
                }
                self.restart();
            }
            Step::LosePower { keep } => {
                self.disk.lose_power(keep);
                if self.durability != Durability::Fsync {
                    let safe: BTreeSet<i64> = self.database.rows.keys().copied().collect();
                    self.acknowledged.retain(|number| safe.contains(number));
                }
                self.restart();
            }
            Step::Full { room } => self.disk.leave_room(room.into()),
            Step::ClearFaults => self.disk.clear_faults(),
        }
        self.in_transit.extend(self.process.sealed());
        self.collect_answers();
    }

    fn record(&mut self, count: u32) {
        let numbers = self.next..self.next + count;
        self.next += count;
        let answers = self.process.record(numbers.clone());
        self.unanswered.extend(numbers.zip(answers));
    }

    fn sync(&mut self, fails: bool) {
        if let Some(file) = self.process.writer.next_sync() {
            self.disk.fail_sync(fails);
            let outcome = file.sync();
            self.disk.fail_sync(false);
            self.process.writer.synced(outcome);
        }
    }

    fn commit(&mut self, take: u8, reply_lost: bool) {
        if self.in_transit.is_empty() {
            return;
        }
        let from = usize::from(take) % self.in_transit.len();
        let taken = self.in_transit.split_off(from);
        for batch in &taken {
            self.database.apply(batch);
        }
        let ids: Vec<BatchId> = taken.iter().map(|batch| batch.id).collect();
        if !reply_lost {
            self.process.forget(&ids);
        }
    }

    /// The next process. What the former had in memory is gone, what was in transit as well.
    fn restart(&mut self) {
        self.collect_answers();
        self.unanswered.clear();
        self.in_transit.clear();
        self.disk.clear_faults();
        self.process = Process::with_limits(&self.disk, self.durability, NARROW);
    }

    fn collect_answers(&mut self) {
        let acknowledged = &mut self.acknowledged;
        self.unanswered.retain_mut(|(number, answer)| {
            match answer.try_recv() {
                Ok(Ok(())) => acknowledged.insert(i64::from(*number)),
                Ok(Err(_)) => false,
                Err(_) => return true,
            };
            false
        });
    }

    /// Without faults, one more process finishes whatever is left.
    fn settle(mut self) -> Self {
        self.restart();
        self.process.attach();
        loop {
            self.process.load();
            self.in_transit = self.process.sealed();
            if self.in_transit.is_empty() {
                return self;
            }
            self.commit(0, false);
            self.in_transit.clear();
        }
    }
}

fn check(durability: Durability, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(durability);
    for step in steps {
        world.apply(step);
    }
    let world = world.settle();
    for (&number, &input) in &world.database.rows {
        prop_assert_eq!(
            input,
            u64::try_from(number).unwrap() + 1,
            "record {} twice",
            number
        );
    }
    for number in &world.acknowledged {
        prop_assert!(
            world.database.rows.contains_key(number),
            "record {} lost",
            number
        );
    }
    prop_assert_eq!(world.disk.names(), []);
    prop_assert_eq!(world.disk.names_aside(), []);
    prop_assert_eq!(world.process.stats.pending(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn with_journal_nothing_acknowledged_is_lost_to_a_kill(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        check(Durability::Journal, &steps)?;
    }

    #[test]
    fn with_redis_nothing_acknowledged_or_released_is_lost_to_a_kill(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        check(Durability::Redis, &steps)?;
    }

    #[test]
    fn with_fsync_nothing_acknowledged_is_lost_to_a_loss_of_power(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        check(Durability::Fsync, &steps)?;
    }
}
