//! Limits of living tasks are changed: as a whole, for this run and for those to come.

use crate::support::{limited, of_process, setting, status, task};
use ostler::{
    Answer, EventKind, ExitStatus, Request, RequestError, Resources, RestartMode, RestartPolicy,
    StateName,
};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const MEMORY: &[&str] = &["memory.max", "memory.limit_in_bytes"];

fn change(name: &str, resources: Resources) -> Request {
    Request::Update { name: name.into(), resources: Box::new(resources) }
}

fn memory(limit: Option<u64>) -> Resources {
    Resources { memory_max: Some(limit), ..Resources::default() }
}

#[test]
fn a_limit_is_raised_lowered_and_lifted() {
    let Some(mut fixture) = limited("a_limit_is_raised_lowered_and_lifted") else { return };
    let id = fixture.launch(task("t", "exec sleep 300", memory(Some(64 * MIB))));
    let now = status(&fixture, id);
    assert_eq!(setting(&now, MEMORY), (64 * MIB).to_string());
    for limit in [128 * MIB, 32 * MIB] {
        let answer = fixture.ask(change("t", memory(Some(limit)))).unwrap();
        assert_eq!(answer, Answer::Resources(Box::new(memory(Some(limit)))));
        assert_eq!(setting(&now, MEMORY), limit.to_string());
    }
    fixture.ask(change("t", memory(None))).unwrap();
    let lifted = setting(&now, MEMORY);
    assert!(lifted == "max" || lifted.parse::<u64>().unwrap() > 1 << 60, "{lifted}");
    assert!(fixture.events.iter().filter(|event| event.kind == EventKind::Updated).count() == 3);
    fixture.stop("t", Duration::ZERO);
}

#[test]
fn a_limit_that_the_task_did_not_have_takes_hold_of_all_its_processes() {
    let test = "a_limit_that_the_task_did_not_have_takes_hold_of_all_its_processes";
    let Some(mut fixture) = limited(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let go = directory.path().join("go");
    let count = directory.path().join("count");
    // The bomb is a child, so that it is one of several processes that have to be held.
    let script = format!(
        "(echo > {}; while ! [ -e {} ]; do sleep 0.05; done; i=0; while [ $i -lt 50 ]; do \
         sleep 300 & i=$((i+1)); echo $i > {}; done; exit 0) & wait $!; exit $?",
        ready.display(),
        go.display(),
        count.display()
    );
    let id = fixture.launch(task("late", &script, Resources::default()));
    fixture.until(|_| ready.exists().then_some(()));
    let limits = Resources {
        pids_max: Some(Some(12)),
        cpuset: Some("0".into()),
        cpu_weight: Some(Some(50)),
        ..Resources::default()
    };
    fixture.ask(change("late", limits)).unwrap();
    assert_eq!(of_process(&status(&fixture, id), "Cpus_allowed_list:"), "0");
    std::fs::write(&go, "").unwrap();
    assert_ne!(fixture.wait("late").exit.unwrap().status, ExitStatus::Exited(0));
    let made: u64 = std::fs::read_to_string(count).unwrap().trim().parse().unwrap();
    assert!(made < 12, "{made}");
}

#[test]
fn a_change_is_refused_as_a_whole() {
    let Some(mut fixture) = limited("a_change_is_refused_as_a_whole") else { return };
    let limits = Resources { pids_max: Some(Some(20)), ..memory(Some(64 * MIB)) };
    let id = fixture.launch(task("t", "exec sleep 300", limits.clone()));
    let now = status(&fixture, id);
    let both = Resources {
        cpuset: Some("0,99999".into()),
        pids_max: Some(Some(30)),
        ..memory(Some(128 * MIB))
    };
    let refused = fixture.ask(change("t", both)).unwrap_err();
    let RequestError::Unsupported { feature, reason } = refused else { panic!("{refused:?}") };
    assert_eq!(feature, "resources.cpuset");
    assert!(reason.contains("99999"), "{reason}");
    assert_eq!(setting(&now, MEMORY), (64 * MIB).to_string());
    assert_eq!(setting(&now, &["pids.max"]), "20");
    assert_eq!(*now.identity.resources().unwrap(), limits);
    assert_eq!(status(&fixture, id).identity.resources(), now.identity.resources());
    fixture.stop("t", Duration::ZERO);
}

/// Only where the kernel refuses less than what is in use (v1): what was written before is put
/// back.
#[test]
fn what_was_written_is_put_back() {
    let Some(mut fixture) = limited("what_was_written_is_put_back") else { return };
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    // A pipe takes 256 MiB, so that dd waits with its buffer full.
    let script = format!(
        "dd if=/dev/zero bs=48M count=1 2>/dev/null | (head -c 1 > {}; exec sleep 300)",
        ready.display()
    );
    let limits = Resources { cpu_weight: Some(Some(200)), ..memory(Some(256 * MIB)) };
    let id = fixture.launch(task("t", &script, limits));
    fixture.until(|_| std::fs::metadata(&ready).ok().filter(|file| file.len() > 0));
    let now = status(&fixture, id);
    let weight = setting(&now, &["cpu.shares", "cpu.weight"]);
    let less = Resources { cpu_weight: Some(Some(300)), ..memory(Some(16 * MIB)) };
    match fixture.ask(change("t", less)) {
        Err(RequestError::NotPermitted { field, reason }) => {
            assert_eq!(field, "resources.memory_max_bytes");
            assert!(reason.contains("in use"), "{reason}");
            assert_eq!(setting(&now, MEMORY), (256 * MIB).to_string());
            assert_eq!(setting(&now, &["cpu.shares", "cpu.weight"]), weight);
        }
        // v2 takes the limit, and the OOM killer makes it true.
        Ok(Answer::Resources(_)) => assert_eq!(setting(&now, MEMORY), (16 * MIB).to_string()),
        other => panic!("{other:?}"),
    }
    fixture.stop("t", Duration::ZERO);
}

#[test]
fn a_change_holds_over_restarts_and_for_tasks_without_a_process() {
    let test = "a_change_holds_over_restarts_and_for_tasks_without_a_process";
    let Some(mut fixture) = limited(test) else { return };
    let mut spec = task("again", "exec sleep 300", memory(Some(64 * MIB)));
    spec.restart = RestartPolicy {
        mode: RestartMode::Always,
        delay: Some(Duration::from_secs(600)),
        ..RestartPolicy::default()
    };
    let id = fixture.launch(spec);
    fixture.ask(change("again", memory(Some(128 * MIB)))).unwrap();
    let restart = |name: &str| Request::Restart { name: name.into(), signal: None, grace: None };
    let after = fixture.status(restart("again"));
    assert_eq!(setting(&after, MEMORY), (128 * MIB).to_string());

    let pid = nix::unistd::Pid::from_raw(after.pid.unwrap().number());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    fixture.until(|f| (status(f, id).state == StateName::Backoff).then_some(()));
    fixture.ask(change("again", memory(Some(96 * MIB)))).unwrap();
    let after = fixture.status(restart("again"));
    assert_eq!(setting(&after, MEMORY), (96 * MIB).to_string());

    fixture.stop("again", Duration::ZERO);
    let pids = Resources { pids_max: Some(Some(5)), ..Resources::default() };
    fixture.ask(change("again", pids)).unwrap();
    let after = fixture.status(restart("again"));
    assert_eq!(setting(&after, &["pids.max"]), "5");
    assert_eq!(setting(&after, MEMORY), (96 * MIB).to_string());
    fixture.stop("again", Duration::ZERO);
    let gone = fixture.ask(change("nobody", memory(None))).unwrap_err();
    assert!(matches!(gone, RequestError::NoSuchTask { .. }));
}

#[test]
fn memory_and_swap_change_together() {
    let Some(mut fixture) = limited("memory_and_swap_change_together") else { return };
    let both = |memory: u64, swap: u64| Resources {
        memory_max: Some(Some(memory * MIB)),
        memory_swap_max: Some(Some(swap * MIB)),
        ..Resources::default()
    };
    match fixture.supervisor.launch(task("swap", "exec sleep 300", both(64, 8))) {
        Ok(_) => {}
        Err(RequestError::Unsupported { feature, reason }) => {
            assert_eq!(feature, "resources.memory_swap_max_bytes", "{reason}");
            println!("skipped: memory_and_swap_change_together: {reason}");
            return;
        }
        Err(other) => panic!("{other:?}"),
    }
    for (memory, swap) in [(128, 0), (32, 4), (256, 256)] {
        fixture.ask(change("swap", both(memory, swap))).unwrap();
    }
    let low = Resources { memory_max: Some(None), ..Resources::default() };
    let v1 = Resources { memory_swap_max: Some(None), ..low.clone() };
    // v1 limits the sum: swap alone cannot be held there.
    if let Err(error) = fixture.ask(change("swap", low)) {
        assert!(matches!(error, RequestError::Unsupported { .. }), "{error:?}");
        fixture.ask(change("swap", v1)).unwrap();
    }
    fixture.stop("swap", Duration::ZERO);
}
