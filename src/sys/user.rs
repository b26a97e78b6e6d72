//! Whom a task runs as.
//!
//! The files come first: a name service that hangs is not asked for users that stand in them.

use super::failure::start_error;
use super::faults;
use crate::vocabulary::{Stage, StartError, Wall};
use nix::errno::Errno;
use nix::unistd;
use std::ffi::CString;

/// A user as the task gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Exactly the groups of that user, `gid` included.
    pub(super) groups: Vec<u32>,
}

/// Where users and groups are looked up.
pub(super) struct Database {
    pub(super) passwd: &'static str,
    pub(super) group: &'static str,
}

/// That of the system.
pub(super) const SYSTEM: Database = Database { passwd: "/etc/passwd", group: "/etc/group" };

/// An entry of the user database.
pub(super) struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    /// It stands in the files, so its groups do too.
    in_files: bool,
}

/// Who, as a number or a name: a name never consists of digits alone.
pub(super) enum Who<'a> {
    Number(u32),
    Name(&'a str),
}

fn who(text: &str) -> Who<'_> {
    match text.parse() {
        // 4294967295 means "leave it" to setresuid(2).
        Ok(number) if number != u32::MAX && text.bytes().all(|b| b.is_ascii_digit()) => {
            Who::Number(number)
        }
        _ => Who::Name(text),
    }
}

impl Database {
    /// Resolves `name`, `uid`, `name:group` or `uid:gid`.
    pub(super) fn resolve(&self, wanted: &str) -> Result<User, StartError> {
        let (user, group) = match wanted.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (wanted, None),
        };
        let failed = |errno| start_error(Stage::User, errno, format!("look up user {wanted:?}"));
        let entry = self.user(&who(user)).map_err(failed)?;
        let gid = match group {
            Some(group) => Some(self.group(group, wanted)?),
            None => None,
        };
        match (entry, who(user), gid) {
            (Some(entry), _, gid) => {
                let gid = gid.unwrap_or(entry.gid);
                let groups = self.groups(&entry, gid).map_err(failed)?;
                Ok(User { uid: entry.uid, gid, groups })
            }
            (None, Who::Number(uid), Some(gid)) => Ok(User { uid, gid, groups: vec![gid] }),
            (None, Who::Number(uid), None) => Err(unknown(format!(
                "look up user {wanted:?}: not in the user database, so its group is needed too: \
                 {uid}:GID"
            ))),
            (None, Who::Name(name), _) => {
                Err(unknown(format!("look up user {name:?}: not in the user database")))
            }
        }
    }

    fn user(&self, who: &Who<'_>) -> Result<Option<Entry>, Errno> {
        if let Some(entry) = read(self.passwd)?.lines().find_map(|line| passwd_entry(line, who)) {
            return Ok(Some(entry));
        }
        faults::check("getpwnam_r")?;
        let found = match who {
            Who::Number(uid) => unistd::User::from_uid((*uid).into())?,
            Who::Name(name) => unistd::User::from_name(name)?,
        };
        Ok(found.map(|user| Entry {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: user.name,
            in_files: false,
        }))
    }

    fn group(&self, group: &str, wanted: &str) -> Result<u32, StartError> {
        let name = match who(group) {
            Who::Number(gid) => return Ok(gid),
            Who::Name(name) => name,
        };
        let failed = |errno| {
            start_error(Stage::User, errno, format!("look up group {group:?} of user {wanted:?}"))
        };
        let text = read(self.group).map_err(failed)?;
        if let Some((_, gid, _)) = text.lines().filter_map(group_entry).find(|e| e.0 == name) {
            return Ok(gid);
        }
        faults::check("getgrnam_r").map_err(failed)?;
        match unistd::Group::from_name(name).map_err(failed)? {
            Some(group) => Ok(group.gid.as_raw()),
            None => Err(unknown(format!(
                "look up group {group:?} of user {wanted:?}: not in the group database"
            ))),
        }
    }

    /// As initgroups(3): `gid` and the groups that name the user.
    fn groups(&self, entry: &Entry, gid: u32) -> Result<Vec<u32>, Errno> {
        if !entry.in_files {
            faults::check("getgrouplist")?;
            let name = CString::new(entry.name.as_str()).map_err(|_| Errno::EINVAL)?;
            let groups = unistd::getgrouplist(&name, gid.into())?;
            return Ok(groups.into_iter().map(unistd::Gid::as_raw).collect());
        }
        let mut groups = vec![gid];
        for (_, gid, members) in read(self.group)?.lines().filter_map(group_entry) {
            if members.split(',').any(|member| member == entry.name) && !groups.contains(&gid) {
                groups.push(gid);
            }
        }
        Ok(groups)
    }
}

/// A file that is not there is an empty one.
fn read(path: &str) -> Result<String, Errno> {
    faults::check("open user database")?;
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

/// passwd(5): `name:password:uid:gid:...`.
pub(super) fn passwd_entry(line: &str, who: &Who<'_>) -> Option<Entry> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    let matches = match *who {
        Who::Number(number) => uid == number,
        Who::Name(wanted) => name == wanted,
    };
    matches.then(|| Entry { name: name.to_owned(), uid, gid, in_files: true })
}

/// group(5): `name:password:gid:members`.
pub(super) fn group_entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, gid.parse().ok()?, fields.next().unwrap_or("")))
}

/// The kernel had no part in it.
fn unknown(message: String) -> StartError {
    StartError {
        stage: Stage::User,
        errno: 0,
        errno_name: String::new(),
        message,
        retry: false,
        time: Wall::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn database(passwd: &str, group: &str) -> Database {
        let leak = |text: &str| -> &'static str {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let (_, path) = file.keep().unwrap();
            path.to_str().unwrap().to_owned().leak()
        };
        Database { passwd: leak(passwd), group: leak(group) }
    }

    impl Drop for Database {
        fn drop(&mut self) {
            for path in [self.passwd, self.group] {
                if !path.starts_with("/etc") {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }

    fn sample() -> Database {
        database(
            "# a comment\nbroken:x:y\nweb:x:1500:1500:Web:/srv:/bin/sh\n",
            "web:x:1500:\nlogs:x:1600:other,web\nnearly:x:1700:webs\nadm:x:1800:web\n",
        )
    }

    fn resolved(wanted: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let found = sample().resolve(wanted);
        found.map(|u| (u.uid, u.gid, u.groups)).map_err(|error| error.message)
    }

    #[test]
    fn a_user_of_the_files_has_exactly_its_groups() {
        assert_eq!(resolved("web"), Ok((1500, 1500, vec![1500, 1600, 1800])));
        assert_eq!(resolved("1500"), resolved("web"));
        assert_eq!(resolved("web:adm"), Ok((1500, 1800, vec![1800, 1600])));
        assert_eq!(resolved("1500:7"), Ok((1500, 7, vec![7, 1600, 1800])));
    }

    #[test]
    fn a_uid_that_nobody_has_needs_its_group() {
        assert_eq!(resolved("987654:7"), Ok((987_654, 7, vec![7])));
        let message = resolved("987654").unwrap_err();
        assert!(message.ends_with("its group is needed too: 987654:GID"), "{message}");
    }

    #[test]
    fn unknown_names_are_named() {
        assert_eq!(
            resolved("no-such-user"),
            Err("look up user \"no-such-user\": not in the user database".to_owned())
        );
        assert_eq!(
            resolved("web:no-such-group"),
            Err("look up group \"no-such-group\" of user \"web:no-such-group\": \
                 not in the group database"
                .to_owned())
        );
        assert!(resolved("4294967295:0").is_err(), "that uid means: leave it as it is");
    }

    #[test]
    fn without_files_the_name_service_is_asked() {
        let nowhere = Database { passwd: "/etc/no-such-file", group: "/etc/no-such-file" };
        let root = nowhere.resolve("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
    }
}
