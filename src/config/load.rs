//! From three layers of text to one [`Config`], or to everything that is wrong with them.
//!
//! Serde stops at its first error, and an operator should not have to start the program once per
//! mistake. So a value that cannot be read is noted and taken out, and the reading starts again;
//! where a field must not be missing, a placeholder takes its place. A configuration with a placeholder
//! never leaves this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::expand;
use super::key::{Key, Step};
use super::problem::{Place, Problem, Source};
use super::tree::{Node, Value};
use super::{Config, Discovery, Endpoint, EndpointUrl, validate};

/// Read when no file is named; it need not be there.
pub const DEFAULT_FILE: &str = "config.toml";

const VARIABLE_PREFIX: &str = "HERDSMAN__";

/// Keys that have no default.
const REQUIRED: [(&str, &str); 5] = [
    ("endpoint", "url"),
    ("model", "name"),
    ("alias", "name"),
    ("price", "model"),
    ("redis.database", "url"),
];

/// Where a configuration comes from.
#[derive(Debug)]
pub struct LoadArgs<E> {
    /// `None`: [`DEFAULT_FILE`] if it is there. A named file must be there.
    pub file: Option<PathBuf>,
    /// The whole environment: layer two, and what `"${NAME}"` means.
    pub env: E,
    /// `table.key=value`, in order.
    pub set: Vec<String>,
    /// Servers in place of every `[[endpoint]]`; none: those that are configured.
    pub servers: Vec<EndpointUrl>,
}

/// Reads and validates everything.
///
/// # Errors
/// Every problem, in the order in which an operator would meet them. A file that is not TOML is
/// reported alone, because nothing can be said of its values.
pub fn load<E>(args: LoadArgs<E>) -> Result<Config, Vec<Problem>>
where
    E: IntoIterator<Item = (String, String)>,
{
    let env: BTreeMap<_, _> = args.env.into_iter().collect();
    let mut root = file_layer(args.file)?;
    let mut problems = Vec::new();
    overlay_environment(&mut root, &env, &mut problems);
    overlay_flags(&mut root, &args.set, &mut problems);
    if !args.servers.is_empty()
        && let Value::Table(table) = &mut root.value
    {
        table.remove("endpoint");
    }
    validated(root, &env, args.servers, problems)
}

/// The servers of a file that holds `[[endpoint]]` and nothing else, for a router that listens there.
///
/// # Errors
/// Every problem, as of a configuration.
pub fn load_endpoints<E>(
    file: &Path,
    env: E,
    listen: SocketAddr,
) -> Result<Vec<Endpoint>, Vec<Problem>>
where
    E: IntoIterator<Item = (String, String)>,
{
    let mut root = file_layer(Some(file.to_owned()))?;
    let Value::Table(table) = &root.value else {
        return Ok(Vec::new());
    };
    let others = table.iter().filter(|(name, _)| *name != "endpoint");
    let refused = others.map(|(name, node)| {
        let what = "is not for this file: only [[endpoint]] is";
        Problem::new(name, node.place.clone(), what)
    });
    let mut problems: Vec<Problem> = refused.collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let flag = [format!("server.listen={listen}")];
    overlay_flags(&mut root, &flag, &mut problems);
    let config = validated(root, &env.into_iter().collect(), Vec::new(), problems)?;
    Ok(config.endpoint)
}

fn validated(
    mut root: Node,
    env: &BTreeMap<String, String>,
    servers: Vec<EndpointUrl>,
    mut problems: Vec<Problem>,
) -> Result<Config, Vec<Problem>> {
    let names_any = matches!(&root.value, Value::Table(table) if table.contains_key("endpoint"));
    problems.extend(expand::secrets(&mut root, env));
    problems.extend(placeholder_for_missing(&mut root));
    let config = deserialize(&mut root, &mut problems);
    let config = config.map(|config| finished(named(assumed(config, names_any), servers)));
    if let Some(config) = &config {
        for fault in validate::faults(config) {
            // A placeholder is not reported a second time.
            if !problems.iter().any(|problem| problem.key == fault.key) {
                let key = Key::parse(&fault.key).unwrap_or_default();
                problems.push(problem_at(&root, &key, &fault.what));
            }
        }
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(Problem::order);
            Err(problems)
        }
    }
}

fn file_layer(file: Option<PathBuf>) -> Result<Node, Vec<Problem>> {
    let (path, named) = match file {
        Some(path) => (path, true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, text),
        Err(error) if error.kind() == ErrorKind::NotFound && !named => {
            Ok(Node::empty_table(Place::Default))
        }
        Err(error) => Err(vec![Problem::new(
            "",
            Place::Default,
            format!("cannot read {}: {error}", path.display()),
        )]),
    }
}

fn parse(path: &Path, text: String) -> Result<Node, Vec<Problem>> {
    let source = Arc::new(Source {
        path: path.to_owned(),
        text,
    });
    let place = |span: Range<usize>| Place::File(Arc::clone(&source), span);
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Ok(Node {
            value: Value::Table(Node::entries(table.get_ref(), &place)),
            place: place(0..0),
        });
    }
    let problem = |error: &toml::de::Error| {
        Problem::new("", place(error.span().unwrap_or_default()), error.message())
    };
    let mut problems: Vec<_> = errors.iter().map(problem).collect();
    problems.sort_by_key(Problem::order);
    Err(problems)
}

fn overlay_environment(
    root: &mut Node,
    env: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let mut layer = Vec::new();
    for (variable, value) in env {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
            continue;
        };
        let place = Place::Environment(variable.clone());
        match Key::from_steps(name.to_ascii_lowercase().split("__")) {
            Some(key) => layer.push((key, Node::bare(value, place))),
            None => problems.push(Problem::new("", place, "names no table and key")),
        }
    }
    layer.sort_by(|(one, _), (other, _)| one.cmp(other));
    overlay(root, layer, problems);
}

fn overlay_flags(root: &mut Node, flags: &[String], problems: &mut Vec<Problem>) {
    let mut layer = Vec::new();
    for flag in flags {
        let parsed = flag
            .split_once('=')
            .and_then(|(dotted, value)| Some((dotted.trim(), Key::parse(dotted)?, value)));
        match parsed {
            Some((dotted, key, value)) => {
                layer.push((key, Node::bare(value, Place::Flag(dotted.to_owned()))));
            }
            None => {
                let name = flag.split('=').next().unwrap_or_default();
                let place = Place::Flag(name.to_owned());
                problems.push(Problem::new("", place, "must be table.key=value"));
            }
        }
    }
    overlay(root, layer, problems);
}

fn overlay(root: &mut Node, layer: Vec<(Key, Node)>, problems: &mut Vec<Problem>) {
    for (key, node) in layer {
        let place = node.place.clone();
        if let Err(what) = root.overlay(key.steps(), node) {
            problems.push(Problem::new(&key, place, what));
        }
    }
}

fn placeholder_for_missing(root: &mut Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (tables, name) in REQUIRED {
        for (key, node) in root.tables_mut(tables) {
            let place = node.place.clone();
            if let Value::Table(table) = &mut node.value
                && !table.contains_key(name)
            {
                let key = key.join(Step::Name(name.to_owned()));
                table.insert(name.to_owned(), placeholder(&key, place.clone()));
                problems.push(Problem::new(&key, place, "is missing"));
            }
        }
    }
    problems
}

/// A value that any required field takes, and that is like no other.
fn placeholder(key: &Key, place: Place) -> Node {
    let label = key.to_string().replace(['.', '_'], "-");
    Node::text(format!("http://{label}.invalid"), place)
}

/// `None` only if a value could neither be read nor be replaced.
fn deserialize(root: &mut Node, problems: &mut Vec<Problem>) -> Option<Config> {
    let mut replaced = BTreeSet::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(&*root) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let key = Key::from(error.path());
        let what = if key.is_one_of(&expand::SECRETS) {
            "must be text in quotes".to_owned()
        } else {
            error.inner().to_string()
        };
        problems.push(problem_at(root, &key, &what));
        replace(root, &key);
        if !replaced.insert(key) {
            return None;
        }
    }
}

/// Makes sure that the next reading does not fail at this value.
///
/// What has a default is taken out. Entries of a list stay, so that the others keep their numbers.
fn replace(root: &mut Node, key: &Key) {
    let Some((last, path)) = key.steps().split_last() else {
        return;
    };
    let Some(parent) = path.iter().try_fold(root, |node, step| node.get_mut(step)) else {
        return;
    };
    match (&mut parent.value, last) {
        (Value::Table(table), Step::Name(name)) => {
            let old = table.remove(name);
            if let Some(old) = old.filter(|_| key.is_one_of(&REQUIRED)) {
                table.insert(name.clone(), placeholder(key, old.place));
            }
        }
        (Value::List(list), Step::Index(index)) => {
            if let Some(node) = list.get_mut(*index) {
                *node = placeholder_entry(key, node.place.clone());
            }
        }
        _ => {}
    }
}

fn placeholder_entry(key: &Key, place: Place) -> Node {
    let required = REQUIRED.iter().find(|(tables, _)| key.names() == *tables);
    let Some((_, name)) = required else {
        return placeholder(key, place);
    };
    let field = placeholder(key, place.clone());
    Node {
        value: Value::Table([((*name).to_owned(), field)].into()),
        place,
    }
}

/// A secret's line is not shown; a server's address may hold a password until it is refused for it.
fn problem_at(root: &Node, key: &Key, what: &str) -> Problem {
    Problem {
        quotable: !key.is_one_of(&expand::SECRETS) && key.last_name() != Some("url"),
        ..Problem::new(key, root.place_of(key), what)
    }
}

/// Whoever looks for servers, and names none, does not mean the one that is assumed without a word.
fn assumed(mut config: Config, names_any: bool) -> Config {
    if !names_any && config.discovery.is_used() {
        config.endpoint.clear();
    }
    config
}

/// With these servers and no others, if there are any.
fn named(mut config: Config, servers: Vec<EndpointUrl>) -> Config {
    if !servers.is_empty() {
        config.endpoint = servers.into_iter().map(Endpoint::at).collect();
        config.discovery = Discovery::default();
        config.only_named = true;
    }
    config
}

/// What is derived from other values.
fn finished(mut config: Config) -> Config {
    if config.endpoint.is_empty() && !config.discovery.is_used() {
        config.endpoint.push(Endpoint::default());
    }
    for endpoint in &mut config.endpoint {
        if endpoint.name.is_empty() {
            endpoint.name = endpoint.url.host_and_port();
        }
    }
    config
}
