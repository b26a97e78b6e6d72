//! Many launches at once: what capturing output costs each, and how long others wait meanwhile for
//! an answer of the daemon.
#![allow(unsafe_code, reason = "the harness reads the allocator's counters")]

mod harness;

use harness::apart::{self, Figures, figure, tell};
use harness::arguments::Arguments;
use harness::bare::{self, Groups};
use harness::daemon::{self, Daemon};
use harness::programs::Program;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, process, programs, turn_until};
use ostler::{CgroupMode, EventKind, FileSink, Options, Sink, Supervisor, TaskId, TaskSpec};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const COLUMNS: [&str; 9] = [
    "what",
    "N",
    "ratio",
    "ratio, grouped",
    "ostler us",
    "bare us",
    "grouped us",
    "Version p99 ms",
    "Version most ms",
];
/// Between two calls of whoever waits.
const PAUSE: Duration = Duration::from_millis(2);
/// No storm lasts as long.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    process::raise_descriptor_limit()?;
    let Some((role, rest)) = &arguments.role else { return measure(&arguments) };
    let number = |index: usize| -> Outcome<usize> {
        Ok(rest.get(index).ok_or("an argument is missing")?.parse()?)
    };
    match role.as_str() {
        "captured" => captured(number(0)?, number(1)?, number(2)? == 1, number(3)? == 1),
        "storm" => {
            let (_, storm) = STORMS.get(number(1)?).ok_or("no such storm")?;
            storm(number(0)?, number(2)? == 1)
        }
        other => Err(format!("unknown role {other:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let mut report = Report::new("storm", &COLUMNS);
    let (count, rounds) = arguments.size((100, 3), (1_000, 5));
    for (rotated, how) in [(1, "rotated files"), (0, "files handed over")] {
        for (grouped, group) in [(0, ", no cgroup"), (1, "")] {
            let words = [count, rounds, rotated, grouped].map(|number| number.to_string());
            let figures = apart::measure("captured", &words)?;
            let what = format!("captured sleep, two {how}{group}");
            let cell = |name, digits| Cell::Number(figure(&figures, name), digits);
            let none = || Cell::Number(f64::NAN, 0);
            report.row(vec![
                what.clone().into(),
                Cell::Number(count as f64, 0),
                cell("ratio", 2),
                cell("grouped_ratio", 2),
                cell("ostler_us", 1),
                cell("bare_us", 1),
                cell("grouped_us", 1),
                none(),
                none(),
            ]);
            // Like is compared with like: where each task gets a group, so does each bare child.
            let (floor, ratio) = match grouped {
                1 => ("the bare loop with groups", figure(&figures, "grouped_ratio")),
                _ => ("the bare loop", figure(&figures, "ratio")),
            };
            report.target(format!("{what}: time of {floor}"), ratio, Bound::AtMost(1.1));
        }
    }
    let count = arguments.size(1_000, 10_000);
    for (index, (what, _)) in STORMS.iter().enumerate() {
        for (state, kept) in [(0, ""), (1, ", with --state")] {
            let words = [count, index, state].map(|number| number.to_string());
            let figures = apart::measure("storm", &words)?;
            add_storm(&mut report, &format!("{what}{kept}"), count, &figures);
        }
    }
    report.note(format!("N tasks, {rounds} rounds in turns for each ratio, medians"));
    report.finish(arguments)
}

fn add_storm(report: &mut Report, what: &str, count: usize, figures: &Figures) {
    let value = |name| figure(figures, name);
    report.row(vec![
        what.into(),
        Cell::Number(count as f64, 0),
        Cell::Number(f64::NAN, 0),
        Cell::Number(f64::NAN, 0),
        Cell::Number(value("each_us"), 1),
        Cell::Number(f64::NAN, 0),
        Cell::Number(f64::NAN, 0),
        Cell::Number(value("p99_ms"), 2),
        Cell::Number(value("most_ms"), 2),
    ]);
    report.target(format!("{what}: longest answer, ms"), value("most_ms"), Bound::AtMost(10.0));
}

/// A role: the library starts `sleep`s whose output it captures, and so does a loop that opens the
/// same files and spawns the same program as the standard library does: `posix_spawn`, which is
/// clone(2) with CLONE_VM and CLONE_VFORK. With groups there is one more loop, which makes a group
/// for each and has it born there. In turns; the ratios are those of each round.
fn captured(count: usize, rounds: usize, rotated: bool, grouped: bool) -> Outcome<()> {
    let cgroup = if grouped { CgroupMode::Auto } else { CgroupMode::Never };
    let mut supervisor =
        Supervisor::new(Options { cgroup, own_process: true, ..Options::default() })?;
    let groups = if grouped { Groups::make() } else { None };
    let mut took: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds + 1 {
        let files = tempfile::tempdir_in("/dev/shm")?;
        let mut now = [f64::NAN; 3];
        for turn in 0..3 {
            let which = (turn + round) % 3;
            let files = files.path().join(which.to_string());
            now[which] = match (which, &groups) {
                (0, _) => sleeps(&mut supervisor, &files, count, rotated)?,
                (1, _) => bare_sleeps(&files, count)?,
                (_, Some(groups)) => grouped_sleeps(groups, &files, count)?,
                (_, None) => continue,
            };
        }
        // The first round warms up.
        if round > 0 {
            took.iter_mut().zip(now).for_each(|(all, one)| all.push(one));
        }
    }
    let [ours, bare, in_groups] = took;
    let ratio = |to: &[f64]| harness::median(ours.iter().zip(to).map(|(a, b)| a / b).collect());
    tell("ratio", ratio(&bare));
    tell("grouped_ratio", ratio(&in_groups));
    tell("ostler_us", harness::median(ours));
    tell("bare_us", harness::median(bare));
    tell("grouped_us", harness::median(in_groups));
    Ok(())
}

/// Microseconds for each launch.
fn sleeps(supervisor: &mut Supervisor, files: &Path, count: usize, rotated: bool) -> Outcome<f64> {
    std::fs::create_dir(files)?;
    let sink = |number: usize, stream: &str| {
        let file = FileSink::new(files.join(format!("{number}.{stream}")).to_string_lossy());
        Some(Sink::File(FileSink { max_size: rotated.then_some(10 << 20), ..file }))
    };
    let specs: Vec<TaskSpec> = (0..count)
        .map(|number| TaskSpec {
            name: Some(format!("task-{number}")),
            args: vec!["1000".to_owned()],
            stdout: sink(number, "out"),
            stderr: sink(number, "err"),
            auto_remove: true,
            die_with_supervisor: true,
            ..TaskSpec::new("/bin/sleep")
        })
        .collect();
    let mut tasks: Vec<TaskId> = Vec::with_capacity(count);
    let begun = Instant::now();
    for spec in specs {
        tasks.push(supervisor.launch(spec)?);
        supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
    }
    let took = begun.elapsed();
    for task in tasks {
        supervisor.stop(task, None, Some(Duration::ZERO))?;
    }
    turn_until(supervisor, EventKind::Finished, count)?;
    Ok(took.as_secs_f64() * 1e6 / count as f64)
}

/// Children that are killed whatever happens.
#[derive(Default)]
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

fn bare_sleeps(files: &Path, count: usize) -> Outcome<f64> {
    std::fs::create_dir(files)?;
    let names: Vec<[PathBuf; 2]> = (0..count)
        .map(|number| ["out", "err"].map(|stream| files.join(format!("{number}.{stream}"))))
        .collect();
    let mut children = Children(Vec::with_capacity(count));
    let begun = Instant::now();
    for [out, err] in &names {
        let open = |path: &Path| File::options().append(true).create(true).open(path);
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").env_clear().stdin(Stdio::null()).stdout(open(out)?).stderr(open(err)?);
        children.0.push(command.spawn()?);
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / count as f64)
}

/// What a group for each costs by itself: their files are opened and not handed over.
fn grouped_sleeps(groups: &Groups, files: &Path, count: usize) -> Outcome<f64> {
    std::fs::create_dir(files)?;
    let args = vec!["1000".to_owned()];
    let sleep = Program { path: "/bin/sleep".to_owned(), args, note: None };
    let command = bare::Command::new(&sleep)?.apart();
    let names: Vec<String> = (0..count).map(|number| format!("sleep-{number}")).collect();
    let mut children = Vec::with_capacity(count);
    let begun = Instant::now();
    for name in &names {
        for stream in ["out", "err"] {
            let path = files.join(format!("{name}.{stream}"));
            File::options().append(true).create(true).open(path)?;
        }
        let group = groups.make_group(name)?;
        children.push(command.launch(Some(group.as_fd()))?);
    }
    let took = begun.elapsed();
    drop(children);
    names.iter().try_for_each(|name| groups.remove_group(name))?;
    Ok(took.as_secs_f64() * 1e6 / count as f64)
}

type Storm = fn(usize, bool) -> Outcome<()>;

const STORMS: [(&str, Storm); 4] = [
    ("a file with count = N", |count, state| from_file(&instances(count), count, state)),
    ("a file of N tasks", |count, state| from_file(&tables(count), count, state)),
    ("a file of N tasks, read again", read_again),
    ("N calls at once in one connection", calls_at_once),
];

fn instances(count: usize) -> String {
    let program = programs::pauses();
    format!("[task.a]\ncommand = {:?}\nrestart = \"always\"\ncount = {count}\n", program.path)
}

fn tables(count: usize) -> String {
    let program = programs::pauses();
    (0..count).fold(String::new(), |mut text, number| {
        let _ = write!(
            text,
            "[task.a-{number}]\ncommand = {:?}\nargs = [\"{number}\"]\nrestart = \"always\"\n\n",
            program.path
        );
        text
    })
}

/// A daemon with a task file, from the moment at which it answers until all run.
fn from_file(text: &str, count: usize, state: bool) -> Outcome<()> {
    let directory = tempfile::tempdir_in("/dev/shm")?;
    let path = directory.path().join("tasks.toml");
    std::fs::write(&path, text)?;
    let daemon = Daemon::start([Path::new("--tasks"), &path], state)?;
    let mut probe = Probe::new(&daemon)?;
    let begun = Instant::now();
    probe.until_runs(&format!("a-{}", count - 1))?;
    probe.tell(begun.elapsed(), count);
    Ok(())
}

/// A daemon whose file gets N tasks while it runs.
fn read_again(count: usize, state: bool) -> Outcome<()> {
    let directory = tempfile::tempdir_in("/dev/shm")?;
    let path = directory.path().join("tasks.toml");
    std::fs::write(&path, tables(1))?;
    let daemon = Daemon::start([Path::new("--tasks"), &path], state)?;
    let mut probe = Probe::new(&daemon)?;
    std::fs::write(&path, tables(count))?;
    let mut stream = UnixStream::connect(daemon.socket())?;
    let begun = Instant::now();
    stream.write_all(b"{\"method\":\"org.ostler.Reload\"}\0")?;
    probe.until_runs(&format!("a-{}", count - 1))?;
    probe.tell(begun.elapsed(), count);
    Ok(())
}

/// A client that asks for N launches without waiting for an answer in between.
fn calls_at_once(count: usize, state: bool) -> Outcome<()> {
    let daemon = Daemon::start(std::iter::empty::<&str>(), state)?;
    let mut probe = Probe::new(&daemon)?;
    let program = programs::pauses();
    // The first launch of all moves the daemon into a group of its own, for which the kernel waits
    // until every processor has been through its scheduler: 20 to 30 ms, once.
    let first = json!({ "task": { "name": "first", "command": program.path } });
    probe.client.call("org.ostler.Launch", first)?;
    let calls: String = (0..count).fold(String::new(), |mut calls, number| {
        let task = json!({ "name": format!("a-{number}"), "command": program.path });
        let call = json!({ "method": "org.ostler.Launch", "parameters": { "task": task } });
        let _ = write!(calls, "{call}\0");
        calls
    });
    let mut stream = UnixStream::connect(daemon.socket())?;
    let mut answers = stream.try_clone()?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Outcome<()> {
        let writer = scope.spawn(move || stream.write_all(calls.as_bytes()).map(|()| stream));
        let reader = scope.spawn(move || -> std::io::Result<usize> {
            let (mut buffer, mut answered) = (vec![0; 64 << 10], 0);
            while answered < count {
                let got = answers.read(&mut buffer)?;
                if got == 0 {
                    break;
                }
                let read = buffer.get(..got).unwrap_or_default();
                answered += read.iter().filter(|&&byte| byte == 0).count();
            }
            Ok(answered)
        });
        probe.until_runs(&format!("a-{}", count - 1))?;
        let answered = reader.join().map_err(|_| "the reader has failed")??;
        writer.join().map_err(|_| "the writer has failed")??;
        if answered != count {
            return Err(format!("{answered} answers to {count} calls").into());
        }
        Ok(())
    })?;
    probe.tell(begun.elapsed(), count);
    Ok(())
}

/// A client that calls `Version` again and again.
struct Probe<'d> {
    daemon: &'d Daemon,
    client: ostler::control::Client,
    times: Vec<f64>,
}

impl Probe<'_> {
    /// The first answer tells that the daemon serves.
    fn new(daemon: &Daemon) -> Outcome<Probe<'_>> {
        let mut client = daemon.client()?;
        client.call("org.ostler.Version", json!({}))?;
        Ok(Probe { daemon, client, times: Vec::new() })
    }

    /// Calls until this task has started, and for half a second more.
    fn until_runs(&mut self, name: &str) -> Outcome<()> {
        let mut other = self.daemon.client()?;
        let begun = Instant::now();
        let mut until = None;
        while until.is_none_or(|until| until > Instant::now()) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name} does not run after {PATIENCE:?}").into());
            }
            for _ in 0..8 {
                let begun = Instant::now();
                self.client.call("org.ostler.Version", json!({}))?;
                self.times.push(begun.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(PAUSE);
            }
            let runs = other.call("org.ostler.Inspect", json!({ "name": name }));
            let runs = runs.is_ok_and(|task| {
                task.pointer("/status/state").and_then(Value::as_str) == Some("running")
            });
            if runs {
                until.get_or_insert_with(|| Instant::now() + Duration::from_millis(500));
            }
        }
        Ok(())
    }

    fn tell(mut self, took: Duration, count: usize) {
        let most = self.times.iter().copied().fold(0.0, f64::max);
        tell("most_ms", most);
        tell("p99_ms", harness::percentile(std::mem::take(&mut self.times), 0.99));
        tell(
            "each_us",
            took.saturating_sub(Duration::from_millis(500)).as_secs_f64() * 1e6 / count as f64,
        );
        if let Ok(longest) = daemon::own_figure(&mut self.client, "loop_max_us") {
            tell("loop_max_ms", longest / 1e3);
        }
    }
}
