//! The program from outside: help, exit codes, messages, completions, man pages, and the verbs of
//! the client against a daemon that answers as told.

#![allow(clippy::expect_used)]

mod answering;
mod client;
mod live;
mod top;
mod usage;

use std::process::{Command, Output, Stdio};

/// The program with these arguments, in an environment without a daemon.
fn ostler(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command
        .args(arguments)
        .env("OSTLER_SOCKET", "/nonexistent/ostler.sock")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// What came of a run.
#[derive(Debug, PartialEq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

#[track_caller]
fn run(arguments: &[&str]) -> Outcome {
    outcome(ostler(arguments).output().expect("the program starts"))
}

fn outcome(output: Output) -> Outcome {
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
