//! Messages that a keeper must not act upon.

use crate::fixture::Kept;
use std::process::Command;

/// The address of the keeper's socket, as the daemon has it.
pub(crate) fn address(kept: &Kept) -> String {
    let environment = std::fs::read(format!("/proc/{}/environ", kept.pid)).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let found = environment.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET="));
    found.expect("a socket").to_owned()
}

/// Sends these texts with a descriptor each, as another process and perhaps as another user.
fn send_as_stranger(kept: &Kept, user: Option<&str>, texts: &[&str]) {
    let script = "import array, os, socket, sys
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
out.connect('\\0' + sys.argv[1][1:])
null = os.open('/dev/null', os.O_RDONLY)
for text in sys.argv[2:]:
    fds = array.array('i', [null] * 9)
    out.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
";
    let mut command = match user {
        None => Command::new("python3"),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "/usr/bin/python3"]);
            command
        }
    };
    let status = command.args(["-c", script, &address(kept)]).args(texts).status().unwrap();
    assert!(status.success());
}

const ORDERS: [&str; 4] =
    ["FDSTORE=1\nFDNAME=theirs", "FDSTOREREMOVE=1\nFDNAME=mine", "STOPPING=1", "READY=1"];

#[test]
fn strangers_are_ignored_and_what_they_send_is_closed() {
    let mut kept = Kept::start();
    let before = kept.descriptors() + 1;
    kept.ask(&["store", "mine", "x", "FDPOLL=0"]);
    kept.await_descriptors(before);
    let mut users = vec![None];
    if nix::unistd::geteuid().is_root() {
        users.push(Some("65534"));
    } else {
        println!("skipped: messages of another user (needs root)");
    }
    for user in users {
        send_as_stranger(&kept, user, &ORDERS);
        let user = user.map_or(nix::unistd::geteuid().to_string(), str::to_owned);
        let line = kept.keeper.expect(&format!("user {user}"));
        assert!(line.contains("messages of others than the daemon are ignored"), "{line}");
        kept.await_descriptors(before);
        kept.kill_service();
        assert_eq!(kept.names(), ["mine"]);
    }
}

#[test]
fn what_is_no_message_is_closed_as_well() {
    let mut kept = Kept::start();
    let before = kept.descriptors();
    kept.ask(&["oversized"]);
    kept.said("it did not arrive whole");
    kept.ask(&["many", "a:b\0c", "1", "253"]);
    kept.said("it is no text");
    // Nothing asks for these to be kept.
    kept.ask(&["many", "a\\nFDSTOREREMOVE=1", "3", "253"]);
    kept.ask(&["store", "a", "", "FDPOLL=0"]);
    kept.await_descriptors(before + 1);
    kept.kill_service();
    assert_eq!(kept.names(), ["a"]);
}
