//! Capabilities by name (capabilities(7)).

/// All that Linux has, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What one entry of `isolation.capabilities` asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum CapabilityName {
    /// `ALL`: every one that the supervisor has.
    All,
    /// One, by its number.
    One(u8),
}

impl CapabilityName {
    /// Any case, with or without `CAP_`. `None`: there is no such capability.
    pub(crate) fn parse(text: &str) -> Option<CapabilityName> {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" {
            return Some(CapabilityName::All);
        }
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|known| *known == name)?;
        u8::try_from(number).ok().map(CapabilityName::One)
    }
}

/// Capabilities as the kernel writes them: bit n is number n.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CapabilitySet(pub(crate) u64);

impl CapabilitySet {
    pub(crate) fn has(self, number: u8) -> bool {
        self.0.checked_shr(number.into()).unwrap_or(0) & 1 == 1
    }

    pub(crate) fn with(self, number: u8) -> CapabilitySet {
        CapabilitySet(self.0 | 1_u64.checked_shl(number.into()).unwrap_or(0))
    }

    pub(crate) fn and(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }

    pub(crate) fn without(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// From the lowest number to the highest.
    pub(crate) fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.has(*number))
    }

    /// `CAP_KILL, CAP_SYS_ADMIN`.
    pub(crate) fn names(self) -> String {
        let name = |number: u8| match NAMES.get(usize::from(number)) {
            Some(name) => format!("CAP_{name}"),
            None => format!("capability {number}"),
        };
        self.numbers().map(name).collect::<Vec<String>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_form() {
        use CapabilityName::{All, One};
        for (text, found) in [
            ("CHOWN", Some(One(0))),
            ("cap_kill", Some(One(5))),
            ("Cap_Net_Bind_Service", Some(One(10))),
            ("sys_admin", Some(One(21))),
            ("SYS_RESOURCE", Some(One(24))),
            ("CAP_CHECKPOINT_RESTORE", Some(One(40))),
            ("all", Some(All)),
            ("CAP_ALL", None),
            ("", None),
            ("CAP_", None),
            ("CAP_CAP_KILL", None),
            ("21", None),
        ] {
            assert_eq!(CapabilityName::parse(text), found, "{text}");
        }
    }

    #[test]
    fn sets() {
        let set = CapabilitySet::default().with(5).with(40).with(41);
        assert!(set.has(5) && set.has(40) && !set.has(6) && !set.has(64));
        assert_eq!(set.names(), "CAP_KILL, CAP_CHECKPOINT_RESTORE, capability 41");
        assert_eq!(set.without(CapabilitySet::default().with(5)).numbers().next(), Some(40));
    }
}
