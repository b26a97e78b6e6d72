//! Reading a journal: from its lines to what an earlier supervisor has left.
//!
//! A line that cannot be read is passed over, and said to be: the tasks that the others tell of
//! are worth more. The last line may be torn, since whoever wrote it was killed.

use super::FORMAT;
use super::line::{Header, Line};
use crate::engine::Saved;
use crate::reactor::{Counters, Kept, Process, new_instance};
use crate::sys::{adopted, own_process};
use crate::vocabulary::limits::JOURNAL_LINE_BYTES_MAX;
use crate::vocabulary::{LaunchNumber, cause};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Where what is told of processes holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) boot_id: String,
    pub(super) pid_namespace: u64,
}

impl Place {
    /// Where we are.
    ///
    /// # Errors
    /// It cannot be known now. Tasks would be taken for those of another boot.
    pub(super) fn ours() -> io::Result<Place> {
        let explain = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("read the {what}: {}", cause(&error)))
        };
        let boot_id = own_process::boot_id().map_err(|error| explain("id of this boot", error))?;
        let pid_namespace = adopted::pid_namespace()
            .map_err(|errno| explain("number of our pid namespace", errno.into()))?;
        Ok(Place { boot_id, pid_namespace })
    }

    fn is_of(&self, header: &Header) -> bool {
        header.boot_id == self.boot_id && header.pid_namespace == self.pid_namespace
    }
}

/// What the journal at `path` tells; where there is none, that of a supervisor without a past.
///
/// # Errors
/// When it cannot be read, or is of a later format.
pub(super) fn read(path: &Path, place: &Place) -> io::Result<Kept> {
    let explain =
        |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("read {path:?}: {why}"));
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| {
            let text = format!("read {path:?}: {}", cause(&error));
            io::Error::new(error.kind(), text)
        })?,
    };
    let mut complaints = Vec::new();
    let told = parse(&bytes, &mut complaints).map_err(explain)?;
    for complaint in complaints {
        log::error!("{path:?} {complaint}");
    }
    Ok(told.into_kept(|header| place.is_of(header)))
}

/// What a journal tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    header: Option<Header>,
    counters: Counters,
    tree: Option<PathBuf>,
    tasks: BTreeMap<LaunchNumber, Saved>,
    processes: HashMap<LaunchNumber, Process>,
    stopping: bool,
}

/// Reads every line; what cannot be read is added to the complaints.
///
/// # Errors
/// Of a later format.
pub(super) fn parse(bytes: &[u8], complaints: &mut Vec<String>) -> Result<Told, String> {
    let mut told = Told::default();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, whole) = match line.split_last() {
            Some((b'\n', text)) => (text, true),
            _ => (line, false),
        };
        // A torn last line was never acted upon.
        if text.is_empty() || !whole {
            continue;
        }
        if let Err(why) = told.take(text) {
            match why {
                Unread::Later(why) => return Err(why),
                Unread::Line(why) => complaints.push(format!("line {}: {why}", index + 1)),
            }
        }
    }
    if told.header.is_none() && !bytes.is_empty() {
        complaints.push("does not begin as a journal does: what it tells is not used".to_owned());
        return Ok(Told::default());
    }
    Ok(told)
}

/// Numbers rise by one each time: a larger one was never reached.
const NUMBER_MAX: u64 = 1 << 53;

/// Why a line was not read.
enum Unread {
    /// The whole journal cannot be.
    Later(String),
    Line(String),
}

impl Told {
    fn take(&mut self, text: &[u8]) -> Result<(), Unread> {
        if text.len() > JOURNAL_LINE_BYTES_MAX {
            return Err(Unread::Line("is longer than a line can be".to_owned()));
        }
        let line = serde_json::from_slice(text)
            .map_err(|error| Unread::Line(format!("is not understood: {error}")))?;
        match line {
            Line::Journal(header) => {
                if header.format > FORMAT {
                    return Err(Unread::Later(format!(
                        "it was written by ostler {}, in format {}, and this one, {}, knows \
                         formats up to {FORMAT}: start that version, or move the file away to \
                         start without its tasks",
                        header.version,
                        header.format,
                        env!("CARGO_PKG_VERSION")
                    )));
                }
                self.counters = Counters {
                    next_launch: header.next_launch.min(NUMBER_MAX),
                    next_run: header.next_run.min(NUMBER_MAX),
                    sequence: header.sequence.min(NUMBER_MAX),
                };
                self.header = Some(header);
            }
            Line::Task(task) => {
                let saved = task.saved().map_err(Unread::Line)?;
                if saved.identity.number >= NUMBER_MAX || saved.run >= NUMBER_MAX {
                    return Err(Unread::Line("no launch or run has such a number".to_owned()));
                }
                self.tasks.insert(saved.identity.number, saved);
            }
            Line::State(state) => {
                let known = self.tasks.get_mut(&state.launch).filter(|_| state.run < NUMBER_MAX);
                if !known.is_some_and(|saved| state.apply(saved)) {
                    return Err(Unread::Line("nothing can stand so".to_owned()));
                }
            }
            Line::Process(line) => {
                let process = line.process();
                let process = process.ok_or_else(|| Unread::Line("names no process".to_owned()))?;
                self.processes.insert(process.launch, process);
            }
            Line::Removed(number) => {
                self.tasks.remove(&number);
                self.processes.remove(&number);
                self.counters.next_launch = self.counters.next_launch.max(after(number));
            }
            Line::Tree(path) => self.tree = Some(path.into()),
            Line::Sequence(number) => self.counters.sequence = number.min(NUMBER_MAX),
            Line::Stopping(stopping) => self.stopping = stopping,
        }
        Ok(())
    }

    /// For the reactor. `same_boot` says whether a header is of where we run.
    pub(super) fn into_kept(self, same_boot: impl Fn(&Header) -> bool) -> Kept {
        let Told { header, mut counters, tree, tasks, processes, stopping } = self;
        for saved in tasks.values() {
            counters.next_launch = counters.next_launch.max(after(saved.identity.number));
            counters.next_run = counters.next_run.max(after(saved.run));
        }
        for process in processes.values() {
            counters.next_run = counters.next_run.max(after(process.run));
        }
        // Of two with one name the later one is right: the removal of the other was torn off.
        let mut names = HashSet::new();
        let mut tasks: Vec<Saved> = tasks.into_values().rev().collect();
        tasks.retain(|saved| names.insert(saved.identity.name.clone()));
        tasks.reverse();
        Kept {
            same_boot: header.as_ref().is_some_and(same_boot),
            instance: header
                .map(|header| header.instance)
                .filter(|instance| !instance.is_empty())
                .unwrap_or_else(new_instance),
            counters,
            tree,
            tasks,
            processes,
            stopping,
        }
    }
}

fn after(number: u64) -> u64 {
    number.saturating_add(1).min(NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::line::{ProcessLine, Written, WrittenTask};
    use super::super::state::StateLine;
    use super::*;
    use crate::engine::{Abort, Attempts, Cause, Config, Ended, Engine, Main, State, Then};
    use crate::vocabulary::{
        Containment, Exit, ExitStatus, FileSink, Identity, Mono, Now, Pid, ProcessMark, Setting,
        Sink, Stage, StartError, TaskSpec, Wall,
    };
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn pid(number: i32) -> Pid {
        Pid::new(number).unwrap()
    }

    fn header() -> Header {
        Header { format: FORMAT, instance: "abc".to_owned(), next_run: 40, ..Header::default() }
    }

    fn text(lines: &[Written<'_>]) -> Vec<u8> {
        let mut text = Vec::new();
        for line in lines {
            text.extend(serde_json::to_vec(line).unwrap());
            text.push(b'\n');
        }
        text
    }

    /// Every state that there is, each field of it at something else than its default.
    fn states() -> Vec<State> {
        let mut all = vec![
            State::Waiting { awaits: 0 },
            State::Running { main: pid(7) },
            State::Backoff { next_start: Wall::from_micros(99) },
            State::Exited,
        ];
        for cause in [Cause::Launch, Cause::After, Cause::Asked, Cause::Policy] {
            for abort in [None, Some(Abort::Timeout), Some(Abort::Stop)] {
                all.push(State::Starting { cause, main: abort.map(|_| pid(8)), abort });
            }
        }
        for status in [ExitStatus::Exited(3), ExitStatus::Signaled(9), ExitStatus::Unknown] {
            let ended = Ended { pid: pid(9), status, time: Wall::from_micros(5) };
            all.push(State::Lingering { ended });
            all.push(State::Leaving { ended });
            for oom_killed in [None, Some(false), Some(true)] {
                all.push(State::Draining { ended, oom_killed });
            }
            for main in [Main::Lives(pid(10)), Main::Ended(ended)] {
                all.push(State::Stopping { main });
                all.push(State::Killing { main });
            }
        }
        all
    }

    fn task(number: u64, state: State) -> Saved {
        let file = FileSink { max_size: Some(1000), ..FileSink::new("/var/log/x") };
        let spec = TaskSpec {
            args: vec!["a".into()],
            stdout: Some(Sink::File(file)),
            umask: Setting::Inherit,
            nice: Setting::Inherit,
            oom_score_adj: Setting::To(7),
            after: vec!["before".into()],
            inherit_stdin: true,
            ..TaskSpec::new("/bin/x")
        };
        let error = StartError {
            stage: Stage::Journal,
            errno: 28,
            errno_name: "ENOSPC".into(),
            message: "keep it".into(),
            retry: true,
            time: Wall::from_micros(3),
        };
        let exit = Exit {
            pid: pid(4),
            status: ExitStatus::Exited(1),
            oom_killed: Some(false),
            time: Wall::from_micros(2),
        };
        Saved {
            identity: Arc::new(Identity::new(
                format!("t{number}").into(),
                number,
                Wall::from_micros(1),
                spec,
            )),
            after: vec![1],
            state,
            deadline: Some(Mono::from_nanos(77)),
            then: Then::Remove,
            start_timeout: Duration::from_millis(1500),
            run: 12,
            began: Mono::from_nanos(55),
            started: Some(Wall::from_micros(44)),
            restarts: 3,
            attempts: Attempts {
                streak: 2,
                times: vec![Mono::from_nanos(1), Mono::from_nanos(2)],
                counted: Some((Mono::from_nanos(3), 4)),
            },
            exit: Some(exit),
            error: Some(Arc::new(error)),
            containment: Some(Containment::Session),
            gave_up: true,
            output_pending: true,
            adopted: true,
        }
    }

    fn kept(bytes: &[u8]) -> Kept {
        let mut complaints = Vec::new();
        let told = parse(bytes, &mut complaints).unwrap();
        assert!(complaints.is_empty(), "{complaints:?}");
        told.into_kept(|_| true)
    }

    #[test]
    fn what_is_written_is_read() {
        for (number, state) in (2..).zip(states()) {
            let saved = task(number, state);
            let line = StateLine::of(&saved);
            let spec = saved.identity.spec();
            let whole = WrittenTask::of(&saved, &spec, &line);
            let read = kept(&text(&[Written::Journal(&header()), Written::Task(&whole)]));
            assert_eq!(read.tasks, std::slice::from_ref(&saved));
            assert_eq!(read.counters.next_launch, number + 1);
            // The same by way of a task that stood elsewhere.
            let other = task(number, State::Exited);
            let mut first = StateLine::of(&other);
            first.run = 1;
            let whole = WrittenTask::of(&other, &spec, &first);
            let lines = [Written::Journal(&header()), Written::Task(&whole), Written::State(&line)];
            assert_eq!(kept(&text(&lines)).tasks, [saved]);
        }
    }

    #[test]
    fn processes_are_read_with_their_marks() {
        let start = ProcessMark::Start { ticks: 1, time_namespace: 2, pid_namespace: 3 };
        for (mark, init) in [
            (None, None),
            (Some(ProcessMark::Inode(1 << 40)), Some((pid(3), start))),
            (Some(start), Some((pid(4), ProcessMark::Inode(5)))),
        ] {
            let process = Process {
                launch: 1,
                run: 41,
                pid: pid(6),
                mark,
                init,
                owner: Some((1, 2)),
                groups: vec!["/sys/fs/cgroup/pids/x".into()],
            };
            let line = ProcessLine::of(&process);
            let read = kept(&text(&[Written::Journal(&header()), Written::Process(line)]));
            assert_eq!(read.processes.get(&1), Some(&process));
            assert_eq!(read.counters.next_run, 42);
        }
    }

    #[test]
    fn a_journal_may_end_anywhere() {
        let saved = task(2, State::Running { main: pid(7) });
        let line = StateLine::of(&saved);
        let spec = saved.identity.spec();
        let whole = WrittenTask::of(&saved, &spec, &line);
        let bytes = text(&[
            Written::Journal(&header()),
            Written::Tree("/sys/fs/cgroup/x"),
            Written::Task(&whole),
            Written::Sequence(9),
            Written::State(&line),
            Written::Stopping(true),
            Written::Removed(2),
        ]);
        for end in 0..=bytes.len() {
            let mut complaints = Vec::new();
            let told = parse(&bytes[..end], &mut complaints).unwrap();
            let kept = told.into_kept(|_| true);
            let begun = bytes[..end].contains(&b'\n');
            assert_eq!(complaints.is_empty(), begun || end == 0, "{end}: {complaints:?}");
            assert!(!kept.instance.is_empty());
        }
        let kept = kept(&bytes);
        assert_eq!((kept.tasks.len(), kept.counters.next_launch), (0, 3));
        assert!(kept.stopping && kept.counters.sequence == 9);
    }

    #[test]
    fn of_two_launches_of_a_name_the_later_one_counts() {
        let (first, second) = (task(2, State::Exited), task(3, State::Exited));
        let second = Saved {
            identity: Arc::new(Identity::new(
                first.identity.name.clone(),
                3,
                first.identity.created,
                first.identity.spec().into_owned(),
            )),
            ..second
        };
        let lines = [StateLine::of(&first), StateLine::of(&second)];
        let spec = first.identity.spec();
        let whole =
            [WrittenTask::of(&first, &spec, &lines[0]), WrittenTask::of(&second, &spec, &lines[1])];
        let bytes = text(&[
            Written::Journal(&header()),
            Written::Task(&whole[0]),
            Written::Task(&whole[1]),
        ]);
        let read = kept(&bytes);
        assert_eq!(read.tasks, [second]);
    }

    /// Whatever a journal says, an engine that goes on with it comes to no harm.
    fn go_on(bytes: &[u8], same_boot: bool) {
        let Ok(told) = parse(bytes, &mut Vec::new()) else { return };
        let kept = told.into_kept(|_| true);
        let mut engine = Engine::new(Config {
            instance: kept.instance,
            seed: 0,
            first_launch: kept.counters.next_launch,
            first_run: kept.counters.next_run,
            first_event: kept.counters.sequence + 1,
        });
        let count = kept.tasks.len();
        assert_eq!(engine.restore(Now::default(), kept.tasks, same_boot).len(), count);
        while engine.next_output().is_some() {}
        engine.expire(Now { mono: Mono::from_nanos(1 << 60), ..Now::default() });
        while engine.next_output().is_some() {}
    }

    proptest! {
        #[test]
        fn a_journal_may_say_anything(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            swaps in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 0..6),
            same_boot in any::<bool>(),
        ) {
            let mut bytes = text(&[Written::Journal(&header())]);
            for (number, state) in (2..).zip(states()) {
                let saved = task(number, state);
                let spec = saved.identity.spec();
                let line = StateLine::of(&saved);
                let whole = WrittenTask::of(&saved, &spec, &line);
                bytes.extend(text(&[Written::Task(&whole), Written::State(&line)]));
            }
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
            for [one, other] in swaps {
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
            }
            let mut bytes = lines.concat();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            go_on(&bytes, same_boot);
        }
    }
}
