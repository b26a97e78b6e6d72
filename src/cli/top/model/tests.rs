//! What is told and pressed, and what comes of it.

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::wire::Usage;
use crate::vocabulary::Signal;

fn status(name: &str, state: &str) -> Status {
    Status {
        name: name.into(),
        id: format!("i.{name}"),
        state: state.into(),
        command: Some(format!("/bin/{name}")),
        pid: (state == "running").then_some(7),
        ..Status::default()
    }
}

fn event(kind: &str, status: Status) -> Event {
    let (name, id) = (status.name.clone(), status.id.clone());
    Event { name, id, kind: kind.into(), status: Some(status), ..Event::default() }
}

fn stats(name: &str, time_us: u64, cpu: f64, read: u64) -> TaskStats {
    let total = Usage {
        cpu_percent: Some(cpu),
        memory_rss_bytes: Some(1 << 20),
        io_read_bytes: Some(read),
        ..Usage::default()
    };
    TaskStats { name: name.into(), id: format!("i.{name}"), time_us, total }
}

fn selection() -> Selection {
    let (sort, descending) = (Column::Cpu, true);
    Selection { filter: String::new(), exited: false, sort, descending }
}

/// Three tasks, one of which has exited.
fn model() -> Model {
    let mut model = Model::new("/socket".into(), selection());
    model.take_list(vec![status("a", "running"), status("b", "running"), status("c", "exited")]);
    model.prepare(10, 10);
    model
}

fn shown(model: &mut Model) -> Vec<String> {
    model.prepare(model.rows, model.lines);
    model.tasks.shown().to_vec()
}

fn press(model: &mut Model, keys: &str) -> Option<Effect> {
    let mut last = None;
    for key in keys.chars() {
        last = model.press(match key {
            '\n' => Key::Enter,
            '\x1b' => Key::Escape,
            '\x08' => Key::Backspace,
            '^' => Key::Up,
            'v' => Key::Down,
            key => Key::Character(key),
        });
        model.prepare(model.rows, model.lines);
    }
    last
}

#[test]
fn the_largest_come_first_and_the_unknown_last() {
    let mut model = model();
    assert_eq!(shown(&mut model), ["a", "b"]);
    model.take_stats(&[stats("b", 1, 5.0, 0)]);
    assert_eq!(shown(&mut model), ["b", "a"]);
    press(&mut model, "o");
    assert_eq!(shown(&mut model), ["b", "a"], "what was not measured stays last");
    model.take_stats(&[stats("a", 1, 1.0, 0)]);
    assert_eq!(shown(&mut model), ["a", "b"]);
    press(&mut model, "no");
    assert_eq!(shown(&mut model), ["b", "a"]);
    press(&mut model, "na");
    assert_eq!(shown(&mut model), ["a", "b", "c"]);
}

#[test]
fn every_column_gives_an_order() {
    let mut model = model();
    press(&mut model, "n");
    let mut seen = vec![model.selection.sort];
    for _ in 1..Column::ALL.len() {
        press(&mut model, ">");
        seen.push(model.selection.sort);
        assert_eq!(shown(&mut model).len(), 2);
    }
    assert_eq!(seen, Column::ALL);
    press(&mut model, ">>");
    assert_eq!(model.selection.sort, Column::Command);
    press(&mut model, &"<".repeat(20));
    assert_eq!(model.selection.sort, Column::Name);
    let mut old = status("old", "running");
    old.started_us = Some(1);
    let mut new = status("new", "running");
    new.started_us = Some(2);
    model.take_list(vec![new, old, status("none", "pending")]);
    model.selection.sort = Column::Uptime;
    model.selection.descending = true;
    assert_eq!(shown(&mut model), ["old", "new", "none"]);
}

#[test]
fn rates_need_two_measurements_of_one_run() {
    let mut model = model();
    let rate = |model: &Model| model.tasks.get("a").and_then(|task| task.read_rate);
    model.take_stats(&[stats("a", 1_000_000, 0.0, 100)]);
    assert_eq!(rate(&model), None);
    model.take_stats(&[stats("a", 3_000_000, 0.0, 400)]);
    assert_eq!(rate(&model), Some(150.0));
    model.take_stats(&[stats("a", 4_000_000, 0.0, 10)]);
    assert_eq!(rate(&model), None, "it began again");
    model.take_stats(&[stats("a", 4_000_000, 0.0, 20)]);
    assert_eq!(rate(&model), None, "no time has passed");
    let mut other = stats("a", 5_000_000, 0.0, 30);
    other.id = "another launch".into();
    model.take_stats(&[other, stats("nobody", 1, 0.0, 0)]);
    assert_eq!(model.tasks.get("a").unwrap().usage.io_read_bytes, Some(20));
    model.take_event(&event("exited", status("a", "backoff")));
    assert_eq!(model.tasks.get("a").unwrap().usage, Usage::default());
}

#[test]
fn events_change_the_table() {
    let mut model = model();
    let mut later = status("a", "stopping");
    later.command = None;
    model.take_event(&event("stopping", later));
    let task = model.tasks.get("a").unwrap();
    assert_eq!(
        (task.status.state.as_str(), task.status.command.as_deref()),
        ("stopping", Some("/bin/a"))
    );
    model.take_event(&event("removed", status("b", "exited")));
    let mut new = status("d", "pending");
    new.command = None;
    model.take_event(&event("launched", new));
    assert_eq!(shown(&mut model), ["a", "d"]);
    assert_eq!(model.next_incomplete().as_deref(), Some("d"));
    assert_eq!(model.next_incomplete(), None, "it is asked for once");
    model.take_completion(&status("d", "pending"));
    assert_eq!(model.tasks.get("d").unwrap().status.command.as_deref(), Some("/bin/d"));
    let totals = model.tasks.totals();
    assert_eq!(totals.counts, [0, 1, 0, 1, 1]);
}

#[test]
fn the_cursor_stays_with_its_task() {
    let mut model = model();
    model.prepare(1, 1);
    press(&mut model, "v");
    assert_eq!(model.cursor.as_deref(), Some("a"));
    model.take_stats(&[stats("b", 1, 5.0, 0)]);
    assert_eq!(shown(&mut model), ["b", "a"]);
    assert_eq!((model.cursor.as_deref(), model.first), (Some("a"), 1));
    press(&mut model, "^");
    assert_eq!((model.cursor.as_deref(), model.first), (Some("b"), 0));
    press(&mut model, "G");
    assert_eq!(model.cursor.as_deref(), Some("a"));
    press(&mut model, "g");
    assert_eq!(model.cursor.as_deref(), Some("b"));
    // Nobody has chosen the one that comes to its place.
    model.take_event(&event("removed", status("b", "exited")));
    shown(&mut model);
    assert_eq!(model.cursor, None);
    press(&mut model, "v\x1b");
    assert_eq!(model.cursor, None);
}

#[test]
fn a_filter_holds_while_it_is_typed() {
    let mut model = model();
    press(&mut model, "/BIN/B");
    assert_eq!(shown(&mut model), ["b"]);
    press(&mut model, "x\x08\n");
    assert_eq!((shown(&mut model), model.selection.filter.as_str()), (vec!["b".into()], "BIN/B"));
    press(&mut model, "/zz\x1b");
    assert_eq!(model.selection.filter, "BIN/B", "as it was before");
    press(&mut model, "\x1b");
    assert_eq!(shown(&mut model), ["a", "b"]);
    press(&mut model, "/q");
    assert!(shown(&mut model).is_empty());
    assert_eq!(press(&mut model, "v"), None);
}

#[test]
fn nothing_is_done_that_was_not_confirmed() {
    let mut model = model();
    assert_eq!(press(&mut model, "S"), None);
    assert!(model.prompt.is_none() && model.note.is_some(), "no task was chosen");
    press(&mut model, "vS");
    for answer in ["n", "\x1b", "q"] {
        let mut asked = Model { prompt: model.prompt.clone(), ..self::model() };
        assert_eq!(press(&mut asked, answer), None);
        assert_eq!(asked.prompt, None, "{answer:?}");
    }
    assert_eq!(press(&mut model, "x R"), None);
    let action = Action { verb: Verb::Stop, name: "a".into(), id: "i.a".into() };
    assert_eq!(press(&mut model, "y"), Some(Effect::Act(action.clone())));
    model.take_outcome(&action, Some("no such task"));
    assert_eq!(model.note.as_deref(), Some("stop a: no such task"));
    let Some(Effect::Act(action)) = press(&mut model, "R\n") else { panic!("an action") };
    assert_eq!(action.verb, Verb::Restart);
}

#[test]
fn what_is_confirmed_is_for_the_task_that_was_seen() {
    let mut model = model();
    press(&mut model, "vS");
    model.take_event(&event("exited", status("a", "backoff")));
    assert!(model.prompt.is_some(), "the same launch");
    let mut other = status("a", "pending");
    other.id = "another".into();
    model.take_event(&event("launched", other));
    assert_eq!(model.prompt, None);
    assert_eq!(press(&mut model, "y"), None);
    press(&mut model, "S");
    model.take_event(&event("removed", status("a", "exited")));
    assert_eq!(model.prompt, None);
}

#[test]
fn signals_are_named() {
    let mut model = model();
    let signal = |effect: Option<Effect>| match effect {
        Some(Effect::Act(Action { verb: Verb::Signal(signal), .. })) => Some(signal),
        _ => None,
    };
    assert_eq!(signal(press(&mut model, "vK\n")), Some(Signal::TERM));
    assert_eq!(signal(press(&mut model, "Khup\n")), Some(Signal::HUP));
    assert_eq!(signal(press(&mut model, "Knope\n")), None);
    let Some(Prompt::Signal { problem: Some(_), .. }) = &model.prompt else { panic!("a problem") };
    assert_eq!(signal(press(&mut model, "\x08\x08\x08\x089\n")), Some(Signal::KILL));
    assert_eq!(press(&mut model, "K\x1b"), None);
    assert_eq!(model.prompt, None);
}

#[test]
fn a_task_is_looked_at_and_left() {
    let mut model = model();
    assert_eq!(press(&mut model, "\n"), None);
    assert_eq!(press(&mut model, "v\n"), Some(Effect::Follow("a".into())));
    model.take_inspection(status("a", "running"));
    model.take_output(Stream::Stdout, b"hello\n");
    assert_eq!(model.detail.as_ref().unwrap().lines.len(), 1);
    assert_eq!(press(&mut model, "S"), None);
    assert!(matches!(press(&mut model, "y"), Some(Effect::Act(_))));
    // Its output ends with the launch; what it writes when it is started again is asked for.
    assert_eq!(model.take_event(&event("started", status("a", "running"))), None);
    model.end_output(Stream::Stdout, None);
    let again = model.take_event(&event("started", status("a", "running")));
    assert_eq!(again, Some(Effect::Follow("a".into())));
    assert!(model.detail.as_ref().unwrap().lines.is_empty());
    assert_eq!(press(&mut model, "q"), Some(Effect::Unfollow));
    assert_eq!(press(&mut model, "q"), Some(Effect::Quit));
}

#[test]
fn output_is_scrolled_within_what_there_is() {
    let mut model = model();
    press(&mut model, "v\n");
    model.take_output(Stream::Stdout, "x\n".repeat(30).as_bytes());
    let back = |model: &Model| model.detail.as_ref().unwrap().back;
    press(&mut model, "^");
    assert_eq!(back(&model), 1);
    press(&mut model, "g");
    assert_eq!(back(&model), 20, "ten fit on the screen");
    press(&mut model, "G");
    assert_eq!(back(&model), 0);
}

#[test]
fn help_covers_all_until_a_key() {
    let mut model = model();
    press(&mut model, "?");
    assert!(model.help);
    assert_eq!(press(&mut model, "q"), None, "it only closes the help");
    assert!(!model.help);
    assert_eq!(model.press(Key::Control('c')), Some(Effect::Quit));
    assert_eq!(model.press(Key::Control('z')), Some(Effect::Suspend));
    assert_eq!(model.press(Key::Control('l')), Some(Effect::Redraw));
}

#[test]
fn a_daemon_without_figures_says_why() {
    let mut model = model();
    model.take_no_stats("not measured".into());
    assert_eq!(model.figures, Figures::Missing("not measured".into()));
    assert_eq!(shown(&mut model), ["a", "b"]);
}
