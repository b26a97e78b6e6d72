//! A next program whose system calls fail while it takes over: whichever it is, it goes on, or ends
//! as a daemon that is killed does, and the one that is started then goes on.

use crate::calls::{Calls, wait_for};
use crate::fixture::{Node, PROGRAM, command};
use crate::load::{WRITER, check, rotated};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

/// What fails: the number of the call, from 1, and with which error.
struct Fault(PathBuf);

impl Fault {
    fn set(&self, nth: u64, errno: nix::errno::Errno) {
        std::fs::write(&self.0, format!("{nth} {}", errno as i32)).expect("written");
    }

    /// The call that has failed, if there were so many.
    fn hit(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.0).expect("a file");
        text.split_whitespace().nth(2).map(str::to_owned)
    }
}

/// A daemon with a state directory, whose next programs heed a file of faults.
struct Faulty {
    node: Node,
    fault: Fault,
    flags: Vec<String>,
}

fn daemon(directory: &Path, flags: &[String]) -> Command {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let log = std::fs::OpenOptions::new().append(true).create(true).open(directory.join("log"));
    let mut command = command(Path::new(PROGRAM), directory, &flags);
    command.env("OSTLER_FAULT", directory.join("fault")).stderr(log.expect("a log"));
    command
}

impl Faulty {
    fn start() -> Faulty {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
        let metrics = format!("unix:{}", path("metrics"));
        let flags = ["--state".to_owned(), path("state"), "--metrics".to_owned(), metrics];
        let fault = Fault(directory.path().join("fault"));
        let command = daemon(directory.path(), &flags);
        Faulty { node: Node::run(directory, command), fault, flags: flags.to_vec() }
    }

    /// Upgrades, and starts the next daemon where the program has ended over that. Whether it goes
    /// on.
    fn upgrade(&mut self) -> bool {
        // The connection is lost with a program that ends, and may be with one that goes on.
        let _ = self.node.client().call("org.ostler.Upgrade", json!({}));
        let mut ended = false;
        wait_for("it serves or has ended", || {
            ended = self.node.has_ended();
            ended || self.node.serves()
        });
        if ended {
            let command = daemon(self.node.directory.path(), &self.flags);
            self.node.follow_with(command);
        }
        !ended
    }
}

/// What a task is launched with to write there.
fn sinks(node: &Node) -> [(&'static str, Value); 2] {
    let file = json!({
        "kind": "file", "path": node.text_path("file"), "max_size_bytes": 20_000,
        "max_files": 10_000, "numbering": "count",
    });
    [("file", file), ("fifo", json!({"kind": "fifo", "path": node.text_path("fifo")}))]
}

/// Holds the FIFO open for both, so that it outlives daemons, and reads the lines up to the last.
pub(crate) fn read_fifo(path: PathBuf) -> JoinHandle<String> {
    let fifo = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("a FIFO");
    std::thread::spawn(move || {
        let (mut fifo, mut text, mut buffer) = (fifo, Vec::new(), vec![0; 4096]);
        loop {
            let count = fifo.read(&mut buffer).expect("read");
            text.extend_from_slice(&buffer[..count]);
            let lines = String::from_utf8_lossy(&text);
            if lines.ends_with('\n') && lines.lines().last().is_some_and(|l| l.contains(" end ")) {
                return lines.into_owned();
            }
        }
    })
}

#[test]
fn whichever_call_of_the_next_program_fails_nothing_is_lost() {
    let mut faulty = Faulty::start();
    let node = &faulty.node;
    let env = json!([format!("DIR={}", node.directory.path().display()), "PATH=/usr/bin:/bin"]);
    let mut pids = Vec::new();
    for (name, sink) in sinks(node) {
        pids.push((name, node.launch(name, WRITER, json!({"stdout": sink, "env": env}))));
    }
    pids.push(("sleeper", node.launch("sleeper", "exec sleep 600", json!({}))));
    let fifo = read_fifo(node.path("fifo"));
    // With an upgrade before, so that what is open is what an upgrade leaves open.
    std::fs::write(&faulty.fault.0, "").expect("written");
    assert!(faulty.upgrade());
    let open = faulty.node.open_files();
    let (mut hits, mut survived) = (Vec::new(), 0);
    let child = |node: &Node| ("child", node.launch("child", "exec sleep 600", json!({})));
    pids.push(child(&faulty.node));
    for nth in 1.. {
        let errno = [nix::errno::Errno::ENOMEM, nix::errno::Errno::EMFILE][nth as usize % 2];
        faulty.fault.set(nth, errno);
        let goes_on = faulty.upgrade();
        survived += u32::from(goes_on);
        let Some(call) = faulty.fault.hit() else { break };
        let node = &faulty.node;
        for (name, launched) in &pids {
            let status = node.inspect(name);
            let same = |field: &str| status[field] == launched[field];
            assert!(same("pid") && same("id"), "{call}, number {nth}: {status:#} {}", node.log());
            assert_eq!(status["state"], "running", "{call}, number {nth}");
        }
        if !goes_on {
            // Those that were children are adopted by now: another one is to be none.
            node.call("Remove", json!({"name": "child", "force": true}));
            pids.pop();
            pids.push(child(node));
        }
        hits.push(call);
    }
    for call in ["fcntl(F_SETFD)", "epoll_ctl", "signalfd4"] {
        assert!(hits.iter().any(|hit| hit == call), "{call} was not failed: {hits:?}");
    }
    println!("{} calls failed, {survived} programs went on", hits.len());
    // Nothing is left open of all those.
    faulty.node.call("Remove", json!({"name": "child", "force": true}));
    faulty.node.await_no_more_open_than(&open);
    let node = faulty.node;
    std::fs::write(node.path("stop"), "").expect("written");
    for name in ["file", "fifo"] {
        assert_eq!(node.wait(name)["exit"]["exit_code"], 7, "{name}: {}", node.log());
    }
    assert!(check("fifo", &fifo.join().expect("read")) > 0);
    wait_for("the last line", || rotated(&node.path("file")).contains(" end "));
    check("file", &rotated(&node.path("file")));
    assert!(!node.log().contains("panicked"), "{}", node.log());
}
