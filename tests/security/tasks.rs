//! What tasks learn of the daemon, and what they can do to it.

use super::executable::copy_executable;
use super::fixture::{Daemon, answer, command, failure, launch, shell, wait_until};
use super::stranger::{Stage, UID, USER};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;

#[test]
fn nothing_of_the_daemons_environment_reaches_a_task_unasked() {
    let mut secretive = command(&[]);
    secretive.env("SECRET", "sesame").env("OSTLER_LOG", "info").env("WATCHDOG_USEC", "0");
    let daemon = Daemon::run(secretive);
    let mut client = daemon.client();
    let out = daemon.path("out");
    let environment = |task: &mut Value| {
        task["stdout"] = json!({"kind": "file", "path": out});
        let _ = fs::remove_file(&out);
        launch(&mut daemon.client(), task.clone());
        answer(&mut daemon.client(), "Wait", json!({"name": task["name"]}));
        fs::read_to_string(&out).unwrap().replace('\0', "\n")
    };
    let line = "exec /bin/cat /proc/self/environ";
    // What the shell adds by itself.
    let shells = ["PWD=", "SHLVL=", "_=", "OLDPWD="];
    let mut task = shell("exact", line);
    task["env"] = json!(["A=b"]);
    let exact = environment(&mut task);
    let rest: Vec<&str> =
        exact.lines().filter(|line| !shells.iter().any(|own| line.starts_with(own))).collect();
    assert_eq!(rest, ["A=b"]);
    task["name"] = "all".into();
    task["inherit_env"] = true.into();
    let all = environment(&mut task);
    assert!(all.contains("SECRET=sesame\n"), "{all}");
    assert!(!all.contains("OSTLER_") && !all.contains("WATCHDOG_"), "{all}");
    launch(&mut client, shell("long", "exec sleep 60"));
    let told = answer(
        &mut client,
        "Exec",
        json!({"name": "long", "command": "/bin/cat", "args": ["/proc/self/environ"]}),
    );
    assert_eq!(told["stdout_base64"], "", "{told}");
}

#[test]
fn a_daemon_of_root_is_no_business_of_a_task_of_another_user() {
    let Some(stage) = Stage::new("a_daemon_of_root_is_no_business_of_a_task_of_another_user")
    else {
        return;
    };
    let daemon = Daemon::start();
    let pid = daemon.pid();
    // Each of these would be a way in.
    let tries = [
        format!("cat /proc/{pid}/environ"),
        format!("cat /proc/{pid}/maps"),
        format!("ls /proc/{pid}/fd"),
        format!("ls /proc/{pid}/root/"),
        format!("ls -l /proc/{pid}/cwd/"),
        format!(": < /proc/{pid}/mem"),
        format!(": > /proc/{pid}/oom_score_adj"),
        format!("kill -STOP {pid}"),
        format!("kill -0 {pid}"),
        format!("ls {}", stage.text("victim")),
    ];
    let script: String = tries.iter().map(|tried| format!("({tried}) && echo DONE\n")).collect();
    let mut task = shell("prober", &script);
    task["user"] = USER.into();
    task["env"] = json!(["PATH=/usr/bin:/bin"]);
    task["stdout"] = json!({"kind": "file", "path": stage.text("his/out")});
    task["stderr"] = json!({"kind": "file", "path": stage.text("his/err")});
    launch(&mut daemon.client(), task);
    answer(&mut daemon.client(), "Wait", json!({"name": "prober"}));
    assert_eq!(fs::read_to_string(stage.path("his/out")).unwrap(), "");
    let said = fs::read_to_string(stage.path("his/err")).unwrap();
    assert_eq!(said.lines().filter(|line| !line.is_empty()).count(), tries.len(), "{said}");
    daemon.answers();
}

/// What a process calls itself is read as little as what its file is called.
#[test]
fn a_command_that_looks_like_a_line_of_proc_is_found_and_killed() {
    let daemon = Daemon::start();
    let name = "a) R 1 1 1 1";
    let strange = daemon.path(name);
    copy_executable("/bin/sleep", &strange, 0o755);
    let ready = daemon.path("ready");
    // It leaves a child in a process group of its own, by whose session alone it is known.
    let line = format!(
        "set -m; '{strange}' 300 & echo $! > {ready}.new; mv {ready}.new {ready}; \
         exec '{strange}' 300"
    );
    let mut task = shell("strange", &line);
    task["env"] = json!(["PATH=/usr/bin:/bin"]);
    launch(&mut daemon.client(), task);
    wait_until("it runs", || fs::exists(&ready).unwrap());
    let child: u32 = fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
    let stat = format!("/proc/{child}/stat");
    wait_until("it has its name", || fs::read_to_string(&stat).is_ok_and(|s| s.contains(name)));
    // mv may still be there.
    wait_until("both are counted", || {
        let stats = answer(&mut daemon.client(), "Stats", json!({"names": ["strange"]}));
        stats["stats"][0]["total"]["processes"] == 2
    });
    answer(&mut daemon.client(), "Stop", json!({"name": "strange", "grace_ms": 0}));
    let lives = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(name));
    assert!(!lives(), "{}", daemon.log());
}

/// A program with the set-user-id bit makes a task root's, whom a daemon of another user cannot
/// signal: that is said, nobody waits for ever, and everything else goes on.
#[test]
fn a_task_that_has_become_roots_is_said_to_be_stuck() {
    let Some(stage) = Stage::new("a_task_that_has_become_roots_is_said_to_be_stuck") else {
        return;
    };
    let python = fs::canonicalize("/usr/bin/python3").unwrap();
    copy_executable(python, stage.path("python"), 0o4755);
    let mut own = command(&[]);
    own.uid(UID).gid(UID).env("TMPDIR", stage.path("his"));
    own.current_dir(stage.path("his"));
    let socket = stage.path("his/run/ostler.sock");
    own.arg("--socket").arg(&socket).stderr(fs::File::create(stage.path("log")).unwrap());
    let mut child = own.spawn().unwrap();
    wait_until("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut client = ostler::control::Client::connect(&socket).unwrap();
    let go = stage.text("go");
    let script = format!(
        "import os,time\nos.setuid(0)\nopen('{go}.uid','w').write(str(os.getuid()))\n\
         while not os.path.exists('{go}'): time.sleep(0.02)\n"
    );
    let task = json!({"name": "r", "command": stage.text("python"), "args": ["-c", script]});
    launch(&mut client, task);
    let uid = || fs::read_to_string(format!("{go}.uid")).unwrap_or_default();
    let state = |client: &mut ostler::control::Client| {
        answer(client, "Inspect", json!({"name": "r"}))["status"]["state"].clone()
    };
    wait_until("it is root", || uid() == "0" || state(&mut client) == "exited");
    if uid() == "0" {
        let stop = json!({"name": "r", "grace_ms": 0});
        let (error, parameters) = failure(&mut client, "Stop", stop);
        assert_eq!(error, "org.ostler.StillRunning", "{parameters}");
        launch(&mut client, shell("other", "exec sleep 60"));
        fs::write(&go, "").unwrap();
        let ended = answer(&mut client, "Wait", json!({"name": "r"}));
        assert_eq!(ended["status"]["state"], "exited");
    } else {
        println!("skipped: a program with the set-user-id bit: its file system has none (nosuid)");
    }
    let _ = client.call("org.ostler.Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    super::fixture::end_of(&mut child);
}
