//! The actor: looks at the fleet, and has done what the state decides.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Kept;
use super::message::Message;
use super::state::{Copy, Load, Spot, State};
use crate::backend::KeepOptions;
use crate::clock;
use crate::domain::KeepAlive;
use crate::fleet::Place;
use crate::gateway::{Gateway, LoadReason};
use crate::protocol::unix_seconds;
use crate::supervision::{Actor, Context};

/// Changes of the fleet that come together are one.
const TOGETHER: Duration = Duration::from_millis(50);
/// For how long a server is told to keep a model, where nothing is configured: it is told again before.
const KEPT_FOR: &str = "10m";

/// What every incarnation begins with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Written by the actor.
    kept: Arc<ArcSwap<Vec<Kept>>>,
    gateway: Arc<Gateway>,
}

/// Its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The fleet has changed a moment ago.
    Changed,
    /// Something rests, or is to be renewed.
    Due,
}

pub(super) struct ReplicasActor {
    setup: Setup,
    state: State,
    /// The fleet has changed, and is looked at in a moment.
    changed: bool,
}

impl Setup {
    pub(super) fn new(mut kept: Vec<Kept>, gateway: Arc<Gateway>) -> Self {
        kept.sort_by_key(|kept| kept.priority);
        Self {
            kept: Arc::new(ArcSwap::from_pointee(kept)),
            gateway,
        }
    }
}

impl Actor for ReplicasActor {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let version = setup.gateway.fleet().version();
        let mut actor = Self {
            setup,
            state: State::default(),
            changed: false,
        };
        actor.look(context);
        watch(version, context);
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Keep(mut kept) => {
                kept.sort_by_key(|kept| kept.priority);
                self.setup.kept.store(Arc::new(kept));
                self.state.begin_anew();
            }
            Message::Changed(version) => {
                watch(version, context);
                if !std::mem::replace(&mut self.changed, true) {
                    context.arm(Timer::Changed, TOGETHER);
                }
                return;
            }
            Message::Loaded { copy, done } => self.state.loaded(copy, done, context.now()),
        }
        self.look(context);
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        if timer == Timer::Changed {
            self.changed = false;
        }
        self.look(context);
    }
}

impl ReplicasActor {
    fn look(&mut self, context: &mut Context<Self>) {
        let kept = self.setup.kept.load_full();
        if kept.iter().all(|kept| kept.replicas == 0) {
            context.disarm(Timer::Due);
            return;
        }
        let (now, unix) = (context.now(), clock::unix_seconds());
        let view = self.setup.gateway.fleet().view();
        let places: Vec<Vec<Place>> = kept
            .iter()
            .map(|kept| {
                let mut places = view.places(&kept.model);
                let within = kept.within.as_deref();
                places.retain(|place| {
                    place.loads && within.is_none_or(|names| place.is_one_of(names))
                });
                places
            })
            .collect();
        let seen: Vec<Vec<Spot>> = places
            .iter()
            .map(|places| places.iter().map(|place| spot(place, unix)).collect())
            .collect();
        for Load { model, spot } in self.state.look(&kept, &seen, now) {
            let (kept, place) = (&kept[model], &places[model][spot]);
            self.load(kept, place.clone(), context);
        }
        match self.state.next_look(now) {
            Some(at) => context.arm(Timer::Due, at.saturating_duration_since(now)),
            None => context.disarm(Timer::Due),
        }
    }

    fn load(&self, kept: &Kept, place: Place, context: &Context<Self>) {
        let gateway = Arc::clone(&self.setup.gateway);
        let copy = Copy::of(&kept.model, &place);
        let keep_alive = kept.keep_alive.as_ref().map(KeepAlive::json);
        let has = place
            .running
            .as_ref()
            .and_then(|running| running.context_length);
        let options = KeepOptions {
            keep_alive: Some(keep_alive.unwrap_or_else(|| format!("\"{KEPT_FOR}\""))),
            // With another context it would be loaded anew.
            num_ctx: kept
                .num_ctx
                .map(u64::from)
                .or(has.filter(|_| place.is_loaded)),
        };
        context.spawn(async move {
            let loaded = gateway.load_on(&place, options, LoadReason::Kept).await;
            let endpoint = place.endpoint.name();
            match &loaded {
                Ok(_) if place.is_loaded => {}
                Ok(took) => tracing::info!(model = %copy.model, %endpoint, ?took, "kept loaded"),
                Err(why) => {
                    tracing::warn!(model = %copy.model, %endpoint, %why, "cannot be kept loaded");
                }
            }
            let done = loaded.is_ok();
            Message::Loaded { copy, done }
        });
    }
}

fn watch(mut version: watch::Receiver<u64>, context: &Context<ReplicasActor>) {
    context.spawn(async move {
        if version.changed().await.is_err() {
            // Without a fleet there is nothing to be told any more.
            std::future::pending::<()>().await;
        }
        Message::Changed(version)
    });
}

fn spot(place: &Place, unix: i64) -> Spot {
    let expires = place
        .running
        .as_ref()
        .and_then(|running| unix_seconds(&running.expires_at));
    let left = expires.map(|at| u64::try_from(at.saturating_sub(unix)).unwrap_or(0));
    Spot {
        server: place.endpoint.id().generation,
        is_up: place.is_up,
        is_loaded: place.is_loaded,
        is_loading: place.is_loading,
        is_busy: place.is_busy,
        is_idle: place.pool.in_flight() == 0,
        unloads: place.pool.unloads(),
        left: left.map(Duration::from_secs),
    }
}
