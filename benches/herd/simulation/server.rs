//! What the servers do with what they are sent: so many requests of a model at once, the others wait there.

use std::collections::VecDeque;

use super::events::Moment;

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which, in the order of arrival.
    pub number: u64,
    /// For what.
    pub model: usize,
    /// When it came.
    pub arrived: Moment,
    /// How long the server will work on it.
    pub takes: Moment,
}

/// A request on its server.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// By which router.
    pub router: usize,
    /// Which request.
    pub request: Request,
}

/// One model on one server.
#[derive(Debug)]
pub struct Serving {
    slots: usize,
    running: Vec<Job>,
    /// Beyond the slots.
    waiting: VecDeque<Job>,
}

impl Serving {
    /// With so many slots.
    pub fn new(slots: u32) -> Self {
        Self {
            slots: slots as usize,
            running: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A request comes; it is begun unless it has to wait.
    pub fn take(&mut self, job: Job) -> Option<Job> {
        self.waiting.push_back(job);
        self.begin()
    }

    /// It is answered, unless its router has died. The next one may be begun.
    pub fn finish(&mut self, number: u64) -> Option<(Job, Option<Job>)> {
        let at = self
            .running
            .iter()
            .position(|job| job.request.number == number)?;
        let job = self.running.swap_remove(at);
        Some((job, self.begin()))
    }

    /// Nobody reads the answers to that router any more. Those that are begun instead.
    pub fn abandon(&mut self, router: usize) -> Vec<Job> {
        self.running.retain(|job| job.router != router);
        self.waiting.retain(|job| job.router != router);
        std::iter::from_fn(|| self.begin()).collect()
    }

    /// Requests beyond the slots.
    pub fn excess(&self) -> usize {
        self.waiting.len()
    }

    fn begin(&mut self) -> Option<Job> {
        if self.running.len() >= self.slots {
            return None;
        }
        let job = self.waiting.pop_front()?;
        self.running.push(job);
        Some(job)
    }
}
