//! What is asked of a supervisor of a large node: more tasks than descriptors, launches without
//! end, many clients that wait.
#![allow(unsafe_code, reason = "the harness reads the allocator's counters")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::crowd::{Crowd, Output};
use harness::daemon::{self, Daemon};
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, process, programs, trace, turn_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ostler::EventKind;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a service has where nobody has raised it further.
const DESCRIPTORS: u64 = 20_000;
/// Processes of everybody else on the machine, and some to spare.
const PROCESSES_SPARED: usize = 2_000;
const COLUMNS: [&str; 3] = ["what", "figure", "unit"];

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let Some((role, rest)) = &arguments.role else { return measure(&arguments) };
    let numbers: Vec<usize> = rest.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    match (role.as_str(), numbers.as_slice()) {
        ("crowd", [count, idle_ms]) => crowd(*count, Duration::from_millis(*idle_ms as u64)),
        ("churn", [rate, seconds, state]) => churn(*rate, *seconds, *state == 1),
        ("clients", [count]) => clients(*count),
        _ => Err(format!("unknown role {role:?} {rest:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let mut report = Report::new("scale", &COLUMNS);
    measure_crowd(arguments, &mut report)?;
    measure_churn(arguments, &mut report)?;
    measure_clients(arguments, &mut report)?;
    report.finish(arguments)
}

/// Adds the figures of a part, in the order given: name, what it is, unit, digits.
fn add(report: &mut Report, figures: &apart::Figures, lines: &[(&str, &str, &str, usize)]) {
    for &(name, what, unit, digits) in lines {
        let value = Cell::Number(figure(figures, name), digits);
        report.row(vec![what.into(), value, unit.into()]);
    }
}

fn measure_crowd(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let wanted = arguments.size(2_000, 30_000);
    let idle_ms = arguments.size(1_000, 60_000);
    let pid_max: usize = std::fs::read_to_string("/proc/sys/kernel/pid_max")?.trim().parse()?;
    let running = std::fs::read_to_string("/proc/loadavg")?;
    let running = running.split(['/', ' ']).nth(4).ok_or("odd loadavg")?.parse::<usize>()?;
    let count = wanted.min(pid_max.saturating_sub(running + PROCESSES_SPARED));
    if count < wanted {
        report.note(format!(
            "{count} tasks instead of {wanted}: kernel.pid_max is {pid_max} (sysctl -w)"
        ));
    }
    let figures = apart::measure("crowd", &[count.to_string(), idle_ms.to_string()])?;
    add(
        report,
        &figures,
        &[
            ("tasks", "sleeping tasks under a limit of 20,000 descriptors", "", 0),
            ("descriptors", "descriptors in use", "", 0),
            ("launch_us", "a launch", "us", 0),
            ("pss", "PSS of the supervisor", "KiB/task", 2),
            ("calls", "system calls while idle", "", 0),
            ("exit_us", "from kill to the event exited", "us", 0),
            ("exit_most_us", "the same, most", "us", 0),
            ("stop_s", "stop of all", "s", 2),
        ],
    );
    let value = |name| figure(&figures, name);
    report.target("tasks that run", value("tasks"), Bound::AtLeast(count as f64));
    report.target("system calls while idle", value("calls"), Bound::AtMost(0.0));
    if count >= 10_000 {
        report.target("PSS, KiB/task", value("pss"), Bound::AtMost(1.0));
    }
    report.note(format!("idle for {} s, as strace sees it", idle_ms / 1000));
    Ok(())
}

fn measure_churn(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let (rate, seconds) = arguments.size((300, 4), (1_000, 120));
    for (state, how) in [(0, "daemon"), (1, "daemon with --state")] {
        let words = [rate, seconds, state].map(|number| number.to_string());
        let figures = apart::measure("churn", &words)?;
        let what = |text: &str| format!("{rate} launches/s, {how}: {text}");
        for (name, text, unit, digits) in [
            ("rate", "reached", "1/s", 0),
            ("cpu_us", "processor time of the daemon for each", "us", 0),
            ("launch_ms", "Launch until its answer, median", "ms", 2),
            ("p99_ms", "the same, p99", "ms", 2),
            ("early", "PSS after a half", "MiB", 2),
            ("late", "PSS at the end", "MiB", 2),
            ("state_most", "state directory, most", "MiB", 2),
            ("descriptors_left", "more descriptors at the end", "", 0),
            ("children_left", "processes left", "", 0),
        ] {
            let value = figure(&figures, name);
            if value.is_finite() {
                report.row(vec![what(text).into(), Cell::Number(value, digits), unit.into()]);
            }
        }
        let value = |name| figure(&figures, name);
        report.target(what("descriptors left"), value("descriptors_left"), Bound::AtMost(0.0));
        report.target(what("processes left"), value("children_left"), Bound::AtMost(0.0));
        // Until 65,536 events have come the history of events grows.
        if !arguments.quick {
            let reached = value("rate") / rate as f64;
            report.target(what("share of the rate"), reached, Bound::AtLeast(0.98));
            let growth = value("late") - value("early");
            report.target(what("growth of PSS, MiB"), growth, Bound::AtMost(0.25));
        }
    }
    Ok(())
}

fn measure_clients(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let count: usize = arguments.size(200, 1_000);
    let figures = apart::measure("clients", &[count.to_string()])?;
    let what = format!("{count} clients that each wait for a task: PSS for each");
    add(
        report,
        &figures,
        &[
            ("pss", &what, "KiB", 2),
            ("before_ms", "Version without them, median", "ms", 3),
            ("during_ms", "Version beside them, median", "ms", 3),
            ("during_p99_ms", "the same, p99", "ms", 3),
            ("answer_ms", "from the kill of all tasks to the last answer", "ms", 0),
        ],
    );
    let value = |name| figure(&figures, name);
    report.target("PSS of a waiting client, KiB", value("pss"), Bound::AtMost(8.0));
    let ratio = value("during_ms") / value("before_ms");
    report.target("Version beside them, of without", ratio, Bound::AtMost(2.0));
    Ok(())
}

/// A role: tasks that sleep, more than there are descriptors.
fn crowd(count: usize, idle: Duration) -> Outcome<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = hard.min(DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    let mut crowd = Crowd::gather_with(harness::supervisor()?, count, Output::Discarded, true)?;
    tell("launch_us", harness::median(micros(&crowd.launches)));
    (crowd.launches, crowd.bare_launches) = (Vec::new(), Vec::new());
    let running = crowd.tasks.iter().filter(|&&task| pid(&crowd, task).is_some()).count();
    tell("tasks", running as f64);
    tell("descriptors", std::fs::read_dir("/proc/self/fd")?.count() as f64);
    // What is due once after the last launch.
    let begun = Instant::now();
    while let Some(left) = Duration::from_millis(1_500).checked_sub(begun.elapsed()) {
        crowd.supervisor.turn(Some(left), &mut Vec::new())?;
    }
    tell("pss", process::pss_bytes()? / count as f64 / 1024.0);
    let supervisor = &mut crowd.supervisor;
    match trace::calls_of_ours(|| {
        let begun = Instant::now();
        while let Some(left) = idle.checked_sub(begun.elapsed()) {
            supervisor.turn(Some(left), &mut Vec::new())?;
        }
        Ok(())
    })? {
        Some(calls) => tell("calls", calls as f64),
        None => eprintln!("system calls are not counted: strace is not installed or may not trace"),
    }
    let mut exits = Vec::new();
    for turn in 0..41 {
        // A step that meets old and new tasks: those with a pidfd, and those without one.
        let task = crowd.tasks.swap_remove(turn * 7_919 % crowd.tasks.len());
        let pid = pid(&crowd, task).ok_or("a task does not run")?;
        let begun = Instant::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        turn_until(&mut crowd.supervisor, EventKind::Finished, 1)?;
        exits.push(begun.elapsed());
    }
    let exits = micros(&exits);
    tell("exit_most_us", exits.iter().copied().fold(0.0, f64::max));
    tell("exit_us", harness::median(exits));
    tell("stop_s", crowd.stop()?.as_secs_f64());
    Ok(())
}

fn micros(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e6).collect()
}

fn pid(crowd: &Crowd, task: ostler::TaskId) -> Option<nix::unistd::Pid> {
    let pid = crowd.supervisor.status(task)?.pid?;
    Some(nix::unistd::Pid::from_raw(pid.number()))
}

/// A role: so many launches each second of a program that exits at once, as one client asks for
/// them.
fn churn(rate: usize, seconds: usize, state: bool) -> Outcome<()> {
    let daemon = Daemon::start(std::iter::empty::<&str>(), state)?;
    let mut client = daemon.client()?;
    let mut watcher = daemon.client()?;
    let program = programs::exits();
    let mut launch = |number: usize| -> Outcome<Duration> {
        let task = json!({
            "name": format!("task-{number}"), "command": program.path, "args": program.args,
            "auto_remove": true,
        });
        let begun = Instant::now();
        client.call("org.ostler.Launch", json!({ "task": task }))?;
        Ok(begun.elapsed())
    };
    launch(0)?;
    let descriptors = daemon.descriptors()?;
    let cpu = daemon::own_figure(&mut watcher, "cpu_us")?;
    let (mut pss, mut state_most, mut times) = (Vec::new(), f64::NAN, Vec::new());
    let begun = Instant::now();
    for second in 0..seconds {
        for place in 0..rate {
            let due = second as f64 + place as f64 / rate as f64;
            if let Some(left) = Duration::from_secs_f64(due).checked_sub(begun.elapsed()) {
                std::thread::sleep(left);
            }
            times.push(launch(1 + second * rate + place)?);
        }
        pss.push(process::pss_bytes_of(daemon.pid())? / 1048576.0);
        if state {
            state_most = daemon.state_bytes()?.max(state_most);
        }
    }
    let launches = times.len() as f64;
    tell("rate", launches / begun.elapsed().as_secs_f64());
    until_none_is_left(&daemon)?;
    tell("cpu_us", (daemon::own_figure(&mut watcher, "cpu_us")? - cpu) / launches);
    let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    tell("launch_ms", harness::median(times.clone()));
    tell("p99_ms", harness::percentile(times, 0.99));
    let part = |from: usize, to: usize| {
        let from = pss.len() * from / 10;
        harness::median(pss.get(from..pss.len() * to / 10).unwrap_or_default().to_vec())
    };
    tell("early", part(4, 6));
    tell("late", part(8, 10));
    tell("state_most", state_most / 1048576.0);
    tell("descriptors_left", (daemon.descriptors()? - descriptors).max(0.0));
    tell("children_left", daemon.children()?);
    Ok(())
}

/// The last tasks end a moment after their launch.
fn until_none_is_left(daemon: &Daemon) -> Outcome<()> {
    let mut client = daemon.client()?;
    let begun = Instant::now();
    while daemon::own_figure(&mut client, "tasks")? > 0.0 {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("tasks that exit at once are still there after 10 s".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A role: a client for each task, which waits for its end.
fn clients(count: usize) -> Outcome<()> {
    process::raise_descriptor_limit()?;
    let most = (count + 16).to_string();
    let daemon = Daemon::start(["--max-connections", &most], false)?;
    let mut client = daemon.client()?;
    let program = programs::pauses();
    let mut pids = Vec::with_capacity(count);
    for number in 0..count {
        let task = json!({
            "name": format!("task-{number}"), "command": program.path, "args": program.args,
        });
        let status = client.call("org.ostler.Launch", json!({ "task": task }))?;
        let pid = status.pointer("/status/pid").and_then(Value::as_i64).ok_or("no pid")?;
        pids.push(nix::unistd::Pid::from_raw(i32::try_from(pid)?));
    }
    tell("before_ms", daemon::latency(&mut client, 300)?.0);
    let pss = process::pss_bytes_of(daemon.pid())?;
    let mut waiting = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = UnixStream::connect(daemon.socket())?;
        let call = json!({
            "method": "org.ostler.Wait", "parameters": { "name": format!("task-{number}") },
        });
        stream.write_all(format!("{call}\0").as_bytes())?;
        waiting.push(stream);
    }
    let (median, p99) = daemon::latency(&mut client, 300)?;
    tell("during_ms", median);
    tell("during_p99_ms", p99);
    tell("pss", (process::pss_bytes_of(daemon.pid())? - pss) / count as f64 / 1024.0);
    let begun = Instant::now();
    for pid in pids {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    }
    for stream in &mut waiting {
        let mut reply = [0; 4096];
        let length = stream.read(&mut reply)?;
        let text = reply.get(..length).ok_or("a reply that is too long")?;
        let reply: Value = serde_json::from_slice(text.strip_suffix(b"\0").unwrap_or(text))?;
        if reply.pointer("/parameters/status/exit/signal").and_then(Value::as_i64) != Some(9) {
            return Err(format!("an odd answer: {reply}").into());
        }
    }
    tell("answer_ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
