//! ExecStream with a terminal, seen from the side of a client.

use crate::node::{END_OF_STDERR, END_OF_STDOUT, Node};
use serde_json::json;

#[test]
fn a_terminal_is_the_controlling_one_of_a_session_of_its_own() {
    let is_root = nix::unistd::geteuid().is_root();
    let task = if is_root { json!({"user": "nobody"}) } else { json!({}) };
    let node = Node::with(&[], task);
    let before = node.descriptors();
    let line = "stty size; tty; test -t 0 && test -t 1 && test -t 2 && echo three; \
                echo to the terminal >/dev/tty; echo again >$(tty); \
                stat -c %U $(tty); cut -d' ' -f5-8 /proc/$$/stat; echo $$; exit 5";
    let mut client = node.stream(line, json!({"tty": true, "rows": 33, "columns": 101}));
    let (stdout, stderr, others, code) = client.rest();
    assert_eq!((stderr.as_str(), others, code), ("", vec![END_OF_STDOUT, END_OF_STDERR], 5));
    let lines: Vec<&str> = stdout.split("\r\n").collect();
    let [size, name, three, controlling, again, user, family, pid, end] = lines[..] else {
        panic!("{lines:?}");
    };
    assert!(name.starts_with("/dev/pts/"), "{name}");
    assert_eq!([size, three, controlling, again], ["33 101", "three", "to the terminal", "again"]);
    if is_root {
        assert_eq!(user, "nobody");
    }
    // Process group, session, terminal, and its foreground group.
    let family: Vec<&str> = family.split(' ').collect();
    assert_eq!((family[0], family[1], family[3]), (pid, pid, pid));
    assert_eq!(end, "");
    node.wait_until_clean(before);
}

#[test]
fn a_resize_is_told_to_the_foreground() {
    let node = Node::start();
    let line = "trap 'stty size' WINCH; trap 'exit 1' USR1; echo ready; \
                while :; do sleep 0.05; done";
    let mut client = node.stream(line, json!({"tty": true}));
    client.expect("ready\r\n");
    client.put(2, &[0, 40, 0, 120]);
    client.expect("40 120\r\n");
    // Not of a size: skipped.
    client.put(2, &[0, 40]);
    client.put(3, b"USR1");
    assert_eq!(client.rest().3, 1);
}

#[test]
fn the_end_of_input_is_the_end_of_file_of_the_terminal() {
    let node = Node::start();
    for (typed, counted) in [(&b""[..], "0"), (b"one\n", "4"), (b"one\ntwo", "7")] {
        let mut client = node.stream("stty -echo; echo ready; wc -c", json!({"tty": true}));
        client.expect("ready\r\n");
        client.put(0, typed);
        client.put(1, b"");
        let (stdout, _, _, code) = client.rest();
        assert_eq!((stdout.trim(), code), (counted, 0), "{typed:?}");
    }
}

#[test]
fn keys_that_signal_reach_the_foreground() {
    let node = Node::start();
    let line = "trap 'echo interrupted' INT; echo ready; cat; exit 4";
    let mut client = node.stream(line, json!({"tty": true}));
    client.expect("ready\r\n");
    // It reads, and what was written is more than an echo.
    client.put(0, b"x\n");
    client.expect("x\r\nx\r\n");
    client.put(0, b"\x03");
    client.expect("interrupted\r\n");
    assert_eq!(client.rest().3, 4);
    let mut client = node.stream("echo ready; exec cat", json!({"tty": true}));
    client.expect("ready\r\n");
    client.put(0, b"x\n");
    client.expect("x\r\nx\r\n");
    client.put(0, b"\x1c");
    assert_eq!(client.rest().3, 131);
}

/// As coreutils do that close their streams before they exit: to close our end then would hang up a
/// command that is about to end well.
#[test]
fn a_terminal_that_nobody_has_open_is_not_hung_up() {
    let node = Node::start();
    let before = node.descriptors();
    let go = node.path("go");
    nix::unistd::mkfifo(go.as_str(), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let line = format!("echo one; exec <&- >&- 2>&-; read x <{go}; echo two >/dev/tty; exit 6");
    let mut client = node.stream(&line, json!({"tty": true}));
    client.expect("one\r\n");
    // Opening waits for the other side, so that this is when the command has closed all it had.
    let mut go = std::fs::File::create(&go).expect("a FIFO");
    node.answers();
    std::io::Write::write_all(&mut go, b"go\n").expect("written");
    let (stdout, _, others, code) = client.rest();
    assert_eq!((stdout.as_str(), code), ("two\r\n", 6));
    assert_eq!(others, vec![END_OF_STDOUT, END_OF_STDERR]);
    node.wait_until_clean(before);
}

#[test]
fn what_was_written_last_is_not_lost() {
    let node = Node::start();
    for _ in 0..20 {
        let mut client = node.stream("seq 3000", json!({"tty": true}));
        let (stdout, _, _, code) = client.rest();
        let all: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!((stdout == all, code), (true, 0), "{} of {}", stdout.len(), all.len());
    }
}
