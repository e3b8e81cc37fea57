//! The ranking itself.

/// How many servers one request may ask before it waits: the first is nearly always right.
pub const MAX_CHOICES: usize = 3;

/// How many candidates are looked at before the best of them is good enough. Keeps the cost of a
/// request independent of the size of the fleet: the best of sixteen random servers is within a
/// few percent of the best of all (compare "the power of two random choices").
const SAMPLE: usize = 16;

/// What ranking may know of one server that holds the model.
pub trait Candidate {
    /// True while the server answers and takes new work.
    fn is_up(&self) -> bool;
    /// Requests of this model running there now.
    fn in_flight(&self) -> u32;
    /// How many requests of this model may run there at once.
    fn slots(&self) -> u32;
    /// Requests of all models running there now.
    fn total_in_flight(&self) -> u32;
    /// Its share of the work; greater than zero.
    fn weight(&self) -> f64;
    /// True while requests for this model fail there.
    fn is_failing(&self) -> bool;
    /// True while it is not known yet whether a request failed there by its own fault.
    fn is_suspected(&self) -> bool;
    /// True while it gives no slot for this model, whatever is free.
    fn is_refusing(&self) -> bool;
    /// True while it loads another model.
    fn is_loading_other(&self) -> bool;
}

/// Servers of one `priority` that hold a model.
#[derive(Clone, Debug)]
pub struct Tier<C> {
    /// They have it loaded, or are loading it.
    pub warm: Box<[C]>,
    /// They would have to load it first.
    pub cold: Box<[C]>,
}

/// How a request came to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The model was loaded and a slot was free.
    Loaded,
    /// The server has to load it for this request.
    Cold,
}

/// One proposal.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a, C> {
    /// The server.
    pub candidate: &'a C,
    /// What it would mean to go there.
    pub route: Route,
}

/// The servers to ask, best first.
#[derive(Debug)]
pub struct Rank<'a, C> {
    choices: [Option<(Choice<'a, C>, f64)>; MAX_CHOICES],
}

/// Why there is no server to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCandidate {
    /// Servers are up, but none has a free slot: wait.
    Busy,
    /// No server that may be asked is up.
    Unreachable,
}

/// Ranks the holders of a model.
///
/// `allowed` leaves out servers already tried and those the client did not name. `random` breaks
/// ties, so that equal servers share the work.
///
/// # Errors
/// [`NoCandidate`] when no candidate can take the request now.
pub fn rank<'a, C: Candidate>(
    tiers: &'a [Tier<C>],
    allowed: impl Fn(&C) -> bool,
    random: usize,
) -> Result<Rank<'a, C>, NoCandidate> {
    let usable = |candidate: &C| candidate.is_up() && allowed(candidate);
    let sound = |candidate: &C| usable(candidate) && !candidate.is_failing();
    // A suspicion is a preference: nobody waits because of one.
    let clear = |candidate: &C| sound(candidate) && !candidate.is_suspected();
    let found = match pick(tiers, clear, random) {
        Err(_) => pick(tiers, sound, random),
        found => found,
    };
    if found != Err(NoCandidate::Unreachable) {
        return found;
    }
    // The model fails wherever it is up: the server's own error is better than the router's.
    pick(tiers, usable, random)
}

fn pick<'a, C: Candidate>(
    tiers: &'a [Tier<C>],
    usable: impl Fn(&C) -> bool,
    random: usize,
) -> Result<Rank<'a, C>, NoCandidate> {
    let mut seen = false;
    for tier in tiers {
        let mut rank = Rank::new();
        let mut load = Spread::default();
        for candidate in rotated(&tier.warm, random).filter(|c| usable(c)) {
            load.note(candidate.total_in_flight());
            if candidate.in_flight() < candidate.slots() && !candidate.is_refusing() {
                rank.offer(candidate, Route::Loaded);
            }
            if load.seen >= SAMPLE && !rank.is_empty() {
                break;
            }
        }
        seen |= load.seen > 0;
        if !rank.is_empty() {
            return Ok(rank);
        }
        for candidate in rotated(&tier.cold, random).filter(|c| usable(c)) {
            load.note(candidate.total_in_flight());
        }
        seen |= load.seen > 0;
        for candidate in rotated(&tier.cold, random).filter(|c| usable(c)) {
            let has_room = candidate.in_flight() < candidate.slots()
                && !candidate.is_refusing()
                && !candidate.is_loading_other()
                && !load.is_busiest(candidate.total_in_flight());
            if has_room {
                rank.offer(candidate, Route::Cold);
            }
        }
        if !rank.is_empty() {
            return Ok(rank);
        }
    }
    Err(if seen {
        NoCandidate::Busy
    } else {
        NoCandidate::Unreachable
    })
}

fn rotated<C>(candidates: &[C], random: usize) -> impl Iterator<Item = &C> {
    let start = if candidates.is_empty() {
        0
    } else {
        random % candidates.len()
    };
    candidates[start..].iter().chain(&candidates[..start])
}

/// The range of loads in a tier.
#[derive(Default)]
struct Spread {
    seen: usize,
    least: u32,
    most: u32,
}

impl Spread {
    fn note(&mut self, load: u32) {
        self.least = if self.seen == 0 {
            load
        } else {
            self.least.min(load)
        };
        self.most = self.most.max(load);
        self.seen += 1;
    }

    fn is_busiest(&self, load: u32) -> bool {
        load == self.most && self.most > self.least
    }
}

// === impl Rank ===

impl<'a, C: Candidate> Rank<'a, C> {
    fn new() -> Self {
        Self {
            choices: [const { None }; MAX_CHOICES],
        }
    }

    fn is_empty(&self) -> bool {
        self.choices[0].is_none()
    }

    /// Keeps the best few. The request itself counts as load, so that an idle heavy server comes
    /// before an idle light one.
    fn offer(&mut self, candidate: &'a C, route: Route) {
        let load = (f64::from(candidate.total_in_flight()) + 1.0) / candidate.weight();
        let mut entry = Some((Choice { candidate, route }, load));
        for place in &mut self.choices {
            let better = match (&entry, &*place) {
                (Some((_, new)), Some((_, old))) => new < old,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if better {
                std::mem::swap(place, &mut entry);
            }
        }
    }

    /// Best first.
    pub fn iter(&self) -> impl Iterator<Item = Choice<'a, C>> {
        self.choices
            .iter()
            .flatten()
            .map(|(choice, _)| Choice { ..*choice })
    }
}

impl<C> PartialEq for Rank<'_, C> {
    /// By the servers proposed, in order.
    fn eq(&self, other: &Self) -> bool {
        let places = |rank: &Self| {
            rank.choices
                .each_ref()
                .map(|c| c.as_ref().map(|(c, _)| std::ptr::from_ref(c.candidate)))
        };
        places(self) == places(other)
    }
}

#[cfg(test)]
mod tests;
