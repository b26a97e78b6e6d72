//! `ostler exec -it` at a terminal, below a shell with job control, with the programs that people
//! use.

use crate::node::Node;
use crate::shell::{PROMPT, Terminal};
use crate::support::{PATIENCE, signal, wait_for};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Instant;

/// A terminal at which `exec` runs commands in the task of a node.
struct Desk {
    node: Node,
    terminal: Terminal,
}

impl Desk {
    fn new() -> Desk {
        let node = Node::start();
        let mut terminal = Terminal::open();
        let socket = node.socket();
        terminal.command(&format!("export OSTLER_SOCKET={} TERM=xterm", socket.display()));
        // What a shell on a terminal that is 0 lines high does is another matter.
        terminal.command("stty rows 24 cols 80");
        Desk { node, terminal }
    }

    /// How the terminal is set; the shell is at its prompt.
    fn modes(&mut self) -> String {
        self.terminal.command("stty -a")
    }

    /// The exit code of the last command.
    #[track_caller]
    fn code(&mut self) -> String {
        self.terminal.command("echo code $?").trim().to_owned()
    }

    /// Waits until what is typed is neither echoed nor collected to lines by the terminal itself.
    #[track_caller]
    fn wait_until_raw(&self) {
        wait_for("a raw terminal", || {
            let modes = tcgetattr(&self.terminal.master).expect("modes");
            !modes.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
        });
    }

    /// The client: the shell has no other child.
    fn client(&self) -> i32 {
        let shell = self.terminal.shell.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        children.expect("a shell").trim().parse().expect("one client")
    }
}

/// Whether the terminal of a process is its group's (`pgrp` and `tpgid` of proc_pid_stat(5)).
fn is_in_the_foreground(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    fields[2] == fields[5]
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn a_shell_has_job_control() {
    let mut desk = Desk::new();
    let before = desk.modes();
    let terminal = &mut desk.terminal;
    terminal.send("$OSTLER exec -it -e PS1='inner> ' web bash --norc --noprofile --noediting -i\n");
    terminal.expect("inner> ");
    terminal.send("echo $TERM $(stty size)\n");
    terminal.expect("xterm 24 80\r\n");
    terminal.expect("inner> ");
    terminal.send("sh -c 'echo begun $$; exec sleep 1000'\n");
    terminal.expect("begun");
    terminal.expect("begun ");
    let sleeper = terminal.expect("\r\n").trim().to_owned();
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.expect("inner> ");
    terminal.send("jobs; bg; jobs\n");
    terminal.expect("Stopped");
    terminal.expect("Running");
    terminal.expect("inner> ");
    terminal.send("fg\n");
    terminal.expect("exec sleep 1000'\r\n");
    // The shell says what it goes on with before it gives it the terminal.
    wait_for("a job in the foreground", || is_in_the_foreground(&sleeper));
    terminal.send("\x03");
    terminal.expect("inner> ");
    terminal.send("echo interrupted $?\n");
    terminal.expect("interrupted 130\r\n");
    terminal.expect("inner> ");
    // Ctrl-D at the prompt.
    terminal.send("(exit 7)\n");
    terminal.expect("inner> ");
    terminal.send("\x04");
    terminal.expect(PROMPT);
    assert_eq!(desk.code(), "code 7");
    assert_eq!(desk.modes(), before);
}

#[test]
fn an_editor_and_a_screen_full_of_figures_work() {
    let mut desk = Desk::new();
    let before = desk.modes();
    let file = desk.node.path("text");
    if has("vi") {
        desk.terminal.send(&format!("$OSTLER exec -it web vi {file}\n"));
        // The last line on the screen of an empty file.
        desk.terminal.expect("0,0-1");
        desk.terminal.send("ihello from vi\x1b:wq\r");
        desk.terminal.expect(PROMPT);
        assert_eq!(desk.code(), "code 0");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "hello from vi\n");
        assert_eq!(desk.modes(), before);
    }
    if has("top") {
        desk.terminal.send("$OSTLER exec -it web top\n");
        desk.terminal.expect("Tasks:");
        desk.terminal.expect("PID");
        resize(&desk.terminal, 30, 100);
        // It draws all of it anew.
        desk.terminal.expect("Tasks:");
        desk.terminal.send("q");
        desk.terminal.expect(PROMPT);
        assert_eq!(desk.code(), "code 0");
        resize(&desk.terminal, 24, 80);
        assert_eq!(desk.modes(), before);
    }
}

/// What a terminal emulator does when its window gets another size.
fn resize(terminal: &Terminal, rows: u16, columns: u16) {
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let status = Command::new("stty")
        .args(["rows", &rows, "cols", &columns])
        .stdin(terminal.master.try_clone().expect("a descriptor"))
        .status();
    assert!(status.expect("stty").success());
}

#[test]
fn a_window_that_changes_is_told() {
    let mut desk = Desk::new();
    // A trap would do, but a shell forgets signals that come while it is in one.
    let script =
        "while :; do s=$(stty size); [ \"$s\" = \"$o\" ] || echo $s; o=$s; sleep 0.1; done";
    desk.terminal.send(&format!("$OSTLER exec -it web sh -c '{script}'\n"));
    desk.terminal.expect("24 80\r\n");
    for (rows, columns) in [(50, 132), (10, 40), (24, 80)] {
        resize(&desk.terminal, rows, columns);
        desk.terminal.expect(&format!("{rows} {columns}\r\n"));
    }
    desk.terminal.send("\x03");
    desk.terminal.expect(PROMPT);
    assert_eq!(desk.code(), "code 130");
}

#[test]
fn the_terminal_is_set_back_whatever_happens() {
    let mut desk = Desk::new();
    let before = desk.modes();
    let ends = |desk: &mut Desk, how: &dyn Fn(&Desk), code: &str| {
        let pid = desk.node.path("pid");
        let script = format!("echo $$ >{pid}; echo ready; exec sleep 1000");
        desk.terminal.send(&format!("$OSTLER exec -it web sh -c '{script}'\n"));
        desk.terminal.expect("ready\r\n");
        how(desk);
        let text = desk.terminal.expect(PROMPT);
        assert_eq!(desk.code(), code, "{text}");
        assert_eq!(desk.modes(), before);
    };
    let kill = |desk: &Desk| {
        signal(desk.node.line_of("pid").parse().expect("a pid"), "KILL");
    };
    ends(&mut desk, &kill, "code 137");
    ends(&mut desk, &|desk| signal(desk.client(), "TERM"), "code 143");
    ends(&mut desk, &|desk| signal(desk.client(), "HUP"), "code 129");
    ends(&mut desk, &|desk| signal(desk.client(), "INT"), "code 130");
    let stop = |desk: &Desk| {
        desk.node.call("Stop", json!({"name": "web", "grace_ms": 0})).expect("stopped");
    };
    ends(&mut desk, &stop, "code 137");
    desk.node.call("Restart", json!({"name": "web"})).expect("restarted");
    let task = desk.node.call("Inspect", json!({"name": "web"})).expect("a status");
    let task = task["status"]["pid"].as_i64().expect("a pid") as i32;
    ends(&mut desk, &|desk| signal(desk.node.daemon.id() as i32, "KILL"), "code 125");
    signal(task, "KILL");
    desk.terminal.send("$OSTLER exec -it web true\n");
    desk.terminal.expect("no daemon");
    desk.terminal.expect(PROMPT);
    assert_eq!(desk.modes(), before);
}

#[test]
fn a_client_that_is_stopped_gives_the_terminal_back_and_takes_it_again() {
    for how in ["TSTP", "STOP"] {
        let mut desk = Desk::new();
        let before = desk.modes();
        desk.terminal.send("$OSTLER exec -it web sh -c 'stty -echo; echo ready; exec cat'\n");
        desk.terminal.expect("ready\r\n");
        desk.terminal.send("one\n");
        desk.terminal.expect("one\r\n");
        signal(desk.client(), how);
        desk.terminal.expect("Stopped");
        desk.terminal.expect(PROMPT);
        if how == "TSTP" {
            assert_eq!(desk.modes(), before);
        }
        desk.terminal.send("fg\n");
        desk.terminal.expect("$OSTLER exec");
        desk.terminal.expect("\r\n");
        // Until then the terminal echoes what is typed, and takes Ctrl-D for its own end.
        desk.wait_until_raw();
        desk.terminal.send("two\n");
        desk.terminal.expect("two\r\n");
        desk.terminal.send("\x04");
        desk.terminal.expect(PROMPT);
        assert_eq!(desk.code(), "code 0");
        assert_eq!(desk.modes(), before);
    }
}

/// Types much while what comes back is read.
fn paste(terminal: &mut Terminal, data: &[u8]) -> String {
    let deadline = Instant::now() + PATIENCE * 4;
    let (mut sent, mut text) = (0, Vec::new());
    while !text.ends_with(PROMPT.as_bytes()) {
        assert!(Instant::now() < deadline, "{sent} of {} bytes, {} came", data.len(), text.len());
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, sent < data.len());
        let mut fds = [PollFd::new(terminal.master.as_fd(), wanted)];
        poll(&mut fds, PollTimeout::from(1000_u16)).expect("polled");
        let ready = fds[0].revents().expect("events");
        if ready.contains(PollFlags::POLLIN) {
            let mut buffer = [0; 65_536];
            let count = terminal.master.read(&mut buffer).expect("read");
            text.extend_from_slice(&buffer[..count]);
        }
        if ready.contains(PollFlags::POLLOUT) {
            let end = data.len().min(sent + 4096);
            match terminal.master.write(&data[sent..end]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn ten_megabytes_are_pasted() {
    let mut desk = Desk::new();
    let data: Vec<u8> =
        (0..10_u32 << 20).map(|n| b'a' + (n.wrapping_mul(7919) >> 8) as u8 % 26).collect();
    let script = "stty raw -echo; echo ready; head -c 10485760 | md5sum";
    desk.terminal.send(&format!("$OSTLER exec -it web sh -c '{script}'\n"));
    // Not what was typed.
    desk.terminal.expect("\r\nready\n");
    let flags = nix::fcntl::fcntl(&desk.terminal.master, nix::fcntl::FcntlArg::F_GETFL);
    let mut flags = nix::fcntl::OFlag::from_bits_retain(flags.expect("flags"));
    flags.insert(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(&desk.terminal.master, nix::fcntl::FcntlArg::F_SETFL(flags)).expect("set");
    let text = paste(&mut desk.terminal, &data);
    let file = desk.node.path("data");
    std::fs::write(&file, &data).expect("written");
    let expected = desk.node.shell(&format!("md5sum <{file}")).stdout;
    assert!(text.contains(expected.trim().split(' ').next().expect("a sum")), "{text}");
    desk.node.answers();
}
