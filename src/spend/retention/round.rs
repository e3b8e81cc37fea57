//! One round: many short transactions, with pauses between them.
//!
//! A SQLite file has one writer, a server few connections that write: whoever flushes waits for one step at
//! most, and four times as long as a step took nobody is in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::state::{Round, SPAN, day, horizon, periods_before};
use super::stats::Stats;
use crate::domain::EntityKind;
use crate::spend::folding::until_free;
use crate::store::{Day, Error, Store};

/// So many times as long as a step took is the pause after it, and between these.
const REST: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(10);

/// Before everything.
const BEFORE_ALL: i64 = 0;

/// What a round does it with.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) store: Store,
    pub(super) stats: Arc<Stats>,
    /// Broken off then, after a step.
    pub(super) over: CancellationToken,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Of one model on one endpoint, whose minutes became days.
    pub(super) days: u64,
    /// Older ones, which went.
    pub(super) rows: u64,
}

impl Work {
    /// What it did, and whether that is all there is to do.
    pub(super) async fn run(&self, round: Round) -> (Done, Result<(), Error>) {
        let before = self.stats.done();
        let result = self.all(round).await;
        let after = self.stats.done();
        let done = Done {
            days: after.days - before.days,
            rows: after.rows - before.rows,
        };
        (done, result)
    }

    async fn all(&self, round: Round) -> Result<(), Error> {
        if let Some(before) = round.minutes {
            self.fold_minutes(before).await?;
        }
        if let Some(before) = round.days {
            self.forget_tokens(before).await?;
            self.forget_spent(before).await?;
            self.forget_periods(periods_before(before)).await?;
            self.forget_letters(before).await?;
        }
        Ok(())
    }

    async fn fold_minutes(&self, before: i64) -> Result<(), Error> {
        let store = &self.store;
        let Some(oldest) = store.oldest_minute(BEFORE_ALL, before).await? else {
            return Ok(());
        };
        let before = horizon(oldest, before);
        let mut after = BEFORE_ALL;
        while let Some(oldest) = store.oldest_minute(after, before).await? {
            let (midnight, end) = day(oldest);
            after = midnight;
            for (endpoint, model) in store.used_between(midnight, end).await? {
                let days = [midnight];
                let fold = || store.fold_days(&endpoint, &model, &days, before);
                self.step(&self.stats.days, fold).await?;
                if self.over.is_cancelled() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn forget_tokens(&self, before: i64) -> Result<(), Error> {
        let store = &self.store;
        let Some(oldest) = store.oldest_tokens(before).await? else {
            return Ok(());
        };
        let before = horizon(oldest, before);
        loop {
            let pairs = store.used_between(BEFORE_ALL, before).await?;
            if pairs.is_empty() {
                return Ok(());
            }
            for (endpoint, model) in pairs {
                let forget = || store.forget_days(&endpoint, &model, before);
                self.step(&self.stats.rows, forget).await?;
                if self.over.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }

    async fn forget_spent(&self, before: i64) -> Result<(), Error> {
        let (store, mut before) = (&self.store, Day::of(before));
        let Some(oldest) = store.oldest_spent(&before).await? else {
            return Ok(());
        };
        if let Some(end) = oldest.day().and_then(|day| day.later(SPAN)) {
            before = before.min(end);
        }
        while let Some(old) = store.oldest_spent(&before).await? {
            self.step(&self.stats.rows, || store.forget_spent(&old))
                .await?;
            if self.over.is_cancelled() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn forget_periods(&self, before: i64) -> Result<(), Error> {
        let store = &self.store;
        for kind in EntityKind::ALL {
            let mut last = String::new();
            while let Some((entity, oldest)) = store.oldest_period(kind, &last).await? {
                let before = horizon(oldest, before);
                let forget = || store.forget_periods(kind, &entity, before);
                while oldest < before && self.step(&self.stats.rows, forget).await? > 0 {}
                if self.over.is_cancelled() {
                    return Ok(());
                }
                last = entity;
            }
        }
        Ok(())
    }

    async fn forget_letters(&self, before: i64) -> Result<(), Error> {
        let store = &self.store;
        let Some(oldest) = store.oldest_replayed(before).await? else {
            return Ok(());
        };
        let before = horizon(oldest, before);
        let forget = || store.forget_replayed(before);
        while self.step(&self.stats.rows, forget).await? > 0 {}
        Ok(())
    }

    /// One transaction, and the pause after it, unless it is over. Returns what it did, which is added to `count`.
    async fn step<F>(&self, count: &AtomicU64, work: impl Fn() -> F) -> Result<u64, Error>
    where
        F: Future<Output = Result<u64, Error>>,
    {
        if self.over.is_cancelled() {
            return Ok(0);
        }
        let began = Instant::now();
        let done = until_free(work).await?;
        count.fetch_add(done, Relaxed);
        let rest = (began.elapsed() * REST).clamp(SHORTEST, LONGEST);
        self.over.run_until_cancelled(sleep(rest)).await;
        Ok(done)
    }
}
