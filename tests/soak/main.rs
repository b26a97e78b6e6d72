//! Whatever happens to a daemon, its tasks and its clients, in any order: it goes on answering, no
//! line of a task comes twice or out of order, and in the end everything is as it was.
//!
//! `OSTLER_SOAK_SECONDS=1800` makes it longer, `OSTLER_SOAK_SEED=7` does the same things again (the
//! kernel decides what comes of them).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../src/engine/chance.rs"]
mod chance;
mod clients;
mod deeds;
mod draws;
mod host;
mod quiet;
mod tasks;

use chance::Chance;
use deeds::Deeds;
use host::Host;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// As long as it takes where nobody asks for more.
const SECONDS: u64 = 6;
/// How long things happen before they have to come to rest.
const ROUND: Duration = Duration::from_secs(3);

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn soak(is_kept: bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let seed = asked("OSTLER_SOAK_SEED").unwrap_or(now.subsec_nanos().into());
    let seconds = asked("OSTLER_SOAK_SECONDS").unwrap_or(SECONDS);
    println!("OSTLER_SOAK_SEED={seed} OSTLER_SOAK_SECONDS={seconds}");
    let mut chance = Chance::new(seed);
    let mut host = Host::new(is_kept);
    if !host.is_contained() {
        println!("skipped: a soak: no permission for a cgroup");
        return host.end();
    }
    let start = quiet::come_to_rest(&mut host, None);
    let (begun, mut done) = (Instant::now(), Deeds::default());
    while begun.elapsed() < Duration::from_secs(seconds) {
        // Other things are frequent in each round, and some do not happen at all.
        done.draw_weights(&mut chance, is_kept);
        let round = Instant::now();
        while round.elapsed() < ROUND {
            done.do_something(&mut host, &mut chance);
        }
        done.cease(&mut host);
        quiet::come_to_rest(&mut host, Some(&start));
    }
    println!("{done}{}", host.tasks);
    host.end();
}

#[test]
fn a_daemon_survives_whatever_happens() {
    soak(false);
}

#[test]
fn a_daemon_under_a_keeper_survives_whatever_happens() {
    soak(true);
}
