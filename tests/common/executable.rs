//! Files that are executed, made by another process: the other threads of this one make children
//! all the time, and one of those may still have open for writing what a test executes (ETXTBSY).

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn copy_executable(from: impl AsRef<Path>, to: impl AsRef<Path>, mode: u32) {
    let copied = Command::new("cp").args([from.as_ref(), to.as_ref()]).status();
    assert!(copied.expect("cp").success(), "{:?}", to.as_ref());
    std::fs::set_permissions(to, PermissionsExt::from_mode(mode)).expect("changed");
}

/// Never in place, where it may be running.
pub(crate) fn write_executable(path: impl AsRef<Path>, text: &[u8]) {
    let new = path.as_ref().with_extension("new");
    let mut cat = Command::new("/bin/sh");
    cat.args(["-c", "cat > \"$0\""]).arg(&new).stdin(Stdio::piped());
    let mut cat = cat.spawn().expect("a shell");
    cat.stdin.take().expect("a pipe").write_all(text).expect("written");
    assert!(cat.wait().expect("a shell").success(), "{new:?}");
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("executable");
    std::fs::rename(&new, path).expect("in place");
}
