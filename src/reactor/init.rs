//! Process 1 of the pid namespace of a run: it is there before the main process, and gone after the
//! last one.
//!
//! Whoever ends it ends all that is in the namespace, which is how what is left of such a run is
//! killed; asked to leave, it stays for as long as there is something left.

use super::run::{Init, Inside, Main};
use super::start::{key_of, streams};
use super::token::{GENERATION_MASK, Key, Owner};
use super::{Supervisor, register};
use crate::engine::Input;
use crate::sys::adopted::{self, Ending};
use crate::sys::failure::start_error;
use crate::sys::reap::{Keep, Look};
use crate::sys::spawn::{Child, Entry, Spawned, StatusPipe};
use crate::sys::{init, pidfd, processes, reap};
use crate::vocabulary::{Containment, Pid, Signal, Stage, StartError, TaskId};
use mio::Interest;
use nix::errno::Errno;
use slab::Slab;
use std::os::fd::{AsFd, OwnedFd};

/// Inits that outlive their runs, with what those have left.
#[derive(Debug, Default)]
pub(super) struct LeftInits {
    inits: Slab<(u32, Init)>,
    next_generation: u32,
}

impl LeftInits {
    fn insert(&mut self, init: Init) -> Key {
        self.next_generation = self.next_generation.wrapping_add(1) & GENERATION_MASK;
        let generation = self.next_generation;
        Key { index: self.inits.insert((generation, init)) as u32, generation }
    }

    #[cfg(feature = "cli")]
    pub(super) fn all(&self) -> impl Iterator<Item = &Init> {
        self.inits.iter().map(|(_, (_, init))| init)
    }

    fn get(&self, key: Key) -> Option<&Init> {
        let (generation, init) = self.inits.get(key.index as usize)?;
        (*generation == key.generation).then_some(init)
    }
}

impl Supervisor {
    pub(super) fn watch_init(&self, key: Key, pidfd: &OwnedFd) -> Result<(), StartError> {
        self.watch_as(Owner::Process(key), pidfd)
    }

    fn watch_as(&self, owner: Owner, pidfd: &OwnedFd) -> Result<(), StartError> {
        register(&self.poll, pidfd.as_fd(), owner, Interest::READABLE).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            start_error(Stage::Namespace, errno, "watch the init of the pid namespace")
        })
    }

    /// The init of a run is ready: makes the main process.
    pub(super) fn enter_inside(&mut self, task: TaskId, inside: Inside) {
        let Some(run) = self.runs.get(task) else { return };
        let made = match (&run.pidfd, run.main) {
            (Some(init), Main::Alive) => {
                let entry = Entry { process: init.as_fd() };
                let ends = streams(inside.stdin, &inside.ends);
                self.spawner.spawn_inside(&inside.plan, ends, inside.group.as_ref(), entry)
            }
            _ => Err(start_error(Stage::Namespace, Errno::ESRCH, "enter the pid namespace")),
        };
        match made {
            Ok(Spawned::Starting(child, pipe) | Spawned::Preparing(child, pipe)) => {
                self.follow_init(task, child, Some(pipe));
            }
            Ok(Spawned::Running(child)) => self.follow_init(task, child, None),
            Err(error) => {
                if let Some(start) = self.runs.get_mut(task).and_then(|run| run.start.as_mut()) {
                    start.failure.get_or_insert(error);
                }
                self.kill_main_and_group(task);
            }
        }
    }

    /// The main process is there.
    fn follow_init(&mut self, task: TaskId, child: Child, pipe: Option<StatusPipe>) {
        let Child { pid, pidfd } = child;
        let key = key_of(task);
        let mark = self.mark_of(pid, pidfd.as_ref());
        let (pidfd, watched) = self.watch_process(key, pid, pidfd);
        let failure = pipe.as_ref().and_then(|pipe| self.watch_start(key, pipe).err());
        let Some(run) = self.runs.enter(task, pid, pidfd, watched) else { return };
        run.mark = mark;
        let containment = run.containment;
        let (running, failed) = (pipe.is_none(), failure.is_some());
        match &mut run.start {
            Some(start) if !running => (start.pipe, start.failure) = (pipe, failure),
            start => *start = None,
        }
        self.note_process(task);
        self.inputs.push_back((task, Input::Spawned { pid, containment }));
        if running {
            self.inputs.push_back((task, Input::ExecSucceeded));
        }
        if failed {
            self.kill_main_and_group(task);
        }
    }

    /// Reaps the init of a run where it has ended. True: there is none any more.
    pub(super) fn reap_init(&mut self, task: TaskId) -> bool {
        let Some(init) = self.runs.get(task).and_then(|run| run.init.as_ref()) else { return true };
        let pid = init.pid;
        let adopted = self.runs.get(task).is_some_and(|run| run.adopted);
        let look = || reap::look(pid, Some(&init.pidfd), Keep::Nothing);
        let alive = match adopted {
            true => adopted::ending(pid, init.pidfd.as_fd()) == Ending::Alive,
            false => look() == Look::Alive,
        };
        if alive {
            return false;
        }
        if let Some(run) = self.runs.get_mut(task) {
            // Closing it also takes it out of the epoll set.
            run.init = None;
        }
        self.runs.forget_pid(pid, task);
        if self.child_signal.is_some() && !adopted {
            self.sweep.note_reaped(pid);
        }
        true
    }

    /// The init may have ended, which a run that is over waits for.
    pub(super) fn init_ended(&mut self, task: TaskId) {
        self.watch_adopted_init(task);
        if self.runs.get(task).is_none_or(|run| run.init.is_none()) || !self.reap_init(task) {
            return;
        }
        let Some(run) = self.runs.get(task) else { return };
        match (run.over, run.containment) {
            (Some(oom_killed), _) => self.run_over(task, oom_killed),
            // Nothing in the namespace is left.
            (None, Containment::Session) if run.main != Main::Alive && run.rest.is_some() => {
                self.emptied(task);
            }
            (None, _) => {}
        }
    }

    /// Ends everything in the pid namespace of a run.
    pub(super) fn kill_init(&self, task: TaskId) {
        if let Some(init) = self.runs.get(task).and_then(|run| run.init.as_ref()) {
            tell(init, Signal::KILL);
        }
    }

    /// Has the init end once there is nothing left in its namespace.
    pub(super) fn let_init_leave(&self, task: TaskId) {
        if let Some(init) = self.runs.get(task).and_then(|run| run.init.as_ref()) {
            tell(init, init::LEAVE);
        }
    }

    /// The same, where the run does not wait for that.
    pub(super) fn leave_init(&mut self, task: TaskId) {
        let Some(run) = self.runs.get_mut(task) else { return };
        let Some(init) = run.init.take() else { return };
        let pid = init.pid;
        tell(&init, init::LEAVE);
        self.runs.forget_pid(pid, task);
        // The same descriptor, for somebody else.
        let _ = super::deregister(&self.poll, init.pidfd.as_fd());
        self.follow_left_init(*init);
    }

    /// Reaps an init that has outlived its run once it ends.
    pub(super) fn follow_left_init(&mut self, init: Init) {
        let pid = init.pid;
        let key = self.left_inits.insert(init);
        let Some(init) = self.left_inits.get(key) else { return };
        if let Err(error) = self.watch_as(Owner::Init(key), &init.pidfd) {
            log::warn!("init {pid} will not be reaped: {error}");
        }
        self.left_init_ended(key);
    }

    /// An init that was left may have ended.
    pub(super) fn left_init_ended(&mut self, key: Key) {
        let Some(init) = self.left_inits.get(key) else { return };
        let pid = init.pid;
        if reap::look(pid, Some(&init.pidfd), Keep::Nothing) != Look::Alive {
            self.left_inits.inits.remove(key.index as usize);
            if self.child_signal.is_some() {
                self.sweep.note_reaped(pid);
            }
        }
    }

    /// The process of a run that is told nothing.
    pub(super) fn init_of(&self, task: TaskId) -> Option<Pid> {
        self.runs.get(task)?.init.as_ref().map(|init| init.pid)
    }
}

fn tell(init: &Init, signal: Signal) {
    let told = match pidfd::send_signal(init.pidfd.as_fd(), signal) {
        // It has ended.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        // It is not reaped, so the number is its own.
        Err(_) => processes::kill(init.pid, signal),
    };
    match told {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => log::warn!("cannot send {signal} to init {}: {}", init.pid, errno.desc()),
    }
}
