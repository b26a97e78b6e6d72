//! The same fields for who is not root: by way of a user namespace.

use crate::executable::copy_executable;
use crate::support::{available, is_root, open_directory};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The user that has nothing.
const NOBODY: u32 = 65534;

struct Nobody {
    program: PathBuf,
    _directory: tempfile::TempDir,
}

impl Nobody {
    /// `None`: this user can have no user namespace, as `test` is told.
    fn new(test: &str) -> Option<Nobody> {
        if !available(test) || !is_root(test) {
            return None;
        }
        let directory = open_directory();
        let program = directory.path().join("ostler");
        copy_executable(env!("CARGO_BIN_EXE_ostler"), &program, 0o755);
        let nobody = Nobody { program, _directory: directory };
        let tried = nobody.run(&["--private", "ipc"], "true");
        if !tried.status.success() {
            let text = String::from_utf8_lossy(&tried.stderr).into_owned();
            // The reason is that of this system, and named.
            assert!(text.contains("user namespace"), "{text}");
            println!("skipped: {test}: {text}");
            return None;
        }
        Some(nobody)
    }

    fn run(&self, flags: &[&str], script: &str) -> Output {
        Command::new(&self.program)
            .arg("run")
            .args(flags)
            .args(["--", "sh", "-c", script])
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn text(&self, flags: &[&str], script: &str) -> String {
        let output = self.run(flags, script);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flags:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn error(&self, flags: &[&str]) -> String {
        let output = self.run(flags, "exit 0");
        assert_eq!(output.status.code(), Some(125), "{flags:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn every_field_works() {
    let Some(nobody) = Nobody::new("every_field_works") else { return };
    let all = ["--private", "pid,ipc,uts", "--hostname", "inside", "--net", "none"];
    let script = "echo $$; hostname; id -u; cat /proc/self/uid_map /proc/self/setgroups; \
                  cat /proc/net/dev | wc -l; ls -d /proc/[0-9]* | head -n 2";
    let text = nobody.text(&all, script);
    let words: Vec<&str> = text.split_whitespace().collect();
    let expected = ["2", "inside", "0", "0", "65534", "1", "deny", "3", "/proc/1", "/proc/2"];
    assert_eq!(words, expected, "{text}");
    for (flags, name) in [
        (["--private", "pid"], "pid"),
        (["--private", "ipc"], "ipc"),
        (["--private", "uts"], "uts"),
        (["--net", "none"], "net"),
    ] {
        let link = format!("/proc/self/ns/{name}");
        let inside = nobody.text(&flags, &format!("readlink {link}"));
        let outside = std::fs::read_link(&link).unwrap();
        assert_ne!(inside.trim(), outside.to_str().unwrap());
    }
    let exit = nobody.run(&all, "kill -KILL $$").status.code();
    assert_eq!(exit, Some(137));
}

#[test]
fn users_and_capabilities_are_those_of_a_user_namespace() {
    let Some(nobody) = Nobody::new("users_and_capabilities_are_those_of_a_user_namespace") else {
        return;
    };
    // Root inside has every capability over what is inside.
    let script = "grep CapEff /proc/self/status; hostname other";
    let text = nobody.text(&["--private", "uts"], script);
    assert!(!text.contains("CapEff:\t0000000000000000"), "{text}");
    // Its own user stays that, and has none.
    let own = ["--private", "pid,uts", "--user", "65534:65534"];
    let text =
        nobody.text(&own, "id -u; grep CapEff /proc/self/status; hostname x || echo refused");
    assert_eq!(text, "65534\nCapEff:\t0000000000000000\nrefused\n");
    let text = nobody.text(&["--private", "uts", "--cap", "none"], "hostname x || echo refused");
    assert_eq!(text, "refused\n");
    let only = ["--private", "uts", "--cap", "SYS_ADMIN"];
    let text = nobody.text(&only, "hostname other && hostname; grep CapEff /proc/self/status");
    assert_eq!(text, "other\nCapEff:\t0000000000200000\n");
}

#[test]
fn what_cannot_be_is_named() {
    let Some(nobody) = Nobody::new("what_cannot_be_is_named") else { return };
    let error = nobody.error(&["--private", "pid", "--user", "1:1"]);
    assert!(error.contains("change to user \"1:1\""), "{error}");
    let error = nobody.error(&["--net", "/proc/1/ns/net"]);
    assert!(error.contains("isolation.net: "), "{error}");
    // Without a namespace nothing changes: no capability, no user.
    let text = nobody.text(&[], "id -u; readlink /proc/self/ns/user");
    let own = std::fs::read_link("/proc/self/ns/user").unwrap();
    assert_eq!(text, format!("65534\n{}\n", own.display()));
}
