//! The rules of docs/contributing.md that a program can check.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// A layer and what its files may not name: the layers above it, and crates that are not its own.
const LAYERS: [(&str, &[&str]); 7] = [
    (
        "src/vocabulary",
        &["crate::engine", "crate::sys", "crate::reactor", "nix::", "mio::", "log::", "libc"],
    ),
    (
        "src/engine",
        &[
            "crate::sys",
            "crate::reactor",
            "crate::control",
            "nix::",
            "mio::",
            "log::",
            "libc",
            "std::fs",
            "std::io",
            "std::process",
            "std::thread",
            "std::env",
            "Instant::",
            "SystemTime",
        ],
    ),
    (
        "src/keeper",
        &[
            "crate::engine",
            "crate::reactor",
            "crate::control",
            "crate::cli",
            "mio::",
            "serde",
            "clap",
            "log::",
            "libc",
        ],
    ),
    ("src/sys", &["crate::engine", "crate::reactor", "crate::control", "mio::", "log::"]),
    ("src/reactor", &["crate::control", "crate::cli", "serde", "clap", "libc::"]),
    ("src/control", &["crate::cli", "mio::", "clap", "toml", "env_logger", "libc::"]),
    ("src/cli", &["mio::", "libc::"]),
];

fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The code of a file: no comment, nothing behind its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]\nmod"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line has the word, and not only as the end of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_alphanumeric()))
    })
}

fn complain(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_layer_imports_only_from_below() {
    let mut problems = Vec::new();
    for (layer, forbidden) in LAYERS {
        let files = rust_files(layer);
        assert!(!files.is_empty(), "{layer} has no files");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in code(&text) {
                for word in forbidden.iter().filter(|word| names(line, word)) {
                    problems.push(format!("{}:{}: {word}", relative(&path), number + 1));
                }
            }
        }
    }
    complain(&problems);
}

#[test]
fn files_functions_and_lines_have_a_size_that_can_be_read() {
    let mut problems = Vec::new();
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(rust_files) {
        let text = fs::read_to_string(&path).unwrap();
        let name = relative(&path);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            problems.push(format!("{name}: {} lines", lines.len()));
        }
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                problems.push(format!("{name}:{}: over {COLUMNS_MAX} columns", number + 1));
            }
            if let Some(length) = function_length(&lines, number)
                && length > FUNCTION_LINES_MAX
            {
                problems.push(format!("{name}:{}: function of {length} lines", number + 1));
            }
        }
    }
    complain(&problems);
}

/// The lines of the function that begins in this line: rustfmt closes it at its own indentation.
fn function_length(lines: &[&str], start: usize) -> Option<usize> {
    let line = lines.get(start)?;
    let indent = line.len() - line.trim_start().len();
    let head = line.trim_start();
    let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "unsafe fn "]
        .iter()
        .any(|word| head.starts_with(word));
    if !is_function || head.ends_with(';') || head.ends_with('}') {
        return None;
    }
    let closing = format!("{}}}", " ".repeat(indent));
    let length = lines.get(start..)?.iter().position(|line| *line == closing)?;
    Some(length + 1)
}

#[test]
fn the_architecture_names_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let missing: Vec<String> = rust_files("src")
        .iter()
        .map(|path| relative(path))
        .filter(|name| !text.contains(name.trim_start_matches("src/")))
        .collect();
    complain(&missing);
}

#[test]
fn nothing_is_left_undone() {
    let mut problems = Vec::new();
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(rust_files) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for word in ["todo!(", "unimplemented!(", "FIXME", "TODO", "#[ignore"] {
                if line.contains(word) {
                    problems.push(format!("{}:{}: {word}", relative(&path), number + 1));
                }
            }
        }
    }
    complain(&problems);
}

/// `tests/x.rs: name_of_a_test`, each row of a case names one.
#[test]
fn the_tests_that_docs_security_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut problems = Vec::new();
    let mut named = 0;
    for (file, name) in text.split('`').skip(1).step_by(2).filter_map(|t| t.split_once(": ")) {
        named += 1;
        let file = fs::read_to_string(root.join(file)).unwrap_or_default();
        let lines: Vec<&str> = file.lines().map(str::trim_start).collect();
        let head = format!("fn {name}(");
        let found = lines.iter().position(|line| line.starts_with(&head));
        let is_test = |place: usize| lines.get(..place).is_some_and(|l| l.ends_with(&["#[test]"]));
        if !found.is_some_and(is_test) {
            problems.push(format!("docs/security.md: no test {name}"));
        }
    }
    assert!(named > 50, "{named}");
    let cases = text.split("\n## Cases\n").nth(1).unwrap();
    for row in cases.lines().filter(|line| line.starts_with("| ")) {
        let head = row == "| case | what holds | test |";
        if !head && !row.contains(".rs: ") {
            problems.push(format!("docs/security.md: no test for {row}"));
        }
    }
    complain(&problems);
}
