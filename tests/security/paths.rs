//! Paths that a root daemon opens for tasks of others, in directories that these can change.

use super::fixture::{Daemon, Raw, answer, failure, launch, shell, wait_until};
use super::stranger::{Stage, UID, USER};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// A task of the stranger with this sink.
fn writer(name: &str, line: &str, sink: &Value) -> Value {
    let mut task = shell(name, line);
    task["user"] = USER.into();
    task["stdout"] = sink.clone();
    task
}

/// The message of a launch that fails at its output.
fn refused(daemon: &Daemon, task: &Value) -> String {
    let (error, parameters) = failure(&mut daemon.client(), "Launch", json!({"task": task}));
    assert_eq!(error, "org.ostler.LaunchFailed", "{parameters}");
    assert_eq!(parameters["error"]["stage"], "output", "{parameters}");
    parameters["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_link_of_another_user_on_the_way_to_a_sink_is_not_followed() {
    let Some(stage) = Stage::new("a_link_of_another_user_on_the_way_to_a_sink_is_not_followed")
    else {
        return;
    };
    let daemon = Daemon::start();
    stage.link("his/logs", "../victim");
    for kind in ["file", "fifo"] {
        let sink = json!({"kind": kind, "path": stage.text("his/logs/out")});
        let message = refused(&daemon, &writer("w", "echo x", &sink));
        assert!(message.contains("that neither root nor we have made"), "{message}");
    }
    let sink = json!({"kind": "file", "path": stage.text("his/logs/out"), "max_size_bytes": 100});
    refused(&daemon, &writer("w", "echo x", &sink));
    stage.assert_victim_is_untouched();
    // One that root has made is the administrator's will.
    std::os::unix::fs::lchown(stage.path("his/logs"), Some(0), Some(0)).unwrap();
    launch(&mut daemon.client(), writer("w", "echo x", &sink));
    assert_eq!(fs::metadata(stage.path("victim/out")).unwrap().uid(), UID);
}

#[test]
fn a_directory_swapped_for_a_link_while_the_task_runs_leads_no_rotation_away() {
    let test = "a_directory_swapped_for_a_link_while_the_task_runs_leads_no_rotation_away";
    let Some(stage) = Stage::new(test) else { return };
    stage.directory("his/logs");
    let daemon = Daemon::start();
    let path = stage.text("his/logs/out");
    let sink = json!({"kind": "file", "path": path, "max_size_bytes": 100});
    let go = stage.text("his/go");
    let line = format!(
        "seq -f 'first %g' 1 5; while ! [ -e {go} ]; do sleep 0.02; done; seq -f 'second %g' 1 50"
    );
    launch(&mut daemon.client(), writer("w", &line, &sink));
    let written = |name: &str| fs::read_to_string(stage.path(name)).unwrap_or_default();
    wait_until("the first lines are there", || written("his/logs/out").contains("first 5\n"));
    fs::rename(stage.path("his/logs"), stage.path("his/moved")).unwrap();
    stage.link("his/logs", "../victim");
    fs::write(&go, "").unwrap();
    answer(&mut daemon.client(), "Wait", json!({"name": "w"}));
    stage.assert_victim_is_untouched();
    // Nothing is lost for that: it goes on in the file that it has.
    let written = written("his/moved/out");
    assert!(written.contains("second 1\n") && written.ends_with("second 50\n"), "{written}");
    assert!(daemon.log().contains("cannot rotate"), "{}", daemon.log());
}

#[test]
fn links_in_the_places_of_rotated_files_lead_nowhere() {
    let test = "links_in_the_places_of_rotated_files_lead_nowhere";
    let Some(stage) = Stage::new(test) else { return };
    let secret = stage.secret();
    let daemon = Daemon::start();
    for (name, numbering) in [("s", "shift"), ("c", "count")] {
        let path = format!("his/{name}");
        for number in 1..4 {
            stage.link(&format!("{path}.{number}"), &secret);
        }
        let sink = json!({
            "kind": "file", "path": stage.text(&path), "max_size_bytes": 100, "max_files": 3,
            "numbering": numbering,
        });
        let task = writer(name, "seq 1 500", &sink);
        // Counted, the highest number is where it would go on.
        if numbering == "count" {
            assert!(refused(&daemon, &task).contains("is a symbolic link"));
            continue;
        }
        launch(&mut daemon.client(), task);
        answer(&mut daemon.client(), "Wait", json!({"name": name}));
        let last = fs::read_to_string(stage.path(&path)).unwrap();
        assert!(last.ends_with("\n500\n"), "{last}");
        assert!(fs::symlink_metadata(stage.path("his/s.1")).unwrap().is_file());
    }
    stage.assert_victim_is_untouched();
}

#[test]
fn another_name_of_a_file_of_ours_is_not_written_to() {
    let Some(stage) = Stage::new("another_name_of_a_file_of_ours_is_not_written_to") else {
        return;
    };
    let secret = stage.secret();
    let daemon = Daemon::start();
    // Where fs.protected_hardlinks is 0 he can do so himself.
    fs::hard_link(&secret, stage.path("his/out")).unwrap();
    for task_dir in [None, Some(stage.text("his"))] {
        let mut task =
            writer("w", "echo x", &json!({"kind": "file", "path": stage.text("his/out")}));
        task["task_dir"] = json!(task_dir);
        let message = refused(&daemon, &task);
        assert!(message.contains("has 2 names"), "{message}");
        task["stdout"]["max_size_bytes"] = json!(100);
        assert!(refused(&daemon, &task).contains("has 2 names"));
    }
    stage.assert_victim_is_untouched();
    // Names of a file of his own are his business, and those in a directory of ours are ours.
    fs::write(stage.path("his/own"), "").unwrap();
    stage.give("his/own");
    fs::hard_link(stage.path("his/own"), stage.path("his/same")).unwrap();
    fs::create_dir(stage.path("ours")).unwrap();
    fs::write(stage.path("ours/one"), "").unwrap();
    fs::hard_link(stage.path("ours/one"), stage.path("ours/other")).unwrap();
    for (number, path) in ["his/own", "ours/one"].into_iter().enumerate() {
        let sink = json!({"kind": "file", "path": stage.text(path)});
        launch(&mut daemon.client(), writer(&format!("t{number}"), "echo x", &sink));
        let text = || fs::read_to_string(stage.path(path)).unwrap();
        wait_until("it is written", || text() == "x\n");
    }
}

#[test]
fn a_file_or_fifo_that_waits_in_a_directory_for_all_is_a_trap() {
    let Some(stage) = Stage::new("a_file_or_fifo_that_waits_in_a_directory_for_all_is_a_trap")
    else {
        return;
    };
    let daemon = Daemon::start();
    fs::create_dir(stage.path("all")).unwrap();
    fs::set_permissions(stage.path("all"), PermissionsExt::from_mode(0o1777)).unwrap();
    fs::write(stage.path("all/file"), "").unwrap();
    nix::unistd::mkfifo(&stage.path("all/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for kind in ["file", "fifo"] {
        stage.give(&format!("all/{kind}"));
        let sink = json!({"kind": kind, "path": stage.text(&format!("all/{kind}"))});
        let mut task = writer("ours", "echo secret", &sink);
        task["user"] = Value::Null;
        let message = refused(&daemon, &task);
        assert!(message.contains("belongs to user 65534"), "{message}");
        // Of his own task he may have the output, and what we have made ourselves is no trap.
        launch(&mut daemon.client(), writer(&format!("his-{kind}"), "echo x", &sink));
        let ours = json!({"kind": kind, "path": stage.text(&format!("all/our-{kind}"))});
        task["stdout"] = ours;
        task["name"] = format!("ours-{kind}").into();
        task["if_exists"] = Value::Null;
        task.as_object_mut().unwrap().remove("if_exists");
        launch(&mut daemon.client(), task.clone());
        answer(&mut daemon.client(), "Restart", json!({"name": task["name"]}));
    }
}

#[test]
fn logs_are_not_read_by_way_of_a_link_of_another_user() {
    let Some(stage) = Stage::new("logs_are_not_read_by_way_of_a_link_of_another_user") else {
        return;
    };
    let daemon = Daemon::start();
    stage.directory("his/logs");
    let sink = json!({"kind": "file", "path": stage.text("his/logs/private")});
    launch(&mut daemon.client(), writer("w", "echo x", &sink));
    answer(&mut daemon.client(), "Wait", json!({"name": "w"}));
    let logs = json!({"name": "w", "stream": "stdout"});
    assert_eq!(answer(&mut daemon.client(), "Logs", logs.clone())["data_base64"], "eAo=");
    stage.secret();
    fs::rename(stage.path("his/logs"), stage.path("his/moved")).unwrap();
    stage.link("his/logs", "../victim");
    let (_, parameters) = failure(&mut daemon.client(), "Logs", logs.clone());
    assert!(!parameters.to_string().contains("secret"), "{parameters}");
    // Nor the file itself.
    fs::remove_file(stage.path("his/logs")).unwrap();
    stage.directory("his/logs");
    stage.link("his/logs/private", stage.path("victim/private"));
    let (_, parameters) = failure(&mut daemon.client(), "Logs", logs);
    assert!(parameters.to_string().contains("symbolic link"), "{parameters}");
}

#[test]
fn a_link_on_the_way_to_the_task_directory_makes_nothing_executable() {
    let test = "a_link_on_the_way_to_the_task_directory_makes_nothing_executable";
    let Some(stage) = Stage::new(test) else { return };
    fs::set_permissions(stage.path("victim"), PermissionsExt::from_mode(0o755)).unwrap();
    stage.secret();
    stage.link("his/app", "../victim");
    let daemon = Daemon::start();
    let task = |directory: &str| {
        json!({"task": {
            "name": "w", "command": "private", "user": USER, "task_dir": stage.text(directory),
        }})
    };
    failure(&mut daemon.client(), "Launch", task("his/app"));
    stage.assert_victim_is_untouched();
    // By its own name it is the administrator's will.
    failure(&mut daemon.client(), "Launch", task("victim"));
    let mode = fs::metadata(stage.path("victim/private")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_mount_is_not_taken_from_behind_a_link_of_another_user() {
    let Some(stage) = Stage::new("a_mount_is_not_taken_from_behind_a_link_of_another_user") else {
        return;
    };
    stage.secret();
    stage.link("his/data", "../victim");
    fs::create_dir(stage.path("point")).unwrap();
    let mounted = |source: &str| {
        let mount = format!("{}:{}", stage.text(source), stage.text("point"));
        let list = ["/bin/ls", &stage.text("point")];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"))
            .args(["run", "--mount", &mount, "--"])
            .args(list)
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = mounted("victim");
    if told != "private\n" {
        println!("skipped: mounts cannot be made here: {told}");
        return;
    }
    let told = mounted("his/data");
    assert!(told.contains("was made by neither root nor us"), "{told}");
}

/// Nothing that a client names makes the daemon wait: each of these would, opened as it is.
#[test]
fn paths_that_never_answer_hold_nothing_up() {
    let daemon = Daemon::start();
    let fifo = daemon.path("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let with = |field: &str, value: Value| {
        let mut task = shell("w", "exit 0");
        match field.split_once('.') {
            Some((outer, inner)) => task[outer] = json!({ inner: value }),
            None => task[field] = value,
        }
        task
    };
    let mut tasks = vec![
        with("command", fifo.clone().into()),
        with("command", "/dev/zero".into()),
        with("task_dir", fifo.clone().into()),
        with("work_dir", fifo.clone().into()),
        with("stdout", json!({"kind": "file", "path": fifo})),
        with("stdout", json!({"kind": "file", "path": "/dev/zero"})),
        with("stdout", json!({"kind": "file", "path": "/dev/ptmx"})),
        with("isolation.seccomp", fifo.clone().into()),
        with("isolation.seccomp", "/dev/zero".into()),
        with("isolation.net", fifo.clone().into()),
        with("isolation.root", fifo.clone().into()),
        with("isolation.landlock", json!([{"path": fifo, "access": "r"}])),
        with("isolation.mounts", json!([{"source": fifo, "target": "/dev/null/x"}])),
    ];
    let mut command_in_task_dir = with("task_dir", daemon.directory.path().to_str().into());
    command_in_task_dir["command"] = "fifo".into();
    tasks.push(command_in_task_dir);
    for task in tasks {
        let mut raw: Raw = daemon.raw();
        raw.send(&json!({"method": "org.ostler.Launch", "parameters": {"task": task}}));
        daemon.answers();
        let reply = raw.next().unwrap();
        assert!(reply["error"].is_string(), "{task}: {reply}");
        daemon.answers();
    }
}
