//! Files that are executed, made by another process: the other threads of this one make children
//! all the time, and one of those may still have open for writing what a test executes (ETXTBSY).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn copy_executable(from: impl AsRef<Path>, to: impl AsRef<Path>, mode: u32) {
    let mut install = Command::new("install");
    install.args([format!("-m{mode:o}").as_ref(), from.as_ref(), to.as_ref()]);
    assert!(install.status().expect("install").success(), "{install:?}");
}

/// Never in place, where it may be running.
pub(crate) fn write_executable(path: impl AsRef<Path>, text: &[u8]) {
    let new = path.as_ref().with_extension("new");
    let mut install = Command::new("install");
    install.args([Path::new("-m755"), Path::new("/dev/stdin"), &new]);
    let mut child = install.stdin(Stdio::piped()).spawn().expect("install");
    child.stdin.take().expect("a pipe").write_all(text).expect("written");
    assert!(child.wait().expect("install").success(), "{install:?}");
    std::fs::rename(&new, path).expect("in place");
}
