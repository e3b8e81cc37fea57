//! The floor plan and the house rules, kept true.
//!
//! Reads the sources as text: what an import says is what a reader sees, and a rule that needs a
//! compiler is a lint in `Cargo.toml` or `clippy.toml` instead. Only shipped code stands on floors;
//! a unit test may fetch a simulated server from upstairs.

#![expect(
    clippy::unwrap_used,
    reason = "a source that cannot be read fails the test"
)]

#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use source::{Source, all_sources, blanked, files, folders, imports, name_of, root, sources};

/// Which module may import which. Whatever is not listed is upward or sideways.
const FLOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("config", &["domain"]),
    ("metrics", &["domain"]),
    ("multidb", &[]),
    ("protocol", &["domain"]),
    ("routing", &["domain"]),
    ("supervision", &["domain"]),
    ("simulator", &["domain", "protocol"]),
    ("upstream", &["domain", "config", "protocol", "metrics"]),
    ("store", &["clock", "domain", "config"]),
    ("cluster", &["domain", "config", "supervision"]),
    (
        "fleet",
        &[
            "domain",
            "config",
            "metrics",
            "protocol",
            "routing",
            "supervision",
            "upstream",
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
    (
        "gateway",
        &[
            "clock", "access", "domain", "config", "metrics", "protocol", "routing", "fleet",
            "usage", "spend", "upstream",
        ],
    ),
    (
        "http",
        &[
            "clock", "domain", "config", "metrics", "protocol", "gateway", "fleet", "usage",
            "spend", "store", "access", "multidb",
        ],
    ),
    (
        "app",
        &[
            "clock",
            "access",
            "domain",
            "config",
            "metrics",
            "protocol",
            "routing",
            "supervision",
            "simulator",
            "upstream",
            "store",
            "multidb",
            "cluster",
            "fleet",
            "usage",
            "spend",
            "gateway",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "access",
            "app",
            "config",
            "simulator",
            "store",
            "spend",
            "domain",
        ],
    ),
    ("main", &["cli"]),
];

/// The longest a file may be without its tests.
const MAX_LINES: usize = 400;

/// Names that say where someone gave up finding one.
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
fn nobody_imports_upward_or_sideways() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in sources("src").iter().filter(|file| !file.is_test()) {
        let module = file.module();
        if module == "lib" {
            continue;
        }
        let allowed = floors
            .get(module)
            .unwrap_or_else(|| panic!("{} stands on no floor", file.name));
        for import in imports(&file.shipped(), file.depth()) {
            if import != module
                && floors.contains_key(import.as_str())
                && !allowed.contains(&import.as_str())
            {
                wrong.push(format!("{}: {module} may not import {import}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_plan_is_complete_and_has_no_cycle() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let planned: BTreeSet<&str> = FLOORS.iter().map(|(module, _)| *module).collect();
    let planned = &planned - &BTreeSet::from(["main"]);
    assert_eq!(declared, planned, "src/lib.rs against the floor plan");
    for module in &declared {
        assert!(
            lib.contains(&format!("[`{module}`]")),
            "the map in src/lib.rs lacks {module}"
        );
    }
    // Listed from the ground up, each may only name what stands before it.
    let mut below = BTreeSet::new();
    for (module, allowed) in FLOORS {
        for import in *allowed {
            assert!(below.contains(import), "{module} is listed before {import}");
        }
        below.insert(*module);
    }
}

#[test]
fn every_module_begins_with_what_it_owns() {
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .filter(|file| !file.is_test() && !file.text.starts_with("//! "))
        .map(|file| format!("{} has no module documentation", file.name))
        .collect();
    assert_none(&wrong);
}

#[test]
fn a_file_holds_one_idea() {
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
fn every_name_says_something() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        let vague = file
            .name
            .trim_end_matches(".rs")
            .split(['/', '_'])
            .find(|part| VAGUE.contains(part));
        if let Some(part) = vague {
            wrong.push(format!("{}: \"{part}\" names nothing", file.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn who_knows_one_actor_knows_all() {
    let mut wrong = Vec::new();
    for file in sources("src") {
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

#[test]
fn shipped_code_does_not_unwrap() {
    let mut wrong = Vec::new();
    for file in sources("src").iter().filter(|file| !file.is_test()) {
        for (number, line) in file.shipped().code.lines().enumerate() {
            if line.contains(".unwrap()") {
                wrong.push(format!("{}:{} unwraps", file.name, number + 1));
            }
        }
    }
    assert_none(&wrong);
}

/// Time and randomness are arguments, and I/O is somebody else's.
#[test]
fn what_decides_is_pure() {
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
    let pure = |file: &Source| {
        ["domain", "protocol", "routing"].contains(&file.module())
            || file.name.ends_with("/state.rs")
            || file.name.contains("/state/")
    };
    let mut wrong = Vec::new();
    for file in sources("src")
        .iter()
        .filter(|file| pure(file) && !file.is_test())
    {
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

/// A lint forbids it too; this one also sees what is hidden behind an exception.
#[test]
fn one_place_reads_the_wall_clock() {
    // A simulated server stands for another machine.
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
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert_eq!(manifest["package"]["license"].as_str(), Some("Apache-2.0"));
    let licence = fs::read_to_string(root().join("LICENSE")).unwrap();
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
