//! The figures are those of the kernel, and those that psutil shows.

use super::fixture::{Daemon, answer, command, grouped_command, has, launch, wait_until};
use super::python;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A daemon whose tasks have groups and one whose tasks have none.
fn daemons() -> [(&'static str, Command); 2] {
    [("groups", grouped_command()), ("no groups", command(&[]))]
}

/// Within a twentieth, and what the clock of /proc leaves out.
#[track_caller]
fn agree(what: &str, ours: f64, theirs: f64, step: f64) {
    let apart = (ours - theirs).abs();
    assert!(apart <= theirs * 0.05 + step, "{what}: {ours}, not {theirs}");
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn stats(daemon: &Daemon, parameters: Value) -> Value {
    let mut reply = answer(&mut daemon.client(), "Stats", parameters);
    reply["stats"][0].take()
}

/// The tree of tests/stats/tree.py as a task, once all of it sleeps.
fn tree(daemon: &Daemon) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stats/tree.py");
    let directory = daemon.directory.path();
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"];
    let python = python.into_iter().find(|path| Path::new(path).exists()).expect("a python");
    let task = json!({"name": "tree", "command": python, "args": [script, directory]});
    let status = launch(&mut daemon.client(), task);
    wait_until("the tree sleeps", || directory.join("ready").exists());
    status
}

#[test]
fn a_tree_of_processes_has_the_figures_that_psutil_shows() {
    let test = "a_tree_of_processes_has_the_figures_that_psutil_shows";
    let Some(python) = python::with("psutil", "psutil", test) else { return };
    for (what, command) in daemons() {
        let daemon = Daemon::run(command);
        let status = tree(&daemon);
        let pid = status["pid"].to_string();
        let theirs: Value =
            serde_json::from_str(&python::run(&python, "compare.py", &[&pid])).expect("JSON");
        let ours = stats(&daemon, json!({"names": ["tree"], "by_pid": true}));
        let total = &ours["total"];
        // Each of five processes in steps of 10 ms.
        let (user, system) = (number(total, "cpu_user_us"), number(total, "cpu_system_us"));
        let cpu = number(&theirs, "user_s") + number(&theirs, "system_s");
        agree(&format!("{what}: cpu"), (user + system) / 1e6, cpu, 0.05);
        assert!((user + system) / 1e6 > 2.1, "{what}: what the dead child burnt is missing");
        let anon = number(&theirs, "anon_bytes");
        agree(&format!("{what}: memory"), number(total, "memory_rss_bytes"), anon, 65536.0);
        assert_eq!(total["processes"], theirs["processes"], "{what}");
        assert_eq!(total["threads"], theirs["threads"], "{what}");
        let pids: Vec<String> = ours["by_pid"].as_object().expect("each").keys().cloned().collect();
        let mut expected: Vec<String> =
            theirs["pids"].as_array().expect("a list").iter().map(Value::to_string).collect();
        expected.sort();
        assert_eq!(pids, expected, "{what}");
        let singles = ours["by_pid"].as_object().expect("each").values();
        let sum: f64 = singles.map(|single| number(single, "memory_rss_bytes")).sum();
        assert_eq!(sum, number(total, "memory_rss_bytes"), "{what}");
    }
}

#[test]
fn a_tree_of_processes_has_the_figures_of_the_kernel() {
    if !has("/usr/bin/python3", &["-c", "pass"], "a tree of processes in python3") {
        return;
    }
    for (what, command) in daemons() {
        let daemon = Daemon::run(command);
        let status = tree(&daemon);
        let ours = stats(&daemon, json!({"names": ["tree"], "by_pid": true}));
        let mut anon = 0.0;
        for (pid, single) in ours["by_pid"].as_object().expect("each") {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
            let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
            agree(
                &format!("{what}: {pid}"),
                number(single, "memory_rss_bytes"),
                kilobytes * 1024.0,
                65536.0,
            );
            anon += kilobytes * 1024.0;
        }
        agree(
            &format!("{what}: memory"),
            number(&ours["total"], "memory_rss_bytes"),
            anon,
            65536.0,
        );
        if let Some(group) = status["cgroup"].as_str() {
            let stat = std::fs::read_to_string(format!("{group}/cpu.stat")).unwrap();
            let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
            let total = &ours["total"];
            let cpu = number(total, "cpu_user_us") + number(total, "cpu_system_us");
            agree(&format!("{what}: cpu"), cpu, line.parse().unwrap(), 0.0);
        }
        // It sleeps: nothing of it has changed, and nothing of it is used.
        let mut again = Value::Null;
        wait_until("it is measured again", || {
            again = stats(&daemon, json!({"names": ["tree"], "by_pid": true}));
            again["total"].get("cpu_percent").is_some()
        });
        assert_eq!(again["total"]["memory_rss_bytes"], ours["total"]["memory_rss_bytes"]);
        assert!(number(&again["total"], "cpu_percent") < 5.0, "{what}: {again}");
    }
}

#[test]
fn percentages_are_those_of_the_totals() {
    for (what, command) in daemons() {
        let daemon = Daemon::run(command);
        let busy =
            json!({"name": "busy", "command": "/bin/sh", "args": ["-c", "while :; do :; done"]});
        launch(&mut daemon.client(), busy);
        let mut client = daemon.client();
        let parameters = json!({"names": ["busy"], "interval_ms": 400, "by_pid": true});
        let mut replies = client.stream("org.ostler.Stats", parameters).expect("sent");
        let mut next = || replies.next().expect("a reply").expect("no error")["stats"][0].take();
        let first = next();
        assert!(first["total"].get("cpu_percent").is_none(), "{what}: {first}");
        let mut before = first;
        for _ in 0..3 {
            let now = next();
            let time = number(&now, "time_us") - number(&before, "time_us");
            let (total, earlier) = (&now["total"], &before["total"]);
            let modes =
                [("cpu_user_us", "cpu_user_percent"), ("cpu_system_us", "cpu_system_percent")];
            let mut all = 0.0;
            for (counter, percent) in modes {
                let expected = (number(total, counter) - number(earlier, counter)) / time * 100.0;
                agree(&format!("{what}: {percent}"), number(total, percent), expected, 0.1);
                all += number(total, percent);
            }
            agree(&format!("{what}: both"), number(total, "cpu_percent"), all, 0.001);
            assert!(all > 1.0 && all < 110.0, "{what}: a loop uses up to one core, not {all} %");
            before = now;
        }
    }
}

#[test]
fn what_a_group_has_counted_is_told_and_what_nobody_counts_is_absent() {
    let daemon = Daemon::run(grouped_command());
    let features = answer(&mut daemon.client(), "Version", json!({}))["features"].to_string();
    let bare = json!({"name": "bare", "command": "sleep", "args": ["300"]});
    let status = launch(&mut daemon.client(), bare);
    if status["containment"] != "cgroup_v2" {
        eprintln!("skipped: what a group has counted: no permission to make a cgroup");
        return;
    }
    let hybrid = answer(&mut daemon.client(), "Version", json!({}))["cgroup"] == "hybrid";
    let total = stats(&daemon, json!({"names": ["bare"]}))["total"].take();
    for field in ["cpu_percent", "throttled_us", "memory_usage_bytes", "memory_peak_bytes"] {
        assert!(!hybrid || total.get(field).is_none(), "{field}: {total}");
    }
    if !features.contains("cgroup.memory") || !features.contains("cgroup.cpu") {
        eprintln!("skipped: what a group has counted: no permission to limit anything");
        return;
    }
    let line = "exec dd if=/dev/zero of=/dev/null bs=20M";
    let limited = json!({"name": "limited", "command": "/bin/sh", "args": ["-c", line],
        "resources": {"memory_max_bytes": 100 << 20, "cpu_max": 0.1}});
    launch(&mut daemon.client(), limited);
    let mut total = Value::Null;
    wait_until("it is held back", || {
        total = stats(&daemon, json!({"names": ["limited"]}))["total"].take();
        number(&total, "throttled_us") > 0.0 && number(&total, "memory_usage_bytes") > 2e7
    });
    assert!(number(&total, "throttled_periods") > 0.0, "{total}");
    assert!(number(&total, "memory_peak_bytes") >= number(&total, "memory_usage_bytes"), "{total}");
    assert!(number(&total, "memory_rss_bytes") <= number(&total, "memory_usage_bytes"), "{total}");
    assert!(number(&total, "memory_rss_bytes") >= 2e7, "{total}");
    assert!(total.get("memory_cache_bytes").is_some(), "{total}");
}

#[test]
fn bytes_of_storage_are_counted() {
    for (what, command) in daemons() {
        let daemon = Daemon::run(command);
        let path = daemon.path("data");
        let line = format!("dd if=/dev/zero of={path} bs=1M count=8 conv=fsync 2>&1; sleep 300");
        launch(
            &mut daemon.client(),
            json!({"name": "a", "command": "/bin/sh", "args": ["-c", line]}),
        );
        wait_until("it is written", || {
            std::fs::metadata(&path).is_ok_and(|file| file.len() == 8 << 20)
        });
        let is_tmpfs = nix::sys::statfs::statfs(path.as_str())
            .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
        if is_tmpfs {
            eprintln!("skipped: bytes of storage: {path} is in memory");
            return;
        }
        // What the child has written counts once the shell has reaped it.
        wait_until("it is counted", || {
            let total = stats(&daemon, json!({"names": ["a"]}))["total"].take();
            let written = total["io_write_bytes"].as_u64();
            assert!(written.is_none_or(|bytes| bytes < 16 << 20), "{what}: {total}");
            written.is_some_and(|bytes| bytes >= 8 << 20)
        });
    }
}
