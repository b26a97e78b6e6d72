//! What a measurement costs, and what it says where the kernel refuses something.

use super::*;
use crate::reactor::CgroupMode;
use crate::vocabulary::limits::STATS_FRESH;
use crate::vocabulary::{Containment, TaskStats, Usage};
use nix::errno::Errno;

const OPEN: &str = "openat(/proc or cgroup file)";

/// A task with three processes that sleep.
fn sleepers(cgroup: CgroupMode) -> (Rig, TaskId) {
    let mut rig = Rig::new(Options { cgroup, ..Options::default() });
    let args = vec!["-c".into(), "sleep 300 & sleep 300 & wait".into()];
    let task = rig.supervisor.launch(TaskSpec { args, ..TaskSpec::new("/bin/sh") });
    let task = task.expect("launched");
    let mut before = None;
    rig.until(|rig| {
        std::thread::sleep(STATS_FRESH);
        let usage = measure(rig, task).total;
        let cpu = usage.cpu_us();
        // All are there, and none has done anything since the last look.
        let sleeps = usage.processes == Some(3) && before == Some(cpu);
        before = Some(cpu);
        sleeps
    });
    (rig, task)
}

fn measure(rig: &mut Rig, task: TaskId) -> TaskStats {
    rig.supervisor.stats(task, false).expect("it has a process")
}

#[test]
fn what_has_not_run_is_not_read_again() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let (mut rig, task) = sleepers(cgroup);
        std::thread::sleep(STATS_FRESH);
        let (opened, first) = (faults::calls(OPEN), measure(&mut rig, task));
        let opened = faults::calls(OPEN) - opened;
        // A group has one file that tells. Without one, orphans are looked for among all processes.
        let all = crate::sys::processes::all().len() as u64;
        assert!(opened <= if is_grouped(&rig, task) { 1 } else { all + 50 }, "{opened}");
        assert_eq!(first.total.cpu_percent, Some(0.0), "{cgroup:?}");
        // A moment later it is not even asked whether it has run.
        rig.until(|rig| {
            let begun = std::time::Instant::now();
            let (first, opened) = (measure(rig, task), faults::calls(OPEN));
            let again = (measure(rig, task), faults::calls(OPEN));
            // On a busy machine more than a moment may have passed.
            let soon = begun.elapsed() < STATS_FRESH;
            assert!(!soon || again == (first, opened), "{cgroup:?}");
            soon
        });
        rig.supervisor.remove(task, true).expect("a task");
    }
}

#[test]
fn what_could_not_be_read_is_absent_and_never_too_small() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let (mut rig, task) = sleepers(cgroup);
        let truth = anew(&mut rig, task);
        let mut hits = 0;
        for nth in 1.. {
            let injected = faults::fail_nth(nth, Errno::EMFILE);
            let told = anew(&mut rig, task);
            let Some(hit) = injected.hit() else { break };
            drop(injected);
            hits += 1;
            let mut left_out = truth.clone();
            for (figure, told) in figures(&mut left_out).into_iter().zip(figures(&mut told.clone()))
            {
                if told.is_none() {
                    *figure = None;
                }
            }
            assert_eq!(told, left_out, "{cgroup:?}: {hit} failed");
            assert!(told != truth || SPARED.contains(&hit), "{cgroup:?}: {hit} failed unseen");
            assert_eq!(anew(&mut rig, task), truth, "{cgroup:?}: after {hit} has failed");
        }
        assert!(hits >= 10, "{cgroup:?}: {hits} calls were failed");
        rig.supervisor.remove(task, true).expect("a task");
    }
}

/// Costs a second look but no figure.
const SPARED: [&str; 2] = ["clock_gettime(process)", "sysinfo"];

/// What a task uses, with everything read.
fn anew(rig: &mut Rig, task: TaskId) -> Usage {
    rig.supervisor.sampler = super::super::sampling::Sampler::default();
    measure(rig, task).total
}

fn figures(usage: &mut Usage) -> [&mut Option<u64>; 9] {
    [
        &mut usage.cpu_user_us,
        &mut usage.cpu_system_us,
        &mut usage.memory_rss_bytes,
        &mut usage.memory_swap_bytes,
        &mut usage.memory_usage_bytes,
        &mut usage.io_read_bytes,
        &mut usage.io_write_bytes,
        &mut usage.processes,
        &mut usage.threads,
    ]
}

fn is_grouped(rig: &Rig, task: TaskId) -> bool {
    let status = rig.supervisor.status(task);
    status.is_some_and(|status| status.containment == Some(Containment::CgroupV2))
}
