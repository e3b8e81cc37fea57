//! How sources are read: as text, without comments, strings and tests.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// Path from the root of the project.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A file without its comments, strings and tests; every line keeps its number.
pub(crate) struct Shipped {
    pub(crate) code: String,
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn is_test(&self) -> bool {
        self.name
            .split('/')
            .skip(1)
            .any(|part| part == "tests" || part == "tests.rs")
    }

    /// Whether it is compiled into what users run: not a test, a bench, or their shared code.
    pub(crate) fn is_shipped(&self) -> bool {
        let folders: Vec<&str> = self.name.split('/').collect();
        let in_source = matches!(folders[..], ["src", ..] | ["crates", _, "src", ..]);
        in_source && !self.is_test() && !self.name.starts_with("crates/test-support/")
    }

    /// The path from the folder of its crate's root.
    fn path_in_crate(&self) -> &str {
        match self.name.split_once("src/") {
            Some((_, path)) => path,
            None => &self.name,
        }
    }

    /// The first module below the root: `fleet` for `src/fleet/registry/mod.rs`.
    pub(crate) fn module(&self) -> &str {
        let path = self.path_in_crate();
        let first = path.split('/').next().unwrap_or(path);
        first.trim_end_matches(".rs")
    }

    /// How many `super::` reach the root of the crate.
    pub(crate) fn depth(&self) -> usize {
        let path = self.path_in_crate();
        let steps = path.split('/').count();
        if path.ends_with("/mod.rs") {
            steps - 1
        } else {
            steps
        }
    }

    pub(crate) fn shipped(&self) -> Shipped {
        let mut code = blanked(&self.text);
        let mut lines = self.text.lines().count();
        while let Some(range) = test_item(&code) {
            let item = &code[range.clone()];
            lines -= item.lines().count();
            let blank: String = item
                .chars()
                .map(|char| if char == '\n' { '\n' } else { ' ' })
                .collect();
            code.replace_range(range, &blank);
        }
        Shipped { code, lines }
    }
}

/// Comments and the insides of strings become spaces.
pub(crate) fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = hidden(rest).unwrap_or(0);
        if length == 0 {
            // An identifier is taken whole, so that the r of `for` opens no raw string.
            let word = rest
                .find(|char: char| !char.is_alphanumeric() && char != '_')
                .unwrap_or(rest.len())
                .max(first.len_utf8());
            out.push_str(&rest[..word]);
            rest = &rest[word..];
        } else {
            let blank = |char| if char == '\n' { '\n' } else { ' ' };
            out.extend(rest[..length].chars().map(blank));
            rest = &rest[length..];
        }
    }
    out
}

/// Bytes of the comment, string or character that begins here.
fn hidden(rest: &str) -> Option<usize> {
    let until = |end: &str, from: usize| {
        rest[from..]
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    let raw = rest.trim_start_matches('b');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until("*/", 2));
    }
    if let Some(marks) = raw.strip_prefix('r') {
        let hashes = marks.len() - marks.trim_start_matches('#').len();
        let open = rest.len() - raw.len() + 1 + hashes;
        return marks[hashes..]
            .starts_with('"')
            .then(|| until(&format!("\"{}", "#".repeat(hashes)), open + 1));
    }
    if let Some(string) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = string.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        return Some(end.map_or(rest.len(), |at| at + 2));
    }
    // A lifetime has no second mark.
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return Some(2 + until("'", 3) - 2);
    }
    let char = inside.chars().next()?.len_utf8();
    inside[char..].starts_with('\'').then_some(char + 2)
}

/// The first item that is compiled for tests only.
fn test_item(code: &str) -> Option<Range<usize>> {
    let start = code.find("#[cfg(test)]")?;
    let mut open = 0;
    for (at, char) in code[start..].char_indices() {
        match char {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 && matches!(char, '}' | ';') {
            return Some(start..start + at + 1);
        }
    }
    Some(start..code.len())
}

/// The modules of this crate that are named here, however they are reached.
pub(crate) fn imports(shipped: &Shipped, depth: usize) -> BTreeSet<String> {
    let to_root = "super::".repeat(depth);
    ["crate::", "herdsman::", to_root.as_str()]
        .into_iter()
        .filter(|way| !way.is_empty())
        .flat_map(|way| shipped.code.match_indices(way))
        .filter(|(at, _)| {
            !shipped.code[..*at].ends_with(|char: char| char.is_alphanumeric() || char == '_')
        })
        .flat_map(|(at, way)| first_names(&shipped.code[at + way.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

/// `fleet` for `fleet::View`, both for `{fleet::View, usage}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| -> String {
        path.trim_start()
            .chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut names = vec![name(group)];
    let mut open = 1;
    for (at, char) in group.char_indices() {
        match char {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(name(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

pub(crate) fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches", "crates"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

/// What is not a test: of the product, and of every crate.
pub(crate) fn shipped_sources() -> Vec<Source> {
    let mut found = all_sources();
    found.retain(Source::is_shipped);
    found
}

pub(crate) fn sources(folder: &str) -> Vec<Source> {
    files(&root().join(folder), &["rs"])
        .into_iter()
        .map(|path| Source {
            name: path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

/// Files by ending or whole name, without what git ignores or hides.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = name_of(&path);
        if path.is_dir() {
            let hidden = name.starts_with('.') && ![".ci", ".config"].contains(&name.as_str());
            let skipped = name.starts_with("target") || hidden;
            if !skipped {
                found.extend(files(&path, endings));
            }
        } else if endings.contains(&name.rsplit('.').next().unwrap_or_default()) {
            found.push(path);
        }
    }
    found
}

pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn comments_strings_and_tests_are_not_read() {
    let text = r##"//! crate::comment
use crate::{
    config::{self, Config},
    spend,
};
use super::super::usage::View;
const URL: &str = "http://crate::string"; // crate::trailing
const RAW: &str = r#"crate::raw " "#;
fn for_each<'a>(x: &'a str) -> char { crate::fleet::x.unwrap_or('"') }
#[cfg(test)]
mod tests {
    use crate::http;
    fn brace() { assert_eq!("}", '}'.unwrap()) }
}
fn after() -> crate::domain::Y {}
"##;
    let file = Source {
        name: "src/gateway/relay.rs".into(),
        text: text.into(),
    };
    let shipped = file.shipped();
    assert_eq!(file.module(), "gateway");
    assert_eq!(shipped.lines, text.lines().count() - 5);
    assert!(!shipped.code.contains(".unwrap()"));
    let found = imports(&shipped, file.depth());
    let expected = ["config", "domain", "fleet", "spend", "usage"];
    assert_eq!(found, expected.map(str::to_owned).into());
}
