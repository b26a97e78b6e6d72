//! Limits are changed: for the run that lives and for those to come.

use super::Scene;
use ostler::engine::{Action, Input, Updated};
use ostler::{Answer, EventKind, Request, RequestError, Resources, Ticket};

fn pids(limit: Option<u64>) -> Resources {
    Resources { pids_max: Some(limit), ..Resources::default() }
}

fn ask(scene: &mut Scene, change: &Resources) -> Ticket {
    let ticket =
        scene.ask(Request::Update { name: "a".to_owned(), resources: Box::new(change.clone()) });
    let action = Action::Update { change: Box::new(change.clone()), ticket };
    assert_eq!(scene.actions.last(), Some(&("a".to_owned(), action)));
    ticket
}

fn answer(scene: &mut Scene, ticket: Ticket, change: Resources, result: Result<(), RequestError>) {
    let updated = Updated { ticket, change: Box::new(change), result };
    scene.tell("a", Input::Updated(updated));
}

fn stored(scene: &Scene) -> Option<Resources> {
    let identity = scene.engine.identity(scene.id("a")).expect("a task");
    identity.resources().cloned()
}

#[test]
fn a_change_is_stored_once_the_kernel_has_taken_it() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    let first = pids(Some(5));
    let ticket = ask(&mut scene, &first);
    assert_eq!((stored(&scene), scene.reply(ticket)), (None, None));
    answer(&mut scene, ticket, first.clone(), Ok(()));
    assert_eq!(scene.reply(ticket), Some(&Ok(Answer::Resources(Box::new(first.clone())))));
    assert_eq!(scene.events.last(), Some(&("a".to_owned(), EventKind::Updated)));
    // Two that overlap: the later one does not undo the earlier.
    let weight = Resources { cpu_weight: Some(Some(10)), ..Resources::default() };
    let (one, other) = (ask(&mut scene, &weight), ask(&mut scene, &pids(None)));
    answer(&mut scene, one, weight.clone(), Ok(()));
    answer(&mut scene, other, pids(None), Ok(()));
    let both = Resources { pids_max: Some(None), ..weight };
    assert_eq!(scene.reply(other), Some(&Ok(Answer::Resources(Box::new(both.clone())))));
    assert_eq!(stored(&scene), Some(both));
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    let ticket = ask(&mut scene, &pids(Some(5)));
    let refused = RequestError::Unsupported { feature: "f".to_owned(), reason: "r".to_owned() };
    answer(&mut scene, ticket, pids(Some(5)), Err(refused.clone()));
    assert_eq!((stored(&scene), scene.error(ticket)), (None, refused));
    assert!(scene.events.iter().all(|(_, kind)| *kind != EventKind::Updated));
    let zero =
        scene.ask(Request::Update { name: "a".to_owned(), resources: Box::new(pids(Some(0))) });
    assert!(matches!(scene.error(zero), RequestError::InvalidTask(_)));
}

#[test]
fn a_change_of_a_task_that_goes_meanwhile_is_answered() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    scene.ends("a");
    let ticket = ask(&mut scene, &pids(Some(5)));
    scene.ask(Request::Remove { name: "a".to_owned(), force: false });
    let gone = RequestError::NoSuchTask { name: "a".to_owned() };
    assert_eq!(scene.error(ticket), gone);
    assert_eq!(scene.engine.entries(), 0);
}
