//! What tasks of the program may still do when rights were taken from them: calls that are denied,
//! programs that have to run all the same.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/executable.rs"]
mod executable;

use executable::copy_executable;
use nix::errno::Errno;
use nix::libc;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where this is set, the test is the task: see `probe`.
const PROBE: &str = "OSTLER_TEST_PROBE";

/// All rights that can be taken without landlock.
const RESTRICTED: [&str; 5] = ["--cap", "none", "--no-new-privs", "--seccomp", "default"];

fn ostler(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["OSTLER_SOCKET", "OSTLER_LOG", "NOTIFY_SOCKET", "LISTEN_FDS", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

/// `ostler run` with these flags and this command.
fn run(flags: &[&str], command: &[&str]) -> Output {
    ostler(&[&["run", "--env", "PATH"], flags, &["--"], command].concat()).output().unwrap()
}

fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    streams.concat()
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Only root can take capabilities away and change users; says so where we are not.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped {test}: needs root");
    }
    root
}

fn has(program: &str, test: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        eprintln!("skipped {test}: no {program}");
    }
    found
}

/// Makes one call with zeros, or with these arguments; 0 or the errno.
fn errno_of(call: libc::c_long, arguments: [usize; 3]) -> i32 {
    let [a, b, c] = arguments;
    // SAFETY: numbers that the kernel refuses or that do no harm; no pointer but null.
    match unsafe { libc::syscall(call, a, b, c, 0_usize, 0_usize, 0_usize) } {
        -1 => Errno::last_raw(),
        _ => 0,
    }
}

/// What the task reports: `name=errno` for each call.
fn calls() -> Vec<(&'static str, i32)> {
    let none = [0; 3];
    let family = |family: i32| [family as usize, libc::SOCK_STREAM as usize, 0];
    let mut calls = vec![
        ("unshare", errno_of(libc::SYS_unshare, [libc::CLONE_NEWUTS as usize, 0, 0])),
        ("unshare user", errno_of(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0])),
        // Without the filter these flags contradict each other: no process is made.
        (
            "clone user",
            errno_of(libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::CLONE_FS) as usize, 0, 0]),
        ),
        ("clone3", errno_of(libc::SYS_clone3, none)),
        ("mount", errno_of(libc::SYS_mount, none)),
        ("setns", errno_of(libc::SYS_setns, none)),
        ("keyctl", errno_of(libc::SYS_keyctl, none)),
        ("bpf", errno_of(libc::SYS_bpf, none)),
        ("perf_event_open", errno_of(libc::SYS_perf_event_open, none)),
        ("io_uring_setup", errno_of(libc::SYS_io_uring_setup, none)),
        ("userfaultfd", errno_of(libc::SYS_userfaultfd, none)),
        ("open_by_handle_at", errno_of(libc::SYS_open_by_handle_at, none)),
        ("init_module", errno_of(libc::SYS_init_module, none)),
        ("kexec_load", errno_of(libc::SYS_kexec_load, none)),
        ("chroot", errno_of(libc::SYS_chroot, none)),
        ("personality", errno_of(libc::SYS_personality, [0xffff, 0, 0])),
        ("vsock", errno_of(libc::SYS_socket, family(libc::AF_VSOCK))),
        ("vsock, high bits", errno_of(libc::SYS_socket, [40 | 1 << 32, 1, 0])),
        ("newer than all", errno_of(1000, none)),
        ("getpid", errno_of(libc::SYS_getpid, none)),
        ("unix socket", errno_of(libc::SYS_socket, family(libc::AF_UNIX))),
        ("asked personality", errno_of(libc::SYS_personality, [0xffff_ffff, 0, 0])),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.push(("x32 getpid", errno_of(libc::SYS_getpid | 1 << 30, none)));
    calls
}

/// Not a test but what a task of this file runs: the program itself, in another role.
#[test]
fn probe() {
    match std::env::var(PROBE).as_deref() {
        Ok("calls") => {
            // The name of the test stands in front of the first line.
            println!();
            for (name, errno) in calls() {
                println!("{name}={errno}");
            }
        }
        Ok("bind") => {
            let result = TcpListener::bind("127.0.0.1:601");
            println!("\nbind={}", result.err().and_then(|error| error.raw_os_error()).unwrap_or(0));
        }
        _ => {}
    }
}

/// This program where any user can execute it, and what it prints as a task.
struct Probe(tempfile::TempDir);

impl Probe {
    fn new() -> Probe {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("probe");
        copy_executable(std::env::current_exe().unwrap(), &program, 0o755);
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Probe(directory)
    }

    #[track_caller]
    fn run(&self, role: &str, flags: &[&str]) -> BTreeMap<String, i32> {
        let role = format!("{PROBE}={role}");
        let program = self.0.path().join("probe");
        let arguments = ["--exact", "probe", "--nocapture", "--test-threads=1"];
        let command = [&[program.to_str().unwrap()][..], &arguments].concat();
        let output = run(&[&["--env", &role], flags].concat(), &command);
        assert!(output.status.success(), "{}", text(&output));
        let line = |line: &str| {
            let (name, errno) = line.rsplit_once('=')?;
            Some((name.to_owned(), errno.parse().ok()?))
        };
        text(&output).lines().filter_map(line).collect()
    }
}

#[test]
fn the_default_profile_denies_what_reaches_for_the_kernel() {
    if !is_root("the_default_profile_denies_what_reaches_for_the_kernel") {
        return;
    }
    let probe = Probe::new();
    let free = probe.run("calls", &[]);
    // Else this would show nothing.
    for name in ["unshare", "keyctl", "getpid", "userfaultfd"] {
        assert_ne!(free[name], libc::EPERM, "{name}");
    }
    let as_stranger: &[&str] = &["--user", "54321:54321", "--seccomp", "default"];
    let with_rights: &[&str] = &["--cap", "none", "--seccomp", "default"];
    for flags in [&RESTRICTED[..], as_stranger, with_rights] {
        for (name, errno) in probe.run("calls", flags) {
            let expected = match name.as_str() {
                "clone3" | "newer than all" | "x32 getpid" => libc::ENOSYS,
                "getpid" | "unix socket" | "asked personality" => 0,
                _ => libc::EPERM,
            };
            assert_eq!(errno, expected, "{flags:?}: {name}");
        }
    }
    // What needs a capability is there with it.
    let admin = probe.run("calls", &["--cap", "SYS_ADMIN", "--seccomp", "default"]);
    for (name, errno) in [("unshare", 0), ("clone3", libc::EINVAL), ("mount", libc::EFAULT)] {
        assert_eq!(admin[name], errno, "{name}");
    }
    assert_eq!(admin["keyctl"], libc::EPERM);
    assert_eq!(admin["chroot"], libc::EPERM);
}

#[test]
fn a_capability_works_for_a_user_that_is_not_root() {
    const TEST: &str = "a_capability_works_for_a_user_that_is_not_root";
    if !is_root(TEST) {
        return;
    }
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u32>().unwrap() <= 601 {
        eprintln!("skipped {TEST}: anyone may bind any port here");
        return;
    }
    let probe = Probe::new();
    let stranger = ["--user", "54321:54321"];
    assert_eq!(probe.run("bind", &stranger)["bind"], libc::EACCES);
    let with: &[&str] = &["--cap", "net_bind_service"];
    let restricted: &[&str] =
        &["--cap", "CAP_NET_BIND_SERVICE", "--no-new-privs", "--seccomp", "default"];
    for flags in [with, restricted] {
        assert_eq!(probe.run("bind", &[&stranger[..], flags].concat())["bind"], 0, "{flags:?}");
    }
}

#[test]
fn programs_run_under_the_default_profile() {
    const TEST: &str = "programs_run_under_the_default_profile";
    if !is_root(TEST) {
        return;
    }
    let script = "set -e; x=$(echo one | tr o O | sort); (exit 3) || echo $?; date > /dev/null; \
                  ls -l /proc/self/fd > /dev/null; sleep 0 & wait; echo $x";
    let output = run(&RESTRICTED, &["/bin/sh", "-c", script]);
    assert_eq!((text(&output).as_str(), output.status.code()), ("3\nOne\n", Some(0)));
    if has("/usr/bin/python3", TEST) {
        let script = "import threading, subprocess, socket, tempfile, time, asyncio, os\n\
                      from multiprocessing.pool import ThreadPool\n\
                      a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n\
                      print(sum(ThreadPool(8).map(len, ['ab'] * 100)))\n\
                      print(subprocess.check_output(['echo', 'child']).decode().strip())\n\
                      tempfile.TemporaryFile().write(b'x'); asyncio.run(asyncio.sleep(0))\n\
                      os.wait4(os.posix_spawn('/bin/true', ['true'], {}), 0)\n";
        let output = run(&RESTRICTED, &["/usr/bin/python3", "-c", script]);
        assert_eq!(text(&output), "200\nchild\n");
    }
}

/// A `run` in the background, ended with the test.
struct Background(Child);

impl Background {
    fn start(flags: &[&str], command: &[&str]) -> Background {
        let arguments = [&["run", "--env", "PATH"], flags, &["--"], command].concat();
        Background(ostler(&arguments).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
fn ask(port: u16, question: &str, answer: &str) {
    until(&format!("{answer} from port {port}"), || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(question.as_bytes()).ok()?;
        let mut text = [0; 64];
        let length = stream.read(&mut text).ok()?;
        String::from_utf8_lossy(&text[..length]).contains(answer).then_some(())
    });
}

#[test]
fn servers_run_under_the_default_profile() {
    const TEST: &str = "servers_run_under_the_default_profile";
    if !is_root(TEST) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let flags = [&["--user", "54321:54321"][..], &RESTRICTED[2..]].concat();
    if has("/usr/bin/redis-server", TEST) {
        let port = free_port();
        let text = port.to_string();
        let directory = directory.path().to_str().unwrap();
        let command = ["/usr/bin/redis-server", "--port", &text, "--dir", directory, "--save", ""];
        let _redis = Background::start(&flags, &command);
        ask(port, "PING\r\n", "+PONG");
        // A fork, and a file.
        ask(port, "SAVE\r\n", "+OK");
    }
    if has("/usr/sbin/nginx", TEST) {
        let port = free_port();
        let configuration = format!(
            "worker_processes 2; pid {0}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/1; proxy_temp_path {0}/2;\n\
             fastcgi_temp_path {0}/3; uwsgi_temp_path {0}/4; scgi_temp_path {0}/5;\n\
             server {{ listen 127.0.0.1:{port}; return 200 told; }} }}",
            directory.path().display()
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, configuration).unwrap();
        let file = path.to_str().unwrap();
        let command = ["/usr/sbin/nginx", "-e", "stderr", "-g", "daemon off;", "-c", file];
        let _nginx = Background::start(&flags, &command);
        ask(port, "GET / HTTP/1.0\r\n\r\n", "200 OK");
    }
}

#[test]
fn landlock_keeps_files_from_root() {
    const TEST: &str = "landlock_keeps_files_from_root";
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("written").display().to_string();
    let own = format!("{}:rw", directory.path().display());
    let mut flags = vec!["--landlock", "/usr:rx", "--landlock", "/bin:rx", "--landlock", &own];
    for library in ["/lib:rx", "/lib64:rx", "/etc/ld.so.cache:r"] {
        if Path::new(library.split(':').next().unwrap()).exists() {
            flags.extend(["--landlock", library]);
        }
    }
    let script = format!(
        "cat /etc/shadow; echo x > {path}; cd {0} && echo told > file && cat file",
        directory.path().display()
    );
    let output = run(&[&flags[..], &["--no-new-privs"]].concat(), &["/bin/sh", "-c", &script]);
    let text = text(&output);
    let features = ostler::Supervisor::new(ostler::Options::default()).unwrap().facts().features;
    assert!(features.contains(&"seccomp"), "{features:?}");
    if text.contains("isolation.landlock: needs landlock ABI") {
        assert!(!features.contains(&"landlock"), "{features:?}");
        eprintln!("skipped {TEST}: {text}");
        return;
    }
    assert!(features.contains(&"landlock"), "{features:?}");
    assert!(text.starts_with("told\n"), "{text}");
    assert_eq!(text.matches("ermission denied").count(), 2, "{text}");
    assert!(!Path::new(&path).exists());
}

#[test]
fn what_cannot_be_given_is_refused_by_name() {
    for (flags, told) in [
        (&["--cap", "KILL,NOPE"][..], "isolation.capabilities[1]: \"NOPE\" is no capability"),
        (&["--seccomp", "/no/such.json"], "read seccomp profile \"/no/such.json\": No such file"),
        (&["--seccomp", "/dev/zero"], "it is no regular file"),
        (&["--seccomp", "/etc/passwd"], "use seccomp profile \"/etc/passwd\": expected"),
    ] {
        let output = run(flags, &["/bin/true"]);
        assert!(!output.status.success(), "{flags:?}");
        assert!(text(&output).contains(told), "{flags:?}: {}", text(&output));
    }
    // Those that ask for nothing.
    let output = run(&["--net", "host", "--seccomp", "none"], &["/bin/true"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_daemon_restricts_its_tasks() {
    if !is_root("a_daemon_restricts_its_tasks") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (socket, log) = (path("socket"), path("log"));
    let sink = format!("file:{log}");
    let mut daemon = Background(
        ostler(&["daemon", "--socket", &socket])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the daemon listens", || UnixStream::connect(&socket).ok());
    let ask = |arguments: &[&str]| {
        let output = ostler(arguments).env("OSTLER_SOCKET", &socket).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    let flags = ["launch", "--name", "a", "--env", "PATH", "--stdout", &sink];
    let rest = ["--user", "54321:54321", "--", "cat", "/proc/self/status"];
    let restricted = ["--cap", "KILL", "--no-new-privs", "--seccomp", "default"];
    ask(&[&flags[..], &restricted, &rest].concat());
    ask(&["wait", "a"]);
    let status = std::fs::read_to_string(&log).unwrap();
    for line in ["CapEff:\t0000000000000020", "CapBnd:\t0000000000000020", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line}\n{status}");
    }
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(daemon.0.try_wait().unwrap().is_none());
}
