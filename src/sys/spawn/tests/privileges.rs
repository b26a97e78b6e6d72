//! What tasks give up, as the kernel sees it.

use super::*;
use crate::sys::landlock;
use crate::vocabulary::{Isolation, PathRule};
use std::collections::BTreeMap;

const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// A user that no file names.
const STRANGER: &str = "54321:54321";

fn isolated(isolation: Isolation, spec: TaskSpec) -> TaskSpec {
    TaskSpec { isolation: Some(Box::new(isolation)), ..spec }
}

fn with_capabilities(names: &[&str]) -> Isolation {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Isolation { capabilities: Some(names), ..Isolation::default() }
}

fn without_new_privileges() -> Isolation {
    Isolation { no_new_privs: true, ..Isolation::default() }
}

fn as_stranger(spec: TaskSpec) -> TaskSpec {
    TaskSpec { user: Some(STRANGER.into()), ..spec }
}

fn status() -> TaskSpec {
    task("cat", &["/proc/self/status"])
}

/// The five sets of a task: inheritable, permitted, effective, bounding, ambient.
fn sets(way: Way, spec: &TaskSpec) -> [u64; 5] {
    let text = output(way, spec);
    let fields: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k, v.trim())).collect();
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(fields[name], 16).unwrap())
}

fn number(way: Way, spec: &TaskSpec, field: &str) -> u32 {
    let text = output(way, spec);
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().parse().unwrap()
}

#[test]
fn capabilities_are_the_whole_set_of_the_task() {
    if !is_root("capabilities_are_the_whole_set_of_the_task") {
        return;
    }
    for way in WAYS {
        for (names, set) in [
            (&["cap_kill", "NET_BIND_SERVICE"][..], KILL | NET_BIND_SERVICE),
            (&["CAP_KILL"], KILL),
            (&[], 0),
        ] {
            let spec = isolated(with_capabilities(names), status());
            assert_eq!(sets(way, &spec), [set; 5], "{way:?} root {names:?}");
            assert_eq!(sets(way, &as_stranger(spec)), [set; 5], "{way:?} stranger {names:?}");
        }
        let own = sets(way, &status());
        let all = isolated(with_capabilities(&["all"]), status());
        let [_, permitted, effective, bounding, _] = sets(way, &all);
        assert_eq!([permitted, effective, bounding], own[1..4], "{way:?}");
        // What is not asked for stays as it is: a user has none, and may get some.
        assert_eq!(sets(way, &as_stranger(status())), [0, 0, 0, own[3], 0], "{way:?}");
    }
}

#[test]
fn a_capability_that_we_lack_fails_the_launch() {
    if !is_root("a_capability_that_we_lack_fails_the_launch") {
        return;
    }
    alone("privileges::a_capability_that_we_lack_fails_the_launch", || {
        let drop = libc::PR_CAPBSET_DROP as usize;
        call(libc::SYS_prctl, [drop, 5, 0, 0, 0]).unwrap();
        for way in WAYS {
            let spec = isolated(with_capabilities(&["CHOWN", "KILL"]), status());
            let error = run(way, &spec).unwrap_err();
            assert_eq!((error.stage, error.errno), (Stage::Capabilities, libc::EPERM), "{way:?}");
            assert!(error.message.starts_with("give the task CAP_KILL, which"), "{error}");
            let all = isolated(with_capabilities(&["ALL"]), status());
            assert_eq!(sets(way, &all)[3] & KILL, 0, "{way:?}");
        }
    });
}

#[test]
fn only_no_new_privileges_alone_keeps_the_shared_way() {
    let mut spawner = Way::Shared.spawner();
    let mut shares =
        |isolation: Isolation| spawner.plan(&isolated(isolation, sh("true"))).unwrap().may_share;
    assert!(shares(Isolation::default()));
    assert!(shares(without_new_privileges()));
    assert!(shares(Isolation { seccomp: Some("none".into()), ..Isolation::default() }));
    let rules = Some(vec![PathRule { path: "/".into(), access: "r".into() }]);
    assert!(!shares(Isolation { landlock: rules, ..without_new_privileges() }));
    if crate::sys::seccomp::why_unavailable().is_none() {
        assert!(!shares(filtered("default", true)));
    }
    if nix::unistd::geteuid().is_root() {
        assert!(!shares(with_capabilities(&[])));
    }
}

#[test]
fn no_new_privileges_outlives_the_exec() {
    let root = nix::unistd::geteuid().is_root();
    for way in WAYS {
        assert_eq!(number(way, &status(), "NoNewPrivs"), 0, "{way:?}");
        let mut spec = isolated(without_new_privileges(), status());
        assert_eq!(number(way, &spec, "NoNewPrivs"), 1, "{way:?}");
        if root {
            spec = as_stranger(spec);
            assert_eq!(number(way, &spec, "NoNewPrivs"), 1, "{way:?}");
        }
    }
}

#[test]
fn a_set_user_id_program_gives_nothing_then() {
    if !is_root("a_set_user_id_program_gives_nothing_then") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    // Not below /tmp, which may be mounted nosuid.
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let program = directory.path().join("id");
    // By another process: a child of another thread could have it open for writing (ETXTBSY).
    let copied = std::process::Command::new("cp").arg("/usr/bin/id").arg(&program).status();
    assert!(copied.unwrap().success());
    for (path, mode) in [(directory.path(), 0o755), (&program, 0o4755)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let spec = as_stranger(task(program.to_str().unwrap(), &["-u"]));
    for way in WAYS {
        if output(way, &spec) != "0\n" {
            eprintln!("skipped a_set_user_id_program_gives_nothing_then: mounted nosuid");
            return;
        }
        let restricted = isolated(without_new_privileges(), spec.clone());
        assert_eq!(output(way, &restricted), "54321\n", "{way:?}");
        let mut bounded = restricted;
        bounded.isolation = Some(Box::new(with_capabilities(&[])));
        // It runs as root, without any of root's rights.
        bounded.command = "/bin/sh".into();
        let script = format!("{} -u; grep CapEff /proc/self/status", program.display());
        bounded.args = vec!["-c".into(), script];
        assert_eq!(output(way, &bounded), "0\nCapEff:\t0000000000000000\n", "{way:?}");
    }
}

fn filtered(profile: &str, no_new_privs: bool) -> Isolation {
    Isolation { seccomp: Some(profile.into()), no_new_privs, ..Isolation::default() }
}

/// Whether there are filters; says so where there are none.
fn has_filters(test: &str) -> bool {
    let reason = crate::sys::seccomp::why_unavailable();
    if let Some(reason) = &reason {
        eprintln!("skipped {test}: {reason}");
    }
    reason.is_none()
}

#[test]
fn the_default_profile_is_in_force() {
    if !has_filters("the_default_profile_is_in_force") {
        return;
    }
    let root = nix::unistd::geteuid().is_root();
    for (way, no_new_privs) in WAYS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        if !no_new_privs && !root {
            continue;
        }
        let spec = isolated(filtered("default", no_new_privs), status());
        assert_eq!(number(way, &spec, "Seccomp"), 2, "{way:?}");
        if root {
            let spec = as_stranger(spec);
            assert_eq!(number(way, &spec, "Seccomp"), 2, "{way:?}");
            assert_eq!(number(way, &spec, "NoNewPrivs") == 1, no_new_privs, "{way:?}");
            let mut kept = *spec.isolation.clone().unwrap();
            kept.capabilities = Some(vec!["KILL".into()]);
            assert_eq!(sets(way, &isolated(kept, spec)), [KILL; 5], "{way:?} {no_new_privs}");
        }
    }
    let none = isolated(filtered("none", true), status());
    assert_eq!(number(Way::Copied, &none, "Seccomp"), 0);
}

fn profile(text: &str) -> (tempfile::NamedTempFile, Isolation) {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let isolation = filtered(file.path().to_str().unwrap(), true);
    (file, isolation)
}

#[test]
fn a_profile_from_a_file_is_in_force() {
    if !has_filters("a_profile_from_a_file_is_in_force") {
        return;
    }
    let (_file, isolation) = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["seccomp"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    );
    let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
    for way in WAYS {
        let text = output(way, &isolated(isolation.clone(), sh(script)));
        assert!(text.contains("No space left on device") && text.contains('2'), "{way:?}: {text}");
    }
}

#[test]
fn a_filter_that_stands_in_its_own_way_is_told() {
    if !has_filters("a_filter_that_stands_in_its_own_way_is_told") {
        return;
    }
    // Not even the report of a failed exec can be written: the task has ended at once.
    let (_file, nothing) = profile(r#"{"defaultAction": "SCMP_ACT_KILL_PROCESS"}"#);
    let (_file, no_exec) = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["execve", "setresuid"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    for way in WAYS {
        let (status, _) = run(way, &isolated(nothing.clone(), sh("true"))).unwrap();
        assert_eq!(status, ExitStatus::Signaled(libc::SIGSYS as u8), "{way:?}");
        let error = run(way, &isolated(no_exec.clone(), sh("true"))).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Exec, libc::EPERM), "{way:?}");
        assert!(error.message.ends_with("(does the seccomp profile allow execve?)"), "{error}");
        if nix::unistd::geteuid().is_root() {
            let early = Isolation { no_new_privs: false, ..no_exec.clone() };
            let error = run(way, &as_stranger(isolated(early, sh("true")))).unwrap_err();
            assert_eq!((error.stage, error.errno), (Stage::User, libc::EPERM), "{way:?}");
            assert!(error.message.contains("(the seccomp profile is in force"), "{error}");
        }
    }
}

/// Whether there are landlock rules; says so where there are none.
fn has_landlock(test: &str) -> bool {
    let reason = landlock::why_unavailable();
    if let Some(reason) = &reason {
        eprintln!("skipped {test}: {reason}");
    }
    reason.is_none()
}

fn rules(rules: &[(&str, &str)]) -> Isolation {
    let rule = |(path, access): &(&str, &str)| PathRule {
        path: (*path).to_owned(),
        access: (*access).to_owned(),
    };
    let landlock = Some(rules.iter().map(rule).collect());
    Isolation { landlock, ..without_new_privileges() }
}

/// What a shell needs, wherever this system has it.
fn system() -> Vec<(&'static str, &'static str)> {
    let paths = [("/bin", "rx"), ("/usr", "rx"), ("/lib", "rx"), ("/lib64", "rx")];
    paths.into_iter().filter(|(path, _)| Path::new(path).exists()).collect()
}

use std::path::Path;

#[test]
fn landlock_rules_are_all_that_is_left() {
    if !has_landlock("landlock_rules_are_all_that_is_left") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["open", "closed"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("secret"), "secret").unwrap();
    std::fs::write(path("file"), "told").unwrap();
    let (open, file) = (path("open"), path("file"));
    let mut allowed = system();
    allowed.extend([(open.as_str(), "rw"), (file.as_str(), "r")]);
    let script = format!(
        "cd {}; cat file; echo; cat secret; (echo x > closed/x); (: > file); \
         echo ok > open/x && cat open/x; cp /bin/true open/t; open/t; echo $?",
        directory.path().display()
    );
    // Without no_new_privs it takes a right of root's.
    let root = nix::unistd::geteuid().is_root();
    for (way, no_new_privs) in WAYS.into_iter().flat_map(|way| [(way, true), (way, !root)]) {
        let isolation = Isolation { no_new_privs, ..rules(&allowed) };
        let text = output(way, &isolated(isolation, sh(&script)));
        assert!(text.starts_with("told\n"), "{way:?}: {text}");
        assert!(!text.contains("secret\n") && text.contains("\nok\n"), "{way:?}: {text}");
        assert!(text.ends_with("\n126\n"), "{way:?}: without x: {text}");
        assert_eq!(text.matches("ermission denied").count(), 4, "{way:?}: {text}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "told");
        assert!(!Path::new(&path("closed/x")).exists());
        std::fs::remove_dir_all(&open).unwrap();
        std::fs::create_dir(&open).unwrap();
    }
}

#[test]
fn a_landlock_rule_that_cannot_be_is_named() {
    if !has_landlock("a_landlock_rule_that_cannot_be_is_named") {
        return;
    }
    for way in WAYS {
        let missing = isolated(rules(&[("/", "r"), ("/no/such", "r")]), sh("true"));
        let error = run(way, &missing).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Landlock, libc::ENOENT), "{way:?}");
        let begin = "allow access to \"/no/such\" (isolation.landlock[1])";
        assert!(error.message.starts_with(begin), "{way:?}: {error}");
        let error = run(way, &isolated(rules(&[("/", "r")]), sh("true"))).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Exec, libc::EACCES), "{way:?}");
        assert!(error.message.contains("no rule of isolation.landlock"), "{error}");
    }
}
