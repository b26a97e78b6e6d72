//! `ostler run` without a terminal.

use crate::support::{Running, is_alive, number_in, ostler, run_shell, signal, wait_for};
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().expect("it was started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

#[test]
fn it_exits_as_the_task_does() {
    assert_eq!(output(&mut run_shell(&[], "exit 0")).0, Some(0));
    assert_eq!(output(&mut run_shell(&[], "exit 7")), (Some(7), String::new(), String::new()));
    assert_eq!(output(&mut run_shell(&[], "exit 127")), (Some(127), String::new(), String::new()));
    assert_eq!(output(&mut run_shell(&[], "kill -KILL $$")).0, Some(137));
    assert_eq!(output(&mut run_shell(&[], "kill -TERM $$")).0, Some(143));
}

#[test]
fn what_cannot_be_run_is_told_by_code_and_reason() {
    for (arguments, code, reason) in [
        (&["run", "/no/such/program"][..], 127, "/no/such/program"),
        (&["run", "no-such-program"], 127, "PATH="),
        (&["run", "/etc/passwd"], 126, "Permission denied"),
        (&["run", "/etc"], 126, "/etc"),
        (&["run", "--user", "nobody-at-all", "true"], 125, "nobody-at-all"),
        (&["run", "--work-dir", "/no/such/dir", "true"], 125, "/no/such/dir"),
        (&["run", "--no-such-flag", "true"], 125, "--no-such-flag"),
        (&["run"], 125, "COMMAND"),
        (&["run", "--status-fd", "987", "true"], 125, "--status-fd 987"),
        (&["run", "--status-fd", "0", "true"], 125, "--status-fd 0"),
        (&["run", "--restart-delay", "1s", "true"], 125, "--restart-delay"),
    ] {
        let (exit, _, stderr) = output(&mut ostler(arguments));
        assert_eq!(exit, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("ostler: run: "), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn streams_directory_and_environment_are_the_callers() {
    let mut command = run_shell(&["--env", "ADDED=yes"], "cat; pwd; echo $MINE $ADDED; umask");
    command.current_dir("/usr/bin").env("MINE", "mine").env("NOTIFY_SOCKET", "/not/for/tasks");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("stdin").write_all(b"input\n").expect("written");
    let seen = child.wait_with_output().expect("ended");
    let umask = output(Command::new("sh").args(["-c", "umask"])).1;
    assert_eq!(
        String::from_utf8_lossy(&seen.stdout),
        format!("input\n/usr/bin\nmine yes\n{umask}")
    );
    let mut command = run_shell(&[], "echo ${NOTIFY_SOCKET-none}");
    assert_eq!(output(command.env("NOTIFY_SOCKET", "/not/for/tasks")).1, "none\n");
}

#[test]
fn signals_are_passed_on_each_time() {
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH; do trap \"echo got $s\" $s; done
                  trap 'echo got TERM; exit 3' TERM
                  echo ready; while :; do sleep 0.01; done";
    let mut running = Running::start(&mut run_shell(&[], script));
    running.expect("ready");
    for name in ["USR1", "USR1", "HUP", "INT", "INT", "QUIT", "USR2", "WINCH"] {
        running.signal(name);
        assert_eq!(running.expect("got"), format!("got {name}"));
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(3));
}

#[test]
fn nohup_is_for_the_task_too() {
    let script = "trap 'echo got HUP' HUP; trap 'exit 5' TERM
                  echo ready; while :; do sleep 0.01; done";
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ostler"), "run"]);
    let mut running = Running::start(nohup.args(["sh", "-c", script]));
    running.expect("ready");
    running.signal("HUP");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(5));
    assert_eq!(running.seen, ["ready"]);
}

#[test]
fn the_first_term_starts_the_clock_where_there_is_one() {
    let script = "trap 'echo got TERM' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = Running::start(&mut run_shell(&["--kill-timeout", "300ms"], script));
    running.expect("ready");
    running.signal("TERM");
    running.expect("got TERM");
    assert_eq!(running.exit_code(), Some(137));
}

#[test]
fn what_is_left_is_killed_wherever_it_has_gone() {
    let script = "sleep 1000 & echo child $!
                  setsid sh -c 'sleep 1000 & echo escaped $!; exit 0'
                  exit 4";
    let mut running = Running::start(&mut run_shell(&[], script));
    let child = number_in(&running.expect("child"));
    let escaped = number_in(&running.expect("escaped"));
    assert_eq!(running.exit_code(), Some(4));
    assert!(!is_alive(&child) && !is_alive(&escaped));
}

#[test]
fn orphans_are_reaped_while_the_task_runs() {
    let script = "echo main $$; sh -c 'sleep 0.05 & echo orphan $!'; sleep 1000";
    let mut running = Running::start(&mut run_shell(&[], script));
    let main = number_in(&running.expect("main"));
    let orphan = number_in(&running.expect("orphan"));
    wait_for("the orphan to be reaped", || !std::path::Path::new("/proc").join(&orphan).exists());
    let own = running.pid();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    assert_eq!(children.expect("read").trim(), main);
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(143));
}

#[test]
fn a_task_dies_with_its_run() {
    let mut running = Running::start(&mut run_shell(&[], "echo main $$; exec sleep 1000"));
    let main = number_in(&running.expect("main"));
    assert!(is_alive(&main));
    running.signal("KILL");
    running.end();
    wait_for("the end of the task", || !is_alive(&main));
}

#[test]
fn the_status_goes_to_its_descriptor() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let script = format!("exec 5>>{}; exec \"$@\"", file.path().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ostler"), "run", "--status-fd", "5"]);
    shell.args(["--name", "job", "sh", "-c", "test ! -e /proc/self/fd/5 && exit 3"]);
    assert_eq!(output(&mut shell).0, Some(3));
    let text = std::fs::read_to_string(file.path()).expect("read");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["name"], "job");
    assert_eq!(status["state"], "exited");
    assert_eq!(status["exit"]["exit_code"], 3);
    assert_eq!(status["exit"]["status_known"], true);
}

#[test]
fn the_status_may_go_to_a_standard_stream() {
    let (code, stdout, stderr) = output(&mut run_shell(&["--status-fd", "1"], "echo x; exit 3"));
    assert_eq!((code, stderr.as_str()), (Some(3), ""));
    assert!(stdout.starts_with("x\n{\"name\":"), "{stdout}");
    let (code, stdout, stderr) = output(&mut run_shell(&["--status-fd", "2"], "exit 4"));
    assert_eq!((code, stdout.as_str()), (Some(4), ""));
    assert!(stderr.contains("\"exit_code\":4"), "{stderr}");
}

#[test]
fn a_restart_policy_holds_in_the_foreground() {
    let flags = ["--restart", "on-failure", "--restart-attempts", "2", "--restart-delay", "10ms"];
    let (code, stdout, stderr) = output(&mut run_shell(&flags, "echo run; exit 6"));
    assert_eq!((code, stdout.as_str()), (Some(6), "run\nrun\nrun\n"), "{stderr}");
    assert!(stderr.contains("ostler: run: exited with code 6, is started again in"), "{stderr}");
    assert!(stderr.ends_with("ostler: run: gave up after 2 restarts\n"), "{stderr}");
}

#[test]
fn a_task_that_is_always_started_again_can_be_ended() {
    let flags = ["--restart", "always", "--restart-delay", "10ms"];
    let mut running = Running::start(&mut run_shell(&flags, "echo run; exec sleep 1000"));
    running.expect("run");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(143));
    // Between two runs, too.
    let flags = ["--restart", "always", "--restart-delay", "1000s"];
    let mut running = Running::start(&mut run_shell(&flags, "exit 2"));
    running.expect("is started again");
    running.signal("INT");
    assert_eq!(running.exit_code(), Some(2));
}

#[test]
fn a_signal_to_a_stopped_task_waits_for_it() {
    let mut running = Running::start(&mut run_shell(
        &[],
        "trap 'exit 8' TERM
        echo main $$; while :; do sleep 0.01; done",
    ));
    let main = number_in(&running.expect("main"));
    let main: i32 = main.parse().expect("a number");
    signal(main, "STOP");
    running.signal("TERM");
    signal(main, "CONT");
    assert_eq!(running.exit_code(), Some(8));
}
