//! Task files, good and bad.

use super::*;
use crate::vocabulary::{
    Device, FileSink, Isolation, Leftover, Mount, PathRule, Propagation, Resources, RestartMode,
    RestartPolicy, Setting, Signal, Sink,
};
use std::time::Duration;

fn good(text: &str) -> Vec<TaskSpec> {
    match parse(text, Path::new("/etc/ostler/t.toml")) {
        Ok(file) => file.tasks,
        Err(problems) => panic!("{}", shown(&problems)),
    }
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn bad(text: &str) -> String {
    shown(&parse(text, Path::new("t.toml")).expect_err("refused"))
}

fn names(tasks: &[TaskSpec]) -> Vec<&str> {
    tasks.iter().filter_map(|task| task.name.as_deref()).collect()
}

const EVERY_FIELD: &str = r#"
[task.web]
command = "python3"
args = ["-m", "http.server"]
env = { PATH = "/bin", PORT = "8080" }
inherit_env = true
user = "www-data:adm"
task_dir = "/dir"
work_dir = "/srv"
stdout = { kind = "file", path = "log/web", max_size = "10M", max_files = 5, numbering = "count" }
stderr = "stdout"
kill_signal = "TERM"
kill_timeout = "500ms"
stop_all = true
leftover = "wait"
restart = { mode = "on-failure", attempts = -1, interval = "1h", delay = "2s", max_delay = "5m" }
cgroup = "/mine"
rlimits = { nofile = "1024:4096", core = 0 }
oom_score_adj = 500
nice = -5
umask = "077"
auto_remove = true
labels = { team = "a" }
[task.web.resources]
cpu_weight = 50
cpu_max = 0.5
cpuset = "0-1"
memory_low = "1M"
memory_high = "none"
memory_max = "256M"
memory_swap_max = "0"
memory_oom_group = true
pids_max = -1
io_weight = 10
[task.web.isolation]
root = "root"
mounts = [{ source = "data", target = "/data", read_only = true, propagation = "slave" }]
devices = [{ source = "/dev/null" }, { source = "/dev/a", target = "/dev/b", permissions = "r" }]
pid = true
ipc = true
uts = true
hostname = "h"
net = "none"
capabilities = []
no_new_privs = true
seccomp = "profile.json"
landlock = [{ path = "/usr", access = "rx" }]
"#;

#[test]
fn every_field_is_read() {
    let tasks = good(EVERY_FIELD);
    let sink = Sink::File(FileSink {
        max_size: Some(10 << 20),
        max_files: 5,
        numbering: crate::vocabulary::Numbering::Count,
        ..FileSink::new("/etc/ostler/log/web")
    });
    let expected = TaskSpec {
        name: Some("web".into()),
        args: vec!["-m".into(), "http.server".into()],
        env: vec!["PATH=/bin".into(), "PORT=8080".into()],
        inherit_env: true,
        user: Some("www-data:adm".into()),
        task_dir: Some("/dir".into()),
        work_dir: Some("/srv".into()),
        stdout: Some(sink.clone()),
        stderr: Some(sink),
        kill_signal: Some(Signal::TERM),
        kill_timeout: Some(Duration::from_millis(500)),
        stop_all: true,
        leftover: Leftover::Wait,
        restart: RestartPolicy {
            mode: RestartMode::OnFailure,
            attempts: Some(None),
            interval: Some(Duration::from_secs(3600)),
            delay: Some(Duration::from_secs(2)),
            max_delay: Some(Duration::from_secs(300)),
        },
        resources: Some(Box::new(every_limit())),
        cgroup: Some("/mine".into()),
        isolation: Some(Box::new(every_isolation())),
        rlimits: [("nofile".into(), "1024:4096".into()), ("core".into(), "0".into())].into(),
        oom_score_adj: Setting::To(500),
        nice: Setting::To(-5),
        umask: Setting::To(0o77),
        auto_remove: true,
        labels: [("team".into(), "a".into())].into(),
        ..TaskSpec::new("python3")
    };
    assert_eq!(tasks, [expected]);
}

fn every_limit() -> Resources {
    Resources {
        cpu_weight: Some(Some(50)),
        cpu_max: Some(Some(0.5)),
        cpuset: Some("0-1".into()),
        memory_low: Some(Some(1 << 20)),
        memory_high: Some(None),
        memory_max: Some(Some(256 << 20)),
        memory_swap_max: Some(Some(0)),
        memory_oom_group: Some(true),
        pids_max: Some(None),
        io_weight: Some(Some(10)),
    }
}

fn every_isolation() -> Isolation {
    let device = |source: &str, target: Option<&str>, permissions: &str| Device {
        source: source.into(),
        target: target.map(str::to_owned),
        permissions: permissions.into(),
    };
    Isolation {
        root: Some("/etc/ostler/root".into()),
        mounts: vec![Mount {
            source: "/etc/ostler/data".into(),
            target: "/data".into(),
            read_only: true,
            propagation: Propagation::Slave,
        }],
        devices: Some(vec![
            device("/dev/null", None, "rwm"),
            device("/dev/a", Some("/dev/b"), "r"),
        ]),
        pid: true,
        ipc: true,
        uts: true,
        hostname: Some("h".into()),
        net: Some("none".into()),
        capabilities: Some(Vec::new()),
        no_new_privs: true,
        seccomp: Some("/etc/ostler/profile.json".into()),
        landlock: Some(vec![PathRule { path: "/usr".into(), access: "rx".into() }]),
    }
}

#[test]
fn defaults_stand_behind_what_a_task_says() {
    let tasks = good(
        r#"
        [defaults]
        env = { PATH = "/bin", A = "default" }
        stdout = "file:/log,max_size=1M"
        restart = { mode = "always", delay = "2s" }
        kill_timeout = "9s"
        [task.a]
        command = "a"
        env = ["A=own"]
        [task.b]
        command = "b"
        env = { A = "own", B = "1" }
        stdout = { kind = "discard" }
        restart = { mode = "on_failure" }
        kill_timeout = 0
        "#,
    );
    assert_eq!(tasks[0].env, ["PATH=/bin", "A=default", "A=own"]);
    assert_eq!(tasks[0].stdout().path(), Some("/log"));
    assert_eq!(tasks[0].restart.mode, RestartMode::Always);
    assert_eq!(tasks[0].kill_timeout(), Duration::from_secs(9));
    assert_eq!(tasks[1].env, ["PATH=/bin", "A=own", "B=1"]);
    assert_eq!(tasks[1].stdout(), &Sink::Discard);
    assert_eq!(tasks[1].restart.mode, RestartMode::OnFailure);
    assert_eq!(tasks[1].restart.delay(), Duration::from_secs(2));
    assert_eq!(tasks[1].kill_timeout(), Duration::ZERO);
}

#[test]
fn a_count_makes_instances_in_start_order() {
    let tasks = good(
        r#"
        [task.proxy]
        command = "/bin/proxy"
        after = ["web", "db"]
        [task.web]
        command = "/bin/web"
        args = ["--port", "800{index}", "$HOME"]
        count = 2
        after = ["db"]
        [task.db]
        command = "/bin/db"
        [task.last]
        command = "/bin/last"
        after = ["web-1"]
        "#,
    );
    assert_eq!(names(&tasks), ["db", "web-0", "web-1", "proxy", "last"]);
    assert_eq!(tasks[2].args, ["--port", "8001", "$HOME"]);
    assert_eq!(tasks[2].labels["group"], "web");
    assert_eq!(tasks[2].after, ["db"]);
    assert_eq!(tasks[3].after, ["web-0", "web-1", "db"]);
    assert_eq!(tasks[4].after, ["web-1"]);
    assert!(tasks[0].labels.is_empty());
}

#[test]
fn a_slip_is_shown_with_what_would_be_right() {
    let text = "[task.web]\ncommand = \"/bin/x\"\nworkdir = \"/srv\"\nkill_timeout = 5\n";
    assert_eq!(
        bad(text),
        "\
t.toml:3:1: task.web: unknown key \"workdir\", did you mean \"work_dir\"?
  3 | workdir = \"/srv\"
    | ^^^^^^^
t.toml:4:16: task.web.kill_timeout: must be a string with a unit, such as \"5s\" or \"500ms\", \
not a number
  4 | kill_timeout = 5
    |                ^
"
    );
}

#[test]
fn what_no_system_can_do_is_told_at_its_place_and_all_of_it() {
    let text = r#"
[task.web]
command = "/bin/x"
env = ["A=1", "B"]
nice = 50
user = "a:b:c"
restart = { mode = "sometimes", interval = "0" }
rlimits = { nofile = "9:1", nofiles = "1" }
resources = { cpu_max = -2, memory_max = "much" }
umask = "999"
"#;
    assert_eq!(
        bad(text),
        "\
t.toml:4:15: task.web.env[1]: must be KEY=VALUE
  4 | env = [\"A=1\", \"B\"]
    |               ^^^
t.toml:5:8: task.web.nice: must be -20 to 19
  5 | nice = 50
    |        ^^
t.toml:6:8: task.web.user: must be NAME, UID, NAME:GROUP or UID:GID
  6 | user = \"a:b:c\"
    |        ^^^^^^^
t.toml:7:20: task.web.restart.mode: \"sometimes\" is not one of never, on_failure, always
  7 | restart = { mode = \"sometimes\", interval = \"0\" }
    |                    ^^^^^^^^^^^
t.toml:7:44: task.web.restart.interval: must be above 0
  7 | restart = { mode = \"sometimes\", interval = \"0\" }
    |                                            ^^^
t.toml:8:22: task.web.rlimits.nofile: the soft limit is above the hard one
  8 | rlimits = { nofile = \"9:1\", nofiles = \"1\" }
    |                      ^^^^^
t.toml:9:25: task.web.resources.cpu_max: must be a number of cores above 0, or -1
  9 | resources = { cpu_max = -2, memory_max = \"much\" }
    |                         ^^
t.toml:9:42: task.web.resources.memory_max: \"much\" is not a size: use a number of bytes, 64M \
or 1GiB
  9 | resources = { cpu_max = -2, memory_max = \"much\" }
    |                                          ^^^^^^
t.toml:10:9: task.web.umask: \"999\" is not a mask: use an octal number of 0 to 777
  10 | umask = \"999\"
     |         ^^^^^
"
    );
}

#[test]
fn errors_of_the_syntax_are_told_with_all_others() {
    let text = "[task.web]\ncommand = \nnice = 99\n[task.web]\n";
    let told = bad(text);
    assert!(told.contains("t.toml:2:"), "{told}");
    assert!(told.contains("t.toml:3:8: task.web.nice: must be -20 to 19"), "{told}");
    assert!(told.contains("t.toml:4:"), "{told}");
}

#[test]
fn wrong_defaults_are_told_once() {
    let told = bad("[defaults]\nnice = 99\ncount = 2\n\
         [task.a]\ncommand = \"/a\"\n[task.b]\ncommand = \"/b\"\n");
    assert_eq!(
        told,
        "\
t.toml:2:8: defaults.nice: must be -20 to 19
  2 | nice = 99
    |        ^^
t.toml:3:1: defaults.count: must stand in the task itself
  3 | count = 2
    | ^^^^^
"
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    let told = bad("[task.\"a b\"]\ncommand = \"/a\"\n[task.web]\ncommand = \"/a\"\ncount = 3\n\
         [task.web-2]\ncommand = \"/a\"\nafter = [\"wbe\", \"web-3\"]\n\
         [task.web-02]\ncommand = \"/a\"\n");
    assert_eq!(
        told,
        "\
t.toml:1:7: task.a b: a task's name must be 1 to 200 of A-Z a-z 0-9 . _ - + @ : and not start \
with . or -
  1 | [task.\"a b\"]
    |       ^^^^^
t.toml:6:7: task.web-2: is also the name of instance 2 of task.web, which has count = 3
  6 | [task.web-2]
    |       ^^^^^
t.toml:8:10: task.web-2.after[0]: this file has no task \"wbe\", did you mean \"web\"?
  8 | after = [\"wbe\", \"web-3\"]
    |          ^^^^^
t.toml:8:17: task.web-2.after[1]: this file has no task \"web-3\", did you mean \"web\"?
  8 | after = [\"wbe\", \"web-3\"]
    |                 ^^^^^^^
"
    );
}

#[test]
fn a_circle_is_refused() {
    let told = bad("[task.a]\ncommand = \"/a\"\nafter = [\"b\"]\n\
         [task.b]\ncommand = \"/a\"\nafter = [\"a\"]\n");
    let line = "t.toml:3:9: task.a.after: these wait for each other, none can start: \
                a after b after a\n";
    assert!(told.starts_with(line), "{told}");
    let told = bad("[task.a]\ncommand = \"/a\"\nafter = [\"a\"]\n");
    assert!(told.contains("task.a.after: a task cannot come after itself"), "{told}");
}

#[test]
fn more_that_is_wrong() {
    for (text, expected) in [
        ("[task.a]\n", "t.toml:1:7: task.a: needs a command"),
        ("[task.a]\ncommand = \"\"\n", "task.a.command: must not be empty"),
        ("[task.a]\ncommand = \"/a\"\nname = \"b\"\n", "the name of a task is that of its table"),
        ("[task.a]\ncommand = \"/a\"\ncount = 0\n", "task.a.count: must be 1 to 65536"),
        ("[tasks.a]\ncommand = \"/a\"\n", "unknown key \"tasks\", did you mean \"task\"?"),
        ("task = 1\n", "task: must be a table, not a number"),
        ("[task]\na = 1\n", "task.a: must be a table, not a number"),
        ("[task.a]\ncommand = 2020-01-01\n", "must be a string, not a date or time"),
        ("[task.a]\ncommand = \"/a\"\nstdout = \"file\"\n", "\"file\" is not a sink"),
        ("[task.a]\ncommand = \"/a\"\nstdout = { path = \"/x\" }\n", "task.a.stdout: needs kind"),
        ("[task.a]\ncommand = \"/a\"\nstdout = { kind = \"file\" }\n", "stdout: needs a path"),
        (
            "[task.a]\ncommand = \"/a\"\n\
             stdout = { kind = \"fifo\", path = \"/x\", max_size = \"1M\" }\n",
            "stdout.max_size: has no meaning with kind \"fifo\"",
        ),
        ("[task.a]\ncommand = \"/a\"\nrestart = { delay = \"1s\" }\n", "restart: needs mode"),
        ("[task.a]\ncommand = \"/a\"\nrestart = {}\n", "3:11: task.a.restart: needs mode"),
        (
            "[task.a]\ncommand = \"/a\"\nisolation = { devices = [{}] }\n",
            "t.toml:3:26: task.a.isolation.devices[0]: needs source",
        ),
        (
            "[task.a]\ncommand = \"/a\"\nresources = { swappiness = 1 }\n",
            "unknown key \"swappiness\", known are cpu_weight, cpu_max, cpuset, memory_low, \
             memory_high, memory_max, memory_swap_max, memory_oom_group, pids_max, io_weight\n",
        ),
        ("[defaults]\nport = 1\n", ", umask, auto_remove, labels, stderr\n"),
        ("[task.a]\ncommand = \"/a\"\nkill_signal = \"TREM\"\n", "3:15: task.a.kill_signal"),
        ("[task.a]\ncommand = \"/a\"\nkill_signal = 99\n", "kill_signal: must be a signal"),
        (
            "[task.a]\ncommand = \"/a\"\nisolation = { hostname = \"x\" }\n",
            "task.a.isolation.hostname: needs isolation.uts",
        ),
        (
            "[task.a]\ncommand = \"/a\"\nisolation = { landlock = [{ path = \"/\" }] }\n",
            "task.a.isolation.landlock[0]: needs access",
        ),
        (
            "[task.a]\ncommand = \"/a\"\nwork_dir = \"x\"\nisolation = { root = \"r\" }\n",
            "task.a.work_dir: must be an absolute path",
        ),
        (
            "[task.a]\ncommand = \"/a\"\n\
             isolation = { root = \"/r\", landlock = [{ path = \"x\", access = \"r\" }] }\n",
            "task.a.isolation.landlock[0].path: must be an absolute path",
        ),
        ("[task.a]\ncommand = \"/a\"\nenv = { A = 1 }\n", "task.a.env.A: must be a string"),
        ("[task.a]\ncommand = \"/a\"\nargs = [\"a\", 1]\n", "3:14: task.a.args[1]: must be a str"),
        ("[task.a]\ncommand = \"\\u0000\"\n", "task.a.command: must not contain NUL"),
        ("[task.a]\ncommand = \"/a\"\nnice = 99999999999999999999\n", "not a number too large"),
    ] {
        let told = bad(text);
        assert!(told.contains(expected), "{text}\n{told}");
        assert_eq!(told.matches("t.toml:").count(), 1, "{text}\n{told}");
    }
}

#[test]
fn json_is_a_task_file_or_a_task_of_the_protocol() {
    let path = Path::new("/d/t.json");
    let text =
        r#"{"defaults": {"nice": 3}, "task": {"a": {"command": "/a", "kill_timeout": "5s"}}}"#;
    let tasks = parse(text, path).expect("good").tasks;
    assert_eq!(names(&tasks), ["a"]);
    assert_eq!(tasks[0].kill_timeout(), Duration::from_secs(5));
    assert_eq!(tasks[0].nice, Setting::To(3));
    let text = r#"{"name": "x", "command": "/a", "kill_timeout_ms": 250, "user": null,
                   "stdout": {"kind": "file", "path": "/l", "max_size_bytes": 1000},
                   "resources": {"memory_max_bytes": -1},
                   "restart": {"mode": "always", "delay_ms": 10}}"#;
    let tasks = parse(text, path).expect("good").tasks;
    assert_eq!(names(&tasks), ["x"]);
    assert_eq!(tasks[0].kill_timeout(), Duration::from_millis(250));
    assert_eq!(tasks[0].restart.delay(), Duration::from_millis(10));
    assert_eq!(tasks[0].resources.as_ref().expect("some").memory_max, Some(None));
    let problems = parse("{\"command\": \"/a\",\n \"kill_timeout\": \"5s\"}", path);
    let told = shown(&problems.expect_err("refused"));
    assert_eq!(told, "/d/t.json: kill_timeout: unknown, missing or not of its type\n");
    let told = shown(&parse("{\"command\": }", path).expect_err("refused"));
    assert!(told.starts_with("/d/t.json:1:13: expected value\n"), "{told}");
}

#[test]
fn a_task_that_will_hardly_find_its_command_is_warned_of() {
    let text = "[task.a]\ncommand = \"sh\"\n[task.b]\ncommand = \"sh\"\nenv = { PATH = \"/bin\" }\n\
                [task.c]\ncommand = \"/bin/sh\"\n[task.d]\ncommand = \"sh\"\ninherit_env = true\n";
    let warnings = parse(text, Path::new("t.toml")).expect("good").warnings;
    assert_eq!(warnings.len(), 1, "{}", shown(&warnings));
    assert!(shown(&warnings).starts_with("t.toml:2:11: task.a: \"sh\" is looked for"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        let _ = parse(&text, Path::new("t.toml"));
        let _ = parse(&text, Path::new("t.json"));
    }

    #[test]
    fn any_pieces_of_task_files_are_survived(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "[task.a]\n", "[task.a-0]\n", "[defaults]\n", "command = ", "\"/x{index}\"\n", "env = ",
            "{ A = \"1\" }\n", "count = 2\n", "after = [\"a\"]\n", "stdout = ",
            "\"file:x\"\n", "= ",
            "[", "]", "\"", "{", "}", "\n", "é", "\t", "restart = \"always\"\n", "isolation = ",
        ]), 0..30,
    )) {
        let text = pieces.concat();
        if let Err(problems) = parse(&text, Path::new("t.toml")) {
            proptest::prop_assert!(!problems.is_empty());
            shown(&problems);
        }
    }
}
