//! What a task has of the supervisor, and what it has not.

use super::*;
use crate::vocabulary::{Setting, Signal};
use std::collections::BTreeMap;

/// The values of a file of `name: value` lines.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k, v.trim())).collect()
}

/// Fields 5, 6 and 19 of proc_pid_stat(5), and the pid.
fn stat(text: &str) -> (i32, i32, i32, i32) {
    let pid = text.split(' ').next().unwrap().parse().unwrap();
    let rest: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let number = |field: usize| rest[field - 3].parse().unwrap();
    (pid, number(5), number(6), number(19))
}

#[test]
fn signals_are_at_their_defaults_and_unblocked() {
    for way in WAYS {
        let text = output(way, &task("/bin/cat", &["/proc/self/status"]));
        let status = fields(&text);
        for field in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "CapAmb"] {
            assert_eq!(status[field], "0000000000000000", "{way:?} {field}");
        }
        assert_eq!(status["Umask"], "0022", "{way:?}");
    }
    // The runtime of the tests ignores SIGPIPE: what is measured above can differ.
    let ignored = crate::sys::host::Host::find(false).unwrap().ignored_signals();
    assert_ne!(ignored, 0);
}

#[test]
fn a_task_leads_a_session_and_a_group() {
    for way in WAYS {
        let (pid, group, session, _) = stat(&output(way, &task("cat", &["/proc/self/stat"])));
        assert_eq!((group, session), (pid, pid), "{way:?}");
    }
}

#[test]
fn no_descriptor_but_the_three() {
    // Open across an exec, and high above the low ones.
    let stray = std::fs::File::open("/dev/null").unwrap();
    let high = call(libc::SYS_fcntl, [stray.as_raw_fd() as usize, libc::F_DUPFD as usize, 700]);
    let low = call(libc::SYS_fcntl, [stray.as_raw_fd() as usize, libc::F_DUPFD as usize, 3]);
    for way in WAYS {
        let text = output(way, &sh("ls /proc/$$/fd; readlink /proc/$$/fd/0"));
        assert_eq!(text, "0\n1\n2\n/dev/null\n", "{way:?}");
    }
    for fd in [high, low] {
        call(libc::SYS_close, [fd.unwrap()]).unwrap();
    }
}

#[test]
fn streams_go_where_they_are_to() {
    for way in WAYS {
        let mut spawner = way.spawner();
        let file = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            file
        };
        let (input, mut out, mut err) = (file("in"), file(""), file(""));
        let streams = Streams {
            stdin: Some(input.as_raw_fd()),
            stdout: Some(out.as_raw_fd()),
            stderr: Some(err.as_raw_fd()),
        };
        let spec = TaskSpec { inherit_stdin: true, ..sh("cat; echo err >&2") };
        let plan = spawner.plan(&spec).unwrap();
        let child = settle(spawner.spawn(&plan, streams, None).unwrap()).unwrap();
        assert_eq!(wait(&child), ExitStatus::Exited(0), "{way:?}");
        for (file, expected) in [(&mut out, "in"), (&mut err, "err\n")] {
            let mut text = String::new();
            std::io::Seek::rewind(file).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected, "{way:?}");
        }
    }
}

#[test]
fn umask_nice_and_score_are_set_inherited_or_left_at_their_defaults() {
    let own =
        fields(&std::fs::read_to_string("/proc/thread-self/status").unwrap())["Umask"].to_owned();
    let script = "umask; cat /proc/self/oom_score_adj; cut -d ' ' -f 19 /proc/self/stat";
    for way in WAYS {
        let mut spec = sh(script);
        spec.umask = Setting::To(0o77);
        spec.nice = Setting::To(7);
        spec.oom_score_adj = Setting::To(321);
        assert_eq!(output(way, &spec), "0077\n321\n7\n", "{way:?}");
        spec.umask = Setting::Inherit;
        spec.nice = Setting::Inherit;
        spec.oom_score_adj = Setting::Inherit;
        let host = way.spawner().host;
        let inherited = format!("{own}\n{}\n{}\n", host.oom_score_adj, host.nice);
        assert_eq!(output(way, &spec), inherited, "{way:?}");
    }
    // None of it has come back to us.
    let own_score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_ne!(own_score.trim(), "321");
}

#[test]
fn limits_are_the_tasks() {
    for way in WAYS {
        let mut spec = sh("ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Ss");
        let soft = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_STACK);
        let soft = match soft.unwrap().0 {
            u64::MAX => "unlimited".to_owned(),
            bytes => (bytes >> 10).to_string(),
        };
        spec.rlimits = [("nofile", "100:200"), ("core", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(output(way, &spec), format!("100\n200\n0\n{soft}\n"), "{way:?}");
    }
}

#[test]
fn a_raised_limit_of_descriptors_is_ours_alone() {
    alone("inheritance::a_raised_limit_of_descriptors_is_ours_alone", || {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let hard = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
        for way in WAYS {
            setrlimit(Resource::RLIMIT_NOFILE, 300, hard).unwrap();
            let mut spawner = way.spawner_with(true);
            assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
            let (_, text) = run_in(&mut spawner, &sh("ulimit -Sn; ulimit -Hn")).unwrap();
            assert_eq!(text, format!("300\n{hard}\n"), "{way:?}");
        }
    });
}

#[test]
fn the_environment_is_exactly_what_was_asked_for() {
    for way in WAYS {
        let mut spec = TaskSpec::new("/usr/bin/env");
        assert_eq!(output(way, &spec), "", "{way:?}");
        spec.env = vec!["B=1".into(), "A=x=y".into(), "B=".into()];
        assert_eq!(output(way, &spec), "B=\nA=x=y\n", "{way:?}");
    }
}

#[test]
fn a_task_has_a_session_keyring_of_its_own() {
    alone("inheritance::a_task_has_a_session_keyring_of_its_own", || {
        const POSSESSOR_ONLY: usize = 0x3f00_0000;
        let (join, protect) = (libc::KEYCTL_JOIN_SESSION_KEYRING, libc::KEYCTL_SETPERM);
        let made = call(libc::SYS_keyctl, [join as usize, c"spawn-test".as_ptr() as usize]);
        let Ok(keyring) = made else {
            eprintln!("skipped a_task_has_a_session_keyring_of_its_own: no keys in this kernel");
            return;
        };
        call(libc::SYS_keyctl, [protect as usize, keyring, POSSESSOR_ONLY]).unwrap();
        for way in WAYS {
            let mut spec = task("cat", &["/proc/keys"]);
            assert!(!output(way, &spec).contains("spawn-test"), "{way:?}");
            spec.inherit_stdin = true;
            assert!(output(way, &spec).contains("spawn-test"), "{way:?}");
        }
    });
}

#[test]
fn a_user_has_exactly_its_groups() {
    if !is_root("a_user_has_exactly_its_groups") {
        return;
    }
    for way in WAYS {
        let mut spec = task("cat", &["/proc/self/status"]);
        for (user, uid, gid, groups) in
            [("54321:54322", "54321", "54322", "54322"), ("root", "0", "0", "0")]
        {
            spec.user = Some(user.into());
            let text = output(way, &spec);
            let status = fields(&text);
            let four = |id: &str| [id; 4].join("\t");
            assert_eq!(status["Uid"], four(uid), "{way:?}");
            assert_eq!(status["Gid"], four(gid), "{way:?}");
            let found: Vec<&str> = status["Groups"].split_whitespace().collect();
            assert!(found.contains(&groups), "{way:?}");
            if uid != "0" {
                assert_eq!(found, [groups], "{way:?}");
                assert_eq!(status["CapEff"], "0000000000000000", "{way:?}");
            }
        }
        let plan = way.spawner().plan(&TaskSpec { user: Some("5:6".into()), ..spec }).unwrap();
        assert_eq!(plan.owner(), Some((5, 6)));
    }
}

#[test]
fn our_own_user_is_nothing_to_change() {
    let mut spawner = Way::Shared.spawner();
    spawner.host.can_change_user = false;
    let (uid, gid) = (spawner.host.uid, spawner.host.gid);
    let own = TaskSpec { user: Some(format!("{uid}:{gid}")), ..sh("id -u") };
    assert_eq!(spawner.plan(&own).unwrap().owner(), None);
    assert_eq!(run_in(&mut spawner, &own).unwrap().1, format!("{uid}\n"));
    let error = spawner.plan(&TaskSpec { user: Some("77:78".into()), ..own }).unwrap_err();
    assert_eq!((error.stage, error.errno), (Stage::User, libc::EPERM));
    assert!(error.message.contains("run the supervisor as root"), "{error}");
}

#[test]
fn the_dumpable_flag_of_a_host_comes_back() {
    if !is_root("the_dumpable_flag_of_a_host_comes_back") {
        return;
    }
    alone("inheritance::the_dumpable_flag_of_a_host_comes_back", || {
        use nix::sys::prctl::{get_dumpable, set_dumpable};
        let spec = TaskSpec { user: Some("54321:54321".into()), ..sh("true") };
        for way in WAYS {
            for (own_process, left) in [(false, true), (true, way != Way::Shared)] {
                set_dumpable(true).unwrap();
                run_in(&mut way.spawner_with(own_process), &spec).unwrap();
                assert_eq!(get_dumpable().unwrap(), left, "{way:?}");
            }
        }
    });
}

#[test]
fn a_task_dies_with_its_supervisor_when_it_is_to() {
    // A change of user would clear the request if it came after it.
    let other = nix::unistd::geteuid().is_root().then(|| "54321:54321".to_owned());
    for (way, user) in WAYS.into_iter().flat_map(|way| [(way, None), (way, other.clone())]) {
        let made = std::thread::spawn(move || {
            let mut spawner = way.spawner();
            let spec = TaskSpec { die_with_supervisor: true, user, ..task("sleep", &["60"]) };
            let plan = spawner.plan(&spec).unwrap();
            settle(spawner.spawn(&plan, Streams::default(), None).unwrap()).unwrap()
        });
        // The kernel sends the signal when the thread that made the child ends.
        let child = made.join().unwrap();
        assert_eq!(wait(&child), ExitStatus::Signaled(Signal::KILL.number() as u8), "{way:?}");
    }
}

#[test]
fn scheduling_is_back_at_its_defaults() {
    alone("inheritance::scheduling_is_back_at_its_defaults", || {
        nix::sys::prctl::set_timerslack(123_456).unwrap();
        let first_cpu = 1_u64;
        let pointer = std::ptr::from_ref(&first_cpu) as usize;
        // Where this CPU is not ours, the mask stays as it is.
        let _ = call(libc::SYS_sched_setaffinity, [0, 8, pointer]);
        let batch = 0_i32;
        let pointer = std::ptr::from_ref(&batch) as usize;
        let policy = libc::SCHED_BATCH as usize;
        call(libc::SYS_sched_setscheduler, [0, policy, pointer]).unwrap();
        for way in WAYS {
            let mut spec = task("cat", &["/proc/self/timerslack_ns", "/proc/self/sched"]);
            let policy_of = |text: &str| -> Option<String> {
                let line = text.lines().find(|line| line.starts_with("policy"))?;
                Some(line.split_whitespace().last()?.to_owned())
            };
            let (_, text) = run(way, &spec).unwrap();
            assert!(text.starts_with("50000\n"), "{way:?}: {text}");
            assert!(policy_of(&text).is_none_or(|policy| policy == "0"), "{way:?}: {text}");
            let text = output(way, &task("cat", &["/proc/self/status", "/proc/1/status"]));
            let mut masks = text.lines().filter(|line| line.starts_with("Cpus_allowed:"));
            assert_eq!(masks.next().unwrap(), masks.next().unwrap(), "{way:?}");
            // A task that stands in for its caller keeps what that has set up.
            spec.inherit_stdin = true;
            let (_, text) = run(way, &spec).unwrap();
            assert!(text.starts_with("123456\n"), "{way:?}: {text}");
        }
    });
}

#[test]
fn ambient_capabilities_are_not_passed_on() {
    if !is_root("ambient_capabilities_are_not_passed_on") {
        return;
    }
    alone("inheritance::ambient_capabilities_are_not_passed_on", || {
        const CAP_KILL: usize = 5;
        let header = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        let (header, data) = (header.as_ptr() as usize, sets.as_mut_ptr() as usize);
        call(libc::SYS_capget, [header, data]).unwrap();
        // The inheritable set of the lower half.
        sets[2] |= 1 << CAP_KILL;
        call(libc::SYS_capset, [header, sets.as_ptr() as usize]).unwrap();
        let raise = libc::PR_CAP_AMBIENT_RAISE as usize;
        call(libc::SYS_prctl, [libc::PR_CAP_AMBIENT as usize, raise, CAP_KILL, 0, 0]).unwrap();
        for way in WAYS {
            let mut spec = task("cat", &["/proc/self/status"]);
            assert_eq!(fields(&output(way, &spec))["CapAmb"], "0000000000000000", "{way:?}");
            spec.inherit_stdin = true;
            assert_eq!(fields(&output(way, &spec))["CapAmb"], "0000000000000020", "{way:?}");
        }
    });
}
