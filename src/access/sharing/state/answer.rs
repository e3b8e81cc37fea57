//! Shares and answers from the reply of the ledger.

use std::mem;
use std::sync::Arc;

use super::{Authority, PendingCall, SHORT_MS, Short, State, TIGHT_MS};
use crate::access::clock::Moment;
use crate::access::meter::{Cell, Share, Taken, What};
use crate::access::rule::{MeterReport, Part, Reply, Verdict, Window};

impl<R> State<R> {
    pub(super) fn apply_reply(
        &mut self,
        now: Moment,
        pending: PendingCall<R>,
        reply: &Reply,
        authority: Authority,
    ) {
        let PendingCall {
            call,
            cells,
            waiting,
        } = pending;
        let knows = |at: usize| is_known(&call.reports[at], &reply.parts[at]);
        let mut given = vec![0_i64; cells.len()];
        // What this router has according to the ledger.
        let believed = |(report, part): (&MeterReport, &Part)| {
            let counts = report.of == part.window;
            part.extra
                + if counts {
                    report.spent + report.held
                } else {
                    0
                }
        };
        let mut believed: Vec<i64> = call
            .reports
            .iter()
            .zip(&reply.parts)
            .map(believed)
            .collect();
        for (need, verdict) in call.needs.iter().zip(&reply.verdicts) {
            if *verdict == Verdict::Given {
                need.iter().for_each(|(at, amount)| believed[*at] += amount);
                if need.iter().all(|(at, _)| knows(*at)) {
                    need.iter().for_each(|(at, amount)| given[*at] += amount);
                }
            }
        }
        let mut shares = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            let mut part = reply.parts[at];
            if !knows(at) {
                part.extra = 0;
            }
            shares.push(self.receive(
                cell,
                &call.reports[at],
                part,
                given[at],
                reply,
                now,
                authority,
            ));
        }
        let decided = waiting.into_iter().zip(&call.needs).zip(&reply.verdicts);
        // From the last to the first: who has to ask again is before those who came later.
        for ((request, need), verdict) in decided.rev() {
            match *verdict {
                Verdict::Given if need.iter().all(|(at, _)| knows(*at)) => {
                    let taken = need
                        .iter()
                        .map(|(at, amount)| {
                            Taken::new(Arc::clone(&cells[*at]), Arc::clone(&shares[*at]), *amount)
                        })
                        .collect();
                    self.answers.push((request.reply, Ok(taken)));
                }
                Verdict::Given => self.answers.push((request.reply, Err(Short::Unknown))),
                Verdict::Short(at) => {
                    let amount = need.iter().find(|(place, _)| *place == at);
                    cells[at].was_short(
                        amount.map_or(i64::MAX, |(_, amount)| *amount),
                        now.local_ms + SHORT_MS,
                    );
                    let why = Short::Of(Arc::clone(&cells[at]));
                    self.answers.push((request.reply, Err(why)));
                }
                // The interim authority decides, or it is asked again.
                Verdict::TooNew => self.waiting.push_front(request),
            }
        }
        for ((cell, share), believed) in cells.iter().zip(shares).zip(believed) {
            self.drop_if_idle(cell, &share, believed, now, authority);
        }
    }

    /// What became of one meter.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one report and its reply"
    )]
    fn receive(
        &mut self,
        cell: &Arc<Cell>,
        report: &MeterReport,
        part: Part,
        given: i64,
        reply: &Reply,
        now: Moment,
        authority: Authority,
    ) -> Arc<Share> {
        let until = self.applied_at(part.base.1);
        let heartbeat_ms = now.local_ms + self.terms.hold_ms / 3;
        let mut due_ms = i64::MAX;
        let tracked = self.schedule.open(cell, now.local_ms);
        let ends_ms = end_of(cell, report, part, reply, now);
        let share = match cell.share().filter(|share| share.window() == part.window) {
            Some(share) => {
                share.set_end(ends_ms);
                share
            }
            None => tracked.renew(Share::new(part.window, ends_ms)),
        };
        share.grow(given, part.extra);
        if tracked.debt > 0 {
            share.charge(mem::take(&mut tracked.debt));
            due_ms = now.local_ms;
        }
        if authority == Authority::Shared && part.free < 2 * self.routers * share.free() {
            // There is little left for others, so what is unused here is soon checked again.
            due_ms = due_ms.min(now.local_ms + TIGHT_MS);
        }
        if part.free < 0 {
            // More was used than there is, or the limit was lowered: what is unused goes back.
            share.shrink_to(0, -part.free);
        }
        if authority == Authority::Own || (authority == Authority::Shared && !reply.is_new) {
            tracked.left = Some((part.window, part.free));
        }
        share.set_low(match authority {
            Authority::Shared => tracked.target / 4,
            Authority::Own | Authority::Interim => 0,
        });
        if authority != Authority::Interim && tracked.is_money() && part.base.1 != tracked.base_ms {
            tracked.base_ms = part.base.1;
            if let Some(until) = until
                && tracked.cover(&share, until) > 0
            {
                // Counted twice until it is reported.
                due_ms = now.local_ms;
            }
        }
        if share.total() != share.spent() {
            due_ms = due_ms.min(heartbeat_ms);
        }
        self.schedule.bring_forward(cell.key(), due_ms);
        share
    }

    /// Up to when everything counted here was in the database at `ledger_ms`.
    fn applied_at(&self, ledger_ms: i64) -> Option<i64> {
        let before = self.applied.iter().rev().find(|(at, _)| *at <= ledger_ms);
        before.map(|(_, until)| *until)
    }

    /// A meter of which this router has nothing is not tracked any more, once the ledger knows.
    fn drop_if_idle(
        &mut self,
        cell: &Arc<Cell>,
        share: &Share,
        believed: i64,
        now: Moment,
        authority: Authority,
    ) {
        let idle = share.total() == 0
            && share.free() == 0
            && self.schedule.get(cell.key()).is_some_and(|tracked| {
                tracked.uncovered.is_empty() && tracked.debt == 0 && tracked.frozen.is_none()
            });
        if idle && authority == Authority::Shared && believed != 0 {
            self.schedule.bring_forward(cell.key(), now.local_ms);
        } else if idle {
            self.schedule.remove(cell.key());
            cell.set_share(None);
            if !self.shared {
                self.own.forget(cell.key());
            }
        }
    }
}

/// Money of which nobody knows what the database says is not to be given.
fn is_known(report: &MeterReport, part: &Part) -> bool {
    !matches!(report.window, Window::Since(_)) || part.base.1 >= 0
}

/// When the window of a part is over, by the local clock.
fn end_of(cell: &Cell, report: &MeterReport, part: Part, reply: &Reply, now: Moment) -> i64 {
    match (report.window, cell.what()) {
        (Window::Each(length), _) => now.local_ms + (part.window + length - reply.now_ms).max(0),
        (Window::Since(start), What::Money { .. }) if start == part.window => cell
            .rest_ms(now.unix_ms)
            .map_or(i64::MAX, |rest| now.local_ms.saturating_add(rest)),
        // This machine's clock and the ledger's disagree about the period: soon they will not.
        (Window::Since(_), _) => now.local_ms + 1_000,
        (Window::Always, _) => i64::MAX,
    }
}
