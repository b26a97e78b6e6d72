//! Python with packages of others, from PyPI.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A Python that has this package: the one that is there, or one of a virtual environment in the
/// target directory, which is made once. `None`, and said by name, where that cannot be had.
pub(crate) fn with(package: &str, import: &str, test: &str) -> Option<PathBuf> {
    // One installation at a time.
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock();
    let has = |python: &Path| runs(Command::new(python).args(["-c", &format!("import {import}")]));
    let found = PathBuf::from("python3");
    if has(&found) {
        return Some(found);
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let own = place.join("bin/python3");
    let made = own.exists() || runs(Command::new("python3").args(["-m", "venv"]).arg(&place));
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    if made && (has(&own) || runs(Command::new(&own).args(install)) && has(&own)) {
        return Some(own);
    }
    eprintln!("skipped: {test}: {package} cannot be installed (python3 -m venv, pip install)");
    None
}

fn runs(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a script of ours to its end, and hands out what it prints.
pub(crate) fn run(python: &Path, script: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stats").join(script);
    let output = Command::new(python)
        .arg(path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {complained}");
    String::from_utf8(output.stdout).expect("text")
}
