//! Tasks with namespaces of their own, as the kernel sees them.

use super::*;
use crate::sys::namespaces;
use crate::vocabulary::Isolation;

/// Whether namespaces can be had; says so where they cannot.
pub(super) fn are_available(test: &str) -> bool {
    let available = namespaces::are_available();
    if !available {
        eprintln!("skipped {test}: no permission to make namespaces");
    }
    available
}

pub(super) fn isolated(isolation: Isolation, spec: TaskSpec) -> TaskSpec {
    TaskSpec { isolation: Some(Box::new(isolation)), ..spec }
}

pub(super) fn everything() -> Isolation {
    Isolation {
        pid: true,
        ipc: true,
        uts: true,
        hostname: Some("inside".into()),
        net: Some("none".into()),
        ..Isolation::default()
    }
}

fn own_link(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
}

#[test]
fn only_what_is_asked_for_is_new() {
    if !are_available("only_what_is_asked_for_is_new") {
        return;
    }
    let cases: [(Isolation, &[&str]); 5] = [
        (Isolation { pid: true, ..Isolation::default() }, &["pid", "mnt"]),
        (Isolation { ipc: true, ..Isolation::default() }, &["ipc"]),
        (Isolation { uts: true, ..Isolation::default() }, &["uts"]),
        (Isolation { net: Some("none".into()), ..Isolation::default() }, &["net"]),
        (everything(), &["pid", "mnt", "ipc", "uts", "net"]),
    ];
    let user = !nix::unistd::geteuid().is_root();
    for way in WAYS {
        for (isolation, new) in &cases {
            let spec = isolated(
                isolation.clone(),
                sh("cd /proc/self/ns; for n in *; do readlink $n; done"),
            );
            let output = output(way, &spec);
            for line in output.lines() {
                let name = line.split(':').next().unwrap();
                let is_new = own_link(name) != line;
                let expected = new.contains(&name) || user && name == "user";
                assert_eq!(is_new, expected, "{way:?} {isolation:?}: {line}");
            }
        }
    }
}

#[test]
fn the_task_is_process_2_under_the_init() {
    if !are_available("the_task_is_process_2_under_the_init") {
        return;
    }
    let script = "echo $$ $PPID; cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline; echo; hostname; \
                  grep -E '^(SigIgn|NoNewPrivs|CapEff|CapPrm)' /proc/1/status; ls /proc/1/fd";
    for way in WAYS {
        let output = output(way, &isolated(everything(), sh(script)));
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[..4], ["2 0", "ostler-init", "ostler-init ", "inside"], "{output}");
        assert!(output.contains("SigIgn:\t0000000000010000"), "{output}");
        assert!(output.contains("NoNewPrivs:\t1"), "{output}");
        assert!(output.contains("CapPrm:\t0000000000000000"), "{output}");
    }
}

#[test]
fn the_init_has_a_filter_where_its_task_has_one() {
    if !are_available("the_init_has_a_filter_where_its_task_has_one")
        || crate::sys::seccomp::why_unavailable().is_some()
    {
        return;
    }
    for (seccomp, mode) in [("default", "Seccomp:\t2\n"), ("none", "Seccomp:\t0\n")] {
        let isolation =
            Isolation { seccomp: Some(seccomp.into()), no_new_privs: true, ..everything() };
        let script = "(sleep 0.02 &); sleep 0.05; grep Seccomp: /proc/1/status";
        assert_eq!(output(Way::Copied, &isolated(isolation, sh(script))), mode);
    }
}

#[test]
fn loopback_is_up() {
    if !are_available("loopback_is_up") {
        return;
    }
    let isolation = Isolation { net: Some("none".into()), ..Isolation::default() };
    let output =
        output(Way::Copied, &isolated(isolation, sh("cat /proc/net/dev /proc/net/fib_trie")));
    assert!(output.contains("lo:"), "{output}");
    assert!(output.contains("127.0.0.1"), "{output}");
    assert!(!output.contains("eth0"), "{output}");
}

/// The other namespaces of a task, as a command inside of it sees them and as they are.
#[test]
fn a_command_enters_those_of_a_living_task() {
    if !are_available("a_command_enters_those_of_a_living_task") {
        return;
    }
    let without_pid = Isolation { pid: false, ..everything() };
    for isolation in [everything(), without_pid] {
        let mut spawner = Way::Shared.spawner();
        let spec = isolated(isolation.clone(), task("sleep", &["60"]));
        let plan = spawner.plan(&spec).unwrap();
        let (main, init) = start(&mut spawner, &plan, Streams::default()).unwrap();
        let links = |pid: &str| {
            let names = ["pid", "mnt", "ipc", "uts", "net", "user"];
            let link = |name| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            names.map(|name| link(name).display().to_string()).join("\n")
        };
        let of_task = links(&main.pid.to_string());
        assert_ne!(of_task, links("self"));
        let script = "for n in pid mnt ipc uts net user; do readlink /proc/self/ns/$n; done";
        let inside = spawner.plan_inside(&isolated(isolation, sh(script)), false).unwrap();
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let streams = Streams { stdout: Some(writer.as_raw_fd()), ..Streams::default() };
        let entry = Entry { process: main.pidfd.as_ref().unwrap().as_fd() };
        let child = settle(spawner.spawn_inside(&inside, streams, None, entry).unwrap()).unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(wait(&child), ExitStatus::Exited(0));
        assert_eq!(text.trim_end(), of_task);
        main.kill_and_reap();
        init.into_iter().for_each(Child::kill_and_reap);
    }
}
