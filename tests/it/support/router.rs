//! The router of one test, with its servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use herdsman::app::{App, Reload, Source};
use herdsman::config::{self, Config, EndpointUrl, LoadArgs, Problem};
use herdsman_simulator::{Model, Simulator};
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Stream, TEST_TIMEOUT, eventually};

/// The servers and settings of a test, before it starts.
pub struct Plan {
    servers: Vec<herdsman_simulator::Config>,
    settings: Vec<String>,
    endpoints: Vec<Change>,
    others: Vec<config::Endpoint>,
    redis: Option<config::Redis>,
}

/// A change to every endpoint, which looks at the name itself.
type Change = Box<dyn Fn(&mut config::Endpoint)>;

/// A running router with its servers.
pub struct TestRouter {
    pub servers: Vec<Simulator>,
    pub app: App,
    pub dir: TempDir,
    settings: Vec<String>,
    config: Config,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Plan {
    /// `n` equal servers named `gpu-0` and so on, each with the model `llama3.2`.
    pub fn servers(n: usize) -> Self {
        let server = |i| herdsman_simulator::Config {
            node: format!("gpu-{i}"),
            models: vec![Model::named("llama3.2")],
            default_predict: 8,
            ..herdsman_simulator::Config::default()
        };
        Self {
            servers: (0..n).map(server).collect(),
            settings: Vec::new(),
            endpoints: Vec::new(),
            others: Vec::new(),
            redis: None,
        }
    }

    /// Changes every server.
    pub fn each(mut self, change: impl Fn(&mut herdsman_simulator::Config)) -> Self {
        self.servers.iter_mut().for_each(change);
        self
    }

    /// Changes one server.
    pub fn server(mut self, i: usize, change: impl Fn(&mut herdsman_simulator::Config)) -> Self {
        change(&mut self.servers[i]);
        self
    }

    /// Changes one endpoint's configuration.
    pub fn endpoint(mut self, i: usize, change: impl Fn(&mut config::Endpoint) + 'static) -> Self {
        self.endpoints
            .push(Box::new(move |endpoint: &mut config::Endpoint| {
                if endpoint.name == format!("gpu-{i}") {
                    change(endpoint);
                }
            }));
        self
    }

    /// And a server that is not simulated.
    pub fn and(mut self, endpoint: config::Endpoint) -> Self {
        self.others.push(endpoint);
        self
    }

    /// With `[redis]`, and these databases, the first with the highest weight.
    pub fn redis<'a>(mut self, urls: impl IntoIterator<Item = &'a str>) -> Self {
        let databases = urls.into_iter().zip([3.0, 2.0, 1.0]);
        self.redis = Some(config::Redis {
            health_interval: Duration::from_millis(200),
            health_check_delay: Duration::from_millis(20),
            database: databases
                .map(|(url, weight)| config::Database {
                    weight,
                    grace_period: Duration::from_millis(500),
                    ..config::Database::at(url.into())
                })
                .collect(),
            ..config::Redis::default()
        });
        self
    }

    /// A setting as on the command line: `routing.attempts=2`.
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    pub async fn start(self) -> TestRouter {
        let mut servers = Vec::new();
        for server in self.servers {
            servers.push(
                Simulator::start(server)
                    .await
                    .expect("a simulated server starts"),
            );
        }
        let dir = TempDir::new().expect("a temporary folder");
        let mut config = configuration(dir.path(), &self.settings);
        config.redis = self.redis.or(config.redis);
        config.endpoint = servers
            .iter()
            .enumerate()
            .map(|(i, server)| {
                let mut endpoint = config::Endpoint::at(url(server));
                endpoint.name = format!("gpu-{i}");
                self.endpoints
                    .iter()
                    .for_each(|change| change(&mut endpoint));
                endpoint
            })
            .chain(self.others)
            .collect();
        let app = App::start(config.clone()).await.expect("the router starts");
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        TestRouter {
            servers,
            app,
            dir,
            settings: self.settings,
            config,
            client,
        }
    }
}

/// Defaults, quick probes, and what the test sets.
pub fn configuration(dir: &Path, settings: &[String]) -> Config {
    load(dir, settings, None).expect("a valid configuration")
}

/// The same, over this file.
fn load(dir: &Path, settings: &[String], file: Option<PathBuf>) -> Result<Config, Vec<Problem>> {
    let mut set = vec![
        "server.listen=127.0.0.1:0".to_owned(),
        "server.grace=5s".to_owned(),
        format!("server.data_dir={}", dir.display()),
        "fleet.probe_interval=200ms".to_owned(),
        "fleet.loaded_interval=500ms".to_owned(),
        "spend.seal_interval=20ms".to_owned(),
        "spend.flush_interval=20ms".to_owned(),
    ];
    set.extend_from_slice(settings);
    config::load(LoadArgs {
        file,
        env: std::iter::empty(),
        set,
        servers: Vec::new(),
    })
}

fn url(server: &Simulator) -> EndpointUrl {
    server.url().parse().expect("a simulator's URL is one")
}

impl TestRouter {
    pub fn url(&self) -> String {
        format!("http://{}", self.app.addr())
    }

    /// The same router, stopped and started again, with another configuration if there is a change to it.
    pub async fn restarted(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self {
            app, mut config, ..
        } = self;
        app.shutdown().await;
        change(&mut config);
        let app = App::start(config.clone())
            .await
            .expect("the router starts again");
        Self {
            app,
            config,
            ..self
        }
    }

    /// An admin call.
    pub async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        self.send(method, path, body).await.whole().await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Bytes::new())
            .await
            .whole()
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string()).await
    }

    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body.into())
            .await
            .whole()
            .await
    }

    /// The head of the answer, its body still to come.
    pub async fn stream(&self, path: &str, body: &Value) -> Stream {
        self.send(Method::POST, path, body.to_string().into()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Stream {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()));
        self.request(request.body(Full::new(body)).expect("a valid request"))
            .await
    }

    pub async fn request(&self, request: Request<Full<Bytes>>) -> Stream {
        let answer = tokio::time::timeout(TEST_TIMEOUT, self.client.request(request)).await;
        Stream::new(
            answer
                .expect("the router answers in time")
                .expect("the router answers"),
        )
    }

    /// Requests running, by the router's own count.
    pub fn in_flight(&self) -> u32 {
        self.app
            .fleet()
            .view()
            .servers
            .iter()
            .map(|server| server.endpoint.total_in_flight())
            .sum()
    }

    /// Reads this file as the router would that had been started with it, beside what the test sets.
    pub fn reload_from(&self, file: &Path) -> Reload {
        let (dir, settings) = (self.dir.path().to_owned(), self.settings.clone());
        let path = file.to_owned();
        let read = move || load(&dir, &settings, Some(path.clone()));
        let running = read().expect("a valid file");
        let source = Source {
            read: Box::new(read),
            file: file.to_owned(),
        };
        Reload::new(running, source)
    }

    /// No request runs or waits.
    pub async fn at_rest(&self) {
        eventually("no request runs or waits", || {
            self.in_flight() == 0
                && self
                    .app
                    .fleet()
                    .queue_lengths()
                    .iter()
                    .all(|(_, n)| *n == 0)
        })
        .await;
    }

    /// (input, output) tokens in the database, once everything recorded is there.
    pub async fn counted(&self) -> (i64, i64) {
        self.app
            .spend()
            .flush_now(TEST_TIMEOUT)
            .await
            .expect("a flush in time");
        let counts = self.get("/api/token_counts").await.json();
        let rows = counts["breakdown"].as_array().expect("a breakdown").clone();
        let sum = |key: &str| rows.iter().filter_map(|row| row[key].as_i64()).sum();
        (sum("input_tokens"), sum("output_tokens"))
    }

    /// Ends the test: whatever it did, nothing may be left over.
    pub async fn finish(self) {
        self.at_rest().await;
        drop(self.client);
        tokio::time::timeout(TEST_TIMEOUT + Duration::from_secs(10), self.app.shutdown())
            .await
            .expect("the router stops in time");
        for server in &self.servers {
            server.stop().await;
        }
    }
}
