//! A stranger who sends to the keeper as much as it can.

use crate::fixture::Kept;
use crate::hostile::address;
use crate::node::Node;
use crate::support::wait_for;
use serde_json::json;
use std::process::{Child, Command, Stdio};

/// Processes that do nothing but that: one fills the queue of the socket.
const STRANGERS: usize = 1;

/// Sends what a daemon would, with descriptors, for ever; says a word once it has begun.
const SCRIPT: &str = "import array, os, socket, sys
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = sys.argv[1]
out.connect('\\0' + address[1:] if address.startswith('@') else address)
null = os.open('/dev/null', os.O_RDONLY)
fds = array.array('i', [null] * 253)
texts = [b'FDSTORE=1\\nFDNAME=theirs', b'READY=1', b'X=' + b'x' * 4000, b'STOPPING=1']
print('begun', flush=True)
while True:
    for text in texts:
        try:
            out.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except OSError:
            # Too many descriptors are under way.
            out.send(text)
";

/// Ended with the test.
struct Flood(Vec<Child>);

impl Flood {
    fn begin(address: &str) -> Flood {
        use std::io::Read;
        let user = nix::unistd::geteuid().is_root().then_some("65534");
        if user.is_none() {
            println!("skipped: a flood by another user (needs root): it is one of our own");
        }
        let strangers = (0..STRANGERS).map(|_| {
            let mut command = match user {
                None => Command::new("python3"),
                Some(user) => {
                    let mut command = Command::new("setpriv");
                    command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
                    command.arg("/usr/bin/python3");
                    command
                }
            };
            command.args(["-c", SCRIPT, address]).stdout(Stdio::piped());
            let mut stranger = command.spawn().expect("started");
            let mut said = [0; 5];
            stranger.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("it begins");
            stranger
        });
        Flood(strangers.collect())
    }

    /// They go on.
    fn check(&mut self) {
        for stranger in &mut self.0 {
            assert_eq!(stranger.try_wait().expect("a child"), None);
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for stranger in &mut self.0 {
            // It may have failed.
            let _ = stranger.kill();
            let _ = stranger.wait();
        }
    }
}

/// In KiB.
fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a number");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn a_keeper_does_its_work_in_a_flood_of_messages() {
    let mut kept = Kept::start();
    let descriptors = kept.descriptors();
    kept.ask(&["store", "before", "x", "FDPOLL=0"]);
    kept.await_descriptors(descriptors + 1);
    let before = memory(kept.keeper.pid());
    let mut flood = Flood::begin(&address(&kept));
    for (round, signal) in ["HUP", "USR1", "USR2"].into_iter().enumerate() {
        kept.ask(&["store", "during", "y", "FDPOLL=0"]);
        kept.keeper.signal(signal);
        kept.said(&format!("signal SIG{signal}"));
        kept.kill_service();
        let names = vec!["before"].into_iter().chain(vec!["during"; round + 1]);
        assert_eq!(kept.names(), names.collect::<Vec<_>>());
    }
    flood.check();
    drop(flood);
    kept.await_descriptors(descriptors + 4);
    // A line for each daemon at most.
    let told = kept.keeper.seen.iter().filter(|line| line.contains("others than the daemon"));
    assert!((1..=4).contains(&told.count()), "{:#?}", kept.keeper.seen);
    let after = memory(kept.keeper.pid());
    assert!(after < before + 2048, "{before} KiB before, {after} KiB after");
    // What a stranger has asked for was not done.
    kept.kill_service();
    assert!(!kept.names().contains(&"theirs"));
}

#[test]
fn a_daemon_gets_through_to_its_keeper_in_a_flood_of_messages() {
    let mut node = Node::start();
    let environment = std::fs::read(format!("/proc/{}/environ", node.daemon)).expect("it lives");
    let environment = String::from_utf8(environment).expect("text");
    let found = environment.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET="));
    let mut flood = Flood::begin(found.expect("a socket"));
    for round in 0..3_usize {
        let sink = json!({"kind": "file", "path": node.text_path(&format!("{round}.log")),
            "max_size_bytes": 1 << 20});
        node.launch(&format!("t{round}"), "exec sleep 600", json!({ "stdout": sink }));
        wait_for("stored pipes", || node.stored() == round + 1);
        node.kill_daemon();
        node.await_daemon();
    }
    // On the socket that was stored: nobody was refused meanwhile.
    for round in 0..3 {
        node.call("Remove", json!({"name": format!("t{round}"), "force": true}));
    }
    wait_for("an empty store", || node.stored() == 0);
    flood.check();
    let log = node.log();
    assert!(!log.contains("cannot tell the service manager"), "{log}");
}
