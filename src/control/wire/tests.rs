use super::*;
use crate::vocabulary::{
    Device, FileSink, Isolation, Leftover, Mount, Numbering, PathRule, Propagation, Resources,
    RestartMode, RestartPolicy, Setting, Signal, Sink, TaskSpec,
};
use proptest::prelude::*;
use proptest::{collection, option};
use serde_json::json;
use std::time::Duration;

/// More than fits 32 bits.
const MANY: u64 = 1 << 40;

fn refused(task: Value) -> Refusal {
    Fields::of("task", task).and_then(decode_task).expect_err("refused")
}

fn parameter(path: &str) -> Refusal {
    Refusal::Parameter(path.to_owned())
}

fn invalid(task: Value) -> String {
    match refused(task) {
        Refusal::Task(field) => field.field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_unknown_field_is_named_by_its_path() {
    for (task, path) in [
        (json!({"command": "a", "colour": 1}), "task.colour"),
        (json!({"command": "a", "stdout": {"kind": "discard", "colour": 1}}), "task.stdout.colour"),
        (json!({"command": "a", "restart": {"mode": "never", "x": 1}}), "task.restart.x"),
        (json!({"command": "a", "resources": {"x": 1}}), "task.resources.x"),
        (json!({"command": "a", "isolation": {"x": 1}}), "task.isolation.x"),
        (
            json!({"command": "a", "isolation": {"mounts": [
                {"source": "/a", "target": "/b"}, {"source": "/a", "target": "/b", "x": 1}]}}),
            "task.isolation.mounts[1].x",
        ),
    ] {
        assert_eq!(refused(task), parameter(path));
    }
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    for (task, path) in [
        (json!([]), "task"),
        (json!({}), "task.command"),
        (json!({"command": 1}), "task.command"),
        (json!({"command": "a\u{0}"}), "task.command"),
        (json!({"command": "a", "args": "b"}), "task.args"),
        (json!({"command": "a", "args": ["b", 1]}), "task.args[1]"),
        (json!({"command": "a", "args": ["b", null]}), "task.args[1]"),
        (json!({"command": "a", "env": ["A=\u{0}"]}), "task.env[0]"),
        (json!({"command": "a", "inherit_env": 1}), "task.inherit_env"),
        (json!({"command": "a", "stdout": {}}), "task.stdout.kind"),
        (json!({"command": "a", "stdout": {"kind": "nowhere"}}), "task.stdout.kind"),
        (json!({"command": "a", "kill_timeout_ms": -1}), "task.kill_timeout_ms"),
        (json!({"command": "a", "kill_timeout_ms": 1.5}), "task.kill_timeout_ms"),
        (json!({"command": "a", "kill_timeout_ms": 1_u64 << 53}), "task.kill_timeout_ms"),
        (json!({"command": "a", "restart": {"mode": "often"}}), "task.restart.mode"),
        (json!({"command": "a", "restart": {}}), "task.restart.mode"),
        (
            json!({"command": "a", "restart": {"mode": "always", "attempts": -2}}),
            "task.restart.attempts",
        ),
        (
            json!({"command": "a", "resources": {"memory_max_bytes": -2}}),
            "task.resources.memory_max_bytes",
        ),
        (json!({"command": "a", "resources": {"cpu_max": -0.5}}), "task.resources.cpu_max"),
        (json!({"command": "a", "labels": {"k": 1}}), "task.labels.k"),
        (json!({"command": "a", "nice": "1"}), "task.nice"),
    ] {
        assert_eq!(refused(task), parameter(path));
    }
}

#[test]
fn what_has_its_type_but_cannot_be_is_named_within_the_task() {
    for (task, field) in [
        (json!({"command": ""}), "command"),
        (json!({"command": "a", "env": ["A=1", "B=2", "C=3", "D"]}), "env[3]"),
        (json!({"command": "a", "kill_signal": "NOPE"}), "kill_signal"),
        (json!({"command": "a", "umask": "9"}), "umask"),
        (json!({"command": "a", "umask": "7777"}), "umask"),
        (json!({"command": "a", "nice": MANY}), "nice"),
        (json!({"command": "a", "oom_score_adj": -1001}), "oom_score_adj"),
        (json!({"command": "a", "stdout": {"kind": "file"}}), "stdout.path"),
        (json!({"command": "a", "stdout": {"kind": "file", "path": "x"}}), "stdout.path"),
        (json!({"command": "a", "stdout": {"kind": "discard", "path": "/x"}}), "stdout.path"),
        (
            json!({"command": "a", "stderr": {"kind": "fifo", "path": "/x", "max_files": 1}}),
            "stderr.max_files",
        ),
        (
            json!({"command": "a", "stdout": {"kind": "file", "path": "/x", "max_files": MANY}}),
            "stdout.max_files",
        ),
        (
            json!({"command": "a", "restart": {"mode": "always", "attempts": MANY}}),
            "restart.attempts",
        ),
        (json!({"command": "a", "resources": {"cpu_max": 0}}), "resources.cpu_max"),
    ] {
        assert_eq!(invalid(task), field);
    }
}

#[test]
fn null_is_absent_and_minus_one_is_no_limit() {
    let task = json!({
        "command": "a", "name": null, "colour": null, "stdout": null, "labels": {"a": null},
        "restart": {"mode": "on-failure", "attempts": -1, "delay_ms": null},
        "resources": {"cpu_max": -1, "pids_max": -1, "memory_max_bytes": 5, "cpuset": ""},
        "isolation": {"capabilities": []},
    });
    let spec = Fields::of("task", task).and_then(decode_task).expect("a task");
    let resources = Resources {
        cpu_max: Some(None),
        pids_max: Some(None),
        memory_max: Some(Some(5)),
        cpuset: Some(String::new()),
        ..Resources::default()
    };
    let expected = TaskSpec {
        restart: RestartPolicy {
            mode: RestartMode::OnFailure,
            attempts: Some(None),
            ..RestartPolicy::default()
        },
        resources: Some(Box::new(resources)),
        isolation: Some(Box::new(Isolation {
            capabilities: Some(Vec::new()),
            ..Isolation::default()
        })),
        ..TaskSpec::new("a")
    };
    assert_eq!(spec, expected);
}

#[test]
fn stderr_takes_what_it_lacks_from_stdout_when_they_share_a_path() {
    let stdout = json!({"kind": "file", "path": "/x", "max_size_bytes": 7, "max_files": 2,
        "numbering": "count"});
    let task = json!({"command": "a", "stdout": stdout, "stderr": {"kind": "file", "path": "/x"}});
    let spec = Fields::of("task", task).and_then(decode_task).expect("a task");
    assert_eq!(spec.stdout, spec.stderr);
    let other = json!({"command": "a", "stdout": stdout,
        "stderr": {"kind": "file", "path": "/x", "max_files": 3}});
    assert_eq!(invalid(other), "stderr");
    let apart = json!({"command": "a", "stdout": stdout, "stderr": {"kind": "file", "path": "/y"}});
    let spec = Fields::of("task", apart).and_then(decode_task).expect("a task");
    assert_eq!(spec.stderr, Some(Sink::File(FileSink::new("/y"))));
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9äß\"\\\\ /=]{1,12}"
}

fn path() -> impl Strategy<Value = String> {
    "/[a-z]{1,6}(/[a-z.]{1,6}[a-z])?"
}

fn sink() -> impl Strategy<Value = Sink> {
    let file = (
        path(),
        option::of(1..1_u64 << 53),
        1..100_u32,
        prop_oneof![Just(Numbering::Shift), Just(Numbering::Count)],
        any::<bool>(),
    );
    let file = file.prop_map(|(path, max_size, max_files, numbering, direct)| {
        Sink::File(FileSink { path, max_size, max_files, numbering, direct })
    });
    prop_oneof![
        Just(Sink::Discard),
        Just(Sink::Inherit),
        (path(), any::<bool>()).prop_map(|(path, direct)| Sink::Fifo { path, direct }),
        file,
    ]
}

fn wait() -> impl Strategy<Value = Option<Duration>> {
    option::of((1..1_u64 << 53).prop_map(Duration::from_millis))
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    let mode = prop_oneof![
        Just(RestartMode::Never),
        Just(RestartMode::OnFailure),
        Just(RestartMode::Always)
    ];
    (mode, option::of(option::of(any::<u32>())), wait(), wait(), wait()).prop_map(
        |(mode, attempts, interval, delay, max_delay)| RestartPolicy {
            mode,
            attempts,
            interval,
            delay,
            max_delay,
        },
    )
}

fn resources() -> impl Strategy<Value = Resources> {
    let bytes = || option::of(option::of(0..1_u64 << 53));
    let weight = || option::of(option::of(1..10_000_u64));
    let cores = option::of(option::of((1..4000_u32).prop_map(|n| f64::from(n) / 16.0)));
    let cpuset = option::of(prop_oneof![Just(String::new()), Just("0-3,8".to_owned())]);
    let memory = (bytes(), bytes(), bytes(), bytes());
    let pids = option::of(option::of(1..99_u64));
    (weight(), cores, cpuset, memory, option::of(any::<bool>()), pids, weight()).prop_map(
        |(cpu_weight, cpu_max, cpuset, memory, memory_oom_group, pids_max, io_weight)| Resources {
            cpu_weight,
            cpu_max,
            cpuset,
            memory_low: memory.0,
            memory_high: memory.1,
            memory_max: memory.2,
            memory_swap_max: memory.3,
            memory_oom_group,
            pids_max,
            io_weight,
        },
    )
}

fn isolation() -> impl Strategy<Value = Isolation> {
    let propagation = prop_oneof![
        Just(Propagation::Private),
        Just(Propagation::Slave),
        Just(Propagation::Shared)
    ];
    let mount = (path(), path(), any::<bool>(), propagation).prop_map(
        |(source, target, read_only, propagation)| Mount { source, target, read_only, propagation },
    );
    let device = (path(), option::of(path()), "[rwm]{1,3}")
        .prop_map(|(source, target, permissions)| Device { source, target, permissions });
    let rule = (path(), "[rwx]{1,3}").prop_map(|(path, access)| PathRule { path, access });
    let flags = any::<[bool; 4]>();
    let lists = (
        collection::vec(mount, 0..3),
        option::of(collection::vec(device, 0..3)),
        option::of(collection::vec(word(), 0..3)),
        option::of(collection::vec(rule, 0..3)),
    );
    (option::of(path()), lists, flags, option::of("[a-z]{1,9}"), option::of(path())).prop_map(
        |(root, (mounts, devices, capabilities, landlock), flags, hostname, net)| Isolation {
            root,
            mounts,
            devices,
            pid: flags[0],
            ipc: flags[1],
            uts: flags[2] || hostname.is_some(),
            hostname,
            seccomp: net.clone(),
            net,
            capabilities,
            no_new_privs: flags[3],
            landlock,
        },
    )
}

prop_compose! {
    fn task()(
        words in (word(), option::of("[a-z][a-z0-9.]{0,9}"), option::of("[a-z]{1,9}")),
        directory in option::of(path()),
        lists in (collection::vec(word(), 0..4), collection::vec("[A-Z]{1,5}=.{0,9}", 0..4)),
        sinks in (option::of(sink()), option::of(sink()), any::<bool>()),
        parts in (restart(), option::of(resources()), option::of(isolation())),
        stop in (option::of(1..=64_i32), wait(), any::<[bool; 3]>()),
        leftover in prop_oneof![Just(Leftover::Kill), Just(Leftover::Wait), Just(Leftover::Leave)],
        numbers in (option::of(-1000..=1000_i32), option::of(-20..=19_i32)),
        umask in option::of(0..=0o777_u32),
        labels in collection::btree_map("[a-z]{1,9}", word(), 0..3),
        rlimits in collection::btree_map(
            prop_oneof![Just("nofile".to_owned()), Just("core".to_owned())], "[0-9]{1,9}", 0..3),
    ) -> TaskSpec {
        let (stdout, mut stderr, same) = sinks;
        if same {
            stderr = stdout.clone();
        }
        let set = |value: Option<i32>| value.map_or(Setting::Default, Setting::To);
        TaskSpec {
            name: words.1,
            command: words.0,
            args: lists.0,
            env: lists.1.into_iter().filter(|entry| !entry.contains('\0')).collect(),
            inherit_env: stop.2[0],
            user: words.2,
            work_dir: directory.clone(),
            task_dir: directory,
            stdout,
            stderr,
            kill_signal: stop.0.and_then(Signal::new),
            kill_timeout: stop.1,
            stop_all: stop.2[1],
            leftover,
            restart: parts.0,
            resources: parts.1.map(Box::new),
            isolation: parts.2.map(Box::new),
            oom_score_adj: set(numbers.0),
            nice: set(numbers.1),
            umask: umask.map_or(Setting::Default, Setting::To),
            auto_remove: stop.2[2],
            labels,
            rlimits,
            cgroup: None,
            ..TaskSpec::default()
        }
    }
}

proptest! {
    #[test]
    fn a_task_survives_the_protocol(spec in task()) {
        prop_assume!(spec.validate().is_ok());
        let text = task_to_json(&spec).to_string();
        let back = task_from_json(serde_json::from_str(&text).expect("JSON"));
        prop_assert_eq!(back, Ok(spec));
    }

    #[test]
    fn no_field_of_a_task_is_null(spec in task()) {
        prop_assert!(!task_to_json(&spec).to_string().contains(":null"));
    }
}
