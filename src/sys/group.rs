//! Groups of users, by name.

use super::faults;
use nix::unistd::Group;

/// The number of a group, given by name or number.
///
/// # Errors
/// Why there is none.
pub(crate) fn id(group: &str) -> Result<u32, String> {
    if !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()) {
        return group.parse().map_err(|_| "the number is too large".to_owned());
    }
    faults::check("getgrnam_r").map_err(|errno| errno.desc().to_owned())?;
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err("not in the group database".to_owned()),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn by_name_and_number() {
        assert_eq!(id("0"), Ok(0));
        assert_eq!(id("root"), Ok(0));
        assert!(id("").is_err());
        assert!(id("no such group").is_err());
        assert!(id("99999999999").is_err());
    }
}
