//! Streams of tasks that an earlier supervisor has left: their pipes stand in the state directory,
//! by name, and hold what was not relayed.

use super::open::watch;
use super::source::Source;
use super::{End, Relay, path_of_pipe};
use crate::engine::Input;
use crate::reactor::token::Owner;
use crate::sys::pipe::{self, Ids};
use crate::vocabulary::{Identity, Mono, StreamKind, TaskId};
use nix::errno::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

/// A pipe: of which run, and which stream.
pub(crate) type PipeLeft = (u64, StreamKind);
/// The pipes of each task by its name.
pub(crate) type PipesLeft = HashMap<String, Vec<PipeLeft>>;

impl Relay {
    /// The pipes that an earlier supervisor has left.
    pub(crate) fn pipes_left(&self) -> PipesLeft {
        let mut left = PipesLeft::new();
        let Some(directory) = &self.options.state_dir else { return left };
        let Ok(entries) = std::fs::read_dir(directory) else { return left };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let parsed = name.to_str().and_then(parse);
            if let Some((task, run, kind)) = parsed
                && entry.file_type().is_ok_and(|kind| kind.is_fifo())
            {
                left.entry(task.to_owned()).or_default().push((run, kind));
            }
        }
        left
    }

    /// Removes every pipe that an earlier supervisor has left: nobody writes into them.
    pub(crate) fn sweep(&self) {
        for (name, pipes) in self.pipes_left() {
            for (run, kind) in pipes {
                self.remove_pipe(&name, run, kind);
            }
        }
    }

    /// Removes a pipe that an earlier supervisor has left.
    pub(crate) fn remove_pipe(&self, name: &str, run: u64, kind: StreamKind) {
        let Some(directory) = &self.options.state_dir else { return };
        let path = directory.join(path_of_pipe(name, run, kind));
        if let Err(errno) = pipe::remove_named_pipe(&path)
            && errno != Errno::ENOENT
        {
            log::warn!("cannot remove {path:?}: {}", errno.desc());
        }
    }

    /// Takes over the streams of a task: opens its sinks, and the pipes of its runs behind them in
    /// their order. False: not all of them can be opened now, and the task waits once a pipe is
    /// full.
    pub(crate) fn adopt(
        &mut self,
        now: Mono,
        task: TaskId,
        identity: &Arc<Identity>,
        run: Option<u64>,
        owner: Option<Ids>,
        pipes: Vec<PipeLeft>,
    ) -> bool {
        let needed = Relay::descriptors_needed(&identity.spec(), false) > 0 && run.is_some();
        if !needed && pipes.is_empty() && !self.sink_was_stored(&identity.spec()) {
            return true;
        }
        if let Err(error) = self.open(task, identity, owner) {
            log::error!("task={} output is held up: {error}", identity.name);
            let reason = error.to_string();
            for &(run, stream) in &pipes {
                let reason = reason.clone();
                self.claim_source(stream, run);
                self.news.push_back((task, Input::OutputStalled { stream, reason }));
            }
            return false;
        }
        if let Some(output) = self.output_mut(task) {
            output.run = run;
        }
        // They are few: the sort of the standard library is 3 KB of machine code for each type.
        let mut in_order: Vec<PipeLeft> = Vec::with_capacity(pipes.len());
        for pipe in pipes {
            in_order.insert(in_order.partition_point(|other| *other <= pipe), pipe);
        }
        let last = run.or(in_order.last().map(|(run, _)| *run)).unwrap_or(0);
        let mut all = true;
        for (run, kind) in in_order {
            all &= self.adopt_pipe(now, task, run, kind);
        }
        for key in self.keys(task) {
            self.store_stream(key, last);
        }
        all
    }

    /// Our ends of these pipes, so that what is in them stays when their writers end.
    pub(crate) fn hold(&self, name: &str, pipes: &[PipeLeft]) -> Vec<OwnedFd> {
        let Some(directory) = &self.options.state_dir else { return Vec::new() };
        let path = |&(run, kind): &PipeLeft| directory.join(path_of_pipe(name, run, kind));
        pipes.iter().filter_map(|pipe| pipe::open_named_reader(&path(pipe)).ok()).collect()
    }

    /// False: it cannot be opened now.
    fn adopt_pipe(&mut self, now: Mono, task: TaskId, run: u64, kind: StreamKind) -> bool {
        let Some(directory) = self.options.state_dir.clone() else { return true };
        let name = self.name_of(task).to_owned();
        let key = self.output(task).and_then(|output| match output.end(kind) {
            End::Stream(key) => Some(*key),
            _ => None,
        });
        let known = key.and_then(|key| Some((key, self.streams.get(key)?)));
        let Some((key, stream)) = known else {
            // Its sink is of another kind by now, which cannot be while the task is the same.
            self.remove_pipe(&name, run, kind);
            return true;
        };
        if stream.sources.iter().any(|source| source.run == run) {
            // It was opened before, or is that of a run that has begun meanwhile.
            return true;
        }
        let stored = self.was_stored(kind, run);
        let opened = Source::reopen(&directory, (&name, run, kind), stored).and_then(|source| {
            watch(&self.registry, source.fd(), Owner::Source(key)).map(|()| source)
        });
        match opened {
            Ok(source) => {
                if let Some(stream) = self.streams.get_mut(key) {
                    let place = stream.sources.partition_point(|other| other.run < run);
                    stream.sources.insert(place, source);
                    stream.moved_at = now;
                }
                self.enqueue(key);
                true
            }
            Err(errno) => {
                self.claim_source(kind, run);
                let path = directory.join(path_of_pipe(&name, run, kind));
                let reason = format!("cannot open {path:?}: {}", errno.desc());
                log::error!("task={name} stream={} is held up: {reason}", kind.as_str());
                self.news.push_back((task, Input::OutputStalled { stream: kind, reason }));
                false
            }
        }
    }

    /// User and group that new files of a task's sinks belong to.
    pub(crate) fn owner_of(&self, task: TaskId) -> Option<Ids> {
        self.output(task)?.owner
    }
}

/// The parts of `NAME.RUN.out` and `NAME.RUN.err`.
fn parse(file: &str) -> Option<(&str, u64, StreamKind)> {
    let (front, end) = file.rsplit_once('.')?;
    let kind = match end {
        "out" => StreamKind::Stdout,
        "err" => StreamKind::Stderr,
        _ => return None,
    };
    let (name, run) = front.rsplit_once('.')?;
    let run = run.parse().ok()?;
    (path_of_pipe(name, run, kind) == file).then_some((name, run, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_names_its_run() {
        assert_eq!(parse("web.7.out"), Some(("web", 7, StreamKind::Stdout)));
        assert_eq!(parse("a.b.1.err"), Some(("a.b", 1, StreamKind::Stderr)));
        for other in ["journal", "web.out", "web.07.out", "web.x.out", "web.7.log", ".out"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
