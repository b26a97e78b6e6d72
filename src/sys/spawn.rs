//! stub
#![allow(missing_docs, unused, clippy::todo)]
use crate::vocabulary::*;
use std::io;
use std::os::fd::*;
use std::path::PathBuf;
#[derive(Debug)]
pub(crate) struct Spawner;
pub(crate) struct SpawnerOptions {
    pub own_process: bool,
    pub always_copied: bool,
}
pub(crate) struct Plan;
impl Plan {
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        todo!()
    }
}
impl Spawner {
    pub(crate) fn new(options: SpawnerOptions) -> io::Result<Spawner> {
        todo!()
    }
    pub(crate) fn plan(&mut self, spec: &TaskSpec) -> Result<Plan, StartError> {
        todo!()
    }
    pub(crate) fn spawn(
        &mut self,
        plan: &Plan,
        streams: Streams,
        group: Option<&Placement>,
    ) -> Result<Spawned, StartError> {
        todo!()
    }
}
pub(crate) struct Streams {
    pub stdin: Option<RawFd>,
    pub stdout: Option<RawFd>,
    pub stderr: Option<RawFd>,
}
pub(crate) struct Placement;
impl Placement {
    pub(crate) fn new(directory: OwnedFd, path: PathBuf) -> Placement {
        todo!()
    }
}
pub(crate) struct Child {
    pub pid: Pid,
    pub pidfd: Option<OwnedFd>,
}
pub(crate) enum Spawned {
    Running(Child),
    Starting(Child, StatusPipe),
}
#[derive(Debug)]
pub(crate) struct StatusPipe;
impl AsFd for StatusPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
impl StatusPipe {
    pub(crate) fn outcome(&mut self) -> Option<Result<(), StartError>> {
        todo!()
    }
}
