//! `ostler run` on a terminal, below a shell with job control.

use crate::shell::{PROMPT, Terminal};

#[test]
fn the_task_has_the_terminal_and_ctrl_c_is_for_it_alone() {
    let mut terminal = Terminal::open();
    let script =
        r#"trap "echo interrupted; exit 9" INT; echo ready >/dev/tty; while :; do :; done"#;
    terminal.send(&format!("$OSTLER run sh -c '{script}'\n"));
    terminal.expect("ready\r\n");
    terminal.send("\x03");
    terminal.expect("interrupted");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 9\n");
    // A task without a handler dies of it, as below a shell.
    terminal.send("$OSTLER run cat\n");
    terminal.send("echoed\n");
    terminal.expect("echoed\r\nechoed\r\n");
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 130\n");
}

#[test]
fn ctrl_z_stops_both_and_fg_goes_on() {
    let mut terminal = Terminal::open();
    terminal.send("$OSTLER run cat\n");
    terminal.send("one\n");
    terminal.expect("one\r\none\r\n");
    for word in ["two", "three"] {
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        assert_eq!(terminal.command("echo the shell has it"), "the shell has it\n");
        terminal.send("fg\n");
        terminal.expect("$OSTLER run cat\r\n");
        terminal.send(&format!("{word}\n"));
        terminal.expect(&format!("{word}\r\n{word}\r\n"));
    }
    terminal.send("\x04");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 0\n");
}

#[test]
fn a_job_goes_on_in_the_background_and_comes_back() {
    let mut terminal = Terminal::open();
    // Nothing that starts programs: a shell that Ctrl-Z meets in its vfork never stops.
    let script = r#"trap "exit 9" INT; echo ready; while :; do :; done"#;
    terminal.send(&format!("$OSTLER run sh -c '{script}'\n"));
    terminal.expect("ready\r\n");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.expect(PROMPT);
    terminal.command("bg");
    terminal.send("jobs\n");
    terminal.expect("Running");
    terminal.expect(PROMPT);
    // The shell keeps the terminal meanwhile: this is not for the job.
    terminal.send("\x03");
    terminal.expect(PROMPT);
    terminal.send("jobs\n");
    terminal.expect("Running");
    terminal.expect(PROMPT);
    terminal.send("fg\n");
    terminal.expect("$OSTLER run");
    terminal.wait_until_given();
    // Until the terminal is the task's again, Ctrl-C reaches ostler, which passes it on.
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 9\n");
}

#[test]
fn a_pager_behind_it_gets_the_terminal_when_it_asks() {
    let mut terminal = Terminal::open();
    let pager =
        r#"sh -c 'trap "" INT; read line; echo paged $line; read key </dev/tty; echo key $key'"#;
    terminal.send(&format!("$OSTLER run sh -c 'echo text; exec sleep 1000' | {pager}\n"));
    terminal.expect("paged text\r\n");
    terminal.send("q\n");
    terminal.expect("key q\r\n");
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code ${PIPESTATUS[*]}"), "code 130 0\n");
}

#[test]
fn a_task_that_was_killed_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::open();
    terminal.command("$OSTLER run sh -c 'stty raw -echo; kill -KILL $$'");
    let modes = terminal.command("stty -a");
    assert!(modes.contains(" icanon") && modes.contains(" echo "), "{modes}");
}

#[test]
fn in_the_background_the_terminal_stays_with_the_shell() {
    let mut terminal = Terminal::open();
    terminal.command("$OSTLER run sleep 1000 &");
    assert_eq!(terminal.command("echo the shell has it"), "the shell has it\n");
    let seen = terminal.command("kill %1; wait %1; echo code $?");
    assert!(seen.contains("code 143\n"), "{seen}");
}

#[test]
fn up_takes_ctrl_c_and_shows_colours_to_people_alone() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    let task = "[task.web]\ncommand = '/bin/sh'\nargs = ['-c', 'echo hello; exec sleep 1000']\n";
    std::fs::write(file.path(), task).expect("written");
    let mut terminal = Terminal::open();
    let path = file.path().display();
    terminal.send(&format!("$OSTLER up {path}\n"));
    terminal.expect("\x1b[36mweb |\x1b[0m hello\r\n");
    terminal.send("\x03");
    terminal.expect("web was ended by SIGINT");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 0\n");
    for off in ["NO_COLOR=1 $OSTLER up", "$OSTLER up --no-color"] {
        terminal.send(&format!("{off} {path}\n"));
        terminal.expect("\r\nweb | hello\r\n");
        terminal.send("\x03");
        terminal.expect(PROMPT);
    }
    assert_eq!(terminal.command("echo there"), "there\n");
}
