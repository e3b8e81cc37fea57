//! Building a call.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Authority, MOST_NEEDS, MOST_REPORTS, PendingCall, State, WaitingRequest};
use crate::access::clock::Moment;
use crate::access::meter::Cell;
use crate::access::rule::{Call, MOST, MeterReport};

/// The first prefetch is for so many requests like the first one.
const PREFETCH_FACTOR: i64 = 4;

impl<R> State<R> {
    /// The next call: requests that wait, shares that are low, and what has not been reported for a while.
    pub(super) fn next_call(
        &mut self,
        now: Moment,
        authority: Authority,
    ) -> Option<PendingCall<R>> {
        let few = self.waiting.len().min(MOST_NEEDS);
        let waiting: Vec<_> = self.waiting.drain(..few).collect();
        let pending = self.build_call(now, authority, waiting);
        (!pending.cells.is_empty()).then_some(pending)
    }

    /// A call for these, with whatever else there is to report.
    pub(super) fn build_call(
        &mut self,
        now: Moment,
        authority: Authority,
        waiting: Vec<WaitingRequest<R>>,
    ) -> PendingCall<R> {
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut cells: Vec<Arc<Cell>> = Vec::new();
        let mut place = |cell: &Arc<Cell>| {
            *places.entry(Arc::clone(cell.key())).or_insert_with(|| {
                cells.push(Arc::clone(cell));
                cells.len() - 1
            })
        };
        let needs: Vec<Vec<(usize, i64)>> = waiting
            .iter()
            .map(|request| {
                let wants = request.wants.iter();
                wants.map(|(cell, amount)| (place(cell), *amount)).collect()
            })
            .collect();
        if authority != Authority::Interim {
            let few = self.dirty.len().min(MOST_REPORTS);
            for cell in self.dirty.drain(..few) {
                place(&cell);
            }
            for cell in self.schedule.due(now.local_ms, MOST_REPORTS) {
                place(cell);
            }
        }
        let mut asked = vec![0_i64; cells.len()];
        for (at, amount) in needs.iter().flatten() {
            asked[*at] = asked[*at].saturating_add(*amount);
        }
        let reports = cells
            .iter()
            .zip(asked)
            .map(|(cell, asked)| self.report(cell, asked, now, authority))
            .collect();
        PendingCall {
            call: Arc::new(Call {
                reports,
                needs,
                known_created_ms: self.created_ms.filter(|_| authority == Authority::Shared),
                more: authority == Authority::Shared && self.schedule.is_behind(),
            }),
            cells,
            waiting,
        }
    }

    fn report(
        &mut self,
        cell: &Arc<Cell>,
        asked: i64,
        now: Moment,
        authority: Authority,
    ) -> MeterReport {
        let (routers, ledger_ms) = (self.routers, self.ledger_ms);
        let rest_ms = now.local_ms + self.terms.forget_ms / 10;
        let tracked = self.schedule.open(cell, now.local_ms);
        // The view may have been rebuilt around another cell of the same name.
        tracked.cell = Arc::clone(cell);
        cell.clear_notified();
        tracked.debt += cell.take_debt();
        let window = cell.window(now.unix());
        let share = cell.share();
        let limit = cell.limit().clamp(0, MOST);

        let low = share.as_ref().is_none_or(|share| share.is_low());
        let drawn = share.as_ref().map_or(0, |share| share.drawn());
        if asked > 0 || low {
            let more = asked.saturating_mul(PREFETCH_FACTOR);
            tracked.target = tracked.target.saturating_mul(2).max(more).min(limit);
        } else if tracked.due_ms <= now.local_ms {
            match drawn {
                0 => tracked.target = 0,
                few if few < tracked.target / 4 => tracked.target /= 2,
                _ => {}
            }
        }
        let ready = share.as_ref().map_or(0, |share| share.free().max(0));
        if authority == Authority::Shared
            && let Some((_, left)) = tracked.left
            && routers > 1
        {
            // Half of an even part of what nobody uses: who comes next finds something.
            tracked.target = tracked.target.min((left.max(0) + ready) / (2 * routers));
        }
        let target = match authority {
            Authority::Shared => tracked.target,
            // Alone, a router may keep everything, except what nobody wants.
            Authority::Own if asked == 0 && !low && drawn == 0 => 0,
            Authority::Own => limit,
            Authority::Interim => i64::MAX,
        };

        let (mut of, mut spent, mut held, mut free) = (-1, 0, 0, 0);
        if let Some(share) = &share {
            share.add_overdraft();
            // For a waiting request all that is unused here is given up: it is part of what is asked for.
            share.shrink_to(if asked > 0 { 0 } else { target }, i64::MAX);
            tracked.note(share, now.unix());
            of = share.window();
            free = share.free();
            spent = share.spent();
            held = share.total() - spent;
        }
        let (limit, base) = match authority {
            Authority::Shared | Authority::Own => (limit, cell.base(window)),
            Authority::Interim => match tracked.part_alone(window, routers, ledger_ms) {
                Some(part) => (part, (0, 0)),
                None => (limit, (0, -1)),
            },
        };
        let report = MeterReport {
            key: Arc::clone(cell.key()),
            limit,
            window,
            base,
            of,
            spent,
            held,
            prefetch: match authority {
                Authority::Shared | Authority::Own => (target - free).clamp(0, limit),
                Authority::Interim => 0,
            },
        };
        // What is spent stays counted also for a router that has stopped: it need not be
        // repeated soon. A meter of which something is held is reported sooner.
        self.schedule.put(cell.key(), rest_ms);
        report
    }
}
