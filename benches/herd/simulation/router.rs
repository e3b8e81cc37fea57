//! One router: its queues, and the product's own choice of servers and shares of slots.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use herdsman::cluster::slots::{Call, Reply};
use herdsman::fleet::{ShareState, Want, ask};
use herdsman::routing::{Tier, rank};
use tokio::time::Instant;

use super::events::Moment;
use super::plan::Herd;
use super::server::Request;
use super::side::{Holder, Rule, Shown, Side};

/// A router and what it knows.
#[derive(Debug)]
pub struct Router {
    /// Its name in the ledger.
    pub name: Arc<str>,
    /// False when it was killed.
    pub is_alive: bool,
    state: ShareState<Shown>,
    rule: Rc<Rule>,
    sides: Vec<Rc<Side>>,
    keys: Vec<Arc<str>>,
    on_server: Vec<Rc<Cell<u32>>>,
    server_of: Vec<usize>,
    tiers: Vec<[Tier<Holder>; 1]>,
    queues: Vec<VecDeque<Request>>,
    /// Models whose queues are not empty.
    wanted: BTreeSet<usize>,
    /// When it is to call at the latest.
    pub calls_at: Option<Moment>,
    /// Slots are divided otherwise since the pools were last looked at.
    is_new: bool,
}

/// A request that has got a slot, and of which pool.
pub type Leased = (Request, usize);

impl Router {
    /// The router of that number begins.
    pub fn new(number: usize, herd: &Herd, safe: bool, now: Instant) -> Self {
        let rule = Rc::new(Rule {
            floor: u32::from(safe),
            ..Rule::default()
        });
        let pools = herd.pools.iter().enumerate();
        let side = |(pool, plan): (usize, &super::plan::PoolPlan)| {
            Rc::new(Side::new(pool, plan.model, plan.slots, Rc::clone(&rule)))
        };
        let sides: Vec<Rc<Side>> = pools.map(side).collect();
        let on_server: Vec<Rc<Cell<u32>>> = (0..herd.servers()).map(|_| Rc::default()).collect();
        let tier = |pools: &Vec<usize>| {
            let holder = |pool: &usize| Holder {
                side: Rc::clone(&sides[*pool]),
                on_server: Rc::clone(&on_server[herd.pools[*pool].server]),
            };
            [Tier {
                warm: pools.iter().map(holder).collect(),
                cold: Box::new([]),
            }]
        };
        Self {
            name: format!("01936f3c-5a00-7000-8000-{number:012}").into(),
            is_alive: true,
            state: ShareState::new(1, now),
            tiers: herd.of_model.iter().map(tier).collect(),
            queues: vec![VecDeque::new(); herd.of_model.len()],
            wanted: BTreeSet::new(),
            keys: herd
                .pools
                .iter()
                .map(|pool| Arc::clone(&pool.key))
                .collect(),
            server_of: herd.pools.iter().map(|pool| pool.server).collect(),
            rule,
            sides,
            on_server,
            is_new: false,
            calls_at: None,
        }
    }

    /// A request comes: it gets a slot, or waits behind those of its model that wait already.
    pub fn arrive(&mut self, request: Request, now: Instant, rng: &mut Rng) -> Option<Leased> {
        let queue = &self.queues[request.model];
        if queue.is_empty()
            && let Some(pool) = self.lease(request.model, now, rng)
        {
            return Some((request, pool));
        }
        self.queues[request.model].push_back(request);
        self.wanted.insert(request.model);
        None
    }

    /// A request has been answered: its slot is free. Those that get slots now.
    pub fn finished(&mut self, pool: usize, now: Instant, rng: &mut Rng) -> Vec<Leased> {
        let side = Rc::clone(&self.sides[pool]);
        side.running.set(side.running.get() - 1);
        let on_server = &self.on_server[self.server_of[pool]];
        on_server.set(on_server.get() - 1);
        if side.is_watched() {
            self.state.touch(&self.keys[pool], &Shown(side), now);
        }
        self.serve(now, rng)
    }

    /// What the actor of the shares does several times a second. The database knows so many others.
    pub fn look(&mut self, others: usize, now: Instant) {
        if std::mem::take(&mut self.is_new) {
            self.adopt(now);
        }
        let (queues, tiers) = (&self.queues, &self.tiers);
        self.state.look(now, |side| want_of(&side.0, queues, tiers));
        let divides = self.state.go_on_without_ledger(others, now);
        self.divide(divides, now);
        self.rule.isolated.set(self.state.is_isolated(now, true));
    }

    /// Another router has changed something.
    pub fn wake(&mut self, now: Instant) {
        self.state.wake(now);
    }

    /// The next call of the ledger.
    pub fn call(&mut self, now: Instant, others: impl FnOnce() -> Vec<Arc<str>>) -> Option<Call> {
        let (queues, tiers) = (&self.queues, &self.tiers);
        let want = |side: &Shown| want_of(&side.0, queues, tiers);
        self.state.next(now, || Some(others()), want)
    }

    /// When it calls if nothing happens before.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.state.pause(now)
    }

    /// The ledger has answered. Those that get slots now.
    pub fn replied(
        &mut self,
        number: i64,
        reply: &Reply,
        now: Instant,
        rng: &mut Rng,
        find: impl Fn(&str) -> Option<usize>,
    ) -> Vec<Leased> {
        let sides = &self.sides;
        let find = |key: &str| find(key).map(|pool| Shown(Rc::clone(&sides[pool])));
        let learnt = self.state.replied(number, reply, now, find);
        self.divide(learnt.divides, now);
        match learnt.grown || learnt.refused {
            true => self.serve(now, rng),
            false => Vec::new(),
        }
    }

    /// The call came to nothing, as far as the router knows.
    pub fn failed(&mut self, number: i64, now: Instant) {
        self.state.failed(number, now);
    }

    /// It is killed; those who waited ask another one.
    pub fn die(&mut self) -> Vec<Request> {
        self.is_alive = false;
        self.wanted.clear();
        self.queues.iter_mut().flat_map(std::mem::take).collect()
    }

    /// All that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Request> {
        self.queues.iter().flatten()
    }

    /// The heads of all queues try, each until one finds no slot.
    fn serve(&mut self, now: Instant, rng: &mut Rng) -> Vec<Leased> {
        let mut leased = Vec::new();
        for model in self.wanted.clone() {
            while let Some(request) = self.queues[model].front().copied() {
                let Some(pool) = self.lease(model, now, rng) else {
                    break;
                };
                self.queues[model].pop_front();
                leased.push((request, pool));
            }
            if self.queues[model].is_empty() {
                self.wanted.remove(&model);
            }
        }
        leased
    }

    /// A slot, if one of this router's is free; else it has more asked for.
    fn lease(&mut self, model: usize, now: Instant, rng: &mut Rng) -> Option<usize> {
        let chosen = match rank(&self.tiers[model], |_| true, rng.usize(..)) {
            Ok(rank) => rank.iter().next().map(|choice| choice.candidate),
            Err(_) => None,
        };
        if let Some(holder) = chosen {
            let (running, on_server) = (&holder.side.running, &holder.on_server);
            running.set(running.get() + 1);
            on_server.set(on_server.get() + 1);
            return Some(holder.side.pool);
        }
        let waiting = self.queues[model].len().max(1);
        let (state, keys) = (&mut self.state, &self.keys);
        ask(
            self.tiers[model][0].warm.iter(),
            waiting,
            rng.usize(..),
            |holder| holder.side.asked(),
            |holder| {
                let side = Rc::clone(&holder.side);
                side.ask();
                let key = &keys[side.pool];
                state.touch(key, &Shown(side), now);
            },
        );
        None
    }

    fn divide(&mut self, divides: Option<u32>, now: Instant) {
        if let Some(divides) = divides {
            self.rule.divides.set(divides);
            self.is_new = true;
            self.adopt(now);
        }
    }

    fn adopt(&mut self, now: Instant) {
        for (side, key) in self.sides.iter().zip(&self.keys) {
            if side.running.get() > 0 {
                self.state.adopt(key, &Shown(Rc::clone(side)), now);
            }
        }
    }
}

fn want_of(side: &Side, queues: &[VecDeque<Request>], tiers: &[[Tier<Holder>; 1]]) -> Want {
    Want {
        running: side.running.get().into(),
        waiting: queues[side.model].len(),
        warm: tiers[side.model][0].warm.len(),
    }
}
