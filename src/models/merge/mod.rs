//! The progress of one call on several servers, as that of one server. Pure.
//!
//! What is shown only grows: a step (`verifying sha256 digest`) is shown once, when every server that still
//! runs has said it, so that steps keep their order; a layer has the sums of all servers, each taking part from
//! the beginning with the layer's whole size. So a bar that is drawn by the first line of a layer is right,
//! and none goes backwards, whatever a server says later. A server that is done has every layer, also those
//! it had before and never listed.

use std::sync::Arc;

use http::StatusCode;

use super::outcome::Outcome;
use super::targets::{LeftOut, listed};
use crate::protocol::ProgressLine;

/// More steps and layers are not told apart.
const MOST_ITEMS: usize = 1024;
/// As much of a text is kept.
const LONGEST_TEXT: usize = 512;

/// How far all servers are.
#[derive(Debug)]
pub(super) struct Merge {
    servers: Vec<Share>,
    /// Said by some servers, and not yet by all.
    pending: Vec<Step>,
    items: Vec<Item>,
    /// Servers that are not asked; shown behind the first step.
    left_out: Vec<LeftOut>,
    begun: bool,
    outcome: Option<Outcome>,
}

/// One server's part.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) name: Arc<str>,
    pub(super) standing: Standing,
    /// What it does now.
    pub(super) status: Arc<str>,
}

/// Whether it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Running,
    Done,
    Failed(Failed),
}

/// Why a server has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The status of its answer; without one it has begun to do what it was asked for, or not answered.
    pub(super) status: Option<StatusCode>,
    pub(super) words: String,
}

#[derive(Debug)]
struct Step {
    status: Arc<str>,
    said: Vec<bool>,
}

/// What a reader is shown, in this order.
#[derive(Debug)]
pub(super) enum Item {
    Step(Arc<str>),
    Layer(Layer),
}

/// A layer, or whatever else has a size.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) status: Arc<str>,
    pub(super) digest: Box<str>,
    /// Its size and how much of it there is, by server.
    parts: Vec<Option<(u64, u64)>>,
    /// The largest size that was said.
    size: u64,
    sums: (u64, u64),
}

// === impl Failed ===

impl Failed {
    /// The call is at fault, by the server's word.
    pub(super) fn is_the_calls(&self) -> bool {
        self.status.is_some_and(|status| status.is_client_error())
    }
}

// === impl Share ===

impl Share {
    /// Why it has failed, if it has.
    pub(super) fn failed(&self) -> Option<&Failed> {
        match &self.standing {
            Standing::Failed(why) => Some(why),
            Standing::Running | Standing::Done => None,
        }
    }
}

// === impl Merge ===

impl Merge {
    pub(super) fn new(names: impl Iterator<Item = Arc<str>>, left_out: Vec<LeftOut>) -> Self {
        let share = |name| Share {
            name,
            standing: Standing::Running,
            status: "".into(),
        };
        Self {
            servers: names.map(share).collect(),
            pending: Vec::new(),
            items: Vec::new(),
            left_out,
            begun: false,
            outcome: None,
        }
    }

    /// A server has begun to answer: from now on there is something to show.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// A pull has begun, of which the router itself does the first step.
    pub(super) fn begin_pull(&mut self) {
        self.begin();
        self.step(0, "pulling manifest".into());
    }

    /// A server has said this. Returns how many bytes more of a layer it has now; what it had when it first
    /// named the layer was there before.
    pub(super) fn heard(&mut self, server: usize, line: &ProgressLine) -> u64 {
        let status = shortened(&line.status);
        if let Some(share) = self.servers.get_mut(server) {
            share.status = Arc::clone(&status);
        }
        if line.digest.is_empty() {
            self.step(server, status);
            return 0;
        }
        match line.total {
            0 => 0, // a layer of no size is no work
            _ => self.layer(server, status, line),
        }
    }

    /// A server has done all of it.
    pub(super) fn done(&mut self, server: usize) {
        self.stands(server, Standing::Done);
    }

    /// A server has not.
    pub(super) fn failed(&mut self, server: usize, failed: Failed) {
        self.stands(server, Standing::Failed(failed));
    }

    /// Nothing more happens.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    pub(super) fn servers(&self) -> &[Share] {
        &self.servers
    }

    pub(super) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Bytes done and bytes in all, over all servers and layers.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let layers = self.items.iter().filter_map(Item::layer);
        layers.fold((0, 0), |(completed, total), layer| {
            let (of, done) = layer.sums;
            (completed + done, total + of)
        })
    }

    /// The same for one server.
    pub(super) fn bytes_of(&self, server: usize) -> (u64, u64) {
        let layers = self.items.iter().filter_map(Item::layer);
        layers.fold((0, 0), |(completed, total), layer| {
            let (of, done) = layer.part(server, self.is_done(server));
            (completed + done, total + of)
        })
    }

    fn is_done(&self, server: usize) -> bool {
        let share = self.servers.get(server);
        share.is_some_and(|share| share.standing == Standing::Done)
    }

    fn stands(&mut self, server: usize, standing: Standing) {
        if let Some(share) = self.servers.get_mut(server)
            && share.standing == Standing::Running
        {
            share.standing = standing;
        }
        for at in 0..self.items.len() {
            self.add_up(at);
        }
        self.show_steps();
    }

    fn step(&mut self, server: usize, status: Arc<str>) {
        let is_shown = |item: &Item| matches!(item, Item::Step(shown) if *shown == status);
        if status.is_empty() || self.items.iter().any(is_shown) {
            return;
        }
        if self.items.is_empty() {
            self.items.push(Item::Step(status));
            if !self.left_out.is_empty() {
                let note = format!("left out: {}", listed(&self.left_out));
                self.items.push(Item::Step(shortened(&note)));
            }
            return;
        }
        let at = self.pending.iter().position(|step| step.status == status);
        let at = at.unwrap_or_else(|| {
            let said = vec![false; self.servers.len()];
            self.pending.push(Step { status, said });
            self.pending.len() - 1
        });
        if let Some(said) = self.pending[at].said.get_mut(server) {
            *said = true;
        }
        self.show_steps();
    }

    /// Those that every server has said that may still say something.
    fn show_steps(&mut self) {
        let servers = &self.servers;
        let is_said = |step: &Step| {
            let each = step.said.iter().zip(servers);
            let mut each = each.map(|(said, share)| *said || share.standing != Standing::Running);
            each.all(|said| said)
        };
        let (shown, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(is_said);
        self.pending = pending;
        self.pending.truncate(MOST_ITEMS);
        let room = MOST_ITEMS.saturating_sub(self.items.len());
        let shown = shown.into_iter().take(room);
        self.items.extend(shown.map(|step| Item::Step(step.status)));
    }

    fn layer(&mut self, server: usize, status: Arc<str>, line: &ProgressLine) -> u64 {
        let is_it = |item: &Item| {
            item.layer()
                .is_some_and(|layer| *layer.digest == *line.digest)
        };
        let at = match self.items.iter().position(is_it) {
            Some(at) => at,
            None if self.items.len() >= MOST_ITEMS || line.digest.len() > LONGEST_TEXT => return 0,
            None => {
                self.items.push(Item::Layer(Layer {
                    status,
                    digest: line.digest.as_str().into(),
                    parts: vec![None; self.servers.len()],
                    size: 0,
                    sums: (0, 0),
                }));
                self.items.len() - 1
            }
        };
        let mut more = 0;
        if let Some(Item::Layer(layer)) = self.items.get_mut(at)
            && let Some(part) = layer.parts.get_mut(server)
        {
            let (total, completed) = part.unwrap_or_default();
            let total = total.max(line.total);
            let now = completed.max(line.completed).min(total);
            more = if part.is_some() { now - completed } else { 0 };
            *part = Some((total, now));
            layer.size = layer.size.max(total);
        }
        self.add_up(at);
        more
    }

    fn add_up(&mut self, at: usize) {
        let done: Vec<bool> = (0..self.servers.len()).map(|at| self.is_done(at)).collect();
        if let Some(Item::Layer(layer)) = self.items.get_mut(at) {
            let each = done.iter().enumerate();
            let sums = each.fold((0, 0), |(total, completed), (server, done)| {
                let (of, is) = layer.part(server, *done);
                (total + of, completed + is)
            });
            layer.sums = (layer.sums.0.max(sums.0), layer.sums.1.max(sums.1));
        }
    }
}

// === impl Item ===

impl Item {
    fn layer(&self) -> Option<&Layer> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::Step(_) => None,
        }
    }
}

// === impl Layer ===

impl Layer {
    /// Its size and how much of it there is, over all servers.
    pub(super) fn sums(&self) -> (u64, u64) {
        self.sums
    }

    fn part(&self, server: usize, is_done: bool) -> (u64, u64) {
        let part = self.parts.get(server).copied().flatten();
        let (total, completed) = part.unwrap_or((self.size, 0));
        (total, if is_done { total } else { completed })
    }
}

/// At most so much of a text as a client can show.
fn shortened(text: &str) -> Arc<str> {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev();
    let end = end.into_iter().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].into()
}

#[cfg(test)]
mod tests;
