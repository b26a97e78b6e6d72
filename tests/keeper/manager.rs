//! A keeper that has a service manager itself.

use crate::fixture::Kept;
use std::os::unix::net::UnixDatagram;

#[test]
fn the_manager_above_hears_of_the_daemon_through_the_keeper() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("above");
    let above = UnixDatagram::bind(&path).unwrap();
    above.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let receive = || {
        let mut buffer = [0; 4096];
        let count = above.recv(&mut buffer).expect("told");
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let mut kept = Kept::start_with(|command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000").env("FDSTORE", "5");
    });
    let environment = kept.keeper.seen.last().unwrap();
    assert_eq!(environment, "environment 30000000 True");
    assert!(!kept.greeting.contains("fds 5 "), "it is the keeper's that counts");
    kept.ask(&["send", "READY=1", "MAINPID=1", "STATUS=up", "FDSTORE=1", "X_OTHER=1"]);
    let main = kept.keeper.pid();
    assert_eq!(receive(), format!("READY=1\nSTATUS=up\nMAINPID={main}\n"));
    kept.ask(&["send", "WATCHDOG=1"]);
    assert_eq!(receive(), "WATCHDOG=1\n");
    kept.ask(&["send", "RELOADING=1", "MONOTONIC_USEC=5"]);
    assert_eq!(receive(), "RELOADING=1\nMONOTONIC_USEC=5\n");
    kept.kill_service();
    assert!(receive().starts_with("STATUS=the daemon was ended by SIGKILL"));
    kept.ask(&["send", "STOPPING=1"]);
    assert_eq!(receive(), "STOPPING=1\n");
}

#[test]
fn a_manager_that_is_gone_is_no_obstacle() {
    let mut kept = Kept::start_with(|command| {
        command.env("NOTIFY_SOCKET", "/not/there");
    });
    assert!(kept.keeper.seen[0].contains("cannot reach NOTIFY_SOCKET"), "{:?}", kept.keeper.seen);
    kept.ask(&["send", "READY=1"]);
    kept.kill_service();
}
