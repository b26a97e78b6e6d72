//! Every limit holds a program that is after more.

use crate::fixture::{lives, named, sh};
use crate::support::{
    cpu_seconds, groups_left, groups_of, limited, of_process, setting, status, task,
};
use ostler::{EventKind, ExitStatus, Options, Resources, StateName};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Asks for four times as much as the limit, in one piece that is written to.
const HOG: &str = "exec dd if=/dev/zero of=/dev/null bs=256M count=1";

#[test]
fn a_hog_is_killed_and_its_neighbour_lives() {
    let Some(mut fixture) = limited("a_hog_is_killed_and_its_neighbour_lives") else { return };
    let limit = Resources { memory_max: Some(Some(64 * MIB)), ..Resources::default() };
    let neighbour = fixture.launch(task("neighbour", "exec sleep 300", limit.clone()));
    fixture.launch(task("hog", &format!("{HOG}; exit 3"), limit));
    let hog = fixture.wait("hog");
    let exit = hog.exit.unwrap();
    assert_eq!(exit.oom_killed, Some(true), "{exit:?}");
    assert_eq!(exit.status, ExitStatus::Signaled(9));
    assert!(fixture.events.iter().any(|event| event.kind == EventKind::OomKilled));
    assert!(lives(status(&fixture, neighbour).pid.unwrap().number()));
    let stopped = fixture.stop("neighbour", Duration::ZERO);
    assert_eq!(stopped.exit.unwrap().oom_killed, Some(false));
    drop(fixture);
}

#[test]
fn a_child_that_is_killed_for_its_memory_counts() {
    let test = "a_child_that_is_killed_for_its_memory_counts";
    let Some(mut fixture) = limited(test) else { return };
    let limit = Resources { memory_max: Some(Some(64 * MIB)), ..Resources::default() };
    fixture.launch(task("parent", "dd if=/dev/zero of=/dev/null bs=256M count=1; exit 3", limit));
    let exit = fixture.wait("parent").exit.unwrap();
    assert_eq!((exit.status, exit.oom_killed), (ExitStatus::Exited(3), Some(true)));
}

#[test]
fn a_fork_bomb_stays_small() {
    let Some(mut fixture) = limited("a_fork_bomb_stays_small") else { return };
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let limit = Resources { pids_max: Some(Some(10)), ..Resources::default() };
    let bomb = format!(
        "i=0; while [ $i -lt 50 ]; do sleep 300 & i=$((i+1)); echo $i > {}; done; exit 0",
        count.display()
    );
    fixture.launch(task("bomb", &bomb, limit));
    let exit = fixture.wait("bomb").exit.unwrap();
    assert_ne!(exit.status, ExitStatus::Exited(0));
    assert_eq!(std::fs::read_to_string(count).unwrap().trim(), "9");
    assert_eq!(groups_of("bomb.1"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_fifth_of_a_core_is_a_fifth_of_a_core() {
    let Some(mut fixture) = limited("a_fifth_of_a_core_is_a_fifth_of_a_core") else { return };
    let limit = Resources { cpu_max: Some(Some(0.2)), ..Resources::default() };
    let task = fixture.launch(task("burner", "while :; do :; done", limit));
    let (before, begun) = (cpu_seconds(&status(&fixture, task)), Instant::now());
    let window = Duration::from_secs(3);
    fixture.until(|_| (begun.elapsed() >= window).then_some(()));
    let used = cpu_seconds(&status(&fixture, task)) - before;
    let cores = used / begun.elapsed().as_secs_f64();
    assert!((0.05..0.3).contains(&cores), "{cores} cores");
    fixture.stop("burner", Duration::ZERO);
}

#[test]
fn a_cpuset_is_kept_to() {
    let Some(mut fixture) = limited("a_cpuset_is_kept_to") else { return };
    for cpus in ["0", "1"].iter().take(std::thread::available_parallelism().unwrap().get()) {
        let limit = Resources { cpuset: Some((*cpus).into()), ..Resources::default() };
        let task = fixture.launch(task("bound", "exec sleep 300", limit));
        assert_eq!(of_process(&status(&fixture, task), "Cpus_allowed_list:"), *cpus);
        fixture.stop("bound", Duration::ZERO);
        fixture.supervisor.remove(task, false).unwrap();
    }
}

#[test]
fn weights_and_soft_limits_are_written() {
    let Some(mut fixture) = limited("weights_and_soft_limits_are_written") else { return };
    let limit = Resources {
        cpu_weight: Some(Some(1)),
        memory_low: Some(Some(MIB)),
        memory_max: Some(Some(64 * MIB)),
        ..Resources::default()
    };
    let light = fixture.launch(task("light", "exec sleep 300", limit));
    let light = status(&fixture, light);
    assert!(["1", "2"].contains(&&*setting(&light, &["cpu.weight", "cpu.shares"])));
    let low = setting(&light, &["memory.low", "memory.soft_limit_in_bytes"]);
    assert_eq!(low, MIB.to_string());
    fixture.stop("light", Duration::ZERO);
}

#[test]
fn what_a_task_leaves_keeps_its_groups_until_it_ends() {
    let test = "what_a_task_leaves_keeps_its_groups_until_it_ends";
    let Some(mut fixture) = limited(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let limit = Resources { pids_max: Some(Some(10)), ..Resources::default() };
    let script = format!("sleep 300 & echo $! > {}", path.display());
    let mut spec = task("left", &script, limit);
    spec.leftover = ostler::Leftover::Leave;
    fixture.launch(spec);
    let ended = fixture.wait("left");
    assert_eq!(ended.state, StateName::Exited);
    let run = format!("left.{}", ended.run);
    assert!(!groups_of(&run).is_empty());
    let pid: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    fixture.until(|_| groups_of(&run).is_empty().then_some(()));
}

#[test]
fn nothing_is_left_when_the_supervisor_goes() {
    let test = "nothing_is_left_when_the_supervisor_goes";
    let Some(fixture) = limited(test) else { return };
    drop(fixture);
    // Supervisors of other tests in this process have trees of their own: in a process apart.
    let program = std::env::current_exe().unwrap();
    let child = std::process::Command::new(program)
        .args(["--exact", "enforced::a_supervisor_comes_and_goes", "--nocapture"])
        .env("OSTLER_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("nothing is left"), "{said}");
}

/// The child of the test above.
#[test]
fn a_supervisor_comes_and_goes() {
    if std::env::var_os("OSTLER_ALONE").is_none() {
        return;
    }
    let mut fixture = crate::fixture::Fixture::new(Options::default());
    let limit = Resources {
        memory_max: Some(Some(64 * MIB)),
        pids_max: Some(Some(10)),
        cpu_max: Some(Some(1.0)),
        cpuset: Some("0".into()),
        ..Resources::default()
    };
    fixture.launch(task("all", "exec sleep 300", limit.clone()));
    assert!(!groups_of("all.1").is_empty());
    fixture.stop("all", Duration::ZERO);
    assert_eq!(groups_of("all.1"), Vec::<std::path::PathBuf>::new());
    // Nor after a start that failed, in either way of making a child.
    let mut missing = named("missing", sh(""));
    missing.command = "/no/such/command".into();
    missing.resources = Some(Box::new(limit));
    fixture
        .supervisor
        .launch(missing)
        .map(|task| fixture.until(|f| f.supervisor.status(task).is_none().then_some(())))
        .unwrap_or(());
    drop(fixture);
    assert_eq!(groups_left(), Vec::<std::path::PathBuf>::new());
    println!("nothing is left");
}
