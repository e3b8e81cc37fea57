//! Putting a call together.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Ask, Flight, Judge, MOST_LINES, MOST_NEEDS, State};
use crate::access::clock::Moment;
use crate::access::meter::Cell;
use crate::access::rule::{Call, Line, MOST};

/// The first wish is for so many requests like the first one.
const FORESIGHT: i64 = 4;

impl<R> State<R> {
    /// The next call: whoever waits, whatever is low, and what has not been reported for a while.
    pub(super) fn depart(&mut self, now: Moment, judge: Judge) -> Option<Flight<R>> {
        let few = self.asks.len().min(MOST_NEEDS);
        let asks: Vec<_> = self.asks.drain(..few).collect();
        let flight = self.flight(now, judge, asks);
        (!flight.cells.is_empty()).then_some(flight)
    }

    /// A call for these, with whatever else there is to say.
    pub(super) fn flight(&mut self, now: Moment, judge: Judge, asks: Vec<Ask<R>>) -> Flight<R> {
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut cells: Vec<Arc<Cell>> = Vec::new();
        let mut place = |cell: &Arc<Cell>| {
            *places.entry(Arc::clone(cell.key())).or_insert_with(|| {
                cells.push(Arc::clone(cell));
                cells.len() - 1
            })
        };
        let needs: Vec<Vec<(usize, i64)>> = asks
            .iter()
            .map(|ask| {
                let wants = ask.wants.iter();
                wants.map(|(cell, amount)| (place(cell), *amount)).collect()
            })
            .collect();
        if judge != Judge::Deputy {
            let few = self.dirty.len().min(MOST_LINES);
            for cell in self.dirty.drain(..few) {
                place(&cell);
            }
            for cell in self.agenda.due(now.local_ms, MOST_LINES) {
                place(cell);
            }
        }
        let mut asked = vec![0_i64; cells.len()];
        for (at, amount) in needs.iter().flatten() {
            asked[*at] = asked[*at].saturating_add(*amount);
        }
        let lines = cells
            .iter()
            .zip(asked)
            .map(|(cell, asked)| self.line(cell, asked, now, judge))
            .collect();
        Flight {
            call: Arc::new(Call {
                lines,
                needs,
                known_born_ms: self.born_ms.filter(|_| judge == Judge::Shared),
                more: judge == Judge::Shared && self.agenda.is_behind(),
            }),
            cells,
            asks,
        }
    }

    fn line(&mut self, cell: &Arc<Cell>, asked: i64, now: Moment, judge: Judge) -> Line {
        let (routers, ledger_ms) = (self.routers, self.ledger_ms);
        let rest_ms = now.local_ms + self.terms.forget_ms / 10;
        let tracked = self.agenda.open(cell, now.local_ms);
        // The view may have been rebuilt around another cell of the same name.
        tracked.cell = Arc::clone(cell);
        cell.heard();
        tracked.debt += cell.take_debt();
        let window = cell.window(now.unix());
        let share = cell.share();
        let limit = cell.limit().clamp(0, MOST);

        let low = share.as_ref().is_none_or(|share| share.is_low());
        let drawn = share.as_ref().map_or(0, |share| share.drawn());
        if asked > 0 || low {
            let more = asked.saturating_mul(FORESIGHT);
            tracked.target = tracked.target.saturating_mul(2).max(more).min(limit);
        } else if tracked.due_ms <= now.local_ms {
            match drawn {
                0 => tracked.target = 0,
                few if few < tracked.target / 4 => tracked.target /= 2,
                _ => {}
            }
        }
        let ready = share.as_ref().map_or(0, |share| share.free().max(0));
        if judge == Judge::Shared
            && let Some((_, left)) = tracked.left
            && routers > 1
        {
            // Half of an even part of what nobody uses: who comes next finds something.
            tracked.target = tracked.target.min((left.max(0) + ready) / (2 * routers));
        }
        let target = match judge {
            Judge::Shared => tracked.target,
            // Alone, a router may keep everything, except what nobody wants.
            Judge::Own if asked == 0 && !low && drawn == 0 => 0,
            Judge::Own => limit,
            Judge::Deputy => i64::MAX,
        };

        let (mut of, mut spent, mut held, mut free) = (-1, 0, 0, 0);
        if let Some(share) = &share {
            share.own_up();
            // Whoever waits gets all on the table: what lies here unused is part of what is asked for.
            share.shrink_to(if asked > 0 { 0 } else { target }, i64::MAX);
            tracked.note(share, now.unix());
            of = share.window();
            free = share.free();
            spent = share.spent();
            held = share.total() - spent;
        }
        let (limit, base) = match judge {
            Judge::Shared | Judge::Own => (limit, cell.base(window)),
            Judge::Deputy => match tracked.part_alone(window, routers, ledger_ms) {
                Some(part) => (part, (0, 0)),
                None => (limit, (0, -1)),
            },
        };
        let line = Line {
            key: Arc::clone(cell.key()),
            limit,
            window,
            base,
            of,
            spent,
            held,
            wish: match judge {
                Judge::Shared | Judge::Own => (target - free).clamp(0, limit),
                Judge::Deputy => 0,
            },
        };
        // Of what is spent a dead router's report is as good as a living one's: it need not be
        // repeated soon. Whoever turns out to hold something reports sooner.
        self.agenda.put(cell.key(), rest_ms);
        line
    }
}
