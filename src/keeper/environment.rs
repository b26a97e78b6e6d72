//! What the daemon finds in its environment: ours, with us as its service manager.

use crate::sys::service::c_string;
use std::ffi::{CString, OsStr, OsString};

/// Of our own manager, and none of the daemon's business.
const NOT_PASSED_ON: [&str; 9] = [
    "NOTIFY_SOCKET",
    "FDSTORE",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "MAINPID",
];

/// The manager's part of it.
#[derive(Debug)]
pub(super) struct Manager<'a> {
    /// Where to send messages.
    pub(super) address: &'a str,
    /// Descriptors that are kept at most.
    pub(super) most: usize,
    /// Names of those that are passed, in order.
    pub(super) names: &'a [&'a str],
    /// How often our own manager wants to hear of the daemon.
    pub(super) watchdog: Option<&'a OsStr>,
}

/// The environment, but for the variables of [`with_own_pid`].
pub(super) fn environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
    manager: &Manager<'_>,
) -> Vec<CString> {
    let assignment = |name: &OsStr, value: &OsStr| {
        let mut text = name.to_owned();
        text.push("=");
        text.push(value);
        // What comes from an environment has no NUL in it.
        c_string(&text)
    };
    let mut all: Vec<CString> = ours
        .filter(|(name, _)| !NOT_PASSED_ON.iter().any(|other| name == other))
        .filter_map(|(name, value)| assignment(&name, &value))
        .collect();
    let mut add = |name: &str, value: &OsStr| all.extend(assignment(name.as_ref(), value));
    add("NOTIFY_SOCKET", manager.address.as_ref());
    add("FDSTORE", manager.most.to_string().as_ref());
    add("LISTEN_FDS", manager.names.len().to_string().as_ref());
    add("LISTEN_FDNAMES", manager.names.join(":").as_ref());
    if let Some(interval) = manager.watchdog {
        add("WATCHDOG_USEC", interval);
    }
    all
}

/// Variables that hold the pid of the daemon.
pub(super) fn with_own_pid(has_watchdog: bool) -> &'static [&'static str] {
    if has_watchdog { &["LISTEN_PID", "WATCHDOG_PID"] } else { &["LISTEN_PID"] }
}

/// The interval of our own manager's watchdog, where that is meant for us.
pub(super) fn watchdog(own_pid: u32) -> Option<OsString> {
    let for_us = std::env::var_os("WATCHDOG_PID").is_none_or(|pid| pid == *own_pid.to_string());
    std::env::var_os("WATCHDOG_USEC").filter(|_| for_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_has_us_as_its_manager() {
        let ours = [("PATH", "/bin"), ("NOTIFY_SOCKET", "/above"), ("LISTEN_PID", "1")];
        let ours = ours.map(|(name, value)| (name.into(), value.into()));
        let manager = Manager {
            address: "@ours",
            most: 800,
            names: &["a", "b"],
            watchdog: Some("5".as_ref()),
        };
        let found = environment(ours.into_iter(), &manager);
        let found: Vec<&str> = found.iter().map(|entry| entry.to_str().unwrap()).collect();
        assert_eq!(
            found,
            [
                "PATH=/bin",
                "NOTIFY_SOCKET=@ours",
                "FDSTORE=800",
                "LISTEN_FDS=2",
                "LISTEN_FDNAMES=a:b",
                "WATCHDOG_USEC=5",
            ]
        );
        assert_eq!(with_own_pid(true), ["LISTEN_PID", "WATCHDOG_PID"]);
    }
}
