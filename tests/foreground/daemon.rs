//! `ostler daemon`: how it comes up and goes down.

use crate::support::{Running, is_alive, ostler, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};

fn daemon(directory: &Path, arguments: &[&str]) -> Command {
    let socket = directory.join("sock");
    let mut command = ostler(&["daemon", "--socket", socket.to_str().expect("UTF-8")]);
    command.args(arguments);
    command
}

fn task_file(directory: &Path, script: &str) -> String {
    let path = directory.join("node.toml");
    let text = format!("[task.a]\ncommand = '/bin/sh'\nargs = ['-c', \"\"\"{script}\"\"\"]\n");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn it_says_what_happens_and_stops_its_tasks_in_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = task_file(directory.path(), "exec sleep 1000");
    let mut running = Running::start(&mut daemon(directory.path(), &["--tasks", &file]));
    running.expect("version=");
    let line = running.expect("event=started");
    assert!(line.contains(" INFO  task=a id=") && line.contains("state=running"), "{line}");
    let pid = line.split(" pid=").nth(1).expect("a pid").to_owned();
    running.signal("USR1");
    running.expect("loop_max_us=");
    running.signal("USR2");
    running.expect("has taken over from");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    assert!(!is_alive(&pid));
    assert!(!directory.path().join("sock").exists());
}

#[test]
fn a_second_signal_kills_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = "trap '' INT; echo > ready; while :; do sleep 0.01; done";
    let file = task_file(directory.path(), script);
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, text + "kill_timeout = '1000s'\nwork_dir = '.'\n").expect("written");
    let mut running = Running::start(&mut daemon(directory.path(), &["--tasks", &file]));
    let ready = directory.path().join("ready");
    wait_for("the task", || ready.exists());
    running.signal("TERM");
    running.expect("event=stopping");
    running.signal("INT");
    assert_eq!(running.exit_code(), Some(0));
    assert!(running.seen.iter().any(|line| line.contains("signal=9")), "{:?}", running.seen);
}

#[test]
fn tasks_outlive_it_where_that_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let state = state.to_str().expect("UTF-8");
    let file = task_file(directory.path(), "exec sleep 1000");
    let flags = ["--tasks", &file, "--state", state, "--on-exit", "keep"];
    let mut running = Running::start(&mut daemon(directory.path(), &flags));
    let line = running.expect("event=started");
    let pid = line.split(" pid=").nth(1).expect("a pid").to_owned();
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    assert!(is_alive(&pid));
    crate::support::signal(pid.parse().expect("a number"), "KILL");
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut first = Running::start(&mut daemon(directory.path(), &[]));
    first.expect("version=");
    for (arguments, code, reason) in [
        (&[][..], 1, "another daemon serves"),
        (&["--on-exit", "keep"], 2, "--state"),
        (&["--control", "fd:x"], 2, "must be stdio or fd:N"),
        (&["--control", "fd:99"], 1, "--control fd:99: no such descriptor is open"),
        (&["--control", "fd:0"], 2, "--control fd:0: is a standard stream, use --control stdio"),
        (&["--control", "stdio", "--control", "stdio"], 2, "is given twice"),
        (&["--tasks", "/no/such/file.toml"], 1, "/no/such/file.toml: cannot read the task file"),
        (&["--socket-group", "no such group"], 1, "not in the group database"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
    ] {
        let mut second = Running::start(&mut daemon(directory.path(), arguments));
        assert_eq!(second.exit_code(), Some(code), "{arguments:?}: {:?}", second.seen);
        let text = second.seen.join("\n");
        assert!(text.starts_with("ostler: daemon: ") && text.contains(reason), "{text}");
    }
    first.signal("TERM");
    assert_eq!(first.exit_code(), Some(0));
}

#[test]
fn a_program_embeds_it_by_its_standard_streams() {
    let mut command = ostler(&["daemon", "--socket", "none", "--control", "stdio"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("stdin");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let mut ask = |call: &str| {
        stdin.write_all(format!("{call}\0").as_bytes()).expect("asked");
        let mut reply = Vec::new();
        stdout.read_until(0, &mut reply).expect("answered");
        reply.pop();
        serde_json::from_slice::<serde_json::Value>(&reply).expect("JSON")
    };
    let reply = ask(r#"{"method": "org.ostler.Launch",
            "parameters": {"task": {"command": "/bin/sleep", "args": ["1000"]}}}"#);
    let pid = reply["parameters"]["status"]["pid"].to_string();
    assert!(is_alive(&pid), "{reply}");
    // Its standard output is the protocol, so no task may write there.
    let reply = ask(r#"{"method": "org.ostler.Launch",
            "parameters": {"task": {"command": "/bin/true", "stdout": {"kind": "inherit"}}}}"#);
    assert_eq!(reply["error"], "org.ostler.Unsupported", "{reply}");
    // The end of its input is its end, and that of its tasks.
    drop(stdin);
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    assert!(!is_alive(&pid));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    assert!(rest.is_empty());
}

#[test]
fn a_passed_socket_is_a_connection() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7<&0 </dev/null; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ostler")]);
    shell.args(["daemon", "--socket", "none", "--control", "fd:7"]).stderr(Stdio::null());
    let mut child =
        shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn().expect("started");
    let mut ours = BufReader::new(ours);
    let call = b"{\"method\": \"org.ostler.Shutdown\", \"parameters\": {\"stop_tasks\": true}}\0";
    ours.get_mut().write_all(call).expect("asked");
    let mut reply = Vec::new();
    ours.read_until(0, &mut reply).expect("answered");
    assert_eq!(reply, b"{\"parameters\":{}}\0");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}

#[test]
fn sockets_that_were_passed_are_listened_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("passed");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let mut shell = Command::new("sh");
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_ostler"), "daemon"]);
    shell.env("OSTLER_SOCKET", "/not/made").stderr(Stdio::null());
    let mut child =
        shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).spawn().expect("started");
    let path = path.to_str().expect("UTF-8");
    let asked = ostler(&["--socket", path, "version", "--json"]).output().expect("asked");
    let version: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    assert_eq!(version["socket"], path);
    assert!(ostler(&["--socket", path, "shutdown"]).status().expect("asked").success());
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    // Whoever passed it keeps it.
    assert!(Path::new(path).exists());
}

/// What a daemon says that was started with this descriptor, by a shell script, and ends at once.
fn refusal(script: &str, passed: OwnedFd, arguments: &[&str]) -> String {
    let mut shell = Command::new("timeout");
    shell.args(["30", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_ostler"), "daemon"]);
    let output = shell.args(arguments).stdin(Stdio::from(passed)).output().expect("started");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn what_is_passed_as_a_connection_and_is_none_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("listening");
    let listener = std::os::unix::net::UnixListener::bind(path).expect("bound");
    let (pipe, _writer) = std::io::pipe().expect("a pipe");
    for passed in [OwnedFd::from(listener), OwnedFd::from(pipe)] {
        let script = "exec 7<&0 </dev/null; exec \"$@\"";
        let told = refusal(script, passed, &["--socket", "none", "--control", "fd:7"]);
        assert_eq!(told, "ostler: daemon: --control fd:7: is no connected socket\n");
    }
}

#[test]
fn what_is_passed_to_listen_on_and_cannot_be_is_refused() {
    let internet = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for passed in [OwnedFd::from(internet), OwnedFd::from(connected)] {
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";
        let told = refusal(script, passed, &[]);
        let why = "number 1 is neither a listening Unix socket nor a stored stream";
        assert_eq!(told, format!("ostler: daemon: LISTEN_FDS: {why}\n"));
    }
}

#[test]
fn a_service_manager_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let by_path = UnixDatagram::bind(&path).expect("bound");
    let name = format!("ostler-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let abstractly = UnixDatagram::bind_addr(&address).expect("bound");
    for (socket, variable) in
        [(by_path, path.to_str().expect("UTF-8").to_owned()), (abstractly, format!("@{name}"))]
    {
        socket.set_read_timeout(Some(crate::support::PATIENCE)).expect("set");
        let receive = || {
            let mut buffer = [0; 512];
            let count = socket.recv(&mut buffer).expect("told");
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let mut command = daemon(directory.path(), &[]);
        command.env("NOTIFY_SOCKET", variable).env("WATCHDOG_USEC", "100000");
        let mut running = Running::start(&mut command);
        assert_eq!(receive(), format!("READY=1\nMAINPID={}\n", running.pid()));
        assert_eq!(receive(), "WATCHDOG=1\n");
        assert_eq!(receive(), "WATCHDOG=1\n");
        running.signal("HUP");
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "READY=1\n") {
            told.push(receive());
        }
        told.retain(|message| message != "WATCHDOG=1\n");
        assert!(told[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
        running.signal("TERM");
        while receive() != "STOPPING=1\n" {}
        assert_eq!(running.exit_code(), Some(0));
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = daemon(directory.path(), &[]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
    // Nobody reads it, and each task is told of by some lines.
    let socket = directory.path().join("sock");
    let socket = socket.to_str().expect("UTF-8");
    wait_for("the daemon", || {
        ostler(&["--socket", socket, "ps"]).output().is_ok_and(|output| output.status.success())
    });
    let mut client = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    for number in 0..400 {
        let call = format!(
            r#"{{"method": "org.ostler.Launch", "parameters": {{"task":
               {{"name": "{number}-{}", "command": "/bin/true"}}}}}}"#,
            "x".repeat(190)
        );
        client.write_all(format!("{call}\0").as_bytes()).expect("asked");
        let mut reply = Vec::new();
        BufReader::new(&client).read_until(0, &mut reply).expect("answered");
        assert!(reply.starts_with(b"{\"parameters\""), "{}", String::from_utf8_lossy(&reply));
    }
    crate::support::signal(child.id() as i32, "TERM");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}

#[test]
fn the_log_is_for_the_journal_where_that_reads_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = env!("CARGO_BIN_EXE_ostler");
    let mut shell = Command::new("sh");
    let script = "JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec \"$@\"";
    let socket = directory.path().join("sock");
    shell.args(["-c", script, "sh", program, "daemon", "--socket"]).arg(socket);
    let mut running = Running::start(&mut shell);
    let line = running.expect("version=");
    assert!(line.starts_with("<6>ostler version="), "{line}");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
}
