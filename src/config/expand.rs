//! Secrets that stand elsewhere: `*_file = PATH` and `"${ENV_NAME}"`.
//!
//! The tree is changed in place before serde looks at it, so that nothing behind this step knows
//! that a secret was not written out. What cannot be fetched is a problem: an empty key in the
//! place of a missing one would allow access without a key.

use std::collections::BTreeMap;
use std::fs;

use super::key::{Key, Step};
use super::problem::Problem;
use super::tree::{FILE_SUFFIX, Node, Value};

/// Every secret: its table (or list of tables) and its key.
pub(super) const SECRETS: [(&str, &str); 7] = [
    ("access", "admin_key"),
    ("access", "join_key"),
    ("endpoint", "api_key"),
    ("redis.database", "url"),
    ("redis.database", "master_url"),
    ("redis.database", "health_check_url"),
    ("store", "url"),
];

/// Puts every secret into its place.
pub(super) fn secrets(root: &mut Node, env: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (tables, name) in SECRETS {
        for (key, node) in root.tables_mut(tables) {
            let Value::Table(table) = &mut node.value else {
                continue;
            };
            let key = key.join(Step::Name(name.to_owned()));
            let file_name = format!("{name}{FILE_SUFFIX}");
            let secret = match (table.remove(&file_name), table.get(name)) {
                (Some(file), None) => from_file(&file),
                (Some(file), Some(_)) => {
                    let what = format!("is given both as {name} and as {file_name}; keep one");
                    Err(Problem::new(&key, file.place, what))
                }
                (None, Some(node)) => from_environment(node, env),
                (None, None) => continue,
            };
            match secret {
                Ok(None) => {}
                Ok(Some(node)) => {
                    table.insert(name.to_owned(), node);
                }
                Err(problem) => problems.push(named(problem, &key)),
            }
        }
    }
    problems
}

fn named(problem: Problem, key: &Key) -> Problem {
    Problem {
        key: key.to_string(),
        quotable: false,
        ..problem
    }
}

/// The file's text without the newline that editors put at its end.
fn from_file(node: &Node) -> Result<Option<Node>, Problem> {
    let refused = |what: String| Err(Problem::new("", node.place.clone(), what));
    let Some(path) = node.as_written() else {
        return refused("the path of a file is text in quotes".into());
    };
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => refused(format!("{path} is empty")),
        Ok(text) => Ok(Some(Node::text(
            text.trim_end_matches(['\r', '\n']),
            node.place.clone(),
        ))),
        Err(error) => refused(format!("cannot read {path}: {error}")),
    }
}

/// What the variable holds, if the secret names one; `None` if it is written out.
fn from_environment(node: &Node, env: &BTreeMap<String, String>) -> Result<Option<Node>, Problem> {
    let refused = |what: String| Err(Problem::new("", node.place.clone(), what));
    let Some(written) = node.as_written().filter(|text| text.contains("${")) else {
        return Ok(None);
    };
    let name = written
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.is_empty() && !name.contains(['$', '{', '}']));
    let Some(name) = name else {
        return refused("a variable must be the whole secret: \"${NAME}\"".into());
    };
    match env.get(name).filter(|value| !value.is_empty()) {
        Some(value) => Ok(Some(Node::text(value, node.place.clone()))),
        None => refused(format!("the variable {name} is not set or empty")),
    }
}
