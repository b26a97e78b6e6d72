//! Who reaches the socket, and what those who do cannot use up.

use super::fixture::{Daemon, answer, failure, grouped_command, launch, shell};
use super::stranger::{Stage, USER};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Connects with a program that every Debian has, and says what came of it.
const CONNECT: &str = "import socket,sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    try: s.sendall(b'{\"method\":\"org.ostler.Version\"}\\0')
    except BrokenPipeError: pass
    print(s.recv(100000).decode().rstrip(chr(0)), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
";

fn connector(daemon: &Daemon, name: &str, out: &str) -> serde_json::Value {
    json!({
        "name": name,
        "command": "/usr/bin/python3",
        "args": ["-c", CONNECT, daemon.socket],
        "stdout": {"kind": "file", "path": out},
    })
}

fn told(daemon: &Daemon, name: &str, out: &str) -> String {
    answer(&mut daemon.client(), "Wait", json!({"name": name}));
    fs::read_to_string(out).unwrap()
}

#[test]
fn a_task_of_another_user_has_no_way_to_the_daemon() {
    let Some(stage) = Stage::new("a_task_of_another_user_has_no_way_to_the_daemon") else {
        return;
    };
    let daemon = Daemon::start();
    let open = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    open(daemon.directory.path(), 0o755);
    let mut task = connector(&daemon, "shut", &stage.text("his/shut"));
    task["user"] = USER.into();
    launch(&mut daemon.client(), task.clone());
    assert_eq!(told(&daemon, "shut", &stage.text("his/shut")), "PermissionError\n");
    // Whatever became of the modes, the daemon looks at who connects.
    open(daemon.socket.parent().unwrap(), 0o755);
    open(&daemon.socket, 0o666);
    task["name"] = "open".into();
    task["stdout"]["path"] = stage.text("his/open").into();
    launch(&mut daemon.client(), task.clone());
    let refused = told(&daemon, "open", &stage.text("his/open"));
    assert!(refused.contains("org.varlink.service.PermissionDenied"), "{refused}");
    // One of our own user is one of us: the table says so.
    let out = daemon.path("own");
    launch(&mut daemon.client(), connector(&daemon, "own", &out));
    assert!(told(&daemon, "own", &out).contains("\"version\""));
}

#[test]
fn a_root_task_without_the_directory_of_the_socket_has_no_way_to_the_daemon() {
    let test = "a_root_task_without_the_directory_of_the_socket_has_no_way_to_the_daemon";
    let Some(stage) = Stage::new(test) else { return };
    let daemon = Daemon::start();
    let out = stage.text("out");
    let mut task = connector(&daemon, "inside", &out);
    fs::create_dir(stage.path("root")).unwrap();
    let mut mounts = vec![json!({"source": "/usr", "target": "/usr", "read_only": true})];
    for name in ["bin", "lib", "lib64"] {
        match fs::read_link(format!("/{name}")) {
            Ok(target) => {
                std::os::unix::fs::symlink(target, stage.path(&format!("root/{name}"))).unwrap();
            }
            Err(_) => mounts.push(json!({
                "source": format!("/{name}"), "target": format!("/{name}"), "read_only": true,
            })),
        }
    }
    task["isolation"] = json!({"root": stage.text("root"), "mounts": mounts});
    let launched = daemon.client().call("org.ostler.Launch", json!({"task": task}));
    if let Err(error) = launched {
        println!("skipped: {test}: {error}");
        return;
    }
    assert_eq!(told(&daemon, "inside", &out), "FileNotFoundError\n");
}

#[test]
fn a_name_is_a_name_and_no_path() {
    let daemon = Daemon::run(grouped_command());
    let mut client = daemon.client();
    let long = "x".repeat(201);
    let names =
        ["", ".", "..", "a/b", "../a", "-a", "a\nb", "a b", "a\u{1b}", "ä", "a\0b", long.as_str()];
    for name in names {
        let (error, parameters) =
            failure(&mut client, "Launch", json!({"task": shell(name, "exit 0")}));
        let invalid = error.ends_with(".InvalidTask") || error.ends_with(".InvalidParameter");
        assert!(invalid, "{name:?}: {error} {parameters}");
    }
    // A long one, and one of nothing but signs, are names of groups and files as well.
    for name in ["x".repeat(200).as_str(), "+@:_"] {
        launch(&mut client, shell(name, "exit 0"));
        let ended = answer(&mut client, "Wait", json!({"name": name}));
        assert_eq!(ended["status"]["exit"]["exit_code"], 0, "{ended}");
    }
}

#[test]
fn a_group_outside_of_the_hierarchy_is_not_to_be_had() {
    let daemon = Daemon::run(grouped_command());
    for group in ["..", "a/../..", "/", "/etc", "/sys/fs/cgroup/../../../etc", "/proc/self"] {
        let mut task = shell("a", "exit 0");
        task["cgroup"] = group.into();
        let (error, parameters) = failure(&mut daemon.client(), "Launch", json!({"task": task}));
        assert!(
            ["InvalidTask", "Unsupported", "NotPermitted", "LaunchFailed"]
                .iter()
                .any(|known| error.ends_with(known)),
            "{group}: {error} {parameters}"
        );
    }
}
