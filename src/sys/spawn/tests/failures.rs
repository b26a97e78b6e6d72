//! A launch that fails leaves nothing behind, whatever call it fails at.

use super::*;
use crate::sys::faults;
use crate::vocabulary::Setting;

/// Open descriptors of this process, by name.
fn descriptors() -> Vec<String> {
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let target = std::fs::read_link(&path).ok()?;
            Some(format!("{} -> {}", path.display(), target.display()))
        })
        // That of the listing itself, and one that the spawner keeps.
        .filter(|line| !line.ends_with("/fd") && !line.contains("memfd:ostler-init"))
        .collect();
    open.sort();
    open
}

fn assert_no_child(case: &str) {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a null siginfo is allowed.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), flags) };
    assert_eq!(Errno::result(result), Err(Errno::ECHILD), "{case}");
}

/// Plans and spawns, and waits for the exec.
fn launch(
    spawner: &mut Spawner,
    spec: &TaskSpec,
    stream: i32,
) -> Result<(Child, Option<Child>), StartError> {
    let plan = spawner.plan(spec)?;
    let streams = Streams { stdin: Some(stream), stdout: Some(stream), stderr: None };
    start(spawner, &plan, streams)
}

fn finish((main, init): (Child, Option<Child>)) -> ExitStatus {
    let status = wait(&main);
    init.into_iter().for_each(Child::kill_and_reap);
    status
}

/// Which stage a failure of each call belongs to; `None`: the launch goes on without it.
fn stage_of(call: &str) -> Option<Stage> {
    Some(match call {
        "open user database" | "getpwnam_r" => Stage::User,
        "poll mountinfo" | "read mountinfo" => return None,
        "dup3" => Stage::Output,
        "stat device" => Stage::Mount,
        "capget" => Stage::Capabilities,
        "open seccomp profile" | "read seccomp profile" => Stage::Seccomp,
        "memfd_create" | "write(memfd)" | "fchmod" | "fcntl(F_ADD_SEALS)" => Stage::Namespace,
        "pipe2" | "rt_sigprocmask" | "clone3" | "clone" | "read status pipe" => Stage::Clone,
        _ => panic!("{call} is new here"),
    })
}

#[test]
fn every_call_of_a_launch_may_fail() {
    alone("failures::every_call_of_a_launch_may_fail", || {
        for way in WAYS {
            let failed = fail_each(way, &sh("exit 0"));
            let last = if way == Way::Shared { "clone3" } else { "read status pipe" };
            assert!(failed.contains(&"dup3") && failed.contains(&last), "{way:?}: {failed:?}");
        }
    });
}

#[test]
fn every_call_of_a_restricted_launch_may_fail() {
    if crate::sys::seccomp::why_unavailable().is_some() {
        eprintln!("skipped every_call_of_a_restricted_launch_may_fail: no seccomp");
        return;
    }
    alone("failures::every_call_of_a_restricted_launch_may_fail", || {
        let profile = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&profile, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
        let isolation = crate::vocabulary::Isolation {
            capabilities: nix::unistd::geteuid().is_root().then(|| vec!["KILL".into()]),
            no_new_privs: true,
            seccomp: Some(profile.path().to_str().unwrap().into()),
            ..Default::default()
        };
        let spec = TaskSpec { isolation: Some(Box::new(isolation)), ..sh("exit 0") };
        for way in WAYS {
            let failed = fail_each(way, &spec);
            for call in ["capget", "open seccomp profile", "read status pipe"] {
                assert!(failed.contains(&call), "{way:?}: {failed:?}");
            }
        }
    });
}

#[test]
fn every_call_of_a_launch_in_namespaces_may_fail() {
    let test = "every_call_of_a_launch_in_namespaces_may_fail";
    if !super::namespaces::are_available(test) {
        return;
    }
    alone(&format!("failures::{test}"), || {
        let spec = super::namespaces::isolated(super::namespaces::everything(), sh("exit 0"));
        for way in WAYS {
            let failed = fail_each(way, &spec);
            for call in ["memfd_create", "write(memfd)", "fcntl(F_ADD_SEALS)", "read status pipe"] {
                assert!(failed.contains(&call), "{way:?}: {failed:?}");
            }
        }
    });
}

#[test]
fn every_call_of_a_launch_into_a_root_may_fail() {
    const TEST: &str = "every_call_of_a_launch_into_a_root_may_fail";
    if !super::mounts::can_mount(TEST) {
        return;
    }
    alone(&format!("failures::{TEST}"), || {
        let image = super::mounts::Image::new();
        let device = crate::vocabulary::Device {
            source: "/dev/zero".into(),
            target: None,
            permissions: "rwm".into(),
        };
        let isolation =
            crate::vocabulary::Isolation { devices: Some(vec![device]), ..image.isolation(&[]) };
        let with_pid = crate::vocabulary::Isolation { pid: true, ..isolation.clone() };
        let ways = WAYS.into_iter().flat_map(|way| [(way, &isolation), (way, &with_pid)]);
        for (way, isolation) in ways {
            let spec = TaskSpec { isolation: Some(Box::new(isolation.clone())), ..sh("exit 0") };
            let failed = fail_each(way, &spec);
            for call in ["stat device", "read status pipe"] {
                assert!(failed.contains(&call), "{way:?}: {failed:?}");
            }
        }
    });
}

/// Fails each call of a launch in turn; nothing may be left. Which calls these were.
fn fail_each(way: Way, spec: &TaskSpec) -> Vec<&'static str> {
    let stream = std::fs::File::open("/dev/zero").unwrap();
    let mut spawner = way.spawner();
    let own = format!("{}:{}", spawner.host.uid, spawner.host.gid);
    let spec = TaskSpec { user: Some(own), ..spec.clone() };
    let open = descriptors();
    let mut failed = Vec::new();
    for nth in 1.. {
        let injected = faults::fail_nth(nth, Errno::ENOMEM);
        let result = launch(&mut spawner, &spec, stream.as_raw_fd());
        let hit = injected.hit();
        drop(injected);
        let Some(hit) = hit else {
            assert_eq!(finish(result.unwrap()), ExitStatus::Exited(0));
            break;
        };
        match (result, stage_of(hit)) {
            (Ok(started), None) => assert_eq!(finish(started), ExitStatus::Exited(0)),
            (Err(error), Some(stage)) => {
                let found = (error.stage, error.errno_name.as_str(), error.retry);
                assert_eq!(found, (stage, "ENOMEM", true), "{way:?} {hit}: {error}");
            }
            // Without the table no file is known to be one that answers at once.
            (Err(error), None) if hit == "read mountinfo" => {
                assert_eq!(error.stage, Stage::Seccomp, "{way:?}: {error}");
                assert!(spec.isolation.is_some(), "{way:?}: {error}");
            }
            (result, expected) => panic!("{way:?} {hit}: {result:?}, not {expected:?}"),
        }
        failed.push(hit);
        assert_no_child(hit);
        assert_eq!(descriptors(), open, "{way:?} {hit}");
    }
    failed
}

#[test]
fn a_new_spawner_may_fail_at_every_call() {
    alone("failures::a_new_spawner_may_fail_at_every_call", || {
        let open = descriptors();
        for nth in 1.. {
            let injected = faults::fail_nth(nth, Errno::EMFILE);
            let options = SpawnerOptions { own_process: true, always_copied: false };
            let result = Spawner::new(options);
            match injected.hit() {
                None => {
                    result.unwrap();
                    assert!(nth > 6);
                    break;
                }
                Some("read mountinfo") => drop(result.unwrap()),
                Some(hit) => {
                    let error = result.map(drop).unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{hit}");
                }
            }
            assert_eq!(descriptors(), open);
        }
    });
}

#[test]
fn a_failure_in_the_child_leaves_nothing() {
    alone("failures::a_failure_in_the_child_leaves_nothing", || {
        for way in WAYS {
            let mut spawner = way.spawner();
            let open = descriptors();
            let mut too_high = sh("true");
            too_high.rlimits.insert("nofile".into(), "unlimited".into());
            let mut unschedulable = sh("true");
            unschedulable.oom_score_adj = Setting::To(5000);
            for (spec, stage, errno, begin) in [
                (task("/no/such", &[]), Stage::Lookup, "ENOENT", "find command \"/no/such\""),
                (task("/etc", &[]), Stage::Exec, "EACCES", "execute \"/etc\""),
                (too_high, Stage::Limits, "EPERM", "set rlimits.nofile to unlimited:unlimited"),
                (unschedulable, Stage::Limits, "EINVAL", "set oom_score_adj to 5000"),
            ] {
                let error = launch(&mut spawner, &spec, 0).unwrap_err();
                assert_eq!(error.stage, stage, "{way:?}: {error}");
                assert_eq!(error.errno_name, errno, "{way:?}: {error}");
                assert!(error.message.starts_with(begin), "{way:?}: {error}");
                assert_no_child(begin);
                assert_eq!(descriptors(), open, "{way:?}: {error}");
            }
        }
    });
}

#[test]
fn a_stream_that_is_not_open_is_named() {
    for way in WAYS {
        let mut spawner = way.spawner();
        let plan = spawner.plan(&sh("true")).unwrap();
        let streams = Streams { stdout: Some(i32::MAX), ..Streams::default() };
        let error = spawner.spawn(&plan, streams, None).unwrap_err();
        assert_eq!(error.message, "hand its stdout to the task: Bad file number", "{way:?}");
        assert_eq!(error.stage, Stage::Output);
    }
}

#[test]
fn the_low_descriptors_are_cleared() {
    alone("failures::the_low_descriptors_are_cleared", || {
        use std::os::fd::IntoRawFd;
        let kept = std::fs::File::open("/dev/zero").unwrap().into_raw_fd();
        assert!((3..=64).contains(&kept));
        call(libc::SYS_close, [0]).unwrap();
        let moved = crate::sys::low_descriptors::clear_low_descriptors().unwrap();
        assert_eq!(std::fs::read_link("/proc/self/fd/0").unwrap(), PathBuf::from("/dev/null"));
        let to = moved.iter().find(|&&(from, _)| from == kept).unwrap().1;
        let target = std::fs::read_link(format!("/proc/self/fd/{to}")).unwrap();
        assert_eq!(target, PathBuf::from("/dev/zero"));
        assert!(to > 64);
        let spawner = Way::Shared.spawner();
        assert!(spawner.staging.top() < 10, "{}", spawner.staging.top());
    });
}
