//! Which capabilities there are, which we have, and which a task is to have.

use super::failure::start_error;
use super::faults;
use super::raw::call;
use crate::vocabulary::{CapabilityName, CapabilitySet, Stage, StartError};
use nix::errno::Errno;
use nix::libc;

/// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
pub(super) const VERSION: u32 = 0x2008_0522;
/// Its number.
pub(super) const CAP_SETPCAP: u8 = 8;
/// Its number.
pub(super) const CAP_SYS_ADMIN: u8 = 21;

/// Those of the thread that makes the children.
#[derive(Copy, Clone, Debug)]
pub(super) struct Own {
    pub(super) effective: CapabilitySet,
    pub(super) permitted: CapabilitySet,
    pub(super) bounding: CapabilitySet,
}

impl Own {
    pub(super) fn find() -> Result<Own, StartError> {
        let failed = |errno| start_error(Stage::Capabilities, errno, "read our own capabilities");
        // Version 3: header {version, pid}, data of two times {effective, permitted, inheritable}.
        let header = [VERSION, 0];
        let mut data = [0_u32; 6];
        let (header, pointer) = (header.as_ptr() as usize, data.as_mut_ptr() as usize);
        faults::check("capget").map_err(failed)?;
        call(libc::SYS_capget, [header, pointer])
            .map_err(|errno| failed(Errno::from_raw(errno)))?;
        let [effective, permitted, _, effective_high, permitted_high, _] = data;
        let set = |low: u32, high: u32| CapabilitySet(u64::from(high) << 32 | u64::from(low));
        let none = CapabilitySet::default();
        Ok(Own {
            effective: set(effective, effective_high),
            permitted: set(permitted, permitted_high),
            bounding: (0..64)
                .map_while(|cap| Some((cap, bounding(cap).ok()?)))
                .filter(|(_, is_in)| *is_in == 1)
                .fold(none, |set, (cap, _)| set.with(cap)),
        })
    }

    /// Those of the process that makes a user namespace: all that the kernel knows.
    pub(super) fn in_new_user_namespace() -> Own {
        let known = (0..64).take_while(|number| bounding(*number).is_ok());
        let all = known.fold(CapabilitySet::default(), CapabilitySet::with);
        Own { effective: all, permitted: all, bounding: all }
    }

    /// What we can give.
    pub(super) fn available(&self) -> CapabilitySet {
        self.permitted.and(self.bounding)
    }
}

/// Whether a capability is in our bounding set; EINVAL: the kernel does not know it.
fn bounding(number: u8) -> Result<usize, i32> {
    call(libc::SYS_prctl, [libc::PR_CAPBSET_READ as usize, usize::from(number), 0, 0, 0])
}

/// The first of these that is newer than the kernel.
pub(crate) fn unknown_to_the_kernel(names: &[String]) -> Option<&str> {
    let unknown = |name: &&String| match CapabilityName::parse(name) {
        Some(CapabilityName::One(number)) => bounding(number) == Err(libc::EINVAL),
        Some(CapabilityName::All) | None => false,
    };
    names.iter().find(unknown).map(String::as_str)
}

/// The whole set of a task that asks for these.
pub(super) fn wanted(names: &[String], own: &Own) -> Result<CapabilitySet, StartError> {
    let mut set = CapabilitySet::default();
    for name in names {
        set = match CapabilityName::parse(name) {
            Some(CapabilityName::All) => CapabilitySet(set.0 | own.available().0),
            Some(CapabilityName::One(number)) => set.with(number),
            None => {
                let tried = format!("give the task {name:?}, which is no capability");
                return Err(start_error(Stage::Capabilities, Errno::EINVAL, tried));
            }
        };
    }
    let missing = set.without(own.available());
    if !missing.is_empty() {
        let tried =
            format!("give the task {}, which the supervisor does not have", missing.names());
        return Err(start_error(Stage::Capabilities, Errno::EPERM, tried));
    }
    if !own.bounding.without(set).is_empty() && !own.effective.has(CAP_SETPCAP) {
        let tried = "drop capabilities from the bounding set without CAP_SETPCAP; \
                     run the supervisor as root";
        return Err(start_error(Stage::Capabilities, Errno::EPERM, tried));
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(available: u64) -> Own {
        let set = CapabilitySet(available);
        Own { effective: set, permitted: set, bounding: CapabilitySet(u64::MAX >> 23) }
    }

    fn asked(names: &[&str], available: u64) -> Result<u64, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        wanted(&names, &own(available)).map(|set| set.0).map_err(|error| error.message)
    }

    #[test]
    fn all_is_what_we_have() {
        assert_eq!(asked(&["all"], 0x1ff), Ok(0x1ff));
        assert_eq!(asked(&["KILL", "cap_chown"], 0x1ff), Ok(0x21));
        assert_eq!(asked(&[], 0x1ff), Ok(0));
    }

    #[test]
    fn what_we_lack_is_named() {
        let message = asked(&["KILL", "SYS_ADMIN", "BPF"], 0x1ff).unwrap_err();
        assert_eq!(
            message,
            "give the task CAP_SYS_ADMIN, CAP_BPF, which the supervisor does not have: \
             Operation not permitted"
        );
        let message = asked(&["KILL"], 0xff).unwrap_err();
        assert!(message.contains("without CAP_SETPCAP"), "{message}");
    }

    #[test]
    fn our_own_are_those_of_proc() {
        let own = Own::find().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        for (name, set) in
            [("CapEff", own.effective), ("CapPrm", own.permitted), ("CapBnd", own.bounding)]
        {
            let line = format!("{name}:\t{:016x}", set.0);
            assert!(status.contains(&line), "{line}\n{status}");
        }
        assert_eq!(unknown_to_the_kernel(&["KILL".into(), "all".into()]), None);
    }
}
