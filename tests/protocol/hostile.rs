//! Clients that do what they should not: nobody else notices.

use super::fixture::{Daemon, Raw, answer, has, launch, shell, wait_until};
use ostler::control::CallError;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

fn resident_bytes(daemon: &Daemon) -> u64 {
    let figures = answer(&mut daemon.client(), "DaemonStats", json!({}));
    figures["rss_bytes"].as_u64().expect("a number")
}

/// Sends until the daemon does not take it any more.
fn flood(raw: &mut Raw, piece: &[u8], bytes: usize) -> usize {
    let mut sent = 0;
    while sent < bytes && raw.stream.write_all(piece).is_ok() {
        sent += piece.len();
    }
    sent
}

fn is_limit(reply: Option<Value>, limit: &str) -> bool {
    reply.is_some_and(|reply| {
        reply["error"] == "org.ostler.Limit" && reply["parameters"]["limit"] == limit
    })
}

#[test]
fn a_message_of_100_mib_is_refused_at_the_first() {
    let daemon = Daemon::start();
    let before = resident_bytes(&daemon);
    let mut raw = daemon.raw();
    let sent = flood(&mut raw, &[b'x'; 65_536], 100 << 20);
    assert!(sent < 10 << 20, "{sent}");
    assert!(is_limit(raw.next(), "message"));
    assert_eq!(raw.next(), None);
    daemon.answers();
    wait_until("the memory is given back", || resident_bytes(&daemon) < before + (4 << 20));
}

#[test]
fn calls_that_are_no_calls() {
    let daemon = Daemon::start();
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"method\":\"org.ostler.List\",\"parameters\":{nested}}}");
    for message in [nested.as_bytes(), b"{", b"", b"\xff\xfe", b"[]", b"{\"method\":\"x\"}}"] {
        let mut raw = daemon.raw();
        raw.stream.write_all(&[message, b"\0"].concat()).expect("sent");
        let reply = raw.next().expect("a reply");
        assert_eq!(reply["error"], "org.varlink.service.InvalidParameter");
        assert_eq!(reply["parameters"], json!({"parameter": "message"}));
        assert_eq!(raw.next(), None, "and the connection is closed");
    }
    let mut raw = daemon.raw();
    raw.stream
        .write_all(b"{\"method\":\"org.ostler.Wait\",\"parameters\":{\"name\":\"\xff\"}}\0")
        .expect("sent");
    assert_eq!(raw.next().expect("a reply")["parameters"], json!({"parameter": "name"}));
    raw.send(&json!({"method": "org.ostler.Wait", "parameters": {"name": "a\u{0}b"}}));
    assert_eq!(raw.next().expect("a reply")["parameters"], json!({"parameter": "name"}));
    daemon.answers();
}

#[test]
fn half_messages_of_many_clients_hold_up_nobody() {
    let daemon = Daemon::start();
    let halves: Vec<Raw> = (0..200)
        .map(|_| {
            let mut raw = daemon.raw();
            raw.stream.write_all(b"{\"method\":\"org.ostler.Ver").expect("sent");
            raw
        })
        .collect();
    daemon.answers();
    for mut raw in halves {
        raw.stream.write_all(b"sion\"}\0").expect("sent");
        assert!(raw.next().expect("a reply")["parameters"]["version"].is_string());
    }
}

#[test]
fn a_client_that_never_reads_is_dropped() {
    let daemon = Daemon::start();
    launch(&mut daemon.client(), shell("a", "exec sleep 60"));
    let mut raw = daemon.raw();
    let describe = json!({
        "method": "org.varlink.service.GetInterfaceDescription",
        "parameters": {"interface": "org.ostler"},
    });
    let message = format!("{describe}\0");
    let sent = flood(&mut raw, message.as_bytes(), 16 << 20);
    assert!(sent < 16 << 20);
    assert!(daemon.log().contains("it does not read its answers"), "{}", daemon.log());
    daemon.answers();
    // One that reads may send as many calls ahead as it likes.
    let mut raw = daemon.raw();
    let mut writer = raw.stream.try_clone().expect("a copy");
    let sender = std::thread::spawn(move || {
        (0..1000).try_for_each(|_| writer.write_all(message.as_bytes()))
    });
    for _ in 0..1000 {
        assert!(raw.next().expect("a reply").get("error").is_none());
    }
    sender.join().expect("no panic").expect("sent");
}

#[test]
fn connections_are_bounded() {
    let daemon = Daemon::with(&["--max-connections", "3"]);
    let mut clients: Vec<Raw> = (0..3).map(|_| daemon.raw()).collect();
    for raw in &mut clients {
        raw.send(&json!({"method": "org.ostler.Version"}));
        assert!(raw.next().is_some_and(|reply| reply.get("error").is_none()));
    }
    let mut refused = daemon.raw();
    let reply = refused.next().expect("a reply");
    assert_eq!(reply["parameters"]["maximum"], 3);
    assert!(is_limit(Some(reply), "connections"));
    assert_eq!(refused.next(), None);
    clients.pop();
    wait_until("there is room again", || {
        let mut raw = daemon.raw();
        // It may be refused, and closed, before the call is sent.
        let _ = raw.stream.write_all(b"{\"method\":\"org.ostler.Version\"}\0");
        raw.next().is_some_and(|reply| reply.get("error").is_none())
    });
}

#[test]
fn a_thousand_clients_wait_at_once() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    if hard < 4096 {
        eprintln!("skipped: a thousand clients: the limit of open files is {hard}");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096), hard).expect("raised");
    let daemon = Daemon::with(&["--max-connections", "2000"]);
    launch(&mut daemon.client(), shell("a", "exec sleep 60"));
    let mut clients: Vec<Raw> = (0..1000).map(|_| daemon.raw()).collect();
    for raw in &mut clients {
        raw.send(&json!({"method": "org.ostler.Wait", "parameters": {"name": "a"}}));
    }
    daemon.answers();
    // Half of them leave.
    clients.truncate(500);
    answer(&mut daemon.client(), "Stop", json!({"name": "a", "grace_ms": 0}));
    for raw in &mut clients {
        assert_eq!(raw.next().expect("a reply")["parameters"]["status"]["state"], "exited");
    }
    daemon.answers();
}

#[test]
fn without_descriptors_clients_are_told_and_nothing_spins() {
    let daemon = Daemon::limited(40);
    let (mut first, mut second) = (daemon.client(), daemon.client());
    let mut wakeups = || {
        let figures = answer(&mut first, "DaemonStats", json!({}));
        figures["wakeups"].as_u64().expect("a number")
    };
    wakeups();
    let mut clients: Vec<Raw> = (0..60).map(|_| daemon.raw()).collect();
    let last = clients.last_mut().and_then(Raw::next);
    assert!(is_limit(last, "descriptors"));
    let mut task = shell("with-sinks", "echo out; echo err >&2");
    task["stdout"] = json!({"kind": "file", "path": daemon.path("out")});
    task["stderr"] = json!({"kind": "file", "path": daemon.path("err")});
    launch(&mut second, task);
    let before = wakeups();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(wakeups() < before + 20);
    drop(clients);
    wait_until("there are descriptors again", || {
        let mut raw = daemon.raw();
        let _ = raw.stream.write_all(b"{\"method\":\"org.ostler.Version\"}\0");
        raw.next().is_some_and(|reply| reply.get("error").is_none())
    });
}

#[test]
fn tasks_with_sinks_leave_descriptors_for_clients() {
    let daemon = Daemon::limited(160);
    let mut client = daemon.client();
    for number in 0..120 {
        launch(&mut client, shell(&format!("plain-{number}"), "exec sleep 300"));
    }
    let fifo = |number: i32| {
        let mut task = shell(&format!("fifo-{number}"), "exec sleep 300");
        task["stdout"] = json!({"kind": "fifo", "path": daemon.path(&format!("out-{number}"))});
        json!({"task": task})
    };
    let refused = (0..120).find_map(|number| client.call("org.ostler.Launch", fifo(number)).err());
    let Some(CallError::Remote { error, parameters }) = refused else { panic!("{refused:?}") };
    assert_eq!(error, "org.ostler.Limit", "{parameters}");
    assert_eq!(parameters["limit"], "descriptors");
    let mut others: Vec<_> = (0..20).map(|_| daemon.client()).collect();
    for other in &mut others {
        answer(other, "Version", json!({}));
    }
    launch(&mut client, shell("one-more", "exec sleep 300"));
}

#[test]
fn random_bytes_are_survived() {
    let daemon = Daemon::start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let mut raw = daemon.raw();
        let bytes: Vec<u8> = (0..2000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if state & 0x7000 == 0 { 0 } else { state as u8 }
            })
            .collect();
        let _ = raw.stream.write_all(&bytes);
    }
    daemon.answers();
}

#[test]
fn strangers_are_refused_whatever_the_mode_of_the_socket() {
    let name = "a client of another user";
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {name}: only root can be another user");
        return;
    }
    if !has("socat", &["-V"], name) {
        return;
    }
    let daemon = Daemon::start();
    let open = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    open(daemon.directory.path(), 0o755);
    open(daemon.socket.parent().expect("a directory"), 0o755);
    open(&daemon.socket, 0o666);
    let address = format!("UNIX-CONNECT:{}", daemon.socket.display());
    let output = Command::new("socat")
        .args(["-u", &address, "-"])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let expected = b"{\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}\0";
    assert_eq!(output.stdout.escape_ascii().to_string(), expected.escape_ascii().to_string());
    UnixStream::connect(&daemon.socket).expect("others still can");
    daemon.answers();
}

#[test]
fn the_work_of_a_client_that_left_goes_on() {
    let daemon = Daemon::start();
    let mut raw = daemon.raw();
    let task = shell("a", "trap 'exit 9' INT; touch $0.ready; while :; do sleep 0.05; done");
    raw.send(&json!({"method": "org.ostler.Launch", "parameters": {"task": task}}));
    drop(raw);
    let mut client = daemon.client();
    wait_until("it runs", || {
        let list = answer(&mut client, "List", json!({"states": ["running"]}));
        list["tasks"].as_array().is_some_and(|tasks| tasks.len() == 1)
    });
    let mut raw = daemon.raw();
    raw.send(&json!({"method": "org.ostler.Stop", "parameters": {"name": "a"}}));
    drop(raw);
    let ended = answer(&mut client, "Wait", json!({"name": "a"}));
    assert_eq!(ended["status"]["state"], "exited");
}
