//! The socket of a daemon that was killed.

use crate::fixture::Life;
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};

/// Listens at a path, and is gone; a child of it has the socket for so long, and the pipe.
fn orphan(life: &Life, seconds: &str) -> ChildStdout {
    let script = "import os, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
if os.fork():
    os._exit(0)
print('held', flush=True)
time.sleep(float(sys.argv[2]))
";
    let mut parent = Command::new("python3")
        .args(["-c", script])
        .arg(life.path("sock"))
        .arg(seconds)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut said = [0; 4];
    let mut pipe = parent.stdout.take().expect("a pipe");
    pipe.read_exact(&mut said).expect("it is held");
    assert!(parent.wait().expect("a child").success());
    pipe
}

#[test]
fn a_socket_that_a_child_of_the_dead_has_for_a_moment_is_waited_for() {
    let life = Life::unborn(&[]);
    let _pipe = orphan(&life, "0.3");
    let mut daemon = life.command().stderr(Stdio::piped()).spawn().expect("it starts");
    let log = BufReader::new(daemon.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(" socket=")), "it has given up");
    daemon.kill().expect("killed");
    daemon.wait().expect("a child");
}

#[test]
fn a_socket_that_somebody_goes_on_with_is_left_alone() {
    let life = Life::unborn(&[]);
    let _pipe = orphan(&life, "10");
    let daemon = life.command();
    let mut limited = Command::new("timeout");
    limited.arg("30").arg(daemon.get_program()).args(daemon.get_args());
    let output = limited.stderr(Stdio::piped()).output().expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("another daemon serves"), "{text}");
    assert!(life.path("sock").exists());
}
