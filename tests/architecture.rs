//! Checks the layers of modules and the rules for the code.
//!
//! Reads the sources as text: what an import says is what a reader sees, and a rule that needs a
//! compiler is a lint in `Cargo.toml` or `clippy.toml` instead. Only shipped code belongs to a layer;
//! a unit test may use a simulated server, which is in a higher one.

#![expect(
    clippy::unwrap_used,
    reason = "a source that cannot be read fails the test"
)]

#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use source::{
    Source, all_sources, blanked, files, folders, imports, name_of, root, shipped_sources, sources,
};

/// Which module of the product may import which. Every import that is not listed is upward or
/// sideways.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("config", &["domain"]),
    ("faults", &["domain"]),
    ("mdns", &[]),
    ("metrics", &["domain"]),
    ("protocol", &["domain"]),
    ("routing", &["domain"]),
    ("supervision", &["domain"]),
    ("system", &[]),
    ("watched", &[]),
    ("backend", &["domain", "faults", "protocol"]),
    (
        "upstream",
        &["domain", "config", "faults", "protocol", "metrics"],
    ),
    ("store", &["clock", "domain", "config", "system"]),
    (
        "agent",
        &[
            "backend", "config", "domain", "mdns", "protocol", "upstream",
        ],
    ),
    ("cluster", &["domain", "config", "supervision"]),
    (
        "fleet",
        &[
            "clock",
            "cluster",
            "domain",
            "backend",
            "config",
            "faults",
            "metrics",
            "protocol",
            "routing",
            "supervision",
            "upstream",
        ],
    ),
    (
        "mirror",
        &[
            "clock",
            "domain",
            "config",
            "metrics",
            "protocol",
            "supervision",
            "upstream",
            "system",
        ],
    ),
    ("usage", &["domain", "metrics", "store", "supervision"]),
    (
        "spend",
        &[
            "clock",
            "domain",
            "config",
            "metrics",
            "store",
            "cluster",
            "supervision",
        ],
    ),
    (
        "access",
        &[
            "clock",
            "domain",
            "config",
            "metrics",
            "store",
            "supervision",
        ],
    ),
    ("registrar", &["domain", "store", "supervision"]),
    (
        "gateway",
        &[
            "clock", "access", "backend", "domain", "config", "faults", "metrics", "protocol",
            "routing", "fleet", "usage", "spend", "upstream",
        ],
    ),
    (
        "inventory",
        &[
            "clock",
            "domain",
            "backend",
            "config",
            "supervision",
            "upstream",
            "store",
            "registrar",
            "fleet",
        ],
    ),
    (
        "discovery",
        &[
            "config",
            "mdns",
            "metrics",
            "supervision",
            "watched",
            "inventory",
        ],
    ),
    (
        "models",
        &[
            "clock",
            "metrics",
            "access",
            "backend",
            "domain",
            "protocol",
            "supervision",
            "fleet",
            "mirror",
            "upstream",
        ],
    ),
    (
        "replicas",
        &[
            "backend",
            "clock",
            "domain",
            "fleet",
            "gateway",
            "protocol",
            "supervision",
        ],
    ),
    (
        "http",
        &[
            "clock",
            "cluster",
            "domain",
            "backend",
            "config",
            "metrics",
            "protocol",
            "gateway",
            "inventory",
            "discovery",
            "models",
            "registrar",
            "fleet",
            "mirror",
            "usage",
            "spend",
            "store",
            "access",
        ],
    ),
    (
        "app",
        &[
            "clock",
            "access",
            "backend",
            "domain",
            "config",
            "metrics",
            "protocol",
            "routing",
            "supervision",
            "upstream",
            "store",
            "cluster",
            "fleet",
            "usage",
            "spend",
            "gateway",
            "inventory",
            "discovery",
            "mirror",
            "models",
            "registrar",
            "replicas",
            "http",
            "watched",
            "system",
        ],
    ),
    (
        "cli",
        &[
            "agent", "clock", "access", "app", "config", "store", "spend", "domain", "system",
        ],
    ),
    ("main", &["cli"]),
];

/// Which crate may depend on which, and only the product, which is built on all of them, on more.
/// For its tests any may have `herdsman-test-support`, and itself with other features.
const CRATES: &[(&str, &[&str])] = &[
    ("herdsman-multidb", &[]),
    ("herdsman-simulator", &[]),
    ("herdsman-test-support", &[]),
];

/// The longest a file may be without its tests.
const MAX_LINES: usize = 400;

/// Names that do not say what a file contains.
const VAGUE: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "manager",
];

/// Split, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

#[test]
fn no_module_imports_upward_or_sideways() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in sources("src").iter().filter(|file| !file.is_test()) {
        let module = file.module();
        if module == "lib" {
            continue;
        }
        let allowed = layers
            .get(module)
            .unwrap_or_else(|| panic!("{} is in no layer", file.name));
        for import in imports(&file.shipped(), file.depth()) {
            if import != module
                && layers.contains_key(import.as_str())
                && !allowed.contains(&import.as_str())
            {
                wrong.push(format!("{}: {module} may not import {import}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_layers_are_complete_and_have_no_cycle() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let planned: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let planned = &planned - &BTreeSet::from(["main"]);
    assert_eq!(declared, planned, "src/lib.rs against the list of layers");
    for module in &declared {
        assert!(
            lib.contains(&format!("[`{module}`]")),
            "the table in src/lib.rs lacks {module}"
        );
    }
    // Listed from the lowest up, each may only name what is listed before it.
    let mut below = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for import in *allowed {
            assert!(below.contains(import), "{module} is listed before {import}");
        }
        below.insert(*module);
    }
}

#[test]
fn no_crate_depends_on_the_product_or_on_what_it_may_not() {
    let crates: BTreeMap<_, _> = CRATES.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for folder in folders(&root().join("crates")) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let allowed = crates
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not listed"));
        let ours = |table: &str| -> Vec<String> {
            let table = manifest.get(table).and_then(toml::Value::as_table);
            let names = table.into_iter().flat_map(toml::Table::keys);
            names
                .filter(|name| name.starts_with("herdsman"))
                .cloned()
                .collect()
        };
        for other in ours("dependencies") {
            if !allowed.contains(&other.as_str()) {
                wrong.push(format!("{name} may not depend on {other}"));
            }
        }
        for other in ours("dev-dependencies") {
            if other != name && other != "herdsman-test-support" {
                wrong.push(format!("the tests of {name} may not depend on {other}"));
            }
        }
        found.insert(name);
    }
    assert_none(&wrong);
    let planned: BTreeSet<_> = crates.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, planned, "crates/ against the list of crates");
}

#[test]
fn every_module_has_documentation() {
    let wrong: Vec<_> = all_sources()
        .into_iter()
        .filter(|file| file.name.contains("src/") && !file.is_test())
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{} has no module documentation", file.name))
        .collect();
    assert_none(&wrong);
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    let product = |file: &&Source| !file.is_test() && !file.name.starts_with("tests/");
    for file in all_sources().iter().filter(product) {
        let lines = file.shipped().lines;
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines without its tests", file.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_file_name_is_vague() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        let vague = file
            .name
            .trim_end_matches(".rs")
            .split(['/', '_'])
            .find(|part| VAGUE.contains(part));
        if let Some(part) = vague {
            wrong.push(format!("{}: \"{part}\" is vague", file.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_actor_has_the_same_files() {
    let mut wrong = Vec::new();
    for file in shipped_sources() {
        let Some(folder) = file.name.strip_suffix("/actor.rs") else {
            continue;
        };
        let folder = root().join(folder);
        for part in ["mod", "message", "state"] {
            let file = folder.join(format!("{part}.rs"));
            if !file.is_file() && !folder.join(part).join("mod.rs").is_file() {
                wrong.push(format!("{} is missing beside actor.rs", file.display()));
            }
        }
    }
    assert_none(&wrong);
}

/// The structure is in `docs/ARCHITECTURE.md`: one wrapper, which alone uses the actor library.
#[test]
fn actors_are_written_in_one_way() {
    const PARTS: &[&str] = &[
        "type Message =",
        "type Timer =",
        "type Setup =",
        "fn start(",
        "fn handle(",
        "fn due(",
    ];
    /// The context has timers and tasks.
    const OWN_MEANS: &[&str] = &[
        "sleep",
        "interval(",
        "AbortHandle",
        "AbortOnDropHandle",
        "JoinSet",
    ];
    let mut wrong = Vec::new();
    for file in sources("src") {
        if file.module() == "supervision" {
            continue;
        }
        let code = file.shipped().code;
        if code.contains("ractor") {
            wrong.push(format!("{} uses the actor library", file.name));
        }
        let actors = code.matches(" Actor for ").count();
        if !file.name.ends_with("/actor.rs") {
            if actors > 0 {
                wrong.push(format!(
                    "{} contains an actor, which belongs into actor.rs",
                    file.name
                ));
            }
            continue;
        }
        for part in PARTS
            .iter()
            .filter(|part| code.matches(**part).count() != 1)
        {
            wrong.push(format!("{} has not exactly one \"{part}\"", file.name));
        }
        if actors != 1 {
            wrong.push(format!("{} contains {actors} actors", file.name));
        }
        for means in OWN_MEANS.iter().filter(|means| code.contains(**means)) {
            wrong.push(format!("{} has a {means} of its own", file.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn shipped_code_does_not_unwrap() {
    let mut wrong = Vec::new();
    for file in shipped_sources() {
        for (number, line) in file.shipped().code.lines().enumerate() {
            if line.contains(".unwrap()") {
                wrong.push(format!("{}:{} unwraps", file.name, number + 1));
            }
        }
    }
    assert_none(&wrong);
}

/// Time and randomness are arguments, and I/O is done elsewhere.
#[test]
fn code_that_decides_is_pure() {
    const EFFECTS: &[&str] = &[
        "::now()",
        ".await",
        "async fn",
        "tokio::net",
        "tokio::fs",
        "tokio::task",
        "std::fs",
        "std::env",
        "fastrand::",
    ];
    let pure = |file: &&Source| {
        (file.name.starts_with("src/")
            && ["backend", "domain", "protocol", "routing"].contains(&file.module()))
            || file.name.ends_with("/state.rs")
            || file.name.contains("/state/")
    };
    let mut wrong = Vec::new();
    for file in shipped_sources().iter().filter(pure) {
        let shipped = file.shipped();
        for effect in EFFECTS
            .iter()
            .filter(|effect| shipped.code.contains(**effect))
        {
            wrong.push(format!("{} has {effect}", file.name));
        }
    }
    assert_none(&wrong);
}

/// Agents run on other systems than Linux, so what is of one system is where the others' is beside it.
#[test]
fn one_place_has_what_differs_between_systems() {
    const OF_ONE: &[&str] = &[
        "std::os::",
        "signal::unix",
        "signal::windows",
        "rustix::",
        "libc::",
        "nix::",
        "cfg(unix)",
        "cfg(windows)",
        "cfg(not(unix))",
        "cfg(target_os",
    ];
    let mut wrong = Vec::new();
    for file in shipped_sources() {
        if !file.name.starts_with("src/") || file.module() == "system" {
            continue;
        }
        let code = file.shipped().code;
        for call in OF_ONE.iter().filter(|call| code.contains(**call)) {
            wrong.push(format!(
                "{} has {call}, which belongs into src/system",
                file.name
            ));
        }
    }
    assert_none(&wrong);
}

/// A lint forbids it too; this one also sees what is hidden behind an exception.
#[test]
fn one_place_reads_the_wall_clock() {
    // A simulated server represents another machine.
    const PLACES: &[&str] = &["src/clock.rs", "src/simulator/node.rs"];
    let mut readers = Vec::new();
    for file in sources("src").iter().filter(|file| !file.is_test()) {
        let code = file.shipped().code;
        if ["SystemTime::now", "Timestamp::now", "ZonedDateTime::now"]
            .iter()
            .any(|reading| code.contains(reading))
        {
            readers.push(file.name.clone());
        }
    }
    readers.sort();
    assert!(readers.contains(&"src/clock.rs".to_owned()), "{readers:?}");
    readers.retain(|reader| !PLACES.contains(&reader.as_str()));
    assert_none(&readers);
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        for line in blanked(&file.text).lines() {
            if line.contains("#[ignore") || line.contains("#[allow(") {
                wrong.push(format!("{}: {}", file.name, line.trim()));
            }
        }
    }
    for path in files(
        &root(),
        &[
            "rs", "md", "toml", "sql", "py", "js", "sh", "run", "Makefile",
        ],
    ) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
            if words.any(|word| UNFINISHED.contains(&word)) {
                wrong.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_database_has_the_same_migrations() {
    let dialects: Vec<(PathBuf, BTreeSet<String>)> = folders(&root().join("migrations"))
        .into_iter()
        .map(|dialect| {
            let names = folders(&dialect).iter().map(|path| name_of(path)).collect();
            (dialect, names)
        })
        .collect();
    for pair in dialects.windows(2) {
        let ((one, ones), (other, others)) = (&pair[0], &pair[1]);
        assert_eq!(
            ones,
            others,
            "{} against {}",
            one.display(),
            other.display()
        );
    }
}

#[test]
fn the_licence_is_apache_2() {
    let manifest = |path: PathBuf| -> toml::Table {
        let text = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        text.parse().unwrap()
    };
    let project = manifest(root());
    let licence = project["workspace"]["package"]["license"].as_str();
    assert_eq!(licence, Some("Apache-2.0"));
    for package in folders(&root().join("crates")).into_iter().chain([root()]) {
        let inherits = manifest(package)["package"]["license"]["workspace"].as_bool();
        assert_eq!(inherits, Some(true));
    }
    let licence = fs::read_to_string(root().join("LICENSE")).unwrap();
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
