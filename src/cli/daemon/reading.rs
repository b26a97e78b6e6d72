//! A task file that is read again: another process of this program parses it, and what that tells
//! is compared with what is, a little in each turn.

use super::declared::{Changes, Comparison, Declared, name_of};
use super::told::{Line, ToldProblem, ToldTask, spec_of};
use crate::control::{ReloadCall, ReloadRefusal};
use crate::reactor::{Ready, Supervisor, WatchId};
use crate::sys::successor::{Asked, Successor};
use crate::vocabulary::limits::READING_TURN_TIME;
use crate::vocabulary::{InvalidField, cause};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

/// Our own program, whatever stands in its place on disk by now.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// One read.
const READ_BYTES: usize = 64 << 10;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Reading {
    /// Who waits for it, if anybody.
    pub(super) call: Option<ReloadCall>,
    asked: Asked,
    watch: WatchId,
    /// More may have come.
    readable: bool,
    /// What was read and is not understood yet; the part before `taken` is.
    text: Vec<u8>,
    taken: usize,
    /// The task whose spec is the next line.
    task: Option<ToldTask>,
    comparison: Comparison,
    problems: Vec<ToldProblem>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Progress {
    NotYet,
    Read(Changes),
    Refused(ReloadRefusal),
    /// The other process has failed, so that the file has to be read here.
    Failed(String),
}

/// What a line comes to.
enum Step {
    Next,
    End,
}

impl Reading {
    /// Has a process read the file.
    pub(super) fn begin(
        file: &Path,
        call: Option<ReloadCall>,
        supervisor: &mut Supervisor,
    ) -> Result<Reading, (Option<ReloadCall>, String)> {
        let asked = match ask(file) {
            Ok(asked) => asked,
            Err(why) => return Err((call, why)),
        };
        let watch = match supervisor.watch(asked.answer.as_fd()) {
            Ok(watch) => watch,
            Err(error) => {
                asked.kill();
                return Err((call, format!("watch what it tells: {}", cause(&error))));
            }
        };
        Ok(Reading {
            call,
            asked,
            watch,
            readable: true,
            text: Vec::new(),
            taken: 0,
            task: None,
            comparison: Comparison::default(),
            problems: Vec::new(),
        })
    }

    /// Whether this is about it.
    pub(super) fn take_ready(&mut self, ready: &Ready) -> bool {
        let ours = ready.id == self.watch;
        self.readable |= ours;
        ours
    }

    /// Whether it can go on without anything happening.
    pub(super) fn has_more(&self) -> bool {
        self.readable
    }

    /// Nothing more is wanted of it.
    pub(super) fn end(self, supervisor: &mut Supervisor) -> Option<ReloadCall> {
        supervisor.unwatch(self.watch, self.asked.answer.as_fd());
        // Where it has told all it ends by itself just now.
        self.asked.kill();
        self.call
    }

    /// Takes what has come, as far as a turn has time for it.
    pub(super) fn go_on(&mut self, declared: &Declared, supervisor: &Supervisor) -> Progress {
        let until = Instant::now() + READING_TURN_TIME;
        while Instant::now() < until {
            match self.next_line() {
                Some(range) => match self.take(range, declared, supervisor) {
                    Ok(Step::Next) => {}
                    Ok(Step::End) => return self.finish(declared, supervisor),
                    Err(why) => return Progress::Failed(why),
                },
                None if !self.readable => return Progress::NotYet,
                None => {
                    if let Err(why) = self.read() {
                        return Progress::Failed(why);
                    }
                }
            }
        }
        Progress::NotYet
    }

    fn next_line(&mut self) -> Option<std::ops::Range<usize>> {
        let from = self.taken;
        let rest = self.text.get(from..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        self.taken = from + length + 1;
        Some(from..from + length)
    }

    /// Reads one piece behind what is there.
    fn read(&mut self) -> Result<(), String> {
        self.text.drain(..self.taken);
        self.taken = 0;
        let before = self.text.len();
        self.text.resize(before + READ_BYTES, 0);
        let room = self.text.get_mut(before..).unwrap_or_default();
        let read = (&self.asked.answer).read(room);
        self.text.truncate(before + read.as_ref().copied().unwrap_or_default());
        match read {
            Ok(0) => Err("it has ended before its time".to_owned()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(())
            }
            Err(error) => Err(format!("read what it tells: {}", cause(&error))),
        }
    }

    fn take(
        &mut self,
        range: std::ops::Range<usize>,
        declared: &Declared,
        supervisor: &Supervisor,
    ) -> Result<Step, String> {
        let line = self.text.get(range).unwrap_or_default();
        if let Some(task) = self.task.take() {
            let find = |name: &str| supervisor.find(name);
            let spec = || understood(line, &task);
            self.comparison.add(declared, find, &task, spec)?;
            return Ok(Step::Next);
        }
        let told = serde_json::from_slice(line);
        match told.map_err(|_| format!("it says {:?}", String::from_utf8_lossy(line)))? {
            Line::Task(task) => self.task = Some(task),
            Line::Warning(text) => log::warn!("{text}"),
            Line::Problem(problem) => self.problems.push(problem),
            Line::End => return Ok(Step::End),
        }
        Ok(Step::Next)
    }

    fn finish(&mut self, declared: &Declared, supervisor: &Supervisor) -> Progress {
        for problem in &self.problems {
            problem.text.lines().for_each(|line| log::error!("{line}"));
        }
        let Some(first) = self.problems.first() else {
            let comparison = std::mem::take(&mut self.comparison);
            let name_of = |task| name_of(task, supervisor);
            return Progress::Read(comparison.finish(declared, name_of));
        };
        log::error!("nothing was changed, since the task file cannot be");
        let field = InvalidField { field: first.field.clone(), reason: first.reason.clone() };
        Progress::Refused(ReloadRefusal::InvalidTask { field, line: first.line })
    }
}

/// The line of a spec, if it tells one.
fn understood<'l>(line: &'l [u8], task: &ToldTask) -> Result<Cow<'l, str>, String> {
    let line = str::from_utf8(line).map_err(|error| error.to_string())?;
    spec_of(line, task.after.clone()).map_err(|wrong| wrong.to_string())?;
    Ok(line.into())
}

fn ask(file: &Path) -> Result<Asked, String> {
    let program = Successor::open(Path::new(OWN_PROGRAM))
        .map_err(|errno| format!("open {OWN_PROGRAM}: {}", errno.desc()))?;
    let words = ["ostler", "read-tasks", "--"].map(OsString::from);
    let words: Vec<OsString> = words.into_iter().chain([file.as_os_str().to_owned()]).collect();
    let input = File::open("/dev/null").map_err(|e| format!("open /dev/null: {}", cause(&e)))?;
    program.ask(&words, input).map_err(|error| format!("execute it: {}", cause(&error)))
}
