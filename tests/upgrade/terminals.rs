//! `ostler exec -it` while the daemon goes on as another program.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::Node;
use crate::shell::{PROMPT, Terminal};
use serde_json::json;
use std::process::{Command, Stdio};

/// A shell of a task at a terminal, and its pid.
fn open(node: &Node) -> (Terminal, u64) {
    node.launch("home", "sleep 600", json!({"env": ["PATH=/usr/bin:/bin"]}));
    let mut terminal = Terminal::open();
    terminal.command("stty rows 24 cols 80");
    let socket = node.text_path("sock");
    // Its prompt is typed in two pieces, so that what is typed is none.
    let shell = "-e PS1='inn''er> ' home -- bash --norc --noprofile --noediting -i";
    terminal.send(&format!("$OSTLER --socket {socket} exec -it {shell}\n"));
    terminal.expect(INNER);
    let pid = command(&mut terminal, "echo $$").parse().expect("a pid");
    (terminal, pid)
}

const INNER: &str = "inner> ";

/// What a command says that is typed at the shell of the task.
#[track_caller]
fn command(terminal: &mut Terminal, line: &str) -> String {
    terminal.send(&format!("{line}\n"));
    terminal.expect("\r\n");
    terminal.expect(INNER).trim_end_matches(INNER).trim().to_owned()
}

#[test]
fn a_terminal_goes_on_with_its_keys_and_its_size() {
    let node = Node::start(&[]);
    let (mut terminal, shell) = open(&node);
    for round in 0..3 {
        node.upgrade();
        assert_eq!(command(&mut terminal, "echo $((6 * 7)) $$"), format!("42 {shell}"));
        set_size(&terminal, 30 + round);
        // The client hears of it, then the daemon, then the shell.
        wait_for("the new size", || {
            command(&mut terminal, "stty size") == format!("{} 100", 30 + round)
        });
        // Ctrl-C is for the job, which has begun where it says so.
        terminal.send("echo be''gun; sleep 600\n");
        terminal.expect("begun\r\n");
        node.upgrade();
        terminal.send("\x03");
        terminal.expect(INNER);
        assert_eq!(command(&mut terminal, "echo $?"), "130");
    }
    // What is written meanwhile comes, all of it and in order.
    terminal.send("for i in $(seq 3000); do echo line $i; done; echo e''nd\n");
    node.upgrade();
    node.upgrade();
    let said = terminal.expect("end\r\n");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<String> = (1..=3000).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected);
    terminal.expect(INNER);
    // The code is the command's, and the terminal is as it was.
    terminal.send("exit 5\n");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?").trim(), "code 5");
    assert!(terminal.command("stty -a").contains(" icanon"));
}

#[test]
fn a_terminal_that_is_closed_ends_the_command() {
    let node = Node::start(&[]);
    let (terminal, shell) = open(&node);
    node.upgrade();
    assert!(lives(shell));
    drop(terminal);
    wait_for("the end of the shell", || !lives(shell));
    node.upgrade();
    assert_eq!(node.inspect("home")["state"], "running");
}

/// The size of a terminal is that of both of its sides.
fn set_size(terminal: &Terminal, rows: u16) {
    let master = terminal.master.try_clone().expect("a descriptor");
    let mut stty = Command::new("stty");
    stty.args(["rows", &rows.to_string(), "cols", "100"]).stdin(Stdio::from(master));
    assert!(stty.status().expect("stty").success());
}
