//! The state directory: whose it is, what stands in it, and what cannot be used.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::{Life, lines};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

/// Starts a second daemon, which is to fail, and says what it said.
#[track_caller]
fn refused(life: &Life) -> String {
    let mut command = life.command_on("none");
    let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().expect("it starts");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

fn journal(life: &Life) -> String {
    std::fs::read_to_string(life.state("journal")).expect("a journal")
}

#[test]
fn a_second_daemon_is_refused_by_name() {
    let life = Life::new();
    let status = life.launch("t", "exec sleep 600", json!({}));
    let text = refused(&life);
    let expected = format!("is in use by another supervisor, process {}", life.pid());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(life.inspect("t")["pid"], status["pid"]);
}

#[test]
fn a_directory_that_is_not_for_us_alone_is_refused() {
    let life = Life::unborn(&[]);
    let state = life.path("state");
    std::fs::create_dir(&state).expect("a directory");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).expect("changed");
    let text = refused(&life);
    assert!(text.contains("others may write to it (mode 0777)"), "{text}");
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a directory of another user: not root");
        return;
    }
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).expect("changed");
    std::os::unix::fs::chown(&state, Some(4711), None).expect("given");
    let text = refused(&life);
    assert!(text.contains("belongs to user 4711"), "{text}");
}

#[test]
fn what_is_kept_is_for_us_alone() {
    let life = Life::new();
    life.launch("t", "true", json!({"env": ["SECRET=x"]}));
    for (name, mode) in [("", 0o700), ("journal", 0o600), ("lock", 0o600)] {
        let found = std::fs::metadata(life.state(name)).expect("there").permissions().mode();
        assert_eq!(found & 0o777, mode, "{name:?}");
    }
}

#[test]
fn a_journal_of_a_later_format_is_refused() {
    let mut life = Life::new();
    life.launch("t", "exec sleep 600", json!({}));
    life.kill();
    let before = journal(&life);
    let later = before.replacen(
        "\"format\":1,\"version\":\"0.1.0\"",
        "\"format\":2,\"version\":\"9.0\"",
        1,
    );
    assert_ne!(later, before);
    std::fs::write(life.state("journal"), &later).expect("written");
    let text = refused(&life);
    assert!(text.contains("it was written by ostler 9.0, in format 2"), "{text}");
    assert_eq!(journal(&life), later, "it is left as it is");
    std::fs::write(life.state("journal"), before).expect("written");
    life.begin();
    assert_eq!(life.inspect("t")["state"], "running");
}

#[test]
fn a_torn_or_strange_line_costs_itself_alone() {
    let mut life = Life::new();
    let status = life.launch("t", "exec sleep 600", json!({}));
    life.kill();
    let text = journal(&life);
    let strange = "{\"later_kind\":{}}\nnothing like JSON\n{\"removed\":\"x\"}\n";
    let torn = "{\"state\":{\"launch\":1,\"state\":\"exi";
    std::fs::write(life.state("journal"), format!("{text}{strange}{torn}")).expect("written");
    life.begin();
    assert_eq!(life.inspect("t")["pid"], status["pid"]);
    let complaints = life.log().lines().filter(|line| line.contains("is not understood")).count();
    assert_eq!(complaints, 3, "{}", life.log());
    assert!(!journal(&life).contains("nothing like JSON"), "it is written anew");
}

#[test]
fn what_is_no_journal_is_as_good_as_none() {
    let mut life = Life::unborn(&[]);
    std::fs::create_dir(life.path("state")).expect("a directory");
    std::fs::set_permissions(life.path("state"), PermissionsExt::from_mode(0o700)).expect("set");
    std::fs::write(life.state("journal"), vec![0; 5000]).expect("written");
    life.begin();
    assert!(life.log().contains("does not begin as a journal does"), "{}", life.log());
    life.launch("t", "true", json!({}));
}

#[test]
fn tasks_of_an_earlier_boot_have_exited() {
    let mut life = Life::new();
    let always = json!({"restart": {"mode": "always", "delay_ms": 60_000}});
    let running = life.launch("running", "exec sleep 600", always.clone());
    life.launch("waiting", "exit 3", always);
    life.until("waiting", |status| status["state"] == "backoff");
    life.launch("over", "exit 4", json!({}));
    life.wait("over");
    let stdout = json!({"kind": "fifo", "path": life.path("fifo")});
    let relayed = life.launch("relayed", "exec sleep 600", json!({ "stdout": stdout }));
    let boot = life.call("Version", json!({}))["boot_id"].as_str().expect("text").to_owned();
    life.kill();
    let other = "00000000-1111-2222-3333-444444444444";
    std::fs::write(life.state("journal"), journal(&life).replace(&boot, other)).expect("written");
    life.begin();
    let exit = |name: &str| {
        let status = life.inspect(name);
        assert_eq!(status["state"], "exited", "{status:#}");
        status["exit"]["exit_code"].clone()
    };
    assert_eq!(exit("running"), -1);
    assert_eq!(life.inspect("running")["exit"]["status_known"], false);
    assert_eq!(exit("waiting"), 3);
    assert_eq!(exit("over"), 4);
    assert_eq!(exit("relayed"), -1);
    assert!(!life.state("relayed.4.out").exists(), "nobody can write into it");
    // In truth there was no reboot: nothing is done to processes that are not known to be ours.
    for status in [running, relayed] {
        let pid = status["pid"].as_i64().expect("a process");
        assert!(lives(pid as u64));
        let pid = nix::unistd::Pid::from_raw(pid as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
    }
}

#[test]
fn events_go_on_with_their_numbers() {
    let mut life = Life::new();
    life.launch("t", "exec sleep 600", json!({}));
    let version = life.call("Version", json!({}));
    let last = life.call("List", json!({}))["sequence"].as_u64().expect("a number");
    let id = life.inspect("t")["id"].take();
    life.kill();
    life.begin();
    assert_eq!(life.call("Version", json!({}))["instance"], version["instance"]);
    let events = life.events_after(last);
    assert_eq!(events[0]["kind"], "adopted", "{events:#?}");
    assert_eq!(events[0]["sequence"], last + 1);
    assert_eq!((&events[0]["id"], &events[0]["status"]["adopted"]), (&id, &json!(true)));
    let next = life.launch("u", "true", json!({}));
    assert!(next["id"].as_str().is_some_and(|text| text.ends_with("-2")), "{next:#}");

    let mut client = life.client();
    let mut replies = client.stream("org.ostler.Events", json!({"after": last - 1})).expect("sent");
    match replies.next().expect("a reply") {
        Err(ostler::control::CallError::Remote { error, parameters }) => {
            assert_eq!(error, "org.ostler.EventsLost");
            let expected: Value = json!({"oldest": last + 1, "instance": version["instance"]});
            assert_eq!(parameters, expected);
        }
        other => panic!("{other:?}"),
    }
    // Without the journal there is nothing to go on with.
    life.call("Remove", json!({"name": "t", "force": true}));
    life.kill();
    std::fs::remove_file(life.state("journal")).expect("removed");
    life.begin();
    assert_ne!(life.call("Version", json!({}))["instance"], version["instance"]);
}

#[test]
fn a_full_disk_holds_up_new_tasks_alone() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let mut life = Life::unborn(&[]);
    let state = life.path("state");
    std::fs::create_dir(&state).expect("a directory");
    let flags = MsFlags::empty();
    let data = Some("size=256k,mode=0700");
    if mount(Some("ostler-test"), &state, Some("tmpfs"), flags, data).is_err() {
        println!("skipped: a_full_disk_holds_up_new_tasks_alone: no permission to mount");
        return;
    }
    life.begin();
    let out = life.path("out");
    let stdout = json!({"kind": "file", "path": out, "max_size_bytes": 1 << 20});
    let script = "while read line; do echo got $line; done < $GATE; exit 5";
    let gate = life.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let env = [format!("GATE={}", gate.display())];
    life.launch("running", script, json!({"stdout": stdout, "env": env}));
    let fill = life.state("fill");
    let filled = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=1k", "count=10000"])
        .arg(format!("of={}", fill.display()))
        .stderr(Stdio::null())
        .status()
        .expect("dd");
    assert!(!filled.success(), "it is full");
    // The last page of the journal may have room for a few more.
    let mut error = Value::Null;
    for _ in 0..20 {
        let task = json!({"command": "/bin/true"});
        match life.client().call("org.ostler.Launch", json!({ "task": task })) {
            Ok(_) => {}
            Err(ostler::control::CallError::Remote { parameters, .. }) => {
                error = parameters["error"].clone();
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((&error["stage"], &error["errno_name"]), (&json!("journal"), &json!("ENOSPC")));
    assert_eq!(error["retry"], true);
    assert_eq!(
        error["message"],
        "keep what is started in the state directory: No space left on device"
    );
    std::fs::write(&gate, "x\n").expect("read");
    assert_eq!(life.wait("running")["exit"]["exit_code"], 5);
    wait_for("its output is there", || lines(&out) == ["got x"]);
    std::fs::remove_file(fill).expect("removed");
    wait_for("the state is kept again", || {
        journal(&life)
            .lines()
            .any(|line| line.contains("\"exited\"") && line.contains("\"code\":5"))
    });
    life.launch("again", "exit 6", json!({}));
    life.kill_and_begin();
    assert_eq!(life.wait("running")["exit"]["exit_code"], 5);
    life.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    life.end();
    umount2(&state, MntFlags::MNT_DETACH).expect("unmounted");
}

#[test]
fn a_journal_does_not_grow_for_ever() {
    let mut life = Life::new();
    let kept = life.launch("kept", "exec sleep 600", json!({}));
    let padding = "x".repeat(8000);
    let mut client = life.client();
    let mut largest = 0;
    let mut shrank = false;
    for number in 0..250 {
        let task = json!({
            "name": "short", "command": "/bin/true", "env": [format!("X={padding}")],
        });
        let parameters = json!({"task": task, "if_exists": "fail"});
        client.call("org.ostler.Launch", parameters).expect("launched");
        client.call("org.ostler.Wait", json!({"name": "short"})).expect("waited");
        client.call("org.ostler.Remove", json!({"name": "short"})).expect("removed");
        let size = std::fs::metadata(life.state("journal")).expect("there").len();
        shrank |= size < largest;
        largest = largest.max(size);
        assert!(size < 2 << 20, "{size} bytes after {number}");
    }
    assert!(shrank, "it has never been written anew: {largest} bytes");
    life.kill_and_begin();
    assert_eq!(life.inspect("kept")["pid"], kept["pid"]);
    let id = life.launch("next", "true", json!({}))["id"].take();
    assert!(id.as_str().is_some_and(|id| id.ends_with("-252")), "{id}");
}

#[test]
fn a_task_file_starts_what_a_stop_has_ended_and_nothing_else() {
    let mut life = Life::unborn(&[]);
    let file = life.path("tasks.toml");
    let runs = life.text_path("runs");
    let task = |name: &str, end: &str| {
        format!(
            "[task.{name}]\ncommand = \"/bin/sh\"\n\
             args = [\"-c\", \"echo {name} >> {runs}; {end}\"]\n\
             env = {{ PATH = \"/usr/bin:/bin\" }}\n"
        )
    };
    std::fs::write(&file, task("once", "exit 0") + &task("serves", "exec sleep 600"))
        .expect("written");
    let mut with_file = Life::unborn(&["--tasks", file.to_str().expect("text")]);
    std::mem::swap(&mut life, &mut with_file);
    life.begin();
    let counts = || {
        let all = lines(std::path::Path::new(&runs));
        ["once", "serves"].map(|name| all.iter().filter(|line| *line == name).count())
    };
    wait_for("both have run", || counts() == [1, 1]);
    life.wait("once");
    life.kill_and_begin();
    let serves = life.inspect("serves");
    assert_eq!(serves["adopted"], true, "{serves:#}");
    assert_eq!(life.inspect("once")["state"], "exited");
    assert_eq!(counts(), [1, 1]);
    life.call("Shutdown", json!({"stop_tasks": true}));
    life.end();
    life.begin();
    wait_for("both have run again", || counts() == [2, 2]);
}

#[test]
fn what_has_left_the_file_while_no_daemon_ran_is_stopped() {
    let mut life = Life::unborn(&[]);
    let file = life.path("tasks.toml");
    let write = |names: &[&str]| {
        let task = |name| format!("[task.{name}]\ncommand = '/bin/sleep'\nargs = ['600']\n");
        std::fs::write(&file, names.iter().map(task).collect::<String>()).expect("written");
    };
    write(&["stays", "leaves", "left"]);
    let mut with_file = Life::unborn(&["--tasks", file.to_str().expect("text")]);
    std::mem::swap(&mut life, &mut with_file);
    life.begin();
    wait_for("all run", || life.running().len() == 3);
    life.launch("other", "exec sleep 600", json!({}));
    let pids = ["stays", "other"].map(|name| life.inspect(name)["pid"].clone());
    life.call("Stop", json!({"name": "left", "grace_ms": 0}));
    life.kill();
    write(&["stays"]);
    life.begin();
    wait_for("two are left", || life.running() == ["other", "stays"]);
    let left = || life.call("List", json!({}))["tasks"].as_array().map(Vec::len);
    wait_for("the others are forgotten", || left() == Some(2));
    assert_eq!(["stays", "other"].map(|name| life.inspect(name)["pid"].clone()), pids);
    // Whoever launches what the file has launched finds it there.
    let same = json!({"task": life.inspect("stays")["task"], "if_exists": "same"});
    assert_eq!(life.call("Launch", same)["status"]["pid"], pids[0]);
    // The mark outlives daemons, and the journals that they write anew.
    life.kill_and_begin();
    life.kill();
    write(&["new"]);
    life.begin();
    wait_for("the file's only and the other", || life.running() == ["new", "other"]);
    assert_eq!(life.inspect("other")["pid"], pids[1]);
}

#[test]
fn what_the_file_has_named_once_leaves_with_it_whoever_has_launched_it() {
    let mut life = Life::unborn(&[]);
    let file = life.path("tasks.toml");
    let mut with_file = Life::unborn(&["--tasks", file.to_str().expect("text")]);
    std::mem::swap(&mut life, &mut with_file);
    std::fs::write(&file, "").expect("written");
    life.begin();
    let names = ["a", "b"];
    let pids = names.map(|name| {
        let task = json!({"name": name, "command": "/bin/sleep", "args": ["600"]});
        life.call("Launch", json!({ "task": task }))["status"]["pid"].take()
    });
    life.kill();
    let task = |name| format!("[task.{name}]\ncommand = '/bin/sleep'\nargs = ['600']\n");
    std::fs::write(&file, names.map(task).concat()).expect("written");
    life.begin();
    assert_eq!(names.map(|name| life.inspect(name)["pid"].take()), pids);
    life.kill();
    std::fs::write(&file, task("b")).expect("written");
    life.begin();
    wait_for("one is left", || life.running() == ["b"]);
    assert_eq!(life.inspect("b")["pid"], pids[1]);
}

#[test]
fn a_task_of_the_file_keeps_the_limits_that_came_later() {
    let mut life = Life::unborn(&[]);
    let file = life.path("tasks.toml");
    let write = |limit: u32| {
        let rest = "command = '/bin/sleep'\nargs = ['600']\n";
        let limit = format!("resources = {{ pids_max = {limit} }}\n");
        std::fs::write(&file, format!("[task.free]\n{rest}[task.limited]\n{rest}{limit}"))
            .expect("written");
    };
    write(10);
    let mut with_file = Life::unborn(&["--tasks", file.to_str().expect("text")]);
    std::mem::swap(&mut life, &mut with_file);
    life.begin();
    let features = life.call("Version", json!({}))["features"].take();
    if !features.as_array().expect("a list").contains(&json!("cgroup.pids")) {
        println!("skipped: a_task_of_the_file_keeps: no permission to limit anything");
        return;
    }
    wait_for("both run", || life.running().len() == 2);
    let names = ["free", "limited"];
    let processes = |life: &Life| names.map(|name| life.inspect(name)["pid"].clone());
    let before = processes(&life);
    life.call("UpdateResources", json!({"name": "free", "resources": {}}));
    life.call("UpdateResources", json!({"name": "limited", "resources": {"pids_max": 20}}));
    for _ in 0..2 {
        life.kill_and_begin();
        assert_eq!(life.call("Reload", json!({}))["unchanged"], 2);
        assert_eq!(processes(&life), before);
        assert_eq!(life.inspect("limited")["task"]["resources"]["pids_max"], 20);
    }
    // The file has the last word, once it says something else.
    write(30);
    life.call("Reload", json!({}));
    assert_eq!(processes(&life)[0], before[0]);
    assert_eq!(life.inspect("limited")["task"]["resources"]["pids_max"], 30);
}
