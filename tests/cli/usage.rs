//! Help, usage errors, completions, man pages: what needs no daemon.

use super::{ostler, outcome, run};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const VERBS: [&str; 25] = [
    "run",
    "up",
    "daemon",
    "launch",
    "ps",
    "inspect",
    "wait",
    "stop",
    "start",
    "restart",
    "signal",
    "kill",
    "exec",
    "stats",
    "logs",
    "events",
    "rm",
    "top",
    "reload",
    "upgrade",
    "shutdown",
    "keeper",
    "check",
    "version",
    "completions",
];

#[test]
fn every_verb_has_help_on_standard_output() {
    for verb in VERBS {
        let by_flag = run(&[verb, "--help"]);
        assert_eq!((by_flag.code, by_flag.stderr.as_str()), (Some(0), ""), "{verb}");
        assert!(by_flag.stdout.contains("Usage: ostler"), "{verb}: {}", by_flag.stdout);
        let by_verb = run(&["help", verb]);
        assert_eq!(by_verb.stdout, by_flag.stdout, "{verb}");
    }
    let all = run(&["help"]).stdout;
    for verb in VERBS {
        assert!(all.contains(verb), "{verb}");
    }
}

#[test]
fn usage_errors_have_the_code_of_their_verb() {
    for (arguments, code) in [
        (&[][..], 2),
        (&["no-such-verb"], 2),
        (&["ps", "--no-such-flag"], 2),
        (&["stop"], 2),
        (&["stop", "--grace", "5", "web"], 2),
        (&["signal", "-s", "NOPE", "web"], 2),
        (&["kill", "-NOPE", "web"], 2),
        (&["launch"], 2),
        (&["launch", "--task", "x.json", "--name", "y"], 2),
        (&["launch", "--task", "x.json", "--memory-max", "1M"], 2),
        (&["launch", "--task", "x.json", "true"], 2),
        (&["launch", "--stdout", "file", "true"], 2),
        (&["launch", "--memory-max", "lots", "true"], 2),
        (&["launch", "--name", "-x", "true"], 2),
        (&["launch", "--umask", "9", "true"], 2),
        (&["launch", "--restart-delay", "1s", "true"], 2),
        (&["launch", "--hostname", "x", "true"], 2),
        (&["ps", "--label", "x"], 2),
        (&["update", "web"], 2),
        (&["check", "--socket", "x", "file"], 2),
        (&["run"], 125),
        (&["run", "--no-such-flag", "true"], 125),
        (&["run", "--socket", "/x", "true"], 125),
        (&["wait"], 125),
        (&["wait", "--timeout", "soon", "web"], 125),
        (&["--socket", "/x", "wait"], 125),
        (&["exec", "web"], 125),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?} {outcome:?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        let says = arguments.is_empty() || outcome.stderr.starts_with("ostler: ");
        assert!(says, "{arguments:?} {outcome:?}");
    }
}

#[test]
fn a_usage_error_is_json_where_that_is_asked_for() {
    for arguments in
        [&["ps", "--json", "--no-such-flag"][..], &["launch", "--json", "--nice", "99", "x"]]
    {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        let value: serde_json::Value = serde_json::from_str(&outcome.stderr).expect("JSON");
        assert_eq!(value["error"], "org.ostler.client.Usage", "{arguments:?}");
    }
    let word = run(&["ps", "--no-such-flag", "--", "--json"]);
    assert!(word.stderr.starts_with("ostler: ps: "), "{word:?}");
}

#[test]
fn without_a_daemon_the_code_is_125_and_the_message_says_what_to_do() {
    for arguments in [
        &["ps"][..],
        &["inspect", "web"],
        &["wait", "web"],
        &["stop", "web", "db"],
        &["stop", "web-*"],
        &["start", "web"],
        &["restart", "web"],
        &["signal", "web"],
        &["logs", "web"],
        &["events"],
        &["rm", "web"],
        &["launch", "true"],
        &["shutdown"],
        &["update", "web", "--memory-max", "none"],
        &["stats"],
    ] {
        let outcome = run(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(125), ""), "{arguments:?}");
        let verb = arguments[0];
        assert!(outcome.stderr.starts_with(&format!("ostler: {verb}")), "{outcome:?}");
        let end = "no daemon at /nonexistent/ostler.sock: there is no such socket \
                   (start one: ostler daemon)\n";
        assert!(outcome.stderr.ends_with(end), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    let json = run(&["ps", "--json"]);
    assert_eq!(json.code, Some(125));
    let value: serde_json::Value = serde_json::from_str(&json.stderr).expect("JSON");
    assert_eq!(value["error"], "org.ostler.client.NoDaemon");
    assert_eq!(value["parameters"]["path"], "/nonexistent/ostler.sock");
}

#[test]
fn a_failure_of_the_system_is_told_in_words() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let file = file.to_str().expect("UTF-8");
    let below = format!("{file}/x/y");
    let missing = "/nonexistent/x/y";
    for arguments in [
        &["check", missing][..],
        &["launch", "--task", missing],
        &["launch", "--env-file", missing, "true"],
        &["man", missing],
        &["ps", "--socket", &below],
        &["up", missing],
        &["run", "--env-file", missing, "true"],
        &["run", "--status-fd", "77", "true"],
        &["daemon", "--socket", &below],
        &["daemon", "--socket", missing],
        &["daemon", "--socket", file],
        &["daemon", "--socket", "none", "--control", "fd:77"],
        &["daemon", "--socket", "none", "--tasks", missing],
        &["daemon", "--socket", "none", "--state", &below],
        &["daemon", "--socket", "none", "--metrics", missing],
    ] {
        let outcome = run(arguments);
        assert!(outcome.code.is_some_and(|code| code > 0), "{arguments:?} {outcome:?}");
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert!(lines.iter().any(|line| line.contains("ostler: ")), "{arguments:?} {outcome:?}");
        assert!(!outcome.stderr.contains("os error"), "{arguments:?} {outcome:?}");
    }
}

#[test]
fn the_version_needs_no_daemon() {
    let outcome = run(&["version"]);
    let line = format!("ostler {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((outcome.code, outcome.stdout), (Some(0), line.clone()));
    assert_eq!(run(&["--version"]).stdout, line);
    assert_eq!(run(&["version", "--json"]).code, Some(125));
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = run(&["completions", shell]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(outcome.stdout.contains("kill-timeout"), "{shell}");
    }
    assert_eq!(run(&["completions", "sh"]).code, Some(2));
}

#[test]
fn bash_reads_its_completions() {
    let script = run(&["completions", "bash"]).stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("stdin").write_all(script.as_bytes()).expect("written");
    assert!(bash.wait().expect("waited").success());
}

#[test]
fn the_man_pages_in_the_tree_are_those_of_the_program() {
    let made = tempfile::tempdir().expect("directory");
    let path = made.path().to_str().expect("UTF-8");
    assert_eq!(run(&["man", path]).code, Some(0));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).expect("directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "1"));
        names.sort();
        names
    };
    let hint = "after a change of flags: cargo run -- man man";
    assert_eq!(names(made.path()), names(&kept), "{hint}");
    for name in names(&kept) {
        let read = |directory: &Path| std::fs::read_to_string(directory.join(&name)).expect("page");
        assert_eq!(read(made.path()), read(&kept), "{name:?}: {hint}");
    }
    assert_eq!(run(&["man", "/nonexistent"]).code, Some(1));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = ostler(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let outcome = outcome(child.wait_with_output().expect("waited"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}
