//! Descriptors that outlive the daemon.

use crate::fixture::Kept;

#[test]
fn what_is_stored_comes_back_with_what_is_in_it() {
    let mut kept = Kept::start();
    assert_eq!(kept.names(), Vec::<&str>::new());
    kept.ask(&["store", "7.o", "unread bytes", "FDPOLL=0"]);
    kept.ask(&["store", "1.e", "more", "FDPOLL=0"]);
    kept.kill_service();
    assert_eq!(kept.names(), ["1.e", "7.o"]);
    assert_eq!(kept.ask(&["read", "7.o"]), "unread bytes");
    // It is stored still, and comes with every start.
    kept.kill_service();
    assert_eq!(kept.names(), ["1.e", "7.o"]);
    assert_eq!(kept.ask(&["read", "7.o"]), "");
    assert_eq!(kept.ask(&["read", "1.e"]), "more");
    kept.ask(&["send", "FDSTOREREMOVE=1", "FDNAME=7.o"]);
    kept.kill_service();
    assert_eq!(kept.names(), ["1.e"]);
}

#[test]
fn one_without_a_writer_is_kept_only_if_it_is_not_watched() {
    let mut kept = Kept::start();
    let before = kept.descriptors();
    kept.ask(&["hold", "watched"]);
    kept.ask(&["hold", "not-watched", "FDPOLL=0"]);
    kept.await_descriptors(before + 2);
    kept.kill_service();
    // The writing ends have gone with the daemon, before or after the next one was started.
    kept.await_descriptors(before + 1);
    kept.said("watched is not kept any longer");
    kept.kill_service();
    assert_eq!(kept.names(), ["not-watched"]);
}

#[test]
fn a_full_store_refuses_and_says_so() {
    // 80 % of 100.
    let mut kept = Kept::start_with(limit_descriptors);
    assert!(kept.greeting.contains("fds 80 "), "{}", kept.greeting);
    let before = kept.descriptors();
    kept.ask(&["many", "a", "7", "10"]);
    kept.ask(&["many", "b", "1", "15"]);
    let line = kept.said("no more descriptors are kept");
    assert!(line.contains("there are 80, b is not"), "{line}");
    kept.await_descriptors(before + 80);
    kept.kill_service();
    let names = kept.names();
    assert_eq!((names.len(), names.iter().filter(|name| **name == "b").count()), (80, 10));
    kept.ask(&["send", "FDSTOREREMOVE=1", "FDNAME=a"]);
    kept.ask(&["many", "c", "1", "1"]);
    kept.await_descriptors(before + 11);
    kept.kill_service();
    assert_eq!(kept.names().last(), Some(&"c"));
}

/// Gives the keeper few descriptors.
fn limit_descriptors(command: &mut std::process::Command) {
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut limited = std::process::Command::new("prlimit");
    limited.args(["--nofile=100:100", "env"]).args(arguments);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    *command = limited;
}

#[test]
fn sockets_of_the_manager_above_come_to_every_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut kept = Kept::start_with(|command| {
        // systemd-socket-activate is not everywhere.
        let script = "import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='web', LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])";
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut passing = std::process::Command::new("python3");
        passing.args(["-c", script]).arg(&path).arg("env").args(arguments);
        *command = passing;
    });
    assert_eq!(kept.names(), ["web"]);
    std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    kept.ask(&["store", "x", "", "FDPOLL=0"]);
    kept.kill_service();
    assert_eq!(kept.names(), ["web", "x"]);
    std::os::unix::net::UnixStream::connect(&path).expect("it listens still");
}
