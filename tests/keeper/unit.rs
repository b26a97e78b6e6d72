//! The unit that is shipped for systemd.

use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../../docs/systemd/ostler.service");

/// What systemd 252 does not know, and ignores.
const NEWER: [&str; 5] = [
    "notify-reload",
    "'DelegateSubgroup'",
    "'RestartSteps'",
    "'RestartMaxDelaySec'",
    "'FileDescriptorStorePreserve'",
];

#[test]
fn the_shipped_unit_is_sound() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let version = String::from_utf8(version.stdout).unwrap();
    let version: u32 = version.split_whitespace().nth(1).unwrap().parse().unwrap_or(0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ostler.service");
    let installed = "/usr/local/bin/ostler";
    assert!(UNIT.contains(installed));
    std::fs::write(&path, UNIT.replace(installed, env!("CARGO_BIN_EXE_ostler"))).unwrap();
    let told = verify(&path);
    let wrong: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("ostler.service"))
        .filter(|line| version >= 254 || !NEWER.iter().any(|newer| line.contains(newer)))
        .collect();
    assert_eq!(wrong, Vec::<&str>::new(), "systemd {version}");
    // It would say so.
    std::fs::write(&path, UNIT.replace("Delegate=yes", "Delegates=yes")).unwrap();
    assert!(verify(&path).contains("Unknown key 'Delegates'"));
}

fn verify(path: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_shipped_unit_says_what_the_daemon_needs() {
    let lines: Vec<&str> = UNIT.lines().collect();
    for line in [
        "Type=notify-reload",
        "Delegate=yes",
        "DelegateSubgroup=supervisor",
        "KillMode=process",
        "FileDescriptorStoreMax=8192",
        "Environment=FDSTORE=8192",
        "OOMPolicy=continue",
        "OOMScoreAdjust=-900",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
}
