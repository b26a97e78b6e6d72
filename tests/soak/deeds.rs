//! What is done to the daemon, its tasks and its clients.

use crate::chance::Chance;
use crate::clients::{Clients, exec};
use crate::host::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::Duration;

#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Deed {
    Launch,
    Stop,
    Restart,
    Remove,
    SignalTask,
    KillTask,
    Exec,
    LongExec,
    AskAndLeave,
    Look,
    Limit,
    Reload,
    ReloadBadFile,
    FillDisk,
    PauseDaemon,
    KillDaemon,
    KillDaemonTwice,
    EndDaemon,
    Upgrade,
    KillUpgrade,
}

/// How often each happens beside the others.
const USUAL: [(Deed, u64); 20] = [
    (Deed::Launch, 300),
    (Deed::Stop, 60),
    (Deed::Restart, 40),
    (Deed::Remove, 60),
    (Deed::SignalTask, 60),
    (Deed::KillTask, 60),
    (Deed::Exec, 40),
    (Deed::LongExec, 10),
    (Deed::AskAndLeave, 60),
    (Deed::Look, 60),
    (Deed::Limit, 20),
    (Deed::Reload, 15),
    (Deed::ReloadBadFile, 4),
    (Deed::FillDisk, 4),
    (Deed::PauseDaemon, 6),
    (Deed::KillDaemon, 12),
    (Deed::KillDaemonTwice, 6),
    (Deed::EndDaemon, 6),
    (Deed::Upgrade, 6),
    (Deed::KillUpgrade, 6),
];

/// What has been done so far, and what is still to be undone.
#[derive(Default)]
pub(crate) struct Deeds {
    weights: Vec<(Deed, u64)>,
    counts: BTreeMap<Deed, u64>,
    refused: BTreeMap<String, u64>,
    clients: Clients,
    /// So many deeds more with a full disk.
    full_for: Option<u64>,
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}\nrefused: {:?}", self.counts, self.refused)
    }
}

impl Deeds {
    pub(crate) fn draw_weights(&mut self, chance: &mut Chance, is_kept: bool) {
        self.weights = USUAL.to_vec();
        for (deed, weight) in &mut self.weights {
            match deed {
                Deed::Launch => {}
                // It would end as well.
                Deed::EndDaemon if is_kept => *weight = 0,
                _ if chance.one_in(5) => *weight = 0,
                _ => *weight = 1 + chance.below(*weight * 2),
            }
        }
    }

    pub(crate) fn do_something(&mut self, host: &mut Host, chance: &mut Chance) {
        let all = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = chance.below(all);
        let deed = self.weights.iter().find(|(_, weight)| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let deed = deed.map_or(Deed::Launch, |(deed, _)| *deed);
        *self.counts.entry(deed).or_default() += 1;
        if let Err(error) = self.perform(deed, host, chance) {
            *self.refused.entry(error).or_default() += 1;
        }
        host.tasks.read_fifos();
        self.full_for = self.full_for.map(|more| more.saturating_sub(1));
        if self.full_for == Some(0) {
            self.clear_disk(host);
        }
        if chance.one_in(4) {
            std::thread::sleep(chance.millis_up_to(20));
        }
    }

    fn perform(&mut self, deed: Deed, host: &mut Host, chance: &mut Chance) -> Result<(), String> {
        let name = host.tasks.any_name(chance);
        let grace = chance.below(200);
        match deed {
            Deed::Launch => {
                let if_exists = chance.of(&["fail", "replace", "replace", "same"]);
                let task = host.tasks.task(chance);
                host.call("Launch", json!({"task": task, "if_exists": if_exists}))?;
            }
            Deed::Stop => drop(host.call("Stop", json!({"name": name, "grace_ms": grace}))?),
            Deed::Restart => drop(host.call("Restart", json!({"name": name, "grace_ms": grace}))?),
            Deed::Remove => drop(host.call("Remove", json!({"name": name, "force": true}))?),
            Deed::SignalTask => {
                let signal = chance.of(&["HUP", "TERM", "USR1", "KILL", "STOP", "CONT"]);
                let all = chance.one_in(2);
                host.call("Signal", json!({"name": name, "signal": signal, "all": all}))?;
            }
            Deed::KillTask => kill_task(host, &name),
            Deed::Exec => drop(host.call("Exec", exec(&name, "echo x; exit 3"))?),
            Deed::LongExec => {
                let mut command = exec(&name, "sleep 600 & sleep 600");
                command["timeout_ms"] = json!(grace);
                host.call("Exec", command)?;
            }
            Deed::AskAndLeave => self.clients.ask_and_leave(host, chance),
            Deed::Look => drop(look(host, &name, chance)?),
            Deed::Limit => {
                let resources = json!({"pids_max": 40 + grace});
                host.call("UpdateResources", json!({"name": name, "resources": resources}))?;
            }
            Deed::Reload => {
                let numbers: Vec<u64> = (0..5).filter(|_| chance.one_in(2)).collect();
                host.tasks.write_file(&numbers);
                host.call("Reload", json!({}))?;
            }
            Deed::ReloadBadFile => {
                host.tasks.write_bad_file();
                if chance.one_in(2) {
                    host.signal(Signal::SIGHUP);
                } else {
                    host.call("Reload", json!({})).expect_err("a file with an error");
                }
                // A daemon that is to begin needs a better one.
                host.tasks.write_file(&[]);
            }
            Deed::FillDisk => self.fill_disk(host, chance),
            Deed::PauseDaemon => {
                host.signal(Signal::SIGSTOP);
                self.clients.ask_and_leave(host, chance);
                std::thread::sleep(chance.millis_up_to(100));
                host.signal(Signal::SIGCONT);
            }
            Deed::KillDaemon => host.kill(chance.millis_up_to(100)),
            Deed::KillDaemonTwice => host.kill_twice(chance.millis_up_to(40)),
            Deed::EndDaemon => host.end_and_begin(),
            // By the same program, with everything under way.
            Deed::Upgrade => drop(host.call("Upgrade", json!({}))?),
            Deed::KillUpgrade => {
                host.signal(Signal::SIGUSR2);
                std::thread::sleep(chance.millis_up_to(150));
                host.kill(Duration::ZERO);
            }
        }
        Ok(())
    }

    fn fill_disk(&mut self, host: &Host, chance: &mut Chance) {
        if !host.has_disk {
            return;
        }
        let mut ballast = std::fs::File::create(host.state("ballast")).expect("a file");
        while ballast.write_all(&[0; 512]).is_ok() {}
        self.full_for = Some(1 + chance.below(30));
    }

    fn clear_disk(&mut self, host: &Host) {
        if self.full_for.take().is_some() {
            std::fs::remove_file(host.state("ballast")).expect("removed");
        }
    }

    /// Undoes what is to be undone.
    pub(crate) fn cease(&mut self, host: &mut Host) {
        self.clear_disk(host);
        self.clients.leave();
    }
}

/// By somebody else.
fn kill_task(host: &Host, name: &str) {
    let found = host.call("Inspect", json!({ "name": name }));
    let pid = found.ok().and_then(|reply| reply["status"]["pid"].as_i64());
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
}

fn look(host: &Host, name: &str, chance: &mut Chance) -> Result<Value, String> {
    match chance.below(5) {
        0 => host.call("List", json!({})),
        1 => host.call("Inspect", json!({ "name": name })),
        2 => host.call("Stats", json!({"by_pid": true})),
        3 => host.call("Logs", json!({"name": name, "stream": "stdout"})),
        _ => {
            let timeout = Duration::from_millis(chance.below(100));
            host.call("Wait", json!({"name": name, "timeout_ms": timeout.as_millis() as u64}))
        }
    }
}
