//! `ostler check`, on files as they stand in documents and on files with slips.

#![allow(clippy::expect_used)]

use std::process::{Command, Output};

fn check(path: &str) -> (Option<i32>, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .args(["check", path])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn check_text(text: &str) -> (Option<i32>, String, String) {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let path = file.path().to_str().expect("UTF-8").to_owned();
    let (code, stdout, stderr) = check(&path);
    (code, stdout.replace(&path, "FILE"), stderr.replace(&path, "FILE"))
}

#[test]
fn the_example_is_good() {
    let (code, stdout, stderr) = check("examples/node.toml");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, "examples/node.toml: 14 tasks, no error\n");
}

#[test]
fn task_files_in_documents_are_good() {
    let mut checked = 0;
    for name in ["README.md", "docs/embedding.md"] {
        let text = std::fs::read_to_string(name).expect("read");
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().expect("a block");
            if block.contains("[task.") {
                let (code, _, stderr) = check_text(block);
                assert_eq!((code, stderr.as_str()), (Some(0), ""), "{name}: {block}");
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn every_error_is_told_at_its_place() {
    let (code, stdout, stderr) = check_text(
        "[task.web]\ncommand = \"python3\"\nwork-dir = \"/srv\"\nkill_timeout = \"soon\"\n\
         after = [\"wbe\"]\n",
    );
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "\
ostler: check: FILE:3:1: task.web: unknown key \"work-dir\", did you mean \"work_dir\"?
  3 | work-dir = \"/srv\"
    | ^^^^^^^^
ostler: check: FILE:4:16: task.web.kill_timeout: \"soon\" is not a duration: use 500ms, 5s, 2m or 0
  4 | kill_timeout = \"soon\"
    |                ^^^^^^
ostler: check: FILE:5:10: task.web.after[0]: this file has no task \"wbe\", did you mean \"web\"?
  5 | after = [\"wbe\"]
    |          ^^^^^
"
    );
}

#[test]
fn a_task_without_a_path_is_warned_of() {
    let (code, stdout, stderr) = check_text("[task.web]\ncommand = \"python3\"\n");
    assert_eq!((code, stdout.as_str()), (Some(0), "FILE: 1 task, no error\n"));
    assert!(stderr.starts_with("ostler: check: warning: FILE:2:11: task.web: \"python3\" is"));
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let (code, _, stderr) = check("/no/such/file.toml");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("ostler: check: /no/such/file.toml: cannot read the task file: "));
    let (code, _, stderr) = check_text("[task.web\ncommand = \"x\"\n");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("ostler: check: FILE:1:"), "{stderr}");
}
