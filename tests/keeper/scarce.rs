//! Streams that the store has no room for.

use crate::node::Node;
use crate::support::{is_alive, wait_for};
use serde_json::{Value, json};

/// Says a line, waits for the file `NAME.go`, says another one and ends.
fn launch(node: &Node, name: &str) -> i32 {
    let script = format!("echo one; until [ -e {name}.go ]; do sleep 0.02; done; echo two; exit 7");
    let sink = json!({"kind": "file", "path": node.text_path(&format!("{name}.log")),
        "max_size_bytes": 1 << 20});
    let pid = node.launch(name, &script, json!({ "stdout": sink }));
    let log = node.path(&format!("{name}.log"));
    wait_for("its first line", || std::fs::read_to_string(&log).is_ok_and(|text| text == "one\n"));
    pid
}

fn not_stored(node: &Node, name: &str) -> Value {
    node.call("Inspect", json!({ "name": name }))["status"]["not_stored"].take()
}

fn text(node: &Node, name: &str) -> String {
    std::fs::read_to_string(node.path(&format!("{name}.log"))).expect("a log")
}

#[test]
fn streams_without_room_in_the_store_are_named_and_what_is_lost_of_them_is_told() {
    // For the pipes of two streams.
    let mut node = Node::start_with(|_| vec!["env".into(), "FDSTORE=2".into()]);
    let names = ["first", "second", "third", "fourth"];
    let pids = names.map(|name| launch(&node, name));
    assert_eq!(names.map(|name| not_stored(&node, name)), told_of(&["third", "fourth"], names));
    let complaints = |node: &Node| {
        let log = node.log();
        log.lines().filter(|line| line.contains("streams are not stored from here on")).count()
    };
    assert_eq!(complaints(&node), 1, "{}", node.log());
    // Two of them end while nobody reads.
    node.suspend();
    for (name, pid) in [("second", pids[1]), ("third", pids[2])] {
        std::fs::write(node.path(&format!("{name}.go")), "").expect("a file");
        wait_for("its end", || !is_alive(&pid.to_string()));
    }
    node.resume();
    for name in ["second", "third"] {
        let status = node.wait(name);
        assert_eq!(status["exit"]["exit_code"], 7, "{status:#}");
    }
    wait_for("what was kept", || text(&node, "second") == "one\ntwo\n");
    assert_eq!(text(&node, "third"), "one\n");
    let mut lost = node.events();
    lost.retain(|event| event["kind"] == "output_lost");
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(lost[0]["name"], "third", "{lost:#?}");
    assert_eq!(lost[0]["detail"], "stdout: unknown number of bytes");
    // There is room now for one that had none.
    node.kill_daemon();
    node.await_daemon();
    assert_eq!(names.map(|name| not_stored(&node, name)), told_of(&[], names));
    node.suspend();
    for (name, pid) in [("first", pids[0]), ("fourth", pids[3])] {
        std::fs::write(node.path(&format!("{name}.go")), "").expect("a file");
        wait_for("its end", || !is_alive(&pid.to_string()));
    }
    node.resume();
    for name in ["first", "fourth"] {
        wait_for("what was kept", || text(&node, name) == "one\ntwo\n");
    }
    wait_for("an empty store", || node.stored() == 0);
}

fn told_of(these: &[&str], names: [&str; 4]) -> [Value; 4] {
    names.map(|name| if these.contains(&name) { json!(["stdout"]) } else { Value::Null })
}
