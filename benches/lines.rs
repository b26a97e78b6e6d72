//! Lines rather than bulk: what many tasks cost that write one each second, and how long the line
//! of a quiet task takes beside one that floods, and beside many others.
#![allow(unsafe_code, reason = "the harness reads the allocator's counters")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, process, programs};
use nix::sys::stat::Mode;
use ostler::{FileSink, Sink, Supervisor, TaskSpec};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The quiet task writes a line each so often.
const TICK: Duration = Duration::from_millis(10);
/// What a rotated file may hold: enough that nothing is removed while it is measured.
const FILE_BYTES: u64 = 1 << 20;

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let Some((role, rest)) = &arguments.role else { return measure(&arguments) };
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (role.as_str(), words.as_slice()) {
        ("many", [count, seconds]) => many(count.parse()?, seconds.parse()?),
        ("quiet", [flood, seconds]) => quiet(flood.parse()?, seconds.parse()?),
        ("tick", []) => tick(),
        ("flood", []) => flood(),
        ("listen", [path, seconds]) => listen(path, seconds.parse()?),
        _ => Err(format!("unknown role {role:?} {words:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let mut report = Report::new("lines", &["what", "figure", "unit"]);
    let seconds: u64 = arguments.size(2, 20);
    for count in arguments.size(vec![300_usize], vec![1_000, 10_000]) {
        let words = [count.to_string(), seconds.to_string()];
        let figures = apart::measure("many", &words)?;
        let what = |text: &str| format!("{count} tasks, a line a second each: {text}");
        for (name, text, unit, digits) in [
            ("lines", "lines", "1/s", 0),
            ("cpu_us", "processor time for a line", "us", 1),
            ("percent", "processor time", "% of a core", 1),
            ("turns", "wake-ups", "1/s", 0),
        ] {
            let value = Cell::Number(figure(&figures, name), digits);
            report.row(vec![what(text).into(), value, unit.into()]);
        }
        let arrived = figure(&figures, "lines") / count as f64;
        report.target(what("share that arrives"), arrived, Bound::AtLeast(0.98));
        if count >= 10_000 {
            let percent = figure(&figures, "percent");
            report.target(what("% of a core"), percent, Bound::AtMost(10.0));
        }
    }
    for (beside, text) in [
        (Beside::Nothing, "alone"),
        (Beside::Fifo, "beside a flood into a FIFO"),
        (Beside::File, "beside a flood into rotated files"),
        (Beside::Crowd, "beside 1,000 tasks with a line a second each"),
    ] {
        let words = [(beside as u8).to_string(), seconds.to_string()];
        let figures = apart::measure("quiet", &words)?;
        for (name, which) in [("median_us", "median"), ("p99_us", "p99"), ("most_us", "most")] {
            let value = Cell::Number(figure(&figures, name), 0);
            report.row(vec![format!("a line, {text}: {which}").into(), value, "us".into()]);
        }
        // One pass of the flood's comes in between: a mebibyte.
        let p99 = figure(&figures, "p99_us") / 1e3;
        report.target(format!("p99 of a line {text}, ms"), p99, Bound::AtMost(20.0));
    }
    report.note("from the write of a line until whoever reads its FIFO has it");
    report.finish(arguments)
}

/// What else goes on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Beside {
    Nothing,
    Fifo,
    File,
    Crowd,
}

/// So many tasks, whose lines gather.
const CROWD: usize = 1_000;

fn file(path: &Path, max_files: u32) -> Sink {
    Sink::File(FileSink {
        max_size: Some(FILE_BYTES),
        max_files,
        ..FileSink::new(path.to_string_lossy())
    })
}

/// A role: so many tasks that write a line each second, into a rotated file each.
fn many(count: usize, seconds: u64) -> Outcome<()> {
    process::raise_descriptor_limit()?;
    let directory = tempfile::tempdir_in("/dev/shm")?;
    let mut supervisor = harness::supervisor()?;
    speak(&mut supervisor, count, directory.path())?;
    turn_for(&mut supervisor, Duration::from_millis(1_500))?;
    let (before, cpu) = (written(directory.path())?, process::cpu_seconds()?);
    let begun = Instant::now();
    let turns = turn_for(&mut supervisor, Duration::from_secs(seconds))?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), process::cpu_seconds()? - cpu);
    let lines = (written(directory.path())? - before) as f64 / programs::LINE_BYTES as f64;
    tell("lines", lines / wall);
    tell("cpu_us", cpu / lines * 1e6);
    tell("percent", cpu / wall * 100.0);
    tell("turns", turns as f64 / wall);
    Ok(())
}

/// Launches so many tasks with a line a second each.
fn speak(supervisor: &mut Supervisor, count: usize, directory: &Path) -> Outcome<()> {
    let program = programs::speaks();
    for number in 0..count {
        let sink = file(&directory.join(number.to_string()), 2);
        let spec = TaskSpec {
            args: program.args.clone(),
            stdout: Some(sink.clone()),
            stderr: Some(sink),
            die_with_supervisor: true,
            ..TaskSpec::new(program.path.clone())
        };
        supervisor.launch(spec)?;
        supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
    }
    Ok(())
}

/// How often the loop turned.
fn turn_for(supervisor: &mut Supervisor, time: Duration) -> Outcome<usize> {
    let (begun, mut turns) = (Instant::now(), 0);
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        supervisor.turn(Some(left), &mut Vec::new())?;
        turns += 1;
    }
    Ok(turns)
}

fn written(directory: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

/// A role: the latency of a line of one task, while others write as well.
fn quiet(beside: u8, seconds: u64) -> Outcome<()> {
    let directory = tempfile::tempdir_in("/dev/shm")?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let program = std::env::current_exe()?;
    let program = program.to_str().ok_or("the target directory is no UTF-8")?;
    let task = |role: &str, stdout: Sink| TaskSpec {
        args: ["--as", role].map(str::to_owned).into(),
        stdout: Some(stdout),
        die_with_supervisor: true,
        ..TaskSpec::new(program)
    };
    let fifo = |path: String| Sink::Fifo { path, direct: false };
    for name in ["line", "bulk"] {
        nix::unistd::mkfifo(path(name).as_str(), Mode::from_bits_truncate(0o600))?;
    }
    // A guest in this process, since the readers are children of it.
    let mut supervisor = Supervisor::new(ostler::Options::default())?;
    let mut drain = None;
    if beside == Beside::Fifo as u8 {
        let null = Stdio::null();
        drain = Some(std::process::Command::new("cat").arg(path("bulk")).stdout(null).spawn()?);
        supervisor.launch(task("flood", fifo(path("bulk"))))?;
    } else if beside == Beside::File as u8 {
        supervisor.launch(task("flood", file(&directory.path().join("file"), 2)))?;
    } else if beside == Beside::Crowd as u8 {
        process::raise_descriptor_limit()?;
        speak(&mut supervisor, CROWD, directory.path())?;
    }
    supervisor.launch(task("tick", fifo(path("line"))))?;
    let words = [path("line"), seconds.to_string()];
    let mut listener = apart::role("listen", &words)?.spawn()?;
    while listener.try_wait()?.is_none() {
        supervisor.turn(Some(Duration::from_millis(100)), &mut Vec::new())?;
    }
    if let Some(mut drain) = drain {
        drain.kill()?;
        drain.wait()?;
    }
    match listener.wait()?.success() {
        true => Ok(()),
        false => Err("whoever listens to the quiet task has failed".into()),
    }
}

fn now_ns() -> Outcome<i64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

/// A role: a line with the time at which it is written, again and again.
fn tick() -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    loop {
        std::thread::sleep(TICK);
        writeln!(out, "{}", now_ns()?)?;
    }
}

/// A role: as much as can be.
fn flood() -> Outcome<()> {
    let block = vec![b'\n'; 64 << 10];
    let mut out = std::io::stdout().lock();
    loop {
        out.write_all(&block)?;
    }
}

/// A role: reads these lines for a while, and tells how long each one took.
fn listen(path: &str, seconds: u64) -> Outcome<()> {
    let mut lines = BufReader::new(std::fs::File::open(path)?).lines();
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        let line = lines.next().ok_or("the quiet task has ended")??;
        let now = now_ns()?;
        // The first ones meet a start.
        if begun.elapsed() > Duration::from_millis(500) {
            times.push((now - line.parse::<i64>()?) as f64 / 1e3);
        }
    }
    tell("median_us", harness::median(times.clone()));
    tell("p99_us", harness::percentile(times.clone(), 0.99));
    tell("most_us", times.into_iter().fold(0.0, f64::max));
    Ok(())
}
