//! How processes have ended that daemons have left behind.

use crate::fixture::Kept;
use crate::support::{is_alive, wait_for};
use std::collections::BTreeMap;

/// Raw statuses by pid, of all that is written down by now.
fn statuses(kept: &mut Kept) -> BTreeMap<i32, i32> {
    let told = kept.ask(&["exits"]);
    let pair = |text: &str| {
        let (pid, raw) = text.split_once(':').expect("PID:RAW");
        (pid.parse().expect("a pid"), raw.parse().expect("a status"))
    };
    told.split(' ').filter(|text| *text != "none").map(pair).collect()
}

fn child(kept: &mut Kept, script: &str) -> i32 {
    kept.ask(&["child", script]).parse().expect("a pid")
}

#[test]
fn the_ends_of_orphans_are_told_to_the_next_daemon() {
    let mut kept = Kept::start();
    let go = kept.directory.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done; ", go.display());
    let (while_down, zombie) =
        (child(&mut kept, &format!("{wait} exit 7")), child(&mut kept, "exit 3"));
    let then = kept.directory.path().join("then");
    let script = format!("until [ -e {} ]; do sleep 0.01; done; kill -9 $$", then.display());
    let later = child(&mut kept, &script);
    // One that the daemon has never reaped.
    wait_for("a zombie", || !is_alive(&zombie.to_string()));
    crate::support::signal(kept.pid, "KILL");
    std::fs::write(&go, "").unwrap();
    kept.await_service();
    let mut told = BTreeMap::new();
    wait_for("two statuses", || {
        told.append(&mut statuses(&mut kept));
        told.len() == 2
    });
    assert_eq!(told, BTreeMap::from([(while_down, 7 << 8), (zombie, 3 << 8)]));
    // While a daemon lives whose child it is not.
    std::fs::write(&then, "").unwrap();
    wait_for("a third", || {
        told.append(&mut statuses(&mut kept));
        told.len() == 3
    });
    assert_eq!(told.get(&later), Some(&9));
    // It is told first.
    wait_for("a reaped child", || !std::path::Path::new(&format!("/proc/{later}")).exists());
}

#[test]
fn a_status_waits_until_a_daemon_takes_it() {
    let mut kept = Kept::start();
    let pid = child(&mut kept, "exit 5");
    for _ in 0..3 {
        kept.kill_service();
    }
    wait_for("a reaped child", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(statuses(&mut kept), BTreeMap::from([(pid, 5 << 8)]));
    assert_eq!(statuses(&mut kept), BTreeMap::new());
}

#[test]
fn what_finds_no_room_stays_a_zombie_with_its_status() {
    const COUNT: usize = 200;
    let mut kept = Kept::start();
    // To a page, which holds 128.
    kept.ask(&["shrink"]);
    kept.ask(&["orphans", &COUNT.to_string()]);
    kept.said("no more exit statuses can be kept");
    kept.kill_service();
    let mut told = BTreeMap::new();
    wait_for("all of them", || {
        told.append(&mut statuses(&mut kept));
        told.len() == COUNT
    });
    assert!(told.values().all(|&raw| raw == 4 << 8), "{told:?}");
}
