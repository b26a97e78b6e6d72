//! stub
#![allow(missing_docs, unused, clippy::todo)]
use super::token::Key;
use crate::engine::Input;
use crate::vocabulary::*;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
#[derive(Debug)]
pub(crate) struct Relay;
pub(crate) struct RelayOptions {
    pub state_dir: Option<PathBuf>,
    pub refuse_inherit: bool,
}
pub(crate) struct ChildEnds {
    pub stdout: ChildEnd,
    pub stderr: ChildEnd,
}
pub(crate) enum ChildEnd {
    Null,
    Inherit,
    Fd(Rc<OwnedFd>),
}
impl Relay {
    pub(crate) fn new(registry: mio::Registry, options: RelayOptions) -> Relay {
        todo!()
    }
    pub(crate) fn open(
        &mut self,
        task: TaskId,
        name: &str,
        spec: &TaskSpec,
        owner: Option<(u32, u32)>,
    ) -> Result<(), StartError> {
        todo!()
    }
    pub(crate) fn begin_run(&mut self, task: TaskId, run: u64) -> Result<ChildEnds, StartError> {
        todo!()
    }
    pub(crate) fn abort_run(&mut self, task: TaskId) {}
    pub(crate) fn finish_run(&mut self, now: Mono, task: TaskId) {}
    pub(crate) fn close(&mut self, now: Mono, task: TaskId) {}
    pub(crate) fn forget(&mut self, now: Mono, task: TaskId) {}
    pub(crate) fn source_ready(&mut self, key: Key, readable: bool, closed: bool) {}
    pub(crate) fn target_ready(&mut self, key: Key) {}
    pub(crate) fn work(&mut self, now: Mono) -> bool {
        todo!()
    }
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        todo!()
    }
    pub(crate) fn expire(&mut self, now: Mono) {}
    pub(crate) fn next_news(&mut self) -> Option<(TaskId, Input)> {
        todo!()
    }
    pub(crate) fn relayed_bytes(&self) -> u64 {
        todo!()
    }
    pub(crate) fn descriptors(&self) -> u64 {
        todo!()
    }
    pub(crate) fn descriptors_needed(spec: &TaskSpec) -> u64 {
        todo!()
    }
}
