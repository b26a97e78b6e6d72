//! From the kill of a task to its event, against a bare epoll on a pidfd.
#![allow(unsafe_code, reason = "the bare floor calls the kernel itself")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::bare::{Command, Groups};
use harness::crowd::Crowd;
use harness::process::raise_descriptor_limit;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, median, percentile};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ostler::{EventKind, TaskId};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    raise_descriptor_limit()?;
    match &arguments.role {
        Some((role, rest)) if role == "crowd" => match rest.as_slice() {
            [living, samples] => sample(living.parse()?, samples.parse()?),
            _ => Err("crowd needs two numbers".into()),
        },
        Some((role, _)) => Err(format!("unknown role {role:?}").into()),
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let counts = arguments.size(vec![1, 1_000], vec![1, 1_000, 10_000]);
    let samples = arguments.size(100, 500);
    let columns = [
        "living tasks",
        "ratio",
        "ostler us",
        "bare us",
        "ostler p99 us",
        "bare p99 us",
        "longest us",
        "N",
    ];
    let mut report = Report::new("exit_latency", &columns);
    for living in counts {
        let figures = apart::measure("crowd", &[living.to_string(), samples.to_string()])?;
        let (ours, floor) = (figure(&figures, "ostler"), figure(&figures, "bare"));
        report.row(vec![
            Cell::Number(living as f64, 0),
            Cell::Number(floor / ours, 2),
            Cell::Number(ours, 1),
            Cell::Number(floor, 1),
            Cell::Number(figure(&figures, "ostler_p99"), 1),
            Cell::Number(figure(&figures, "bare_p99"), 1),
            Cell::Number(figure(&figures, "ostler_longest"), 1),
            Cell::Number(samples as f64, 0),
        ]);
        let name = format!("median us from kill to event, {living} living");
        report.target(name, ours, Bound::AtMost(1_000.0));
    }
    report.note(
        "ostler: until the event Exited is out, its cgroup removed; bare: kill, epoll_wait on the \
         pidfd, waitid, rmdir",
    );
    report.finish(arguments)
}

/// Kills one task and one bare child in turns.
fn sample(living: usize, samples: usize) -> Outcome<()> {
    let mut crowd = Crowd::gather(harness::supervisor()?, living)?;
    let floor = Floor::new(crowd.program())?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..samples {
        bare.push(floor.one()?);
        // Steps through the table so that places far apart are met.
        let place = round.wrapping_mul(7919) % living;
        ours.push(exit_of(&mut crowd, place, living + round)?);
    }
    tell("ostler_p99", percentile(ours.clone(), 0.99));
    tell("bare_p99", percentile(bare.clone(), 0.99));
    tell("ostler_longest", percentile(ours.clone(), 1.0));
    tell("ostler", median(ours));
    tell("bare", median(bare));
    crowd.stop()?;
    Ok(())
}

/// Microseconds from the kill of a task to its event; another one takes its place.
fn exit_of(crowd: &mut Crowd, place: usize, number: usize) -> Outcome<f64> {
    let task = *crowd.tasks.get(place).ok_or("no such task")?;
    let pid = crowd.supervisor.status(task).and_then(|status| status.pid).ok_or("not running")?;
    let begun = Instant::now();
    kill(Pid::from_raw(pid.number()), Signal::SIGKILL)?;
    wait_for_exit(crowd, task)?;
    let took = begun.elapsed();
    // What follows the exit is done before the next kill.
    crowd.supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
    let next = crowd.add(number)?;
    *crowd.tasks.get_mut(place).ok_or("no such task")? = next;
    Ok(took.as_secs_f64() * 1e6)
}

fn wait_for_exit(crowd: &mut Crowd, task: TaskId) -> Outcome<()> {
    let mut events = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        crowd.supervisor.turn(Some(Duration::from_secs(10)), &mut events)?;
        if events.drain(..).any(|event| event.kind == EventKind::Exited) {
            return Ok(());
        }
    }
    Err(format!("task {task} was killed and no event came").into())
}

struct Floor {
    epoll: Epoll,
    command: Command,
    groups: Option<Groups>,
}

impl Floor {
    fn new(program: &harness::programs::Program) -> Outcome<Floor> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Floor { epoll, command: Command::new(program)?, groups: Groups::make() })
    }

    /// Microseconds from the kill of a child until it is reaped.
    fn one(&self) -> Outcome<f64> {
        let group = self.groups.as_ref().map(|groups| groups.make_group("child")).transpose()?;
        let child = self.command.launch(group.as_ref().map(AsFd::as_fd))?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(&child.pidfd, EpollEvent::new(flags, 0))?;
        let begun = Instant::now();
        child.kill()?;
        let mut events = [EpollEvent::empty()];
        if self.epoll.wait(&mut events, EpollTimeout::from(10_000_u16))? == 0 {
            return Err("a bare child was killed and its pidfd says nothing".into());
        }
        child.wait()?;
        if let Some(groups) = &self.groups {
            groups.remove_group("child")?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    }
}
