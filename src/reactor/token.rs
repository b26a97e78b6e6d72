//! What a readiness is about, packed into the one number that epoll hands back.

/// The owner of a registered descriptor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The control pipe: another thread has queued something.
    Control,
    /// The signalfd of SIGCHLD.
    Sigchld,
    /// A task's main process, or its init (pidfd).
    Process(Key),
    /// A start whose exec is awaited (close-on-exec pipe).
    Start(Key),
    /// A group that is to become empty (cgroup.events).
    Group(Key),
    /// The reading end of a relayed stream.
    Source(Key),
    /// A FIFO that output waits for.
    Target(Key),
    /// The main process of a command in a task (pidfd).
    Exec(Key),
    /// A command whose exec is awaited (close-on-exec pipe).
    ExecStart(Key),
    /// The standard output of a command, where it is collected.
    ExecStdout(Key),
    /// The standard error of a command, where it is collected.
    ExecStderr(Key),
    /// A descriptor of the layers above or of the host.
    Watch(Key),
    /// An init that has outlived its run (pidfd).
    Init(Key),
    /// What a keeper tells of processes that have ended.
    KeptExits,
    /// The OOM killer was called for a run (eventfd).
    Oom(Key),
    /// The set of streams whose lines may gather.
    Crowd,
}

/// A place in the owner's table and the generation of that place: readiness that comes late finds
/// another generation there and is dropped.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) index: u32,
    /// Only the low 28 bits are kept.
    pub(crate) generation: u32,
}

const GENERATION_BITS: u32 = 28;
/// The bits of a generation that fit a token.
pub(crate) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

impl From<Owner> for mio::Token {
    fn from(owner: Owner) -> mio::Token {
        let (kind, key) = match owner {
            Owner::Control => (0, Key { index: 0, generation: 0 }),
            Owner::Sigchld => (1, Key { index: 0, generation: 0 }),
            Owner::Process(key) => (2, key),
            Owner::Start(key) => (3, key),
            Owner::Group(key) => (4, key),
            Owner::Source(key) => (5, key),
            Owner::Target(key) => (6, key),
            Owner::Watch(key) => (7, key),
            Owner::Init(key) => (8, key),
            Owner::Exec(key) => (9, key),
            Owner::ExecStart(key) => (10, key),
            Owner::ExecStdout(key) => (11, key),
            Owner::ExecStderr(key) => (12, key),
            Owner::KeptExits => (13, Key { index: 0, generation: 0 }),
            Owner::Oom(key) => (14, key),
            Owner::Crowd => (15, Key { index: 0, generation: 0 }),
        };
        let generation = u64::from(key.generation & GENERATION_MASK);
        let packed = kind << (32 + GENERATION_BITS) | generation << 32 | u64::from(key.index);
        mio::Token(packed as usize)
    }
}

impl Owner {
    /// Unpacks a token; `None` for one that was not made here.
    pub(crate) fn of(token: mio::Token) -> Option<Owner> {
        let packed = token.0 as u64;
        let key = Key {
            index: (packed & u64::from(u32::MAX)) as u32,
            generation: (packed >> 32) as u32 & GENERATION_MASK,
        };
        Some(match packed >> (32 + GENERATION_BITS) {
            0 => Owner::Control,
            1 => Owner::Sigchld,
            2 => Owner::Process(key),
            3 => Owner::Start(key),
            4 => Owner::Group(key),
            5 => Owner::Source(key),
            6 => Owner::Target(key),
            7 => Owner::Watch(key),
            8 => Owner::Init(key),
            9 => Owner::Exec(key),
            10 => Owner::ExecStart(key),
            11 => Owner::ExecStdout(key),
            12 => Owner::ExecStderr(key),
            13 => Owner::KeptExits,
            14 => Owner::Oom(key),
            15 if key == (Key { index: 0, generation: 0 }) => Owner::Crowd,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_owner() {
        let key = Key { index: u32::MAX - 1, generation: GENERATION_MASK };
        for owner in [
            Owner::Exec(key),
            Owner::ExecStart(key),
            Owner::ExecStdout(key),
            Owner::ExecStderr(key),
            Owner::Control,
            Owner::Sigchld,
            Owner::KeptExits,
            Owner::Crowd,
            Owner::Process(key),
            Owner::Start(key),
            Owner::Group(key),
            Owner::Source(key),
            Owner::Target(key),
            Owner::Watch(key),
            Owner::Init(key),
            Owner::Oom(key),
        ] {
            assert_eq!(Owner::of(owner.into()), Some(owner));
        }
        assert_eq!(Owner::of(mio::Token(usize::MAX)), None);
    }
}
