//! All faults at random, and everything that can be changed while running, by a seed.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{Crowd, Fault, Stage, Stand, Tally};

/// What a storm was like.
#[derive(Debug)]
pub struct Report {
    pub tally: Tally,
    /// How often each fault struck.
    pub struck: Vec<(Fault, u32)>,
    /// Orders given while they did.
    pub orders: u32,
}

/// For `length`, users count while two databases of three suffer, one at a time or both at once, and
/// somebody gives orders. When it is over everything is whole, and everybody has got on.
pub async fn storm(stage: &Stage, users: usize, seed: u64, length: Duration) -> Report {
    let crowd = Crowd::counting(&stage.db, users);
    crowd.progress(1).await;
    let end = Instant::now() + length;
    let dice = |i| Rng::with_seed(seed.wrapping_add(i));
    let (first, second, orders) = tokio::join!(
        suffer(stage, 0, dice(0), end),
        suffer(stage, 1, dice(1), end),
        order(stage, dice(2), end),
    );
    crowd.progress(1).await;
    let mut struck: Vec<_> = Fault::ALL.map(|fault| (fault, 0)).into();
    for fault in first.into_iter().chain(second) {
        for (kind, times) in &mut struck {
            *times += u32::from(*kind == fault);
        }
    }
    Report {
        tally: crowd.stop().await,
        struck,
        orders,
    }
}

/// One database is struck, left so for a moment, healed, left in peace for a moment.
async fn suffer(stage: &Stage, i: usize, mut dice: Rng, end: Instant) -> Vec<Fault> {
    let stand = &stage[i];
    let mut struck = Vec::new();
    while Instant::now() < end {
        let fault = Fault::ALL[dice.usize(..Fault::ALL.len())];
        match dice.u8(..8) {
            0 => stand.network.reset(),
            1 => stand.network.cut_reply_of("INCR", dice.usize(1..20)),
            _ => {
                fault.strike(stand).await;
                sleep(Duration::from_millis(dice.u64(10..2_500))).await;
                fault.heal(stand).await;
                struck.push(fault);
            }
        }
        sleep(Duration::from_millis(dice.u64(10..2_500))).await;
    }
    struck
}

/// Orders, whatever the weather; those that cannot be carried out are refused, and that is that.
async fn order(stage: &Stage, mut dice: Rng, end: Instant) -> u32 {
    let mut orders = 0;
    let db = &stage.db;
    while Instant::now() < end {
        sleep(Duration::from_millis(dice.u64(100..1_500))).await;
        let databases = db.status().databases.clone();
        let one = databases[dice.usize(..databases.len())].database.id;
        match dice.u8(..5) {
            0 => drop(db.set_active_database(one).await),
            1 => drop(db.force_active_database(one).await),
            2 => drop(db.update_database_weight(one, dice.f64()).await),
            3 => drop(db.remove_database(one).await),
            _ => {
                let known = |stand: &&Stand| {
                    let host = format!("127.0.0.1:{}", stand.network.port());
                    databases
                        .iter()
                        .any(|status| *status.database.name == *host)
                };
                for stand in stage.stands.iter().filter(|stand| !known(stand)) {
                    drop(db.add_database(stand.config()).await);
                }
            }
        }
        orders += 1;
    }
    orders
}
