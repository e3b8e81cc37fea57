//! The load generator: one process, one thread, one [`Plan`].
//!
//! It measures the time that clients wait, which is measured nowhere else. It does not know which
//! proxy it talks to. Wrong answers are counted, not fatal; it ends with a
//! report or, when its parent ends, with its parent.

mod arrivals;
pub mod client;
mod lines;
mod request;
mod tally;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;

use self::arrivals::Due;
use self::client::Client;
use self::tally::Tally;
use crate::plan::{Arrivals, Ask, Event, Plan};

/// How many clients connect at the same moment: below every listener's backlog.
const CONNECT_AT_ONCE: usize = 64;
/// After a failure a client waits, so that a proxy that refuses is not flooded.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Warms up, waits for the start signal, runs the plan and reports.
///
/// # Errors
/// When the clients cannot get one correct answer each, or the parent has gone.
pub async fn run(address: SocketAddr, plan: Plan) -> io::Result<()> {
    let tally = Rc::new(Tally::new(plan)?);
    let mut clients = Vec::with_capacity(plan.clients);
    while clients.len() < plan.clients {
        let batch = CONNECT_AT_ONCE.min(plan.clients - clients.len());
        let batch = (0..batch).map(|_| warm_client(address, plan, &tally));
        clients.extend(try_join_all(batch).await?);
    }
    say(&Event::Ready)?;
    if io::stdin().lock().read_line(&mut String::new())? == 0 {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let start = Instant::now();
    drive(clients, plan, &tally, start).await?;
    say(&Event::Done(Box::new(tally.outcome(start.elapsed()))))
}

/// Writes one event to standard output.
///
/// # Errors
/// When standard output is closed.
pub fn say(event: &Event) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{}", serde_json::to_string(event)?)?;
    out.flush()
}

async fn warm_client(address: SocketAddr, plan: Plan, tally: &Tally) -> io::Result<Client> {
    let mut client = Client::new(address, Ask::Whole);
    let serial = tally.next_serial();
    client
        .ask(serial, tally.model(serial), &())
        .await
        .map_err(io::Error::other)?;
    client.set_ask(plan.ask);
    Ok(client)
}

async fn drive(
    clients: Vec<Client>,
    plan: Plan,
    tally: &Rc<Tally>,
    start: Instant,
) -> io::Result<()> {
    let local = LocalSet::new();
    let tasks = TaskTracker::new();
    let due = match plan.arrivals {
        Arrivals::Steady { per_second, millis } => Some(Rc::new(Due::new(per_second, millis))),
        Arrivals::Saturate { .. } | Arrivals::Together { .. } => None,
    };
    for (index, mut client) in clients.into_iter().enumerate() {
        let (tally, due) = (Rc::clone(tally), due.clone());
        let one_client = async move {
            match (plan.arrivals, due) {
                (Arrivals::Saturate { millis }, _) => {
                    let until = start + Duration::from_millis(millis);
                    while Instant::now() < until {
                        ask(&mut client, &tally, Instant::now()).await;
                    }
                }
                (Arrivals::Together { each, ramp_millis }, _) => {
                    let share = Duration::from_millis(ramp_millis).mul_f64(index as f64);
                    sleep_until(start + share.div_f64(plan.clients as f64)).await;
                    for _ in 0..each {
                        ask(&mut client, &tally, Instant::now()).await;
                    }
                }
                (Arrivals::Steady { .. }, Some(due)) => {
                    while let Some(since) = due.next().await {
                        ask(&mut client, &tally, since).await;
                    }
                }
                (Arrivals::Steady { .. }, None) => {}
            }
        };
        tasks.spawn_local_on(one_client, &local);
    }
    tasks.close();
    local
        .run_until(async {
            if let Some(due) = due {
                due.release(plan.clients).await?;
            }
            tasks.wait().await;
            Ok(())
        })
        .await
}

async fn ask(client: &mut Client, tally: &Tally, since: Instant) {
    let serial = tally.next_serial();
    match client.ask(serial, tally.model(serial), tally).await {
        Ok(answer) => tally.answered(since, &answer),
        Err(failure) => {
            tally.failed(&failure);
            sleep(AFTER_FAILURE).await;
        }
    }
}
