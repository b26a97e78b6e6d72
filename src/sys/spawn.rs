//! Making the process of a task: the parent's half.
//!
//! There are two ways. The shared one is quick whatever the size of the supervisor: the child has
//! its memory and its descriptor table, and the supervisor waits until the exec, which a child in a
//! fresh group and on local file systems reaches within microseconds. The copied one is for
//! everything that may take time: the child has memory and descriptors of its own and reports
//! through a pipe. In both, the child runs the same code (`child`).

mod inside;

use super::child::{self, EXECUTING, FAILED, Launch, Place, Report};
use super::child_stack::ChildStack;
use super::descriptor_table::DescriptorTable;
use super::dumpable::SharedMemory;
use super::explain;
use super::explain_namespaces;
use super::faults;
use super::host::Host;
use super::mounts::Mounts;
use super::namespaces::Namespaces;
use super::pidfd;
use super::plan;
pub(crate) use super::plan::Plan;
use super::processes;
use super::program::Program;
use super::raw::{self, CloneArgs, call};
use super::staging::Staging;
pub(crate) use super::staging::Streams;
pub(crate) use super::status_pipe::StatusPipe;
use crate::vocabulary::limits::STAGING_FD_MAX;
use crate::vocabulary::{Pid, Signal, StartError, TaskSpec};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::RawFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How children are made.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct SpawnerOptions {
    /// The process belongs to the supervisor alone: its limit of descriptors is raised, and its
    /// dumpable flag is left as a child's change of user leaves it.
    pub(crate) own_process: bool,
    /// Never in the shared way.
    pub(crate) always_copied: bool,
}

/// Where a child is put.
#[derive(Debug)]
pub(crate) struct Placement {
    /// The child is born here,
    directory: Option<OwnedFd>,
    /// or writes itself into these.
    procs: Vec<CString>,
    /// It cannot be born in all of them, or they may hold it back so that nobody may wait for it.
    copied: bool,
    /// The copied way, too, has it born in `directory`, and join only what comes behind that.
    born_copied: bool,
}

/// A process that was made. Whoever has it reaps it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    /// Absent where the kernel cannot give one with the process.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Spawned {
    /// It executes the command.
    Running(Child),
    /// It is on the way there.
    Starting(Child, StatusPipe),
    /// This is the init, on the way to where [`Spawner::spawn_inside`] can make the process.
    Preparing(Child, StatusPipe),
}

/// A living process whose namespaces others enter.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// Its pidfd.
    pub(crate) process: BorrowedFd<'a>,
}

/// Makes the children of one supervisor.
#[derive(Debug)]
pub(crate) struct Spawner {
    options: SpawnerOptions,
    host: Host,
    mounts: Mounts,
    staging: Staging,
    /// Absent where no child can share our memory.
    stack: Option<ChildStack>,
    /// What children that share it find large enough.
    table: DescriptorTable,
    /// Children in a row that were killed at birth in their group.
    dead_newborns: u32,
    /// One that was born in its group has lived.
    newborns_live: bool,
    /// The program of every init, made when the first one is wanted.
    init_image: Option<OwnedFd>,
}

/// After so many the kernel is taken to kill whatever we make in a group: our own group, or one
/// above, was once emptied by cgroup.kill.
const DEAD_NEWBORNS_MAX: u32 = 2;

impl Placement {
    /// Into a v2 group that was made for this launch: nothing is in it, it is not frozen, and
    /// memory.oom.group is set neither in it nor above. `directory` may be an O_PATH descriptor.
    pub(crate) fn new(directory: OwnedFd, group: PathBuf) -> Placement {
        Placement {
            directory: Some(directory),
            procs: vec![procs_of(group)],
            copied: false,
            born_copied: false,
        }
    }

    /// Into these v1 groups as well, or alone. With `slows`, or with any group, the copied way.
    pub(crate) fn and_into(
        placement: Option<Placement>,
        groups: Vec<PathBuf>,
        slows: bool,
    ) -> Option<Placement> {
        if placement.is_none() && groups.is_empty() {
            return None;
        }
        let Placement { directory, mut procs, born_copied, .. } = placement.unwrap_or(Placement {
            directory: None,
            procs: Vec::new(),
            copied: true,
            born_copied: false,
        });
        let copied = slows || !groups.is_empty();
        procs.extend(groups.into_iter().map(procs_of));
        Some(Placement { directory, procs, copied, born_copied })
    }

    /// Into a v2 group inside that of a living task, or into that itself, and these v1 groups. To
    /// join it would take the milliseconds that moving a process takes: the child is born there.
    pub(crate) fn in_living(directory: OwnedFd, group: PathBuf, others: Vec<PathBuf>) -> Placement {
        let procs = std::iter::once(group).chain(others).map(procs_of).collect();
        Placement { directory: Some(directory), procs, copied: true, born_copied: true }
    }

    /// Whether a v2 group holds the child and all that comes of it.
    pub(crate) fn contains(&self) -> bool {
        self.directory.is_some()
    }
}

fn procs_of(group: PathBuf) -> CString {
    let mut procs = group.into_os_string().into_vec();
    procs.extend_from_slice(b"/cgroup.procs");
    // The path of a directory that is there has no NUL in it.
    CString::new(procs).unwrap_or_default()
}

impl Spawner {
    /// Looks at what this process and this system are, and reserves what every launch needs.
    pub(crate) fn new(options: SpawnerOptions) -> io::Result<Spawner> {
        let staging = Staging::new()?;
        let host = Host::find(options.own_process)?;
        let stack = if host.can_share() { Some(ChildStack::new()?) } else { None };
        let mounts = Mounts::new();
        let table = DescriptorTable::default();
        table.make_room(staging.null());
        let init_image = None;
        Ok(Spawner {
            options,
            host,
            mounts,
            staging,
            stack,
            table,
            dead_newborns: 0,
            // A process of our own moves into a group made anew before it makes any.
            newborns_live: options.own_process,
            init_image,
        })
    }

    /// Goes on with what the program before this one of the same process had: its limits of
    /// descriptors before it raised them, and the program of inits.
    #[cfg(feature = "cli")]
    pub(crate) fn go_on(&mut self, nofile_before: Option<(u64, u64)>, image: Option<OwnedFd>) {
        self.host.nofile_before = nofile_before;
        self.init_image = image;
    }

    /// Limits of descriptors, soft and hard, before the soft one was raised.
    #[cfg(feature = "cli")]
    pub(crate) fn nofile_before(&self) -> Option<(u64, u64)> {
        self.host.nofile_before
    }

    /// The program of inits, once there is one.
    #[cfg(feature = "cli")]
    pub(crate) fn init_program(&self) -> Option<RawFd> {
        self.init_image.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Looks everything up that a launch of this task needs. A name service may be asked.
    pub(crate) fn plan(&mut self, spec: &TaskSpec) -> Result<Plan, StartError> {
        plan::make(spec, plan::Place::New, &self.host, &mut self.mounts)
    }

    /// The same for a command in the namespaces of this task, which lives: for
    /// [`Spawner::spawn_exec`]. A task without any is none to enter. With `terminal` its streams
    /// are one, which becomes the controlling one of its session.
    pub(crate) fn plan_inside(
        &mut self,
        spec: &TaskSpec,
        terminal: bool,
    ) -> Result<Plan, StartError> {
        plan::make(spec, plan::Place::Inside { terminal }, &self.host, &mut self.mounts)
    }

    /// Makes the process, or where it is to have a pid namespace of its own the init of that.
    /// After an error nothing of it is left.
    pub(crate) fn spawn(
        &mut self,
        plan: &Plan,
        streams: Streams,
        group: Option<&Placement>,
    ) -> Result<Spawned, StartError> {
        if let Some(init) = &plan.init {
            return self.spawn_init(init, group);
        }
        let viable =
            group.is_none_or(|group| !group.copied && self.dead_newborns < DEAD_NEWBORNS_MAX);
        let shares = plan.may_share && viable && !self.options.always_copied;
        if !shares || self.stack.is_none() {
            return self.spawn_copied(plan, &streams, group);
        }
        if let Some(child) = self.spawn_shared(plan, &streams, group)? {
            self.dead_newborns = 0;
            self.newborns_live |= group.is_some();
            return Ok(Spawned::Running(child));
        }
        let spawned = self.spawn_copied(plan, &streams, group)?;
        self.dead_newborns += u32::from(group.is_some());
        Ok(spawned)
    }

    /// `None`: it was killed before it could do anything.
    fn spawn_shared(
        &self,
        plan: &Plan,
        streams: &Streams,
        group: Option<&Placement>,
    ) -> Result<Option<Child>, StartError> {
        let staged = self.staging.stage(streams)?;
        let top = self.staging.top();
        let shares_table = top <= STAGING_FD_MAX;
        let launch = Launch {
            streams: staged.streams,
            shared_up_to: shares_table.then_some(top),
            ..self.launch(&plan.program)
        };
        let directory = group.and_then(|group| group.directory.as_ref());
        let mut flags = libc::CLONE_VM | libc::CLONE_VFORK;
        if shares_table {
            flags |= libc::CLONE_FILES;
        }
        let memory =
            (plan.user.is_some() && !self.options.own_process).then(SharedMemory::with_child);
        let made = self.clone3(flags as u64, directory, child::run, &launch);
        let child = made.map_err(|errno| explain::clone_failure(errno, directory.is_some()))?;
        drop((memory, staged));
        match launch.report.progress.load(Ordering::Acquire) {
            EXECUTING => return Ok(Some(child)),
            FAILED => {}
            _ => {
                child.reap();
                return Ok(None);
            }
        }
        child.reap();
        let index = launch.report.index.load(Ordering::Relaxed) as usize;
        let errno = launch.report.errno.load(Ordering::Relaxed);
        match Place::of(launch.report.place.load(Ordering::Relaxed)) {
            Some(place) => Err(explain::failure(&plan.program, place, index, errno)),
            None => Err(explain::died()),
        }
    }

    fn spawn_copied(
        &self,
        plan: &Plan,
        streams: &Streams,
        group: Option<&Placement>,
    ) -> Result<Spawned, StartError> {
        let (child, pipe) = self.make_copied(plan, streams, group)?;
        Ok(Spawned::Starting(child, pipe))
    }

    fn make_copied(
        &self,
        plan: &Plan,
        streams: &Streams,
        group: Option<&Placement>,
    ) -> Result<(Child, StatusPipe), StartError> {
        let (pipe, end) = StatusPipe::new(Arc::clone(&plan.program))?;
        let staged = self.staging.stage(streams)?;
        let (birth, joins) = self.birth(group);
        let launch = Launch {
            streams: staged.streams,
            joins,
            status: Some(end.as_raw_fd()),
            ..self.launch(&plan.program)
        };
        let child = self.clone_copied(Namespaces::default(), birth, &launch)?;
        Ok((child, pipe))
    }

    /// In which group a child with memory of its own is born, and which ones it joins. By birth
    /// would do in any fresh group, but not where newborns are killed.
    fn birth<'a>(&self, group: Option<&'a Placement>) -> (Option<&'a OwnedFd>, &'a [CString]) {
        let Some(group) = group else { return (None, &[]) };
        let lives = self.newborns_live && self.dead_newborns == 0;
        let can = self.host.clone3 && self.host.close_range && lives;
        match (&group.directory, group.procs.split_first()) {
            (Some(directory), Some((_, others))) if group.born_copied && can => {
                (Some(directory), others)
            }
            _ => (None, &group.procs),
        }
    }

    /// A child with memory of its own, born in these namespaces, and in this group.
    fn clone_copied(
        &self,
        namespaces: Namespaces,
        group: Option<&OwnedFd>,
        launch: &Launch<'_>,
    ) -> Result<Child, StartError> {
        let made = match self.host.clone3 && self.host.close_range {
            true => self.clone3(namespaces.flags(), group, child::run, launch),
            false => fork(namespaces, launch),
        };
        made.map_err(|errno| match namespaces.is_empty() || errno == Errno::EAGAIN {
            true => explain::clone_failure(errno, group.is_some()),
            false => explain_namespaces::not_made(namespaces, errno),
        })
    }

    fn launch<'a>(&self, program: &'a Program) -> Launch<'a> {
        // With clone3 the kernel resets handlers, and leaves what is ignored.
        let reset_signals = match self.host.clone3 && self.host.close_range {
            true => program.ignored_signals,
            false => u64::MAX,
        };
        Launch {
            program,
            joins: &[],
            enters: None,
            streams: [0; 3],
            shared_up_to: None,
            status: None,
            close_range: self.host.close_range,
            reset_signals,
            parent: if program.dies_with_us() { std::process::id() as i32 } else { 0 },
            report: Report::default(),
        }
    }

    /// With CLONE_VM among the flags the child runs on its own stack, else on a copy of ours. What
    /// it runs is `entry`, which has to be fit for `argument`.
    fn clone3<T>(
        &self,
        flags: u64,
        group: Option<&OwnedFd>,
        entry: raw::Entry,
        argument: &T,
    ) -> Result<Child, Errno> {
        let mut pidfd = -1;
        let mut arguments = CloneArgs {
            flags: flags | libc::CLONE_PIDFD as u64 | raw::CLONE_CLEAR_SIGHAND,
            pidfd: std::ptr::from_mut(&mut pidfd) as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        if let Some(group) = group {
            arguments.flags |= raw::CLONE_INTO_CGROUP;
            arguments.cgroup = group.as_raw_fd() as u64;
        }
        if let Some(stack) = &self.stack
            && flags & libc::CLONE_VM as u64 != 0
        {
            (arguments.stack, arguments.stack_size) = stack.range();
        }
        let made = with_signals_blocked("clone3", || {
            // SAFETY: the child runs `entry` on a whole argument, which outlives its use: with
            // CLONE_VM there is CLONE_VFORK, and the stack is used by one child at a time, since
            // we wait for it here. Without CLONE_VM everything is the child's own copy.
            unsafe { raw::clone3(&arguments, entry, std::ptr::from_ref(argument).cast()) }
        });
        let child = Child::new(made?, pidfd)?;
        if let Some(pidfd) = &child.pidfd {
            self.table.make_room(pidfd.as_fd());
        }
        Ok(child)
    }
}

/// The copied way on kernels before 5.9.
fn fork(namespaces: Namespaces, launch: &Launch<'_>) -> Result<Child, Errno> {
    let mut pidfd = -1;
    let flags = namespaces.flags();
    let made = with_signals_blocked("clone", || {
        // SAFETY: the child runs `child::run` on a whole `Launch`, its own copy.
        unsafe { raw::fork(flags, &mut pidfd, child::run, std::ptr::from_ref(launch).cast()) }
    });
    Child::new(made?, pidfd)
}

/// No handler of ours may run in the child, where it would act on our memory.
fn with_signals_blocked(
    name: &'static str,
    clone: impl FnOnce() -> raw::Answer,
) -> Result<usize, Errno> {
    let (all, mut before) = (u64::MAX, 0_u64);
    let (all, found) =
        (std::ptr::from_ref(&all) as usize, std::ptr::from_mut(&mut before) as usize);
    faults::check("rt_sigprocmask")?;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, all, found, 8])
        .map_err(Errno::from_raw)?;
    let made = match faults::check(name) {
        Ok(()) => clone().map_err(Errno::from_raw),
        Err(errno) => Err(errno),
    };
    let back = std::ptr::from_ref(&before) as usize;
    // Cannot fail: it is what the kernel gave us.
    let _ = call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, back, 0, 8]);
    made
}

impl Child {
    fn new(pid: usize, pidfd: i32) -> Result<Child, Errno> {
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        match Pid::new(pid as i32) {
            Some(pid) => Ok(Child { pid, pidfd }),
            // No kernel does this.
            None => Err(Errno::ESRCH),
        }
    }

    /// Ends it at once.
    fn kill_and_reap(self) {
        let by_pidfd = self.pidfd.as_ref().map(|fd| pidfd::send_signal(fd.as_fd(), Signal::KILL));
        if !matches!(by_pidfd, Some(Ok(()))) {
            // It is there as long as it is not reaped.
            let _ = processes::kill(self.pid, Signal::KILL);
        }
        self.reap();
    }

    /// Waits for the end of a child that has failed or was killed, and reaps it.
    pub(crate) fn reap(self) {
        let (kind, id) = match &self.pidfd {
            Some(pidfd) => (libc::P_PIDFD, pidfd.as_raw_fd() as u32),
            None => (libc::P_PID, self.pid.number() as u32),
        };
        loop {
            // SAFETY: a null siginfo is allowed.
            let result = unsafe { libc::waitid(kind, id, std::ptr::null_mut(), libc::WEXITED) };
            // Anything but an interruption means that somebody else has reaped it.
            if result == 0 || Errno::last() != Errno::EINTR {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
