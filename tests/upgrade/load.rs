//! Twenty upgrades in a row while everything goes on.

use crate::calls::Calls;
use crate::fixture::Node;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const UPGRADES: u32 = 20;
const WRITERS: usize = 4;

/// Writes numbered lines until there is a file named `stop`, then how many there were, and ends.
pub(crate) const WRITER: &str = r#"
i=0
while [ ! -e "$DIR/stop" ]; do
    n=0
    while [ $n -lt 50 ]; do i=$((i+1)); n=$((n+1)); echo "$0 $i"; done
    sleep 0.0$((i % 7))
done
echo "$0 end $i"
exit 7
"#;

/// Takes all that comes out of a FIFO until its end.
fn read_fifo(path: PathBuf) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        File::open(path).expect("a FIFO").read_to_string(&mut text).expect("read");
        text
    })
}

/// Reads slowly, and now and then not at all, so that the FIFO is full.
fn read_slowly(path: PathBuf, done: Arc<AtomicBool>) -> JoinHandle<String> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut fifo = OpenOptions::new().read(true).custom_flags(flags).open(path).expect("a FIFO");
    thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 2000]);
        loop {
            match fifo.read(&mut piece) {
                Ok(0) if done.load(Ordering::Acquire) => break,
                Ok(0) => {}
                Ok(bytes) => all.extend_from_slice(&piece[..bytes]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if !done.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(3));
            }
        }
        String::from_utf8(all).expect("text")
    })
}

/// Every line once, in order, and the last one.
#[track_caller]
pub(crate) fn check(name: &str, text: &str) -> usize {
    let mut count = 0;
    for line in text.lines() {
        count += 1;
        if let Some(end) = line.strip_prefix(&format!("{name} end ")) {
            assert_eq!(end, (count - 1).to_string(), "{name} lacks lines");
            assert_eq!(text.lines().count(), count, "{name} goes on behind its end");
            return count;
        }
        assert_eq!(line, format!("{name} {count}"));
    }
    panic!("{name} has no end, but {count} lines")
}

pub(crate) fn rotated(path: &Path) -> String {
    let directory = path.parent().expect("a directory");
    let prefix = format!("{}.", path.file_name().and_then(|name| name.to_str()).expect("a name"));
    let mut files: Vec<(u64, PathBuf)> = std::fs::read_dir(directory)
        .expect("a directory")
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    files.sort();
    files.iter().map(|(_, file)| std::fs::read_to_string(file).expect("a file")).collect()
}

fn launch_writers(node: &Node, kind: &str, sink: impl Fn(&str) -> Value) {
    for number in 0..WRITERS {
        let name = format!("{kind}-{number}");
        let env = json!([format!("DIR={}", node.directory.path().display()), "PATH=/usr/bin:/bin"]);
        node.launch(&name, WRITER, json!({"stdout": sink(&node.text_path(&name)), "env": env}));
    }
}

/// Launches, waits, signals and forgets, one after the other: no call may fail.
fn live(node: &Node, stop: &Arc<AtomicBool>, number: u32) -> JoinHandle<u32> {
    let mut client = node.client();
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut rounds = 0;
        while !stop.load(Ordering::Acquire) {
            let (name, code) = (format!("short-{number}-{rounds}"), rounds % 200);
            let args = json!(["-c", format!("exit {code}")]);
            let task = json!({"name": name, "command": "/bin/sh", "args": args});
            let mut call = |method: &str, parameters: Value| {
                let answer = client.call(&format!("org.ostler.{method}"), parameters);
                answer.unwrap_or_else(|error| panic!("{method} of {name}: {error}"))
            };
            call("Launch", json!({ "task": task }));
            let status = call("Wait", json!({ "name": name }))["status"].take();
            assert_eq!(status["exit"]["exit_code"], code, "{status:#}");
            call("Remove", json!({ "name": name }));
            rounds += 1;
        }
        rounds
    })
}

/// Follows all events over one connection: none is missing, none comes twice.
fn watch(node: &Node) -> JoinHandle<u64> {
    let mut client = node.client();
    thread::spawn(move || {
        let mut last = 0;
        let replies = client.stream("org.ostler.Events", json!({"after": 0})).expect("sent");
        for reply in replies {
            let reply = reply.expect("events");
            for event in reply["events"].as_array().expect("a list") {
                assert_eq!(event["sequence"], last + 1);
                last += 1;
                if event["name"] == "the-last" {
                    return last;
                }
            }
        }
        panic!("the stream has ended after {last}")
    })
}

fn under_load(flags: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state").to_str().expect("text").to_owned();
    let flags: Vec<&str> =
        flags.iter().map(|flag| if *flag == "STATE" { state.as_str() } else { flag }).collect();
    let node = Node::start_in(directory, Path::new(crate::fixture::PROGRAM), &flags);
    launch_writers(&node, "rotated", |path| {
        json!({
            "kind": "file", "path": path, "max_size_bytes": 20_000, "max_files": 10_000,
            "numbering": "count",
        })
    });
    launch_writers(&node, "fifo", |path| json!({"kind": "fifo", "path": path}));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut readers: Vec<_> = (1..WRITERS)
        .map(|n| (format!("fifo-{n}"), read_fifo(node.path(&format!("fifo-{n}")))))
        .collect();
    readers.push(("fifo-0".to_owned(), read_slowly(node.path("fifo-0"), Arc::clone(&done))));
    let events = watch(&node);
    let lives: Vec<_> = (0..2).map(|number| live(&node, &stop, number)).collect();
    let mut waits = Vec::new();
    for kind in ["rotated", "fifo"] {
        for number in 0..WRITERS {
            let mut client = node.client();
            let name = format!("{kind}-{number}");
            waits.push(thread::spawn(move || {
                let status = client.call("org.ostler.Wait", json!({ "name": name })).expect(&name);
                assert_eq!(status["status"]["exit"]["exit_code"], 7);
            }));
        }
    }
    for _ in 0..UPGRADES {
        thread::sleep(Duration::from_millis(30));
        node.upgrade();
    }
    stop.store(true, Ordering::Release);
    let rounds: u32 = lives.into_iter().map(|live| live.join().expect("no call failed")).sum();
    std::fs::write(node.path("stop"), "").expect("a file");
    done.store(true, Ordering::Release);
    waits.into_iter().for_each(|wait| wait.join().expect("answered"));
    let mut lines = 0;
    for (name, reader) in readers {
        lines += check(&name, &reader.join().expect("read"));
    }
    for number in 0..WRITERS {
        let name = format!("rotated-{number}");
        lines += check(&name, &rotated(&node.path(&name)));
    }
    node.launch("the-last", "exit 0", json!({}));
    let events = events.join().expect("all events");
    println!("{UPGRADES} upgrades: {lines} lines, {events} events, {rounds} short tasks");
    assert!(lines > 1000 && rounds > 10);
}

#[test]
fn nothing_is_lost_and_no_call_fails() {
    under_load(&[]);
}

#[test]
fn nor_with_a_state_directory() {
    under_load(&["--state", "STATE"]);
}

#[test]
fn no_descriptor_and_no_memory_is_left_behind() {
    let node = Node::start(&[]);
    let fifo = node.text_path("fifo");
    node.launch("sleeper", "sleep 600", json!({"stdout": {"kind": "fifo", "path": fifo}}));
    let log = json!({"kind": "file", "path": node.text_path("log-of-it"), "max_size_bytes": 1000});
    node.launch("logger", "sleep 600", json!({ "stdout": log }));
    node.upgrade();
    let before = node.open_files();
    for _ in 0..10 {
        node.upgrade();
    }
    node.await_no_more_open_than(&before);
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", node.pid())).expect("a group");
    assert!(groups.lines().filter(|line| line.contains("supervisor")).count() <= 1, "{groups}");
    let children = format!("/proc/{0}/task/{0}/children", node.pid());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    assert!(children.split_whitespace().count() <= 2, "{children}");
}
