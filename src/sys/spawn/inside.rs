//! Making processes in namespaces: the init of a pid namespace, and whatever enters those of a
//! living process.

use super::{Child, Entry, Placement, Spawned, Spawner, StatusPipe, Streams};
use crate::sys::child::Launch;
use crate::sys::failure::start_error;
use crate::sys::namespaces::Namespaces;
use crate::sys::passage::{self, Passage, Passed};
use crate::sys::plan::{InitPlan, Plan};
use crate::sys::{explain, explain_namespaces, init};
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

impl Spawner {
    /// Makes the init, which goes on to make the namespaces of its task.
    pub(super) fn spawn_init(
        &mut self,
        plan: &InitPlan,
        group: Option<&Placement>,
    ) -> Result<Spawned, StartError> {
        let image = self.init_image()?;
        let (pipe, end) = StatusPipe::new(Arc::clone(&plan.program))?;
        let staged = self.staging.stage(&Streams { stdin: Some(image), ..Streams::default() })?;
        let (birth, joins) = self.birth(group);
        let launch = Launch {
            streams: staged.streams,
            joins,
            status: Some(end.as_raw_fd()),
            ..self.launch(&plan.program)
        };
        let child = self.clone_copied(plan.born_in, birth, &launch)?;
        if child.pidfd.is_none() {
            // Nothing could enter by it. No kernel that has what else it takes does this.
            child.kill_and_reap();
            let tried = "get a pidfd of the init";
            return Err(start_error(Stage::Namespace, Errno::EBADF, tried));
        }
        Ok(Spawned::Preparing(child, pipe))
    }

    /// Whether the program of the inits is there.
    #[cfg(test)]
    pub(crate) fn has_init_image(&self) -> bool {
        self.init_image.is_some()
    }

    fn init_image(&mut self) -> Result<RawFd, StartError> {
        let image = match self.init_image.take() {
            Some(image) => image,
            None => init::image()?,
        };
        Ok(self.init_image.insert(image).as_raw_fd())
    }

    /// Makes the process of a command that is run in the context of a task; `inside` has the task's
    /// namespaces, where it has some. It always gets memory of its own, since it joins a group that
    /// lives. After an error nothing of it is left.
    pub(crate) fn spawn_exec(
        &self,
        plan: &Plan,
        streams: &Streams,
        group: Option<&Placement>,
        inside: Option<Entry<'_>>,
    ) -> Result<(Child, StatusPipe), StartError> {
        match inside {
            Some(entry) => self.make_inside(plan, streams, group, entry),
            None => self.make_copied(plan, streams, group),
        }
    }

    /// Makes the process in the namespaces of one that lives: a task in those that its init has
    /// made, or a command in those of a task. It is our own child in either case. After an error
    /// nothing of it is left.
    pub(crate) fn spawn_inside(
        &self,
        plan: &Plan,
        streams: Streams,
        group: Option<&Placement>,
        entry: Entry<'_>,
    ) -> Result<Spawned, StartError> {
        let (child, pipe) = self.make_inside(plan, &streams, group, entry)?;
        Ok(Spawned::Starting(child, pipe))
    }

    fn make_inside(
        &self,
        plan: &Plan,
        streams: &Streams,
        group: Option<&Placement>,
        entry: Entry<'_>,
    ) -> Result<(Child, StatusPipe), StartError> {
        let (pipe, end) = StatusPipe::new(Arc::clone(&plan.program))?;
        let staged = self.staging.stage(streams)?;
        let process = entry.process.as_raw_fd();
        let by_birth = match plan.namespaces.has(Namespaces::PID) {
            // It is born in what the child in between has entered.
            true => plan.namespaces.and(Namespaces::PID.with(Namespaces::USER)),
            false => Namespaces::default(),
        };
        let enters = plan.namespaces.without(by_birth);
        let (birth, joins) = match by_birth.is_empty() {
            true => self.birth(group),
            // The child in between is born elsewhere.
            false => (None, group.map_or(&[][..], |group| &group.procs)),
        };
        let launch = Launch {
            streams: staged.streams,
            joins,
            enters: (!enters.is_empty()).then_some((process, enters)),
            status: Some(end.as_raw_fd()),
            ..self.launch(&plan.program)
        };
        let child = match by_birth.is_empty() {
            true => self.clone_copied(Namespaces::default(), birth, &launch)?,
            false => self.pass(process, by_birth, &launch)?,
        };
        Ok((child, pipe))
    }

    /// Makes a process that is born in a pid namespace which is there already.
    fn pass(
        &self,
        process: RawFd,
        namespaces: Namespaces,
        launch: &Launch<'_>,
    ) -> Result<Child, StartError> {
        let passage = Passage::new(process, namespaces, launch);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
        let between = self
            .clone3(flags as u64, None, passage::pass, &passage)
            .map_err(|errno| explain::clone_failure(errno, false))?;
        between.reap();
        let errno = match passage.outcome() {
            Passed::Made { pid, pidfd } => {
                let made = Child::new(usize::try_from(pid).unwrap_or_default(), pidfd);
                return made.map_err(|errno| explain::clone_failure(errno, false));
            }
            Passed::Killed => return Err(explain::died()),
            Passed::NotEntered(errno) => {
                return Err(explain_namespaces::not_entered(Errno::from_raw(errno)));
            }
            Passed::NotMade(errno) => Errno::from_raw(errno),
        };
        Err(match errno {
            // How the kernel says that the init has ended.
            Errno::ENOMEM => explain_namespaces::not_entered(errno),
            _ => explain::clone_failure(errno, false),
        })
    }
}
