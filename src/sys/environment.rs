//! The environment of a task: exactly its own, or the supervisor's with its own on top.

use crate::vocabulary::{Ordered, TaskSpec};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Of the supervisor alone: a task that had them would speak to its service manager, or take
/// descriptors for its own.
fn is_supervisors(key: &[u8]) -> bool {
    key == b"NOTIFY_SOCKET"
        || [&b"WATCHDOG_"[..], b"LISTEN_", b"OSTLER_"].iter().any(|p| key.starts_with(p))
}

/// `KEY=VALUE` each, no key twice: the later one wins. `own` lists the supervisor's.
pub(super) fn of_task<I: Iterator<Item = (OsString, OsString)>>(
    spec: &TaskSpec,
    own: impl FnOnce() -> I,
) -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = Vec::with_capacity(spec.env.len());
    let mut places: Ordered<Vec<u8>, usize> = Ordered::new();
    let mut put = |key: &[u8], entry: Vec<u8>| match places.get(key) {
        Some(&place) => {
            if let Some(slot) = entries.get_mut(place) {
                *slot = entry;
            }
        }
        None => {
            places.insert(key.to_vec(), entries.len());
            entries.push(entry);
        }
    };
    if spec.inherit_env {
        for (key, value) in own().filter(|(key, _)| !is_supervisors(key.as_bytes())) {
            let mut entry = key.clone().into_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            put(key.as_bytes(), entry);
        }
    }
    for entry in &spec.env {
        let key = entry.split_once('=').map_or(entry.as_str(), |(key, _)| key);
        put(key.as_bytes(), entry.clone().into_bytes());
    }
    entries
}

/// The value of `key` in such a list.
pub(super) fn value<'a>(entries: &'a [Vec<u8>], key: &str) -> Option<&'a OsStr> {
    entries
        .iter()
        .find_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
        .map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(inherit_env: bool, env: &[&str]) -> Vec<String> {
        let spec = TaskSpec {
            inherit_env,
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            ..TaskSpec::new("x")
        };
        let own = [
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("NOTIFY_SOCKET", "@x"),
            ("WATCHDOG_USEC", "1"),
            ("LISTEN_FDS", "2"),
            ("OSTLER_SOCKET", "/x"),
            ("LISTENER", "kept"),
        ];
        let own = || own.iter().map(|(key, value)| (key.into(), value.into()));
        of_task(&spec, own).into_iter().map(|e| String::from_utf8(e).unwrap()).collect()
    }

    #[test]
    fn empty_stays_empty() {
        assert!(task(false, &[]).is_empty());
    }

    #[test]
    fn the_later_one_wins() {
        assert_eq!(task(false, &["A=1", "B=", "A=2=3"]), ["A=2=3", "B="]);
    }

    #[test]
    fn the_supervisors_own_variables_are_not_inherited_but_may_be_set() {
        assert_eq!(
            task(true, &["PATH=/sbin", "LISTEN_FDS=1"]),
            ["PATH=/sbin", "HOME=/root", "LISTENER=kept", "LISTEN_FDS=1"]
        );
    }

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let entries = [b"PATHS=no".to_vec(), b"PATH=/bin".to_vec()];
        assert_eq!(value(&entries, "PATH"), Some(OsStr::new("/bin")));
        assert_eq!(value(&entries, "PAT"), None);
    }
}
