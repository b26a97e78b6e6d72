//! What the library adds to its host: packages, and bytes of the program. `benches/budgets.rs` has
//! what a release build of the daemon may cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Packages below a host, ostler itself included.
const PACKAGES_MAX: usize = 12;
/// Bytes that a host of the smallest use grows by: size-optimised, one unit, stripped. A guard
/// against growth: isolation, commands and adoption are in it whether the host uses them or not.
const ADDED_BYTES_MAX: u64 = 600 << 10;

const MANIFEST: &str = r#"[package]
name = "host"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[[bin]]
name = "with"
path = "with.rs"

[[bin]]
name = "without"
path = "without.rs"

[dependencies]
ostler = { path = "PATH", default-features = false }

[profile.release]
opt-level = "z"
lto = "fat"
codegen-units = 1
panic = "abort"
strip = true
"#;

/// What a host does: launches, waits, stops, says what has failed.
const WITH: &str = r#"use ostler::{EventKind, FileSink, Options, Sink, Supervisor, TaskSpec};

fn run() -> Result<(), String> {
    let mut supervisor = Supervisor::new(Options::default()).map_err(|e| e.to_string())?;
    let file = FileSink { max_size: Some(1 << 20), ..FileSink::new("/tmp/host.log") };
    let task = TaskSpec { stdout: Some(Sink::File(file)), ..TaskSpec::new("/bin/true") };
    let id = supervisor.launch(task).map_err(|e| e.to_string())?;
    let mut events = Vec::new();
    loop {
        supervisor.turn(None, &mut events).map_err(|e| e.to_string())?;
        for event in events.drain(..) {
            println!("{}", event.kind.as_str());
            if event.kind == EventKind::Started {
                supervisor.stop(id, None, None).map_err(|e| e.to_string())?;
            } else if event.kind == EventKind::Finished {
                return Ok(());
            }
        }
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
    }
}
"#;

const WITHOUT: &str = r#"fn run() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/self/comm").map_err(|e| e.to_string())?;
    println!("{}", text);
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
    }
}
"#;

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("--offline").current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

#[test]
fn the_library_has_few_packages_below_it() {
    let arguments = ["tree", "-e", "normal", "--no-default-features", "--prefix", "none"];
    let output = cargo().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    println!("{} packages: {packages:?}", packages.len());
    assert!(packages.contains("ostler"), "{packages:?}");
    assert!(packages.len() <= PACKAGES_MAX, "{packages:?}");
}

#[test]
fn the_library_adds_little_to_a_host() {
    // Kept between runs, apart from the target directory that the caller has locked.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("budgets");
    fs::create_dir_all(&place).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let manifest = MANIFEST.replace("PATH", root);
    for (name, text) in [("Cargo.toml", &*manifest), ("with.rs", WITH), ("without.rs", WITHOUT)] {
        fs::write(place.join(name), text).unwrap();
    }
    fs::copy(Path::new(root).join("Cargo.lock"), place.join("Cargo.lock")).unwrap();
    let output = cargo()
        .args(["build", "--release", "--target-dir", "target"])
        .current_dir(&place)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let size = |name: &str| fs::metadata(place.join("target/release").join(name)).unwrap().len();
    let (with, without) = (size("with"), size("without"));
    let added = with.saturating_sub(without);
    println!("with {with} bytes, without {without}: {added} added");
    assert!(added <= ADDED_BYTES_MAX, "{added} bytes are added: {with} instead of {without}");
}
