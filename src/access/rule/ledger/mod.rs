//! The rule in Rust: what a router without Redis decides by. `rule.lua` is the same, line for line.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Call, Entries, Entry, MeterReport, Part, Reply, Terms, Verdict, Window};

/// Every meter, and who has reported.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    created_ms: Option<i64>,
    routers: BTreeMap<Arc<str>, LastReport>,
    meters: HashMap<Arc<str>, Meter>,
}

/// When a router last reported, and whether it had more to tell.
#[derive(Clone, Copy, Debug)]
struct LastReport {
    seen_ms: i64,
    more: bool,
}

#[derive(Clone, Debug, Default)]
struct Meter {
    window: i64,
    base: (i64, i64),
    entries: Entries,
}

impl Ledger {
    /// Takes a report and answers it.
    pub fn settle(&mut self, terms: &Terms, me: &Arc<str>, now_ms: i64, call: &Call) -> Reply {
        self.routers
            .retain(|_, last| now_ms - last.seen_ms <= terms.hold_ms);
        let forgotten = self.routers.is_empty();
        let last = LastReport {
            seen_ms: now_ms,
            more: call.more,
        };
        self.routers.insert(Arc::clone(me), last);
        let routers = i64::try_from(self.routers.len()).unwrap_or(i64::MAX);
        let telling = self.routers.values().any(|last| last.more);
        let stays = |created: &i64| {
            !forgotten
                && call.known_created_ms.is_none_or(|known| known <= *created)
                && *created <= now_ms
        };
        let created_ms = self.created_ms.filter(stays).unwrap_or(now_ms);
        self.created_ms = Some(created_ms);
        let age_ms = now_ms - created_ms;
        let is_new = age_ms < terms.min_age_ms || (age_ms < terms.hold_ms && telling);

        let mut open: Vec<Open> = Vec::with_capacity(call.reports.len());
        for report in &call.reports {
            let meter = self
                .meters
                .entry(Arc::clone(&report.key))
                .or_insert_with(|| Meter {
                    window: i64::MIN,
                    base: (0, -1),
                    entries: Entries::new(),
                });
            open.push(meter.open(terms, me, now_ms, report));
        }
        let verdicts = call
            .needs
            .iter()
            .map(|need| {
                if is_new {
                    return Verdict::TooNew;
                }
                if let Some((at, _)) = need.iter().find(|(at, amount)| open[*at].free < *amount) {
                    return Verdict::Short(*at);
                }
                for (at, amount) in need {
                    open[*at].free -= amount;
                    open[*at].given += amount;
                }
                Verdict::Given
            })
            .collect();
        let parts = call
            .reports
            .iter()
            .zip(open)
            .map(|(report, mut open)| {
                let mut extra = 0;
                if !is_new && report.prefetch > 0 && open.free > 0 {
                    // Alone, a router may have everything; otherwise half of its even share, so that
                    // whoever comes next finds something.
                    let most = if routers > 1 {
                        open.free / (2 * routers)
                    } else {
                        open.free
                    };
                    extra = report.prefetch.min(most);
                }
                open.free -= extra;
                let meter = self.meters.entry(Arc::clone(&report.key)).or_default();
                let held = open.held + open.given + extra;
                if open.spent == 0 && held == 0 {
                    // Who has nothing need not be remembered.
                    meter.entries.remove(me);
                } else {
                    let entry = Entry {
                        spent: open.spent,
                        held,
                        seen_ms: now_ms,
                    };
                    meter.entries.insert(Arc::clone(me), entry);
                }
                Part {
                    window: meter.window,
                    extra,
                    free: open.free,
                    base: meter.base,
                }
            })
            .collect();
        Reply {
            now_ms,
            routers,
            created_ms,
            is_new,
            verdicts,
            parts,
        }
    }

    /// Forgets a meter.
    pub fn forget(&mut self, key: &str) {
        self.meters.remove(key);
    }

    /// How many meters it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    /// True when it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }
}

/// A meter while a call is decided.
struct Open {
    spent: i64,
    held: i64,
    free: i64,
    given: i64,
}

impl Meter {
    fn open(&mut self, terms: &Terms, me: &Arc<str>, now_ms: i64, report: &MeterReport) -> Open {
        let now = now_ms.div_euclid(1_000);
        let (asked, begun, ahead) = match report.window {
            Window::Always => (0, true, false),
            Window::Each(length) => {
                let start = now_ms - now_ms.rem_euclid(length.max(1));
                (start, true, self.window > now_ms)
            }
            Window::Since(start) => (start, start <= now, self.window > now),
        };
        // A window that lies ahead is one from before the clock was set back.
        if self.window == i64::MIN || (begun && (asked > self.window || ahead)) {
            *self = Self {
                window: asked,
                base: (0, -1),
                entries: Entries::new(),
            };
        }
        let (base, at) = (self.base.1, report.base.1);
        let newer = at > base || base > now_ms;
        if asked == self.window && (0..=now_ms).contains(&at) && newer {
            self.base = report.base;
        }
        // What a router says of another window than the one that counts is no part of it.
        let (spent, held) = if report.of == self.window {
            (report.spent, report.held)
        } else {
            (0, 0)
        };
        let base_at = self.base.1;
        self.entries.retain(|_, entry| {
            now_ms - entry.seen_ms <= terms.hold_ms
                || (entry.spent != 0 && base_at < entry.seen_ms + terms.forget_ms)
        });
        let others: i64 = self
            .entries
            .iter()
            .filter(|(router, _)| *router != me)
            .map(|(_, entry)| {
                if now_ms - entry.seen_ms <= terms.hold_ms {
                    entry.spent + entry.held
                } else {
                    entry.spent
                }
            })
            .sum();
        Open {
            spent,
            held,
            free: report.limit - self.base.0 - others - spent - held,
            given: 0,
        }
    }
}
