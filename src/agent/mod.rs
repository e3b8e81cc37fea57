//! Beside one server: registers it with the routers, and keeps it registered.
//!
//! One loop owns everything: what was last seen of the server and of the machine, and how the registration
//! stands ([`state`]). Looking takes its time in tasks of its own, so that a server or a driver that hangs never
//! delays a renewal. It must not know what routers do with the server.
//!
//! It fails as little as it can. A router that does not answer is passed over at once for the next; with none it goes on
//! asking. A server that is gone is reported as that. It ends by itself only if going on makes
//! no sense: another agent has its name, or no router lets it register.

mod address;
mod announce;
mod error;
mod machine;
mod routers;
mod server;
mod settings;
mod state;

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub use error::Error;

use crate::backend::Backend;
use crate::config::{Endpoint, EndpointUrl, Kind, endpoint_faults};
use crate::domain::{Machine, ServerFacts};
use crate::protocol::Instance;
use crate::upstream::Client;
use routers::{Body, Routers};
use server::Server;
use state::{Course, Next, Step};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often the server is looked at, and the machine.
const LOOK: Duration = Duration::from_secs(3);
const LOOK_AT_MACHINE: Duration = Duration::from_secs(10);
/// How often it is asked whether something still runs.
const ASK: Duration = Duration::from_millis(500);
/// By then every router knows that the server takes nothing new: it reads the registrations every second.
const KNOWN: Duration = Duration::from_millis(2_500);

/// What an agent is for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The routers to register with; none: it is only offered.
    pub join: Vec<EndpointUrl>,
    /// What they want to be shown.
    pub key: String,
    /// The server.
    pub server: EndpointUrl,
    /// How routers reach it, if not as the agent does.
    pub advertise: Option<EndpointUrl>,
    /// How it is called; empty: like the machine.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// How it is used.
    pub slots: Option<u32>,
    /// Its share of the work.
    pub weight: f64,
    /// Its tier.
    pub priority: i32,
    /// What it is also called.
    pub labels: Vec<String>,
    /// Folders, of which the first that is there has its models.
    pub models: Vec<PathBuf>,
    /// How long what runs there may go on when the agent ends.
    pub grace: Duration,
    /// It offers the server on the local network too.
    pub announce: bool,
}

/// The agent and what it has seen.
struct Agent {
    options: Options,
    name: String,
    run: String,
    facts: ServerFacts,
    routers: Routers,
    /// Under which address they were told of the server last.
    told: Option<String>,
    course: Course,
}

/// What was seen.
enum Seen {
    Server(server::Seen),
    Machine(machine::Seen),
}

/// Registers the server until `leave` is over; then has it finish what runs, and takes it out. When `hurry` is over
/// too, at once.
///
/// # Errors
/// [`Error`], when it makes no sense to go on.
pub async fn run(
    options: Options,
    leave: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut leave = pin!(leave);
    let mut agent = tokio::select! {
        agent = Agent::new(options) => agent?,
        () = &mut leave => return Ok(()),
    };
    let offer = announce::offer(&agent.options, &agent.name)?;
    tokio::select! {
        ended = agent.serve() => return ended,
        () = leave => {}
    }
    tracing::info!(name = agent.name, "leaving; a second signal leaves at once");
    if let Some(offer) = offer {
        offer.withdraw().await;
    }
    tokio::select! {
        () = agent.drain() => {}
        () = hurry => {}
    }
    agent.leave().await
}

impl Agent {
    async fn new(options: Options) -> Result<Self, Error> {
        // What hangs is told of when it has answered.
        let port = settings::local_port(&options.server);
        let look = timeout(CONNECT, machine::look(options.models.clone(), port)).await;
        let machine::Seen { machine, settings } = look.unwrap_or_else(|_| machine::Seen {
            machine: machine::unknown(),
            ..machine::Seen::default()
        });
        let name = match &*options.name {
            "" => called(&machine, &options.server),
            name => name.to_owned(),
        };
        let endpoint = Endpoint {
            name: name.clone(),
            weight: options.weight,
            labels: options.labels.clone(),
            ..Endpoint::at(options.server.clone())
        };
        if let Some(fault) = endpoint_faults(&endpoint).into_iter().next() {
            return Err(Error::Unusable(fault));
        }
        let run = uuid::Uuid::now_v7().to_string();
        let client = Client::new(CONNECT, Instance::new(&run));
        let routers = Routers::new(&options.join, &options.key, &name, client)?;
        let facts = ServerFacts {
            kind: options.kind.as_str().to_owned(),
            slots: options.slots.or(settings::slots(&settings)),
            weight: options.weight,
            priority: options.priority,
            labels: options.labels.clone(),
            machine,
            settings,
            ..ServerFacts::default()
        };
        Ok(Self {
            options,
            name,
            run,
            facts,
            routers,
            told: None,
            course: Course::default(),
        })
    }

    /// Keeps it registered. Returns only if that makes no sense any more.
    async fn serve(&mut self) -> Result<(), Error> {
        if self.options.join.is_empty() {
            // Whoever has heard of the server asks it.
            return std::future::pending().await;
        }
        let backend = match self.options.kind {
            Kind::OpenAi => Backend::openai(&[]),
            Kind::Ollama | Kind::LlamaServer => Backend::Ollama,
        };
        let client = Client::new(CONNECT, Instance::new(&self.run));
        let server = Server::new(&self.options.server, backend, client)?;
        let mut looks = JoinSet::new();
        look_at_server(&mut looks, server.clone(), Duration::ZERO);
        look_at_machine(&mut looks, &self.options);
        // What is seen first is told first.
        if let Ok(Some(Ok(seen))) = timeout(CONNECT, looks.join_next()).await {
            self.see(seen, &server, &mut looks);
        }
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    let pause = self.renew().await?;
                    due = Instant::now() + pause;
                }
                Some(seen) = looks.join_next() => match seen {
                    Ok(seen) => self.see(seen, &server, &mut looks),
                    Err(error) => tracing::error!(%error, "what was looked at is not known"),
                },
            }
        }
    }

    fn see(&mut self, seen: Seen, server: &Server, looks: &mut JoinSet<Seen>) {
        match seen {
            Seen::Machine(seen) => {
                let told = self.options.slots;
                self.facts.slots = told.or(settings::slots(&seen.settings));
                self.facts.machine = seen.machine;
                self.facts.settings = seen.settings;
                look_at_machine(looks, &self.options);
            }
            Seen::Server(seen) => {
                if seen.why != self.facts.why {
                    match &seen.why {
                        Some(why) => tracing::warn!(why, "the server does not answer"),
                        None => tracing::info!("the server answers"),
                    }
                }
                seen.tell(&mut self.facts);
                look_at_server(looks, server.clone(), LOOK);
            }
        }
    }

    /// One renewal, or one try to register. Returns after which pause comes the next.
    async fn renew(&mut self) -> Result<Duration, Error> {
        let body = self.body(false).await;
        let answered = match body {
            Ok(body) => self.routers.tell(self.course.step(), &body).await,
            Err(why) => routers::Answered::Silent(why),
        };
        let now = Instant::now();
        match self.course.took(answered, now, fastrand::f64()) {
            Next::Pause(pause) => Ok(pause),
            Next::End(error) => Err(error),
        }
    }

    /// What is told, from wherever the routers reach the server.
    async fn body(&mut self, leaving: bool) -> Result<Body, String> {
        let found = match &self.options.advertise {
            Some(url) => Ok(url.as_str().to_owned()),
            None => address::reached(&self.options.server, &self.options.join).await,
        };
        // While no name is found, it is where it was.
        let url = match (found, &self.told) {
            (Err(_), Some(told)) => told.clone(),
            (found, _) => found?,
        };
        self.told = Some(url.clone());
        Ok(Body {
            name: self.name.clone(),
            url,
            run: self.run.clone(),
            incarnation: self.course.incarnation(),
            leaving,
            facts: self.facts.clone(),
        })
    }

    /// Has all routers keep new requests from it, and waits until what runs has ended.
    async fn drain(&mut self) {
        if self.course.step() == Step::Register {
            return;
        }
        self.facts.draining = true;
        let began = Instant::now();
        let until = began + self.options.grace;
        loop {
            let Ok(body) = self.body(false).await else {
                return;
            };
            let running = self.routers.tell_all(Step::Renew, &body).await;
            let now = Instant::now();
            if (running == Some(0) && now > began + KNOWN) || now > until {
                return;
            }
            sleep_until(now + ASK).await;
        }
    }

    /// Takes it out.
    async fn leave(&mut self) -> Result<(), Error> {
        if self.course.step() == Step::Register {
            // Never registered: there is nothing to take out.
            return self.course.ended();
        }
        let body = self.body(true).await.map_err(Error::Unreachable)?;
        match self.routers.tell(Step::Renew, &body).await {
            routers::Answered::Silent(why) => Err(Error::Unreachable(why)),
            _ => Ok(()),
        }
    }
}

fn look_at_server(looks: &mut JoinSet<Seen>, server: Server, pause: Duration) {
    looks.spawn(async move {
        tokio::time::sleep(pause).await;
        Seen::Server(server.look().await)
    });
}

fn look_at_machine(looks: &mut JoinSet<Seen>, options: &Options) {
    let (models, port) = (
        options.models.clone(),
        settings::local_port(&options.server),
    );
    looks.spawn(async move {
        tokio::time::sleep(LOOK_AT_MACHINE).await;
        Seen::Machine(machine::look(models, port).await)
    });
}

/// Like the machine; with the port if it is not the usual one.
fn called(machine: &Machine, server: &EndpointUrl) -> String {
    let place = server.host_and_port();
    let port = place.rsplit_once(':').map_or("", |(_, port)| port);
    match (&machine.host, port) {
        (Some(host), "11434" | "") => host.clone(),
        (Some(host), port) => format!("{host}:{port}"),
        (None, _) => place,
    }
}
