//! What is on the screen, at several sizes.

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::model::{Column, Selection, Stream};
use crate::cli::top::wire::{Event, Exit, Status, TaskStats, Usage};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use serde_json::json;

const NOW_US: u64 = 1_700_000_000_000_000;
const MINUTE_US: u64 = 60_000_000;

fn terminal(width: u16, height: u16, model: &mut Model) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let look = Look { coloured: true, now_us: NOW_US };
    terminal.draw(|frame| draw(frame, model, look)).expect("drawn");
    terminal
}

/// The lines of the screen, without the blanks at their ends.
fn screen(width: u16, height: u16, model: &mut Model) -> String {
    let terminal = terminal(width, height, model);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

fn status(name: &str, state: &str, minutes: u64) -> Status {
    Status {
        name: name.into(),
        id: format!("i.{name}"),
        state: state.into(),
        command: Some(format!("/usr/bin/{name}")),
        pid: (state == "running").then_some(4000 + name.len() as i64),
        started_us: Some(NOW_US - minutes * MINUTE_US),
        ..Status::default()
    }
}

fn stats(name: &str, time_us: u64, cpu: f64, megabytes: u64) -> TaskStats {
    let total = Usage {
        cpu_percent: Some(cpu),
        cpu_user_percent: Some(cpu - 1.0),
        cpu_system_percent: Some(1.0),
        memory_rss_bytes: Some(megabytes << 20),
        memory_peak_bytes: Some(megabytes << 21),
        io_read_bytes: Some(0),
        io_write_bytes: Some(time_us * megabytes / 1000),
        processes: Some(1),
        threads: Some(megabytes / 10),
        ..Usage::default()
    };
    TaskStats { name: name.into(), id: format!("i.{name}"), time_us, total }
}

/// A node with something of everything.
fn model() -> Model {
    let sort = Column::Cpu;
    let selection = Selection { filter: String::new(), exited: true, sort, descending: true };
    let mut model = Model::new("/run/ostler/ostler.sock".into(), selection);
    let mut crashed = status("migrate", "exited", 90);
    crashed.exit = Some(Exit { exit_code: 1, ..Exit::default() });
    let mut waiting = status("mailer", "backoff", 2);
    waiting.restarts = 3;
    model.take_list(vec![
        status("nginx", "running", 3 * 24 * 60),
        status("postgres", "running", 75),
        status("redis-server", "running", 0),
        waiting,
        crashed,
    ]);
    for time_us in [NOW_US - 1_000_000, NOW_US] {
        let all = [("nginx", 3.2, 24), ("postgres", 41.5, 310), ("redis-server", 0.4, 12)];
        let stats = all.map(|(name, cpu, megabytes)| stats(name, time_us, cpu, megabytes));
        model.take_stats(&stats);
    }
    model
}

/// The same, with a look at postgres.
fn model_of_one() -> Model {
    let mut model = model();
    model.prepare(10, 10);
    model.press(Key::Down);
    model.press(Key::Enter);
    let mut status = status("postgres", "running", 75);
    status.task = Some(json!({
        "command": "/usr/bin/postgres",
        "args": ["-D", "/srv/db"],
        "user": "postgres",
        "work_dir": "/srv/db",
        "stdout": { "kind": "file", "path": "/var/log/postgres.log" },
        "resources": { "memory_max_bytes": 536870912, "cpu_max": 2.0 },
        "labels": { "group": "db" },
    }));
    model.take_inspection(status.clone());
    for (kind, minutes) in [("launched", 75), ("started", 75)] {
        let time_us = NOW_US - minutes * MINUTE_US;
        let status = Some(status.clone());
        let event = Event { time_us, kind: kind.into(), status, ..Event::default() };
        model.take_past_event(event);
    }
    let log = "listening on port 5432\nready to accept connections\ncheckpoint starting: time\n";
    model.take_output(Stream::Stdout, log.as_bytes());
    model
}

#[test]
fn the_document_shows_what_there_is() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/top.md");
    let text = std::fs::read_to_string(path).expect("docs/top.md");
    for shown in [screen(100, 9, &mut model()), screen(100, 18, &mut model_of_one())] {
        assert!(text.contains(&shown), "docs/top.md is to show this:\n{shown}");
    }
    for key in crate::cli::top::model::HELP.iter().flat_map(|(keys, _)| keys.split(' ')) {
        assert!(text.contains(key), "docs/top.md is to say what {key} does");
    }
}

#[test]
fn columns_go_one_by_one_where_there_is_less_room() {
    let headings = |width| screen(width, 9, &mut model()).lines().nth(2).unwrap().to_owned();
    let words = |width| headings(width).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let all = "NAME STATE PID CPU RSS IO/s THR RESTARTS UPTIME COMMAND";
    assert_eq!(words(120).join(" "), all);
    assert_eq!(words(80).join(" "), "NAME STATE PID CPU RSS IO/s RESTARTS UPTIME");
    assert_eq!(words(40).join(" "), "NAME STATE CPU THR");
    assert_eq!(words(20).join(" "), "NAME CPU");
    assert_eq!(words(8).join(" "), "NAME");
    assert!(headings(120).ends_with("COMMAND"));
    assert_eq!(words(1), ["N"]);
}

#[test]
fn lines_go_one_by_one_where_there_is_less_room() {
    let starts = |height| {
        let text = screen(60, height, &mut model());
        let words = text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(starts(9), "ostler CPU NAME postgres nginx redis-server mailer migrate ?");
    assert_eq!(starts(6), "ostler NAME postgres nginx redis-server ?");
    assert_eq!(starts(4), "NAME postgres nginx ?");
    assert_eq!(starts(2), "postgres ?");
    assert_eq!(starts(1), "?");
}

#[test]
fn no_size_is_too_small() {
    for make in [model, model_of_one] {
        for (width, height) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 3), (200, 1), (1, 60)] {
            for key in ["", "?", "/x", "jS", "jK"] {
                let mut model = make();
                model.prepare(1, 1);
                for key in key.chars() {
                    model.press(Key::Character(key));
                }
                screen(width, height, &mut model);
            }
        }
    }
}

#[test]
fn only_what_can_be_seen_is_shown_and_the_cursor_is_among_it() {
    let mut model = model();
    model.selection.exited = false;
    let tasks = (0..10_000).map(|number| status(&format!("task-{number:04}"), "running", 1));
    model.take_list(tasks.collect());
    screen(60, 10, &mut model);
    model.press(Key::End);
    let terminal = terminal(60, 10, &mut model);
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..9).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    assert_eq!((row(3), row(8)), ("task-9994".to_owned(), "task-9999".to_owned()));
    let is_reversed = |y: u16| buffer[(59, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!((3..9).filter(|&y| is_reversed(y)).collect::<Vec<_>>(), [8]);
    assert!(screen(60, 10, &mut model).starts_with("ostler top  10,000 tasks: 10,000 running"));
}

#[test]
fn states_have_colours_unless_nobody_wants_them() {
    let mut model = model();
    let colour = |model: &mut Model, coloured: bool| {
        let mut terminal = Terminal::new(TestBackend::new(60, 10)).expect("a terminal");
        let look = Look { coloured, now_us: NOW_US };
        terminal.draw(|frame| draw(frame, model, look)).expect("drawn");
        let buffer = terminal.backend().buffer();
        // The state of the first, of the one in backoff, and of the one that failed.
        [3, 6, 7].map(|y| buffer[(13, y)].fg)
    };
    assert_eq!(colour(&mut model, true), [Color::Green, Color::Yellow, Color::Red]);
    assert_eq!(colour(&mut model, false), [Color::Reset; 3]);
}

#[test]
fn what_is_asked_and_said_stands_in_the_last_line() {
    let mut model = model();
    let last = |model: &mut Model| screen(60, 9, model).lines().last().unwrap().to_owned();
    assert!(last(&mut model).starts_with("? help  q quit"));
    model.press(Key::Enter);
    assert_eq!(last(&mut model), "choose a task first, with the arrow keys");
    model.press(Key::Down);
    model.press(Key::Character('S'));
    assert_eq!(last(&mut model), "stop postgres? y: yes  n: no");
    model.press(Key::Escape);
    model.press(Key::Character('K'));
    model.press(Key::Character('x'));
    assert_eq!(last(&mut model), "signal for postgres [TERM]: x");
    model.press(Key::Enter);
    assert!(last(&mut model).contains("\"x\""), "{}", last(&mut model));
    model.press(Key::Escape);
    model.press(Key::Character('/'));
    model.press(Key::Character('n'));
    assert_eq!(last(&mut model), "only tasks with: n");
    assert!(screen(90, 9, &mut model).contains("only \"n\""));
}

#[test]
fn an_empty_table_says_why() {
    let selection = Selection { exited: false, ..model().selection };
    let mut model = Model::new("/socket".into(), selection);
    assert!(screen(60, 9, &mut model).contains("asking the daemon"));
    model.take_list(Vec::new());
    assert!(screen(60, 9, &mut model).contains("no task\n"));
    model.take_list(vec![status("a", "exited", 1)]);
    assert!(screen(60, 9, &mut model).contains("no living task (a shows the exited ones)"));
    model.press(Key::Character('a'));
    model.press(Key::Character('/'));
    model.press(Key::Character('z'));
    assert!(screen(60, 9, &mut model).contains("no task with this text (Esc shows all)"));
    model.take_no_stats("not here".into());
    assert!(screen(60, 9, &mut model).contains("no figures: not here"));
}

#[test]
fn a_task_that_is_gone_or_did_not_start_says_so() {
    let mut model = model_of_one();
    let mut failed = status("postgres", "exited", 1);
    failed.exit = Some(Exit { exit_code: 137, signal: 9, oom_killed: Some(true), time_us: NOW_US });
    failed.gave_up = Some(true);
    failed.restarts = 2;
    let (name, id) = (failed.name.clone(), failed.id.clone());
    let event = |kind: &str, status: Option<Status>| Event {
        name: name.clone(),
        id: id.clone(),
        kind: kind.into(),
        status,
        ..Event::default()
    };
    model.take_event(&event("exited", Some(failed.clone())));
    let text = screen(80, 20, &mut model);
    assert!(text.starts_with("postgres  exited (137)  2 restarts  gave up\n"), "{text}");
    assert!(text.contains("last run  was ended by signal 9, out of memory, 0s ago"), "{text}");
    failed.error = Some(crate::cli::top::wire::StartError { message: "no \x1b[1mfile".into() });
    model.take_event(&event("start_failed", Some(failed)));
    assert!(screen(80, 20, &mut model).contains("last run  did not start: no \\u{1b}[1mfile\n"));
    model.take_event(&event("removed", None));
    let text = screen(80, 20, &mut model);
    assert!(text.starts_with("postgres  there is no such task any more\n"), "{text}");
}
