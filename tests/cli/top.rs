//! `ostler top` on a terminal, against a real daemon and one that answers as told.

use super::answering::Daemon;
use super::live::{Node, until};
use super::{ostler, outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PROMPT: &str = "PROMPT>";

/// A terminal with a program on it, seen from the side of the one who types.
struct Terminal {
    master: File,
    slave: OwnedFd,
    before: Termios,
    screen: vt100::Parser,
    /// All that was written.
    raw: Vec<u8>,
    program: Child,
}

impl Terminal {
    /// `ostler top` with these flags.
    fn top(socket: &Path, flags: &[&str]) -> Terminal {
        let program = env!("CARGO_BIN_EXE_ostler");
        let arguments = [&[program, "top"], flags].concat();
        Terminal::open(socket, &arguments)
    }

    /// A shell with job control.
    fn shell(socket: &Path) -> Terminal {
        let shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
        let mut terminal = Terminal::open(socket, &shell);
        terminal.expect(PROMPT);
        terminal
    }

    fn open(socket: &Path, arguments: &[&str]) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let slave = || pair.slave.try_clone().expect("another descriptor");
        let before = tcgetattr(&pair.slave).expect("modes");
        // setsid(1) makes it the terminal of the session; whatever runs the tests may ignore
        // signals.
        let program = Command::new("setsid")
            .args(["--ctty", "--wait", "env", "--default-signal"])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("PS1", PROMPT)
            .env("OSTLER", env!("CARGO_BIN_EXE_ostler"))
            .env("OSTLER_SOCKET", socket)
            .env_remove("NO_COLOR")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("the program starts");
        let screen = vt100::Parser::new(24, 100, 0);
        let (master, slave, raw) = (pair.master.into(), pair.slave, Vec::new());
        Terminal { master, slave, before, screen, raw, program }
    }

    fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until the screen shows this.
    #[track_caller]
    fn expect(&mut self, wanted: &str) -> String {
        self.until(wanted, |text| text.contains(wanted))
    }

    /// Waits until the screen is so; returns what it shows.
    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.screen.screen().contents();
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{what} did not come, but:\n{text}");
            self.take_in(100);
        }
    }

    /// Takes in what is written, waiting so many milliseconds at most; whether there was anything.
    fn take_in(&mut self, milliseconds: u16) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(milliseconds)).expect("polled") == 0 {
            return false;
        }
        let mut buffer = [0; 65536];
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.screen.process(&buffer[..count]);
        self.raw.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Waits for the end of the program.
    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            self.take_in(20);
            if let Some(status) = self.program.try_wait().expect("waited") {
                break status;
            }
            let text = self.screen.screen().contents();
            assert!(Instant::now() < deadline, "it does not end:\n{text}");
        };
        while self.take_in(0) {}
        status
    }

    /// The terminal is as it was.
    #[track_caller]
    fn assert_given_back(&self) {
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(tcgetattr(&self.slave).expect("modes"), self.before);
    }

    /// The pid of `ostler top`, below setsid(1) and, where there is one, a shell.
    #[track_caller]
    fn pid(&self) -> Pid {
        let mut pid = self.program.id();
        until("ostler runs", || {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            pid = children.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(pid);
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (name == "ostler\n").then_some(())
        });
        Pid::from_raw(pid as i32)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Closing the other side hangs up the session; this is for who does not take notice.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn node_with(names: &[&str]) -> (Node, std::path::PathBuf) {
    let node = Node::start();
    for name in names {
        node.get(&["launch", "--name", name, "/bin/sleep", "1000"]);
    }
    let socket = node.path("socket").into();
    (node, socket)
}

#[test]
fn tasks_are_shown_and_stopped() {
    let (node, socket) = node_with(&["web", "db"]);
    let mut terminal = Terminal::top(&socket, &["--sort", "name"]);
    let text = terminal.expect("web");
    assert!(text.contains("ostler top  2 tasks: 2 running"), "{text}");
    let db = node.status("db")["pid"].to_string();
    assert!(text.lines().any(|line| line.starts_with("db") && line.contains(&db)), "{text}");
    assert!(text.contains("/bin/sleep"), "{text}");
    // A task that comes later, with what events do not tell of it.
    node.get(&["launch", "--name", "api", "/bin/sleep", "2000"]);
    terminal.until("a third one", |text| {
        text.lines().any(|line| line.starts_with("api") && line.contains("/bin/sleep"))
    });
    terminal.send("/we\r");
    terminal.until("the filter", |text| !text.contains("\ndb"));
    terminal.send("\x1b[BS");
    terminal.expect("stop web?");
    assert_eq!(node.status("web")["state"], "running", "nothing was confirmed");
    terminal.send("y");
    terminal.expect("stop web: done");
    assert_eq!(node.status("web")["state"], "exited");
    terminal.send("a");
    terminal.expect("exited (130)");
    terminal.send("q");
    assert_eq!(terminal.end().code(), Some(0));
    terminal.assert_given_back();
}

#[test]
fn a_task_is_looked_at_restarted_and_signalled() {
    let node = Node::start();
    let log = node.path("log");
    let script = "echo first; trap 'echo got HUP >&2' HUP; while :; do sleep 0.05; done";
    let out = format!("file:{log}");
    node.shell(&["--name", "web", "--stdout", &out, "--stderr", "stdout"], script);
    let socket: std::path::PathBuf = node.path("socket").into();
    let mut terminal = Terminal::top(&socket, &[]);
    terminal.expect("web");
    terminal.send("\x1b[B\r");
    terminal.expect("first");
    let text = terminal.expect("started");
    assert!(text.contains(&format!("stdout file:{log}")) && text.contains("launched"), "{text}");
    terminal.send("Khup\r");
    terminal.expect("got HUP");
    terminal.send("R\r");
    terminal.expect("restart web: done");
    terminal.expect("pid");
    // Escape alone, with nothing after it.
    terminal.send("\x1b");
    terminal.expect("NAME");
    terminal.send("q");
    assert_eq!(terminal.end().code(), Some(0));
    terminal.assert_given_back();
}

#[test]
fn what_is_not_kept_is_said() {
    let (_node, socket) = node_with(&["web"]);
    let mut terminal = Terminal::top(&socket, &[]);
    terminal.expect("web");
    terminal.send("j\r");
    terminal.expect("nothing is kept, stdout is discard");
    terminal.send("\x03");
    assert_eq!(terminal.end().code(), Some(0));
    terminal.assert_given_back();
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let (_node, socket) = node_with(&["web"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut terminal = Terminal::top(&socket, &[]);
        terminal.expect("web");
        kill(terminal.pid(), signal).expect("signalled");
        let status = terminal.end();
        // setsid(1) tells the end of its child so.
        let seen = status.signal().or(status.code().map(|code| code - 128));
        assert_eq!(seen, Some(signal as i32), "{status:?}");
        terminal.assert_given_back();
    }
}

#[test]
fn a_daemon_that_goes_ends_it_with_a_word() {
    let (node, socket) = node_with(&["web"]);
    let mut terminal = Terminal::top(&socket, &[]);
    terminal.expect("web");
    node.get(&["shutdown", "--grace", "0"]);
    let status = terminal.end();
    assert_eq!(status.code(), Some(1));
    terminal.assert_given_back();
    let text = terminal.screen.screen().contents();
    assert!(text.contains("ostler: top: the daemon closed the connection"), "{text}");
}

#[test]
fn it_stops_and_goes_on_as_a_job_of_a_shell() {
    let (_node, socket) = node_with(&["web"]);
    let mut terminal = Terminal::shell(&socket);
    terminal.send("$OSTLER top\n");
    terminal.expect("sleep");
    for stop in ["key", "signal"] {
        match stop {
            "key" => terminal.send("\x1a"),
            _ => kill(terminal.pid(), Signal::SIGTSTP).expect("signalled"),
        }
        terminal.expect("Stopped");
        terminal.until("the shell", |text| text.trim_end().ends_with(PROMPT));
        assert!(!terminal.screen.screen().alternate_screen());
        terminal.send("echo icanon=$(stty -a | tr ' ' '\\n' | grep -cx icanon)\n");
        terminal.expect("icanon=1");
        terminal.send("clear; fg\n");
        terminal.expect("q quit");
        assert!(terminal.screen.screen().alternate_screen());
        terminal.send("?");
        terminal.expect("any key goes back");
        terminal.send("x");
        terminal.expect("web");
    }
    // One that is stopped without being asked comes back all the same.
    kill(terminal.pid(), Signal::SIGSTOP).expect("stopped");
    terminal.send("");
    terminal.until("the shell", |text| text.contains("Stopped"));
    terminal.send("clear; fg\n");
    terminal.until("all of it", |text| text.contains("q quit") && !text.contains("Stopped"));
    terminal.send("q");
    terminal.until("the shell", |text| text.trim_end().ends_with(PROMPT));
    terminal.send("echo code $?\n");
    terminal.expect("code 0");
}

#[test]
fn it_fits_whatever_size_there_is() {
    let (_node, socket) = node_with(&["web", "db"]);
    let mut terminal = Terminal::top(&socket, &["--sort", "name"]);
    terminal.expect("COMMAND");
    for (rows, columns) in [(5, 20), (1, 1), (2, 9), (50, 200), (24, 80)] {
        terminal.screen.screen_mut().set_size(rows, columns);
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let resized = Command::new("stty")
            .args(["rows", &rows, "cols", &columns])
            .stdin(terminal.slave.try_clone().expect("another descriptor"))
            .status();
        assert!(resized.expect("stty").success());
        if columns == "20" {
            terminal.until("few columns", |text| text.contains("web") && !text.contains("PID"));
        }
        terminal.send("jk?xj\rGg\x1b");
    }
    terminal.expect("UPTIME");
    terminal.send("q");
    assert_eq!(terminal.end().code(), Some(0));
    terminal.assert_given_back();
}

#[test]
fn ten_thousand_tasks_are_no_burden() {
    let status = |number: u32| {
        json!({
            "name": format!("task-{number:05}"), "id": format!("i.{number}"), "state": "running",
            "command": "/bin/true", "pid": number + 10, "created_us": 0, "restarts": 0,
        })
    };
    let stats = |number: u32| {
        let total = json!({ "cpu_percent": f64::from(number) / 100.0, "threads": 1 });
        json!({ "name": format!("task-{number:05}"), "id": format!("i.{number}"),
                "time_us": 1, "total": total })
    };
    let daemon = Daemon::start(move |method, _| match method {
        "List" => {
            // Figures that come before would be those of unknown tasks.
            std::thread::sleep(Duration::from_millis(500));
            let part =
                |part: u32| (part * 1000..(part + 1) * 1000).map(status).collect::<Vec<Value>>();
            (0..10).map(|n| json!({ "tasks": part(n), "sequence": 7 })).collect()
        }
        // The last reply of a stream that goes on never comes.
        "Stats" => {
            let stats: Vec<Value> = (0..10_000).map(stats).collect();
            stats.chunks(1000).map(|stats| json!({ "stats": stats })).collect()
        }
        _ => {
            std::thread::sleep(PATIENCE);
            Vec::new()
        }
    });
    let mut terminal = Terminal::top(&daemon.socket(), &[]);
    terminal.until("the largest first", |text| text.contains("\ntask-09999"));
    let text = terminal.expect("10,000 tasks: 10,000 running");
    assert_eq!(text.matches("task-").count(), 20, "{text}");
    terminal.send("n");
    terminal.until("by name", |text| text.contains("\ntask-00000"));
    // Pressed faster than it can be drawn.
    terminal.send(&"j".repeat(5_000));
    terminal.expect("task-04999");
    terminal.send("G");
    terminal.expect("task-09999");
    terminal.send("/04321\r");
    terminal.until("one task", |text| text.matches("task-").count() == 1);
    terminal.send("q");
    assert_eq!(terminal.end().code(), Some(0));
    let asked: Vec<String> = daemon.calls().into_iter().map(|(method, _)| method).collect();
    assert_eq!(asked.iter().filter(|method| *method == "Inspect").count(), 0, "all was listed");
}

#[test]
fn events_that_are_lost_are_made_up_for() {
    let lists = AtomicU32::new(0);
    let task = |name: &str| {
        let (state, command) = ("running", "x");
        json!({ "name": name, "id": name, "state": state, "command": command })
    };
    let daemon = Daemon::start(move |method, parameters| match method {
        "List" => {
            let name = ["old", "new"][lists.fetch_add(1, Ordering::Relaxed).min(1) as usize];
            vec![json!({ "tasks": [task(name)], "sequence": 50 })]
        }
        "Events" if parameters["names"].is_null() && lists.load(Ordering::Relaxed) < 2 => {
            vec![json!({ "error": "org.ostler.EventsLost", "parameters": { "oldest": 60 } })]
        }
        "Events" if parameters["after"] == 0 => {
            vec![json!({ "error": "org.ostler.EventsLost", "parameters": { "oldest": 7 } })]
        }
        "Events" if parameters["after"] == 6 => {
            let event =
                json!({ "name": "new", "id": "new", "kind": "oldest_of_all", "time_us": 1 });
            vec![json!({ "events": [event], "sequence": 50 })]
        }
        "Inspect" => vec![json!({ "status": task("new") })],
        _ => {
            std::thread::sleep(PATIENCE);
            Vec::new()
        }
    });
    let mut terminal = Terminal::top(&daemon.socket(), &[]);
    terminal.until("another list", |text| text.contains("\nnew"));
    terminal.send("j\r");
    terminal.expect("oldest_of_all");
    terminal.send("qq");
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_nothing() {
    let (_node, socket) = node_with(&["web"]);
    let mut terminal = Terminal::top(&socket, &[]);
    terminal.expect("web");
    let pid = terminal.pid();
    // Much more than fits the terminal's buffer, and nobody reads.
    for _ in 0..100 {
        terminal.send("?x\x0c");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(pid, Signal::SIGTERM).expect("signalled");
    until("the end", || terminal.program.try_wait().expect("waited").map(|_| ()));
}

#[test]
fn what_the_daemon_says_cannot_steer_the_terminal() {
    let evil = "\x1b[2J\x1b]0;title\x07\u{9b}31m\r\nweb";
    let daemon = Daemon::start(move |method, _| match method {
        "List" => vec![json!({ "tasks": [{
            "name": evil, "id": evil, "state": evil, "command": evil, "pid": 1,
            "error": { "message": evil },
        }], "sequence": 7 })],
        "Events" => {
            std::thread::sleep(PATIENCE);
            Vec::new()
        }
        _ => vec![json!({ "error": format!("org.x.{evil}"), "parameters": { "reason": evil } })],
    });
    let mut terminal = Terminal::top(&daemon.socket(), &[]);
    terminal.expect("1 task");
    terminal.expect("no figures: the daemon answered org.x.");
    terminal.send("j\r");
    terminal.expect("command");
    terminal.send("qKx\x1b");
    terminal.send("q");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(!String::from_utf8_lossy(&terminal.raw).contains("\x1b]"), "no title was set");
    terminal.assert_given_back();
}

#[test]
fn an_answer_that_is_none_is_said_below_the_screen() {
    for (answer, why) in [
        (json!({ "tasks": 7 }), "ostler: top: the daemon's answer: invalid type"),
        (
            json!({ "error": "org.ostler.Limit",
                    "parameters": { "limit": "connections", "maximum": 1, "reason": "full" } }),
            "ostler: top: the limit of 1 (connections) is reached: full",
        ),
    ] {
        let daemon = Daemon::start(move |_, _| vec![answer.clone()]);
        let mut terminal = Terminal::top(&daemon.socket(), &[]);
        assert_eq!(terminal.end().code(), Some(1));
        terminal.assert_given_back();
        let text = terminal.screen.screen().contents();
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_so() {
    let piped = outcome(ostler(&["top"]).output().expect("the program starts"));
    assert_eq!((piped.code, piped.stdout.as_str()), (Some(1), ""));
    let why = "ostler: top: standard input is not a terminal (for lines of text: ostler ps, \
               ostler stats)\n";
    assert_eq!(piped.stderr, why);
    let mut terminal = Terminal::top(Path::new("/nonexistent/ostler.sock"), &[]);
    assert_eq!(terminal.end().code(), Some(125));
    terminal.assert_given_back();
    terminal.expect("ostler: top: no daemon at /nonexistent/ostler.sock");
    let mut half = ostler(&["top"]);
    let slave = terminal.slave.try_clone().expect("another descriptor");
    let half = half.stdin(slave).stdout(Stdio::null()).output().expect("the program starts");
    let why = String::from_utf8_lossy(&half.stderr).into_owned();
    assert!(why.contains("standard output is not a terminal"), "{why}");
}
