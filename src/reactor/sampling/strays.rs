//! Orphans of tasks that have no group, by the session and process group that they are in: their
//! parents, which would lead to them, are gone.

use super::World;
use crate::sys::clock;
use crate::sys::process_list::Everyone;
use crate::sys::reader::Reader;
use crate::vocabulary::{Mono, Pid};
use nix::errno::Errno;
use std::collections::HashMap;
use std::time::Duration;

/// How long what was found holds.
const FRESH: Duration = Duration::from_millis(50);
/// And so many times as long as it took to find, so that it costs no more than a twentieth.
const PAUSE: u32 = 20;
/// Processes that are looked at in one step, about 10 us each.
const LOOKS: usize = 16;

/// Those that were found when last looked for.
#[derive(Debug, Default)]
pub(super) struct Strays {
    by_leader: HashMap<i32, Vec<Pid>>,
    /// What was found holds until then.
    holds_until: Option<Mono>,
    search: Option<Search>,
    /// The last search could not read all.
    incomplete: bool,
}

/// A search that is under way.
#[derive(Debug)]
struct Search {
    everyone: Option<Everyone>,
    incomplete: bool,
    found: Vec<Pid>,
    by_leader: HashMap<i32, Vec<Pid>>,
    /// Time that it took so far.
    took: Duration,
}

impl Strays {
    /// The orphans in the session or process group that this process leads, or led.
    pub(super) fn of_leader(&self, leader: Pid) -> impl Iterator<Item = Pid> + '_ {
        self.by_leader.get(&leader.number()).into_iter().flatten().copied()
    }

    /// Whether some may be missing.
    pub(super) fn are_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Searches a little more, unless what is known is fresh; whether it is.
    pub(super) fn step(&mut self, world: &World<'_>, reader: &mut Reader) -> bool {
        let now = clock::now().mono;
        if self.search.is_none() && self.holds_until.is_some_and(|until| now < until) {
            return true;
        }
        let mut search = self.search.take().unwrap_or_else(|| Search::begin(world, reader));
        let done = search.step(world, reader);
        let after = clock::now().mono;
        search.took += after.since(now);
        if done {
            self.by_leader = search.by_leader;
            self.incomplete = search.incomplete;
            self.holds_until = Some(after + FRESH.max(search.took * PAUSE));
        } else {
            self.search = Some(search);
        }
        done
    }
}

impl Search {
    fn begin(world: &World<'_>, reader: &mut Reader) -> Search {
        let everyone = Everyone::list(reader, world.own_process).ok();
        Search {
            incomplete: everyone.is_none(),
            everyone,
            found: Vec::new(),
            by_leader: HashMap::new(),
            took: Duration::ZERO,
        }
    }

    fn step(&mut self, world: &World<'_>, reader: &mut Reader) -> bool {
        for pid in self.found.drain(self.found.len().saturating_sub(LOOKS)..) {
            let stat = match reader.process_stat(pid) {
                Ok(stat) if !stat.family.dead => stat,
                Ok(_) | Err(Errno::ENOENT | Errno::ESRCH) => continue,
                Err(_) => {
                    self.incomplete = true;
                    continue;
                }
            };
            self.by_leader.entry(stat.family.session).or_default().push(pid);
            if stat.family.group != stat.family.session {
                self.by_leader.entry(stat.family.group).or_default().push(pid);
            }
        }
        if !self.found.is_empty() {
            return false;
        }
        let Some(everyone) = &mut self.everyone else { return true };
        let more = everyone.read(reader, &mut self.found).unwrap_or_else(|_| {
            self.incomplete = true;
            false
        });
        self.found.retain(|pid| world.runs.of_pid(*pid).is_none());
        !more && self.found.is_empty()
    }
}
