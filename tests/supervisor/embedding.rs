//! A guest leaves its host alone.

use crate::fixture::{Fixture, guests, named, sh};
use ostler::{IfExists, Options, Request, RequestError};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_host_keeps_its_children_and_its_signals() {
    for options in guests() {
        let mask = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let lines = |text: String| -> Vec<String> {
            let wanted = ["SigBlk", "SigIgn", "SigCgt", "Threads"];
            text.lines()
                .filter(|line| wanted.iter().any(|word| line.starts_with(word)))
                .filter(|line| !line.starts_with("Threads"))
                .map(str::to_owned)
                .collect()
        };
        let before = lines(mask());
        let mut fixture = Fixture::new(options);
        let mut own: Vec<_> = (0..20)
            .map(|code| Command::new("sh").args(["-c", &format!("exit {code}")]).spawn().unwrap())
            .collect();
        for number in 0..20 {
            fixture.launch(named(&format!("t{number}"), sh("exit 1")));
        }
        for number in 0..20 {
            fixture.wait(&format!("t{number}"));
        }
        for (code, child) in own.iter_mut().enumerate() {
            assert_eq!(child.wait().unwrap().code(), Some(code as i32));
        }
        assert_eq!(lines(mask()), before);
    }
}

#[test]
fn a_handle_asks_from_another_thread() {
    let mut fixture = Fixture::new(Options::default());
    let handle = fixture.supervisor.handle();
    let events = handle.events(100).unwrap();
    let asker = std::thread::spawn(move || {
        let spec = Box::new(named("job", sh("exit 6")));
        let timeout = Duration::from_secs(60);
        let launch = Request::Launch { spec, if_exists: IfExists::Fail, timeout };
        handle.request(launch).unwrap().unwrap();
        let wait = Request::Wait { name: "job".into(), id: None, timeout: None };
        handle.request(wait).unwrap().unwrap();
        let code = handle.status("job").unwrap().unwrap().exit.unwrap().status.exit_code();
        assert_eq!(handle.list().unwrap().len(), 1);
        assert_eq!(handle.figures().unwrap().tasks, 1);
        assert_eq!(handle.facts().unwrap().api, 1);
        let remove = Request::Remove { name: "job".into(), force: false };
        handle.request(remove).unwrap().unwrap();
        assert_eq!(handle.status("job").unwrap(), None);
        handle.wake();
        code
    });
    while !asker.is_finished() {
        let turn = Some(Duration::from_millis(50));
        fixture.supervisor.turn(turn, &mut fixture.events).unwrap();
    }
    assert_eq!(asker.join().unwrap(), 6);
    assert_eq!(events.try_iter().count(), 5);
}

#[test]
fn a_handle_without_a_supervisor_says_so() {
    let fixture = Fixture::new(Options::default());
    let handle = fixture.supervisor.handle();
    let waiting = handle.submit(Request::Wait { name: "x".into(), id: None, timeout: None });
    drop(fixture);
    assert!(waiting.unwrap().recv().is_err());
    let other = handle.clone();
    assert!(handle.status("x").is_err());
    assert!(other.submit(Request::Remove { name: "x".into(), force: false }).is_err());
}

#[test]
fn what_another_thread_asks_in_vain_is_answered_to_it() {
    let mut fixture = Fixture::new(Options::default());
    let handle = fixture.supervisor.handle();
    let spec = Box::new(named("no/name", sh("")));
    let timeout = Duration::from_secs(60);
    let launch = Request::Launch { spec, if_exists: IfExists::Fail, timeout };
    let answer = handle.submit(launch).unwrap();
    let refused = fixture.until(|_| answer.try_recv().ok());
    assert!(matches!(refused, Err(RequestError::InvalidTask(_))), "{refused:?}");
    assert_eq!(fixture.supervisor.next_reply(), None);
    assert_ne!(fixture.supervisor.next_deadline(), Some(Duration::ZERO));
}

#[test]
fn two_supervisors_in_one_process() {
    let mut one = Fixture::new(Options::default());
    let mut two = Fixture::new(Options::default());
    one.launch(named("t", sh("exit 1")));
    two.launch(named("t", sh("exit 2")));
    assert_eq!(two.wait("t").exit.unwrap().status.exit_code(), 2);
    assert_eq!(one.wait("t").exit.unwrap().status.exit_code(), 1);
}
