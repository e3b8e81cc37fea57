//! The world: everything that happens, in its order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use herdsman::cluster::slots::{Call, REPLY_TIMEOUT};
use herdsman::fleet::LOOK;
use tokio::time::Instant;

use super::chance::{self, Weighted};
use super::event::Event;
use super::events::{Events, Moment, SECOND};
use super::figures::Figures;
use super::plan::{self, Herd, Plan};
use super::redis::{Cost, Done, Recorded, Redis};
use super::router::{Leased, Router};
use super::server::{Job, Request, Serving};

struct World {
    plan: Plan,
    herd: Herd,
    events: Events<Event>,
    start: Instant,
    /// Of the requests: the same whatever the routers are.
    clients: Rng,
    /// Of everything else.
    rng: Rng,
    routers: Vec<Router>,
    names: Vec<Arc<str>>,
    /// Those that the database knows.
    registered: Vec<usize>,
    servers: Vec<Serving>,
    redis: Redis,
    pool_of: BTreeMap<Arc<str>, usize>,
    number_of: BTreeMap<Arc<str>, usize>,
    models: Weighted,
    balancer: Weighted,
    per_second: f64,
    requests: u64,
    is_measured: bool,
    figures: Figures,
}

/// What comes of a plan, with a Redis of this cost.
pub fn simulate(plan: Plan, cost: Cost) -> Figures {
    let mut world = World::new(plan, cost);
    world.begin();
    let end = plan.end();
    while let Some(event) = world.events.next(end) {
        world.happens(event);
    }
    world.over()
}

/// The first calls of the plan.
pub fn record(plan: Plan, cost: Cost, calls: usize) -> Vec<Recorded> {
    let mut world = World::new(plan, cost);
    world.redis.to_record = calls;
    world.begin();
    while world.redis.recorded.len() < calls
        && let Some(event) = world.events.next(plan.end())
    {
        world.happens(event);
    }
    world.redis.recorded
}

impl World {
    fn new(plan: Plan, cost: Cost) -> Self {
        let herd = plan.herd();
        let slots = (0..plan.models).map(|model| f64::from(herd.slots_of(model)));
        let keys = herd.pools.iter().enumerate();
        Self {
            events: Events::new(),
            start: Instant::now(),
            clients: Rng::with_seed(plan.seed ^ 0xc11e),
            rng: Rng::with_seed(plan.seed),
            routers: Vec::new(),
            names: Vec::new(),
            registered: Vec::new(),
            servers: herd
                .pools
                .iter()
                .map(|pool| Serving::new(pool.slots))
                .collect(),
            redis: Redis::new(cost),
            pool_of: keys.map(|(at, pool)| (Arc::clone(&pool.key), at)).collect(),
            number_of: BTreeMap::new(),
            models: Weighted::new(slots),
            balancer: Weighted::new([1.0]),
            per_second: plan.load * f64::from(herd.slots()) / plan::SERVICE_S,
            requests: 0,
            is_measured: false,
            figures: Figures::new(plan.routers + 1, plan.measure),
            herd,
            plan,
        }
    }

    fn begin(&mut self) {
        for _ in 0..self.plan.routers {
            self.join();
        }
        self.events.at(self.plan.settle, Event::Measure);
        self.events.after(0, Event::Arrive);
        if self.plan.trouble {
            let part = |sixths| self.plan.settle + self.plan.measure * sixths / 6;
            self.events.at(part(1), Event::Kill);
            self.events.at(part(3), Event::Join);
            self.events.at(part(4), Event::Wipe);
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.events.now())
    }

    fn happens(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Arrive => self.arrive(),
            Event::Finish { pool, number } => self.finish(pool, number),
            Event::Look(router) if self.routers[router].is_alive => {
                let others = self
                    .registered
                    .iter()
                    .filter(|other| **other != router)
                    .count();
                self.routers[router].look(others, now);
                self.events
                    .after(LOOK.as_micros() as Moment, Event::Look(router));
                self.call(router);
            }
            Event::Call(router) if self.routers[router].is_alive => self.call(router),
            Event::AtRedis {
                router,
                sent,
                call,
                lost,
            } => self.settle(router, sent, &call, lost),
            Event::Replied {
                router,
                number,
                reply,
            } if self.routers[router].is_alive => {
                let find = |key: &str| self.pool_of.get(key).copied();
                let router_mut = &mut self.routers[router];
                let leased = router_mut.replied(number, &reply, now, &mut self.rng, find);
                self.send(router, leased);
                self.call(router);
            }
            Event::Failed { router, number } if self.routers[router].is_alive => {
                self.routers[router].failed(number, now);
                self.figures.failed_calls += u64::from(self.is_measured);
                self.call(router);
            }
            Event::Wake(router) if self.routers[router].is_alive => {
                self.routers[router].wake(now);
                self.call(router);
            }
            Event::Measure => {
                self.is_measured = true;
                self.redis.done = Done::default();
                for router in 0..self.plan.routers {
                    self.figures.by_router[router].stayed = true;
                }
            }
            Event::Kill => self.kill(0),
            Event::Join => self.join(),
            Event::Wipe => self.redis.wipe(),
            Event::Unregister(router) => self.registered.retain(|other| *other != router),
            // Of a router that was killed.
            Event::Look(_)
            | Event::Call(_)
            | Event::Replied { .. }
            | Event::Failed { .. }
            | Event::Wake(_) => {}
        }
    }

    /// A request comes to one of the routers.
    fn arrive(&mut self) {
        let pause = chance::pause(&mut self.clients, self.per_second);
        self.events.after(pause, Event::Arrive);
        self.requests += 1;
        let request = Request {
            number: self.requests,
            model: self.models.draw(&mut self.clients),
            arrived: self.events.now(),
            takes: chance::duration(&mut self.clients, plan::SERVICE_S, plan::SIGMA),
        };
        self.ask(request);
    }

    fn ask(&mut self, request: Request) {
        let router = loop {
            let router = self.balancer.draw(&mut self.rng);
            if self.routers[router].is_alive {
                break router;
            }
        };
        if self.is_measured {
            self.figures.by_router[router].came += 1;
        }
        let now = self.now();
        let leased = self.routers[router].arrive(request, now, &mut self.rng);
        self.send(router, leased);
        self.call(router);
    }

    fn send(&mut self, router: usize, leased: impl IntoIterator<Item = Leased>) {
        for (request, pool) in leased {
            let begun = self.servers[pool].take(Job { router, request });
            let beyond = self.servers[pool].excess();
            self.figures.beyond = self.figures.beyond.max(beyond);
            self.run(pool, begun);
        }
    }

    fn run(&mut self, pool: usize, begun: Option<Job>) {
        let Some(Job { router, request }) = begun else {
            return;
        };
        if self.is_measured {
            self.figures
                .began(router, self.events.now() - request.arrived);
        }
        let number = request.number;
        self.events
            .after(request.takes, Event::Finish { pool, number });
    }

    fn finish(&mut self, pool: usize, number: u64) {
        let Some((job, next)) = self.servers[pool].finish(number) else {
            return;
        };
        if self.is_measured {
            let second = (self.events.now() - self.plan.settle) / SECOND;
            self.figures.answered[second as usize] += 1;
        }
        self.run(pool, next);
        let now = self.now();
        let leased = self.routers[job.router].finished(pool, now, &mut self.rng);
        self.send(job.router, leased);
        self.call(job.router);
    }

    /// The router calls the ledger, if it has anything to say.
    fn call(&mut self, router: usize) {
        let now = self.now();
        let (registered, names) = (&self.registered, &self.names);
        let others = registered.iter().filter(|other| **other != router);
        let others = || others.map(|other| Arc::clone(&names[*other])).collect();
        let Some(call) = self.routers[router].call(now, others) else {
            return self.call_later(router);
        };
        let sent = self.events.now();
        let fate = self.rng.usize(..2 * plan::ONE_LOST_OF);
        if fate == 0 {
            let number = call.number;
            self.fail(router, sent, number);
            return;
        }
        let way = self.way();
        let (call, lost) = (Box::new(call), fate == 1);
        self.events.after(
            way,
            Event::AtRedis {
                router,
                sent,
                call,
                lost,
            },
        );
    }

    fn call_later(&mut self, router: usize) {
        let now = self.events.now();
        let Some(pause) = self.routers[router].pause(self.now()) else {
            return;
        };
        // Not earlier than that: time is counted in whole microseconds.
        let at = now + (pause.as_nanos() as Moment).div_ceil(1_000);
        let planned = self.routers[router].calls_at;
        if planned.is_none_or(|planned| planned <= now || planned > at) {
            self.routers[router].calls_at = Some(at);
            self.events.at(at, Event::Call(router));
        }
    }

    /// One way to Redis or back.
    fn way(&mut self) -> Moment {
        let (least, most) = plan::ROUND_TRIP_MS;
        chance::between(&mut self.rng, least / 2.0, most / 2.0)
    }

    fn fail(&mut self, router: usize, sent: Moment, number: i64) {
        let at = sent + REPLY_TIMEOUT.as_micros() as Moment;
        self.events.at(at, Event::Failed { router, number });
    }

    /// The call is at Redis.
    fn settle(&mut self, router: usize, sent: Moment, call: &Call, lost: bool) {
        let name = Arc::clone(&self.names[router]);
        let (done, answer) = self.redis.take(self.events.now(), &name, call);
        let back = done + self.way();
        let number = call.number;
        let in_time = back < sent + REPLY_TIMEOUT.as_micros() as Moment;
        let Some(answer) = answer else {
            return self.events.at(back, Event::Failed { router, number });
        };
        for woken in &answer.wake {
            if let Some(woken) = self.number_of.get(woken)
                && self.rng.usize(..plan::ONE_LOST_OF) > 0
            {
                self.events.at(done + plan::WAKE, Event::Wake(*woken));
            }
        }
        if lost || !in_time {
            return self.fail(router, sent, number);
        }
        let reply = Box::new(answer.reply);
        self.events.at(
            back,
            Event::Replied {
                router,
                number,
                reply,
            },
        );
    }

    fn join(&mut self) {
        let (number, now) = (self.routers.len(), self.now());
        let router = Router::new(number, &self.herd, self.plan.safe, now);
        self.number_of.insert(Arc::clone(&router.name), number);
        self.names.push(Arc::clone(&router.name));
        self.routers.push(router);
        self.registered.push(number);
        let first = self.rng.u64(..LOOK.as_micros() as Moment);
        self.events.after(first, Event::Look(number));
        self.balance();
    }

    /// Its requests end without an answer; those that waited ask other routers.
    fn kill(&mut self, router: usize) {
        let again = self.routers[router].die();
        self.figures.by_router[router].stayed = false;
        self.events
            .after(plan::REGISTERED, Event::Unregister(router));
        for pool in 0..self.servers.len() {
            for job in self.servers[pool].abandon(router) {
                self.run(pool, Some(job));
            }
        }
        for request in again {
            self.ask(request);
        }
    }

    fn balance(&mut self) {
        let routers = self.routers.len();
        let most = routers.div_ceil(10);
        let weight = |router| match self.plan.uneven {
            false => 1.0,
            true if router < most => 0.9 / most as f64,
            true => 0.1 / (routers - most).max(1) as f64,
        };
        self.balancer = Weighted::new((0..routers).map(weight));
    }

    fn over(mut self) -> Figures {
        let end = self.plan.end();
        for request in self.routers.iter().flat_map(Router::waiting) {
            self.figures.longest = self.figures.longest.max(end - request.arrived);
        }
        self.figures.redis = self.redis.done;
        self.figures
    }
}
