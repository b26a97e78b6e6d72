//! Scenes of shutdowns: the order, the grace, and what cannot be killed.

use crate::scenes::{Scene, spec};
use ostler::engine::Input;
use ostler::{
    Answer, IfExists, Pid, Request, RequestError, RestartMode, RestartPolicy, StateName, TaskSpec,
    limits,
};
use std::time::Duration;

#[test]
fn a_shutdown_stops_the_last_first() {
    let mut scene = Scene::new();
    for (name, after) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
        scene.launch(name, after.as_slice());
        scene.runs(name);
    }
    scene.launch("lone", &[]);
    scene.runs("lone");
    scene.done();
    let ticket = scene.shutdown(None);
    assert_eq!(scene.done(), ["c Signal", "lone Signal"]);
    let refused = scene.launch("d", &[]);
    assert!(matches!(scene.error(refused), RequestError::ShuttingDown));
    for (ended, next) in [("c", "b"), ("b", "a"), ("a", "")] {
        scene.ends(ended);
        let done = scene.done();
        assert_eq!(done.contains(&format!("{next} Signal")), !next.is_empty(), "{done:?}");
    }
    assert_eq!(scene.reply(ticket), None);
    scene.ends("lone");
    assert_eq!(scene.reply(ticket), Some(&Ok(Answer::Done)));
}

#[test]
fn a_second_shutdown_without_grace_kills_all() {
    let mut scene = Scene::new();
    for (name, after) in [("a", None), ("b", Some("a"))] {
        scene.launch(name, after.as_slice());
        scene.runs(name);
    }
    scene.done();
    scene.shutdown(Some(Duration::from_secs(1)));
    assert_eq!(scene.done(), ["b Signal"]);
    scene.shutdown(Some(Duration::ZERO));
    let mut done = scene.done();
    done.sort();
    assert_eq!(done, ["a KillAll", "b KillAll"]);
}

#[test]
fn no_task_gets_longer_than_the_shutdown_says() {
    let mut scene = Scene::new();
    for (name, after) in [("a", None), ("b", Some("a"))] {
        scene.launch(name, after.as_slice());
        scene.runs(name);
    }
    scene.stop("a");
    scene.shutdown(Some(Duration::from_secs(1)));
    scene.done();
    scene.passes(Duration::from_secs(1));
    let mut done = scene.done();
    done.sort();
    assert_eq!(done, ["a KillAll", "b KillAll"]);
}

#[test]
fn what_cannot_be_killed_holds_up_no_shutdown() {
    for stuck_before in [false, true] {
        let mut scene = Scene::new();
        for (name, after) in [("a", None), ("b", Some("a"))] {
            scene.launch(name, after.as_slice());
            scene.runs(name);
        }
        let mut ticket = None;
        if !stuck_before {
            ticket = Some(scene.shutdown(None));
        }
        let stop = scene.ask(Request::Stop {
            name: "b".to_owned(),
            signal: None,
            grace: Some(Duration::ZERO),
        });
        scene.passes(limits::STUCK_AFTER);
        let pid = Pid::new(8).expect("positive");
        scene.tell("b", Input::Processes(vec![pid]));
        assert!(
            matches!(scene.error(stop), RequestError::StillRunning { pids, .. } if pids == [pid])
        );
        assert_eq!(scene.state("b"), StateName::Stopping);
        let ticket = ticket.unwrap_or_else(|| scene.shutdown(None));
        assert_eq!(scene.state("a"), StateName::Stopping);
        scene.ends("a");
        assert!(
            matches!(scene.error(ticket), RequestError::StillRunning { name, .. } if name == "b")
        );
        scene.ends("b");
        assert_eq!(scene.state("b"), StateName::Exited);
    }
}

#[test]
fn what_was_stuck_before_a_shutdown_counts_in_it_once_only() {
    let mut scene = Scene::new();
    for (name, after) in [("a", None), ("b", Some("a")), ("c", Some("a"))] {
        scene.launch(name, after.as_slice());
        scene.runs(name);
    }
    let grace = Some(Duration::ZERO);
    scene.ask(Request::Stop { name: "b".to_owned(), signal: None, grace });
    scene.passes(limits::STUCK_AFTER);
    scene.tell("b", Input::Processes(vec![Pid::new(8).expect("positive")]));
    scene.shutdown(None);
    scene.ends("b");
    assert_eq!(scene.state("a"), StateName::Running, "c lives");
    scene.ends("c");
    assert_eq!(scene.state("a"), StateName::Stopping);
}

#[test]
fn nothing_is_restarted_in_a_shutdown() {
    let mut scene = Scene::new();
    let policy = RestartPolicy { mode: RestartMode::Always, ..Default::default() };
    for name in ["a", "backoff"] {
        scene.launch_spec(TaskSpec { restart: policy.clone(), ..spec(name, &[]) }, IfExists::Fail);
        scene.runs(name);
    }
    scene.launch("b", &["a", "backoff"]);
    scene.runs("b");
    scene.ends("backoff");
    assert_eq!(scene.state("backoff"), StateName::Backoff);
    let ticket = scene.shutdown(None);
    assert_eq!(scene.state("backoff"), StateName::Exited);
    assert_eq!(scene.state("a"), StateName::Running, "b comes after it and lives");
    scene.ends("a");
    assert_eq!(scene.state("a"), StateName::Exited);
    scene.ends("b");
    assert_eq!(scene.reply(ticket), Some(&Ok(Answer::Done)));
}

#[test]
fn a_shutdown_turns_restarts_into_stops() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    let restart = scene.restart("a");
    let shutdown = scene.ask(Request::Shutdown { stop_tasks: false, grace: None });
    assert_eq!(scene.reply(shutdown), Some(&Ok(Answer::Done)));
    assert!(matches!(scene.error(restart), RequestError::ShuttingDown));
    scene.ends("a");
    assert_eq!(scene.state("a"), StateName::Exited);
}
