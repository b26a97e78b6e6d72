//! Exec: a command whose output comes with its end.

use crate::node::{Node, wait_for_end};
use crate::support::{is_alive, ostler};
use serde_json::json;
use std::io::Read;

#[test]
fn a_command_has_the_context_of_its_task() {
    let is_root = nix::unistd::geteuid().is_root();
    let mut task = json!({"work_dir": "/usr", "umask": "027", "nice": 5, "oom_score_adj": 300,
        "rlimits": {"nofile": "100"}, "env": ["PATH=/usr/bin:/bin", "A=1", "B=2"]});
    if is_root {
        task["user"] = "nobody".into();
    } else {
        eprintln!("skipped: the user of a command: not root");
    }
    let node = Node::with(&[], task);
    let line = "echo $A $B $C; pwd; umask; nice; cat /proc/self/oom_score_adj; ulimit -n; id -un; \
                readlink /proc/self/fd/0; ls /proc/self/fd | wc -l";
    let plain = node.shell(line);
    let user = if is_root { "nobody".to_owned() } else { whoami() };
    // The fourth one is that of the listing.
    let same = |a: &str, pwd: &str, user: &str| {
        format!("{a}\n{pwd}\n0027\n5\n300\n100\n{user}\n/dev/null\n4\n")
    };
    assert_eq!(plain.stdout, same("1 2", "/usr", &user), "{}", plain.stderr);
    let mut parameters = json!({"name": "web", "command": "sh", "args": ["-c", line],
        "env": ["B=3", "C=4"], "work_dir": "/tmp"});
    if is_root {
        parameters["user"] = "0:0".into();
    }
    let changed = node.exec(parameters);
    let user = if is_root { "root" } else { &user };
    assert_eq!(changed.stdout, same("1 3 4", "/tmp", user));
}

fn whoami() -> String {
    let output = std::process::Command::new("id").arg("-un").output().expect("id");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_command_is_in_a_group_of_its_own_inside_that_of_its_task() {
    let node = Node::start();
    let status = node.call("Inspect", json!({"name": "web"})).expect("a status");
    let Some(group) = status["status"]["cgroup"].as_str().map(str::to_owned) else {
        return eprintln!("skipped: the group of a command: no permission to make a cgroup");
    };
    let seen = node.shell("grep ^0:: /proc/self/cgroup").stdout;
    let (own, leaf) = seen.trim().rsplit_once('/').expect("a path");
    let own = own.strip_prefix("0::").expect("a path");
    assert!(group.ends_with(own), "{seen:?} is not in {group:?}");
    assert!(leaf.starts_with("exec."), "{seen:?}");
    node.wait_until_clean(node.descriptors());
}

#[test]
fn the_end_is_told_as_it_was() {
    for flags in [&[][..], &["--exit-notification", "sigchld"], &["--cgroup", "never"]] {
        the_end_is_told(&Node::with(flags, json!({})));
    }
}

#[track_caller]
fn the_end_is_told(node: &Node) {
    let told = node.shell("echo out; echo err >&2; exit 7");
    assert_eq!((told.code, told.signal, told.timed_out, told.truncated), (7, 0, false, false));
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("out\n", "err\n"));
    let killed = node.shell("kill -SEGV $$");
    assert_eq!((killed.code, killed.signal), (139, 11));
    let long = node.shell("seq 100000");
    let all: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(long.truncated);
    assert_eq!(long.stdout, all[all.len() - 65_536..]);
    let exact = node.shell("head -c 65536 /dev/zero | tr '\\0' x");
    assert!(!exact.truncated && exact.stdout.len() == 65_536);
    // It has closed its streams, and goes on.
    let closed = node.shell("exec >&- 2>&-; sleep 0.2; exit 3");
    assert_eq!((closed.code, closed.stdout.as_str()), (3, ""));
}

#[test]
fn why_nothing_is_run_is_said() {
    let node = Node::start();
    let call = |command: &str, more: serde_json::Value| {
        let mut parameters = json!({"name": "web", "command": command});
        for (field, value) in more.as_object().expect("an object") {
            parameters[field] = value.clone();
        }
        node.call("Exec", parameters).expect_err("refused")
    };
    for (command, more, stage, errno) in [
        ("no-such-command", json!({}), "lookup", "ENOENT"),
        ("/etc/passwd", json!({}), "exec", "EACCES"),
        ("ls", json!({"work_dir": "/no/such"}), "directory", "ENOENT"),
        ("ls", json!({"user": "no-such-user"}), "user", ""),
    ] {
        let (error, parameters) = call(command, more);
        assert_eq!(error, "org.ostler.LaunchFailed", "{command}");
        let why = &parameters["error"];
        assert_eq!((&why["stage"], &why["errno_name"]), (&json!(stage), &json!(errno)));
    }
    for (more, field) in [
        (json!({"env": ["A=1", "B"]}), "env[1]"),
        (json!({"work_dir": "here"}), "work_dir"),
        (json!({"user": ":"}), "user"),
    ] {
        let (error, parameters) = call("ls", more);
        assert_eq!(
            (error.as_str(), &parameters["field"]),
            ("org.ostler.InvalidTask", &json!(field))
        );
    }
    assert_eq!(call("ls", json!({"timeout_ms": 0})).0, "org.ostler.TimedOut");
    let (error, parameters) = call("ls", json!({"tty": true}));
    assert_eq!(
        (error.as_str(), &parameters["parameter"]),
        ("org.varlink.service.InvalidParameter", &json!("tty"))
    );
    let gone = node.call("Exec", json!({"name": "nobody", "command": "ls"})).expect_err("refused");
    assert_eq!(gone.0, "org.ostler.NoSuchTask");
    node.call("Stop", json!({"name": "web", "grace_ms": 0})).expect("stopped");
    let (error, parameters) = call("ls", json!({}));
    assert_eq!(error, "org.ostler.NotRunning");
    assert_eq!(parameters, json!({"name": "web", "state": "exited"}));
}

/// Scripts whose processes all have to end; each writes their numbers to a file.
const FAMILIES: [&str; 3] = [
    "sleep 1000 & echo $$ $! >FILE; wait",
    "trap '' TERM INT; (trap '' TERM; sleep 1000; sleep 1000) & echo $$ $! >FILE; wait; sleep 9",
    "setsid sh -c 'sleep 1000 & echo $$ $! >FILE; wait' & wait",
];

#[test]
fn what_ends_a_command_ends_all_of_it() {
    for cgroup in ["auto", "never"] {
        let node = Node::with(&["--cgroup", cgroup], json!({}));
        let before = node.descriptors();
        for (number, family) in FAMILIES.iter().enumerate() {
            for end in ["timeout", "client", "main"] {
                let file = format!("{end}-{number}");
                let line = family.replace("FILE", &node.path(&file));
                let mut call = json!({"name": "web", "command": "sh", "args": ["-c", line]});
                if end == "timeout" {
                    call["timeout_ms"] = 300.into();
                }
                let mut client = node.connect();
                client.send("Exec", call, json!({}));
                let pids = node.line_of(&file);
                let pids: Vec<&str> = pids.split(' ').collect();
                assert_eq!(pids.len(), 2);
                match end {
                    "timeout" => {
                        let answer = client.answer().expect("it ran");
                        assert_eq!(
                            (&answer["timed_out"], &answer["exit_code"]),
                            (&json!(true), &json!(137))
                        );
                    }
                    "client" => drop(client),
                    _ if number == 2 && cgroup == "never" => continue,
                    _ => {
                        // Only the main process; in the last family it is the parent of the first.
                        let main =
                            if number == 2 { parent_of(pids[0]) } else { pids[0].to_owned() };
                        crate::support::signal(main.parse().expect("a pid"), "KILL");
                        assert_eq!(client.answer().expect("it ran")["exit_code"], 137);
                    }
                }
                pids.into_iter().for_each(wait_for_end);
            }
            node.wait_until_clean(before);
        }
    }
}

fn parent_of(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
    parent.expect("a parent").to_owned()
}

#[test]
fn the_end_of_a_task_ends_its_commands() {
    for cgroup in ["auto", "never"] {
        for end in ["Stop", "Restart", "Remove"] {
            let node = Node::with(&["--cgroup", cgroup], json!({}));
            let mut client = node.connect();
            let line =
                format!("trap '' TERM; echo $$ >{}; sleep 1000; sleep 1000", node.path("pid"));
            let call = json!({"name": "web", "command": "sh", "args": ["-c", line]});
            client.send("Exec", call, json!({}));
            let pid = node.line_of("pid");
            let parameters = match end {
                "Remove" => json!({"name": "web", "force": true}),
                _ => json!({"name": "web", "grace_ms": 0}),
            };
            node.call(end, parameters).expect("done");
            assert!(!is_alive(&pid), "{end} is answered while a command lives");
            assert_eq!(client.answer().expect("it ran")["exit_code"], 137);
        }
    }
}

#[test]
fn a_command_dies_with_its_daemon() {
    let mut node = Node::start();
    let mut client = node.connect();
    let line = format!("echo $$ >{}; exec sleep 1000", node.path("pid"));
    client.send("Exec", json!({"name": "web", "command": "sh", "args": ["-c", line]}), json!({}));
    let pid = node.line_of("pid");
    let status = node.call("Inspect", json!({"name": "web"})).expect("a status");
    let task = status["status"]["pid"].as_i64().expect("a pid");
    node.daemon.kill().expect("killed");
    node.daemon.wait().expect("reaped");
    wait_for_end(&pid);
    crate::support::signal(task as i32, "KILL");
}

#[test]
fn at_the_command_line_streams_signals_and_the_code_are_passed_on() {
    let node = Node::start();
    let socket = node.socket();
    let exec = |arguments: &[&str]| {
        let mut command = ostler(&["--socket", socket.to_str().expect("text"), "exec"]);
        command.args(arguments);
        command
    };
    let told = |arguments: &[&str]| {
        let output = exec(arguments).output().expect("run");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = told(&["web", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(9), "out\n", "err\n"));
    assert_eq!(told(&["web", "sh", "-c", "kill -KILL $$"]).0, Some(137));
    // Without -i there is no input.
    assert_eq!(told(&["web", "cat"]).0, Some(0));
    for (command, code) in [("no-such", 127), ("/etc/passwd", 126)] {
        let (found, out, err) = told(&["web", command]);
        assert_eq!((found, out.as_str()), (Some(code), ""));
        assert!(err.starts_with("ostler: exec web: "), "{err}");
    }
    assert_eq!(told(&["nobody", "true"]).0, Some(125));
    let (code, _, err) = told(&["--timeout", "100ms", "web", "sleep", "1000"]);
    assert_eq!(code, Some(124));
    assert_eq!(err, "ostler: exec web: timed out, the command was killed\n");
    let json = told(&["--json", "web", "echo", "x"]).1;
    let reply: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(reply["stdout_base64"], "eAo=");
    let script = format!(
        "trap 'exit 4' TERM; echo $$ >{}; echo ready; while :; do sleep 0.1; done",
        node.path("pid")
    );
    let mut client = exec(&["web", "sh", "-c", &script]);
    let mut client = client.stdout(std::process::Stdio::piped()).spawn().expect("run");
    let pid = node.line_of("pid");
    // Until then a signal ends it, and the command with it.
    let mut ready = [0; 6];
    client.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("it is ready");
    crate::support::signal(client.id() as i32, "TERM");
    assert_eq!(client.wait().expect("ended").code(), Some(4));
    wait_for_end(&pid);
    let mut lines =
        exec(&["web", "yes"]).stdout(std::process::Stdio::piped()).spawn().expect("run");
    drop(lines.stdout.take());
    assert_eq!(lines.wait().expect("ended").code(), Some(141));
    let full = std::fs::File::create("/dev/full").expect("a device");
    let full = exec(&["web", "echo", "x"]).stdout(full).output().expect("run");
    let why = "ostler: exec web: write to standard output: No space left on device\n";
    assert_eq!(
        (full.status.code(), String::from_utf8_lossy(&full.stderr).as_ref()),
        (Some(125), why)
    );
    node.wait_until_clean(node.descriptors());
    let script = format!("echo $$ >{}; exec sleep 1000", node.path("lost"));
    let mut lost = exec(&["web", "sh", "-c", &script]).spawn().expect("run");
    node.line_of("lost");
    node.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0})).expect("done");
    assert!(matches!(lost.wait().expect("ended").code(), Some(125 | 137)));
}
