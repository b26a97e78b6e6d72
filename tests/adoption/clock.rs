//! The wall clock steps, and no deadline notices. Only in a virtual machine, whose clock is nobody
//! else's.

use crate::calls::{Calls, wait_for};
use crate::fixture::{Life, lines};
use crate::machine::in_machine;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime, clock_settime};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(1500);
/// A timeout that is waited for is over in this time, however slow the machine is.
const LATE: Duration = Duration::from_secs(40);
const DAY: i64 = 86_400;

fn step(seconds: i64) {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
    clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::seconds(seconds)).expect("set");
}

/// That something took as long as it was to take.
#[track_caller]
fn check(what: &str, begun: Instant) {
    let took = begun.elapsed();
    assert!(took >= DEADLINE - Duration::from_millis(50), "{what} after {took:?}");
    assert!(took < LATE, "{what} after {took:?}");
}

/// Asks for something without waiting for it.
fn ask(life: &Life, method: &str, parameters: Value) -> UnixStream {
    let mut socket = UnixStream::connect(life.path("sock")).expect("it listens");
    let call = json!({"method": format!("org.ostler.{method}"), "parameters": parameters});
    socket.write_all(format!("{call}\0").as_bytes()).expect("sent");
    socket
}

fn step_while_things_wait(seconds: i64) {
    let mut life = Life::new();
    let env = json!(["PATH=/usr/bin:/bin"]);
    let runs = json!({"kind": "file", "path": life.path("runs")});
    let deadline = DEADLINE.as_millis() as u64;
    let restart = json!({"mode": "always", "delay_ms": deadline, "max_delay_ms": deadline});
    let deaf = "trap '' INT; while :; do sleep 0.1; done";

    // The grace of a stop, and a wait with a timeout.
    life.launch("deaf", deaf, json!({"env": env, "kill_timeout_ms": deadline}));
    let begun = Instant::now();
    let _stop = ask(&life, "Stop", json!({"name": "deaf"}));
    life.until("deaf", |status| status["state"] == "stopping");
    step(seconds);
    life.wait("deaf");
    check("it is killed", begun);
    let begun = Instant::now();
    life.launch("web", deaf, json!({ "env": env }));
    let waiting = std::thread::scope(|scope| {
        let wait = json!({"name": "web", "timeout_ms": deadline});
        let waiting = scope.spawn(|| life.refusal("Wait", wait));
        step(-seconds);
        waiting.join().expect("answered")
    });
    assert_eq!(waiting.0, "org.ostler.TimedOut");
    check("the wait is over", begun);

    // A command with a timeout.
    let exec = json!({"name": "web", "command": "/bin/sleep", "args": ["600"],
        "timeout_ms": deadline});
    let begun = Instant::now();
    let executed = std::thread::scope(|scope| {
        let executed = scope.spawn(|| life.call("Exec", exec));
        step(seconds);
        executed.join().expect("answered")
    });
    assert_eq!(executed["timed_out"], true);
    check("the command is killed", begun);

    // The delay of a restart, over the end of a daemon too.
    let more = json!({"env": env, "restart": restart, "stdout": runs});
    life.launch("again", "echo run", more);
    life.until("again", |status| status["state"] == "backoff");
    let begun = Instant::now();
    step(-seconds);
    wait_for("the second run", || lines(&life.path("runs")).len() == 2);
    check("the second run begins", begun);
    life.until("again", |status| status["state"] == "backoff");
    let begun = Instant::now();
    life.kill();
    step(seconds);
    life.begin();
    wait_for("the third run", || lines(&life.path("runs")).len() == 3);
    check("the third run begins", begun);
    life.call("Stop", json!({"name": "again"}));
    step(-seconds);
}

#[test]
fn a_step_of_the_wall_clock_moves_no_deadline() {
    if !in_machine() {
        println!("skipped: a_step_of_the_wall_clock_moves_no_deadline: not in a virtual machine");
        return;
    }
    step_while_things_wait(30 * DAY);
    step_while_things_wait(-DAY);
}
