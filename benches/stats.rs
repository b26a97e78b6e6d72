//! What it costs to measure tasks, against the bare reads of the same files; and how soon a daemon
//! that measures answers.
#![allow(unsafe_code, reason = "the harness")]

mod harness;

use harness::apart::{self, Figures, figure, tell};
use harness::arguments::Arguments;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, process, programs};
use nix::time::{ClockId, clock_gettime};
use ostler::control::Client;
use ostler::{CgroupMode, Options, Supervisor, TaskId, TaskSpec};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const COLUMNS: [&str; 8] = [
    "source and tasks",
    "ratio",
    "ostler CPU us/task",
    "bare CPU us/task",
    "% of a core each 10 s",
    "longest turn us",
    "procfs us/task",
    "N",
];

/// How often all tasks are measured in a process.
const PASSES: usize = 5;
const INTERVAL_S: f64 = 10.0;

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    process::raise_descriptor_limit()?;
    match &arguments.role {
        Some((role, rest)) => play(role, rest),
        None => measure(&arguments),
    }
}

fn play(role: &str, rest: &[String]) -> Outcome<()> {
    let word = |index: usize| rest.get(index).ok_or("an argument is missing");
    match role {
        "tasks" => tasks(word(0)?.parse()?, word(1)? == "cgroup", word(2)? == "run"),
        "daemon" => daemon(word(0)?.parse()?, Duration::from_secs(word(1)?.parse()?)),
        other => Err(format!("unknown role {other:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let counts = arguments.size(vec![1_000], vec![1_000, 10_000]);
    let rounds = arguments.size(1, 3);
    let mut report = Report::new("stats", &COLUMNS);
    for count in counts {
        for source in ["cgroup", "proc"] {
            for state in ["run", "asleep"] {
                let rest = [count.to_string(), source.to_owned(), state.to_owned()];
                let mut found = Vec::new();
                for _ in 0..rounds {
                    found.push(apart::measure("tasks", &rest)?);
                }
                let what = if state == "run" { "have run" } else { "have slept" };
                add(&mut report, count, &format!("{source}, {count}, {what}"), &found);
            }
        }
        let seconds = arguments.size(12, 60);
        let rest = [count.to_string(), seconds.to_string()];
        let figures = apart::measure("daemon", &rest)?;
        let cost = figure(&figures, "percent");
        let name = format!("daemon with {count} tasks, --stats-interval 10s, % of a core");
        report.target(name, cost, Bound::AtMost(2.0));
        let latency = figure(&figures, "p99_ms");
        let name = format!("Version while {count} tasks are measured all the time, p99 ms");
        report.target(name, latency, Bound::AtMost(5.0));
        report.note(format!(
            "daemon with {count} tasks that have slept: {cost:.2} % of a core at an interval of \
             10 s over {seconds} s; Version answers in {:.3} ms median, {latency:.3} ms p99 while \
             it measures all the time, {:.3} and {:.3} ms while it does not; longest turn {:.0} us",
            figure(&figures, "median_ms"),
            figure(&figures, "idle_median_ms"),
            figure(&figures, "idle_p99_ms"),
            figure(&figures, "turn_us"),
        ));
    }
    report.note(format!("medians of {PASSES} passes in each of {rounds} processes"));
    report.finish(arguments)
}

fn add(report: &mut Report, count: usize, name: &str, rounds: &[Figures]) {
    let value = |name| harness::median(rounds.iter().map(|one| figure(one, name)).collect());
    let (ours, bare) = (value("ours_us"), value("bare_us"));
    let share = ours * count as f64 / 1e6 / INTERVAL_S * 100.0;
    report.row(vec![
        name.into(),
        Cell::Number(bare / ours, 2),
        Cell::Number(ours, 2),
        Cell::Number(bare, 2),
        Cell::Number(share, 2),
        Cell::Number(value("turn_us"), 0),
        Cell::Number(value("procfs_us"), 1),
        Cell::Number((PASSES * rounds.len()) as f64, 0),
    ]);
}

/// Measures tasks of a supervisor in this process, in turns with the bare reads.
fn tasks(count: usize, cgroup: bool, run: bool) -> Outcome<()> {
    let mode = if cgroup { CgroupMode::Require } else { CgroupMode::Never };
    let options = Options { own_process: true, cgroup: mode, ..Options::default() };
    let mut supervisor = Supervisor::new(options)?;
    let program = if run { programs::breathes() } else { programs::pauses() };
    let mut tasks = Vec::with_capacity(count);
    for number in 0..count {
        tasks.push(supervisor.launch(TaskSpec {
            name: Some(format!("task-{number}")),
            args: program.args.clone(),
            die_with_supervisor: true,
            ..TaskSpec::new(program.path.clone())
        })?);
        supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
    }
    let bare = Bare::of(&supervisor, &tasks, run)?;
    let begun = Instant::now();
    // The first one has nothing to compare with, and reads everything.
    pass(&mut supervisor, &tasks)?;
    let (mut ours, mut floor, mut turn) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=PASSES {
        // Each of those that run has run since.
        let at = Duration::from_millis(1_500 * number as u64);
        while let Some(left) = at.checked_sub(begun.elapsed()) {
            supervisor.turn(Some(left), &mut Vec::new())?;
        }
        let (cpu, longest) = pass(&mut supervisor, &tasks)?;
        ours.push(cpu / count as f64 * 1e6);
        turn.push(longest * 1e6);
        let before = process::cpu_seconds()?;
        bare.read()?;
        floor.push((process::cpu_seconds()? - before) / count as f64 * 1e6);
    }
    tell("ours_us", harness::median(ours));
    tell("bare_us", harness::median(floor));
    tell("turn_us", harness::median(turn));
    let before = process::cpu_seconds()?;
    for pid in &bare.pids {
        let process = procfs::process::Process::new(*pid)?;
        std::hint::black_box((process.stat()?, process.status()?, process.io()?));
    }
    tell("procfs_us", (process::cpu_seconds()? - before) / count as f64 * 1e6);
    Ok(())
}

/// Processor seconds of one measurement of all, and the longest turn in it.
fn pass(supervisor: &mut Supervisor, tasks: &[TaskId]) -> Outcome<(f64, f64)> {
    let before = process::cpu_seconds()?;
    let begun = Instant::now();
    let measurement = supervisor.measure(tasks.iter().copied(), false);
    let mut longest = begun.elapsed();
    while !supervisor.is_measured(measurement) {
        let begun = Instant::now();
        supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
        longest = longest.max(begun.elapsed());
    }
    Ok((process::cpu_seconds()? - before, longest.as_secs_f64()))
}

/// The same files by a loop that keeps nothing of them.
struct Bare {
    pids: Vec<i32>,
    groups: Vec<PathBuf>,
    /// The tasks have run: everything is read, and not only what tells that.
    run: bool,
    /// Something may be in swap.
    swap: bool,
}

impl Bare {
    fn of(supervisor: &Supervisor, tasks: &[TaskId], run: bool) -> Outcome<Bare> {
        let swap = nix::sys::sysinfo::sysinfo()?.swap_total() > 0;
        let mut bare = Bare { pids: Vec::new(), groups: Vec::new(), run, swap };
        for &task in tasks {
            let status = supervisor.status(task).ok_or("a task is gone")?;
            bare.pids.push(status.pid.ok_or("a task has no process")?.number());
            bare.groups.extend(supervisor.cgroup_of(&status).map(PathBuf::from));
        }
        Ok(bare)
    }

    fn read(&self) -> Outcome<()> {
        let mut buffer = [0; 16 << 10];
        for group in &self.groups {
            read_file(&group.join("cpu.stat"), &mut buffer)?;
            if self.run {
                read_file(&group.join("cgroup.procs"), &mut buffer)?;
            }
        }
        for pid in &self.pids {
            if self.groups.is_empty() {
                clock_gettime(ClockId::from_raw((!pid << 3) | 2))?;
            }
            if self.run {
                if self.groups.is_empty() {
                    read_file(Path::new(&format!("/proc/{pid}/stat")), &mut buffer)?;
                    let children = format!("/proc/{pid}/task/{pid}/children");
                    read_file(Path::new(&children), &mut buffer)?;
                }
                let memory = if self.groups.is_empty() && !self.swap { "statm" } else { "status" };
                read_file(Path::new(&format!("/proc/{pid}/{memory}")), &mut buffer)?;
                read_file(Path::new(&format!("/proc/{pid}/io")), &mut buffer)?;
            }
        }
        Ok(())
    }
}

fn read_file(path: &Path, buffer: &mut [u8]) -> Outcome<()> {
    let read = std::fs::File::open(path)?.read(buffer)?;
    std::hint::black_box(read);
    Ok(())
}

/// A daemon with sleeping tasks: what an interval of 10 s costs it, and how soon it answers while a
/// client has it measure all the time.
fn daemon(count: usize, seconds: Duration) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("socket");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"))
        .args(["daemon", "--stats-interval", "10s", "--socket"])
        .arg(&socket)
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let outcome = ask(count, seconds, &socket);
    let end = json!({"stop_tasks": true, "grace_ms": 0});
    let ended = Client::connect(&socket).map(|mut client| client.call("org.ostler.Shutdown", end));
    if !matches!(ended, Ok(Ok(_))) {
        child.kill()?;
    }
    child.wait()?;
    outcome
}

fn ask(count: usize, seconds: Duration, socket: &Path) -> Outcome<()> {
    let begun = Instant::now();
    let mut client = loop {
        match Client::connect(socket) {
            Ok(client) => break client,
            Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let program = programs::pauses();
    for number in 0..count {
        let task = json!({
            "name": format!("task-{number}"), "command": program.path, "args": program.args,
        });
        client.call("org.ostler.Launch", json!({ "task": task }))?;
    }
    let mut figures = |name: &str| -> Outcome<f64> {
        let figures = client.call("org.ostler.DaemonStats", json!({}))?;
        Ok(figures.get(name).and_then(serde_json::Value::as_f64).ok_or("a figure is missing")?)
    };
    // The first measurement after the launches reads everything.
    std::thread::sleep(Duration::from_secs(11));
    let before = figures("cpu_us")?;
    std::thread::sleep(seconds);
    let used = (figures("cpu_us")? - before) / 1e6;
    tell("percent", used / seconds.as_secs_f64() * 100.0);
    let (idle_median, idle_p99) = latency(socket)?;
    tell("idle_median_ms", idle_median);
    tell("idle_p99_ms", idle_p99);
    let mut watcher = Client::connect(socket)?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (median, p99) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let Ok(stream) = watcher.stream("org.ostler.Stats", json!({ "interval_ms": 100 }))
            else {
                return 0;
            };
            let going = |_: &_| !stop.load(std::sync::atomic::Ordering::Relaxed);
            stream.take_while(going).count()
        });
        let found = latency(socket);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        match reader.join() {
            Ok(1..) => found,
            _ => Err("nothing was measured meanwhile".into()),
        }
    })?;
    tell("median_ms", median);
    tell("p99_ms", p99);
    tell("turn_us", figures("loop_max_us")?);
    Ok(())
}

/// Median and 99th percentile of a call in milliseconds.
fn latency(socket: &Path) -> Outcome<(f64, f64)> {
    let mut client = Client::connect(socket)?;
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let begun = Instant::now();
        client.call("org.ostler.Version", json!({}))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((harness::median(times.clone()), harness::percentile(times, 0.99)))
}
