//! Where the daemon's socket is.

use super::failure::UsageError;
use std::path::PathBuf;

/// The socket: the flag, else `$OSTLER_SOCKET`, else root's or the user's own place.
pub(crate) fn socket_path(flag: Option<&str>) -> Result<PathBuf, UsageError> {
    let root = nix::unistd::geteuid().is_root();
    choose(flag, root, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn choose(
    flag: Option<&str>,
    root: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<PathBuf, UsageError> {
    match flag {
        Some("") => return Err(UsageError("--socket: is empty".to_owned())),
        Some(path) => return Ok(path.into()),
        None => {}
    }
    if let Some(path) = variable("OSTLER_SOCKET") {
        return Ok(path.into());
    }
    if root {
        return Ok("/run/ostler/ostler.sock".into());
    }
    match variable("XDG_RUNTIME_DIR") {
        Some(directory) => Ok(PathBuf::from(directory).join("ostler/ostler.sock")),
        None => Err(UsageError(
            "no place for the socket: XDG_RUNTIME_DIR is not set (use --socket PATH or \
             OSTLER_SOCKET)"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_before_the_variable_before_the_default() {
        let set = |name: &str| Some(format!("/{name}"));
        let unset = |_: &str| None;
        let runtime = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/7".to_owned());
        assert_eq!(choose(Some("x"), true, set), Ok("x".into()));
        assert_eq!(choose(None, true, set), Ok("/OSTLER_SOCKET".into()));
        assert_eq!(choose(None, true, runtime), Ok("/run/ostler/ostler.sock".into()));
        assert_eq!(choose(None, false, runtime), Ok("/run/user/7/ostler/ostler.sock".into()));
        assert!(choose(None, false, unset).is_err());
        assert!(choose(Some(""), true, set).is_err());
    }
}
