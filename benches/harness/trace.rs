//! The system calls of this process, as strace sees them.

use super::Outcome;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Attaching takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many system calls this process makes while it waits in an event loop, but for one wait.
/// `None` where strace is not there, or may not trace.
pub(crate) fn calls_of_ours(during: impl FnOnce() -> Outcome<()>) -> Outcome<Option<usize>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("trace");
    let pid = std::process::id().to_string();
    let spawned = Command::new("strace")
        .args(["-p", &pid, "-o"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut strace) = spawned else { return Ok(None) };
    if !attached(&mut strace)? {
        return Ok(None);
    }
    let done = during();
    // SIGTERM has it let go of us first.
    let tracer = nix::unistd::Pid::from_raw(i32::try_from(strace.id())?);
    nix::sys::signal::kill(tracer, nix::sys::signal::Signal::SIGTERM)?;
    strace.wait()?;
    done?;
    let trace = std::fs::read_to_string(&path)?;
    // What attaching and this function itself do stands at both ends.
    let calls: Vec<&str> = trace
        .lines()
        .filter(|line| !line.contains("resumed"))
        .skip_while(|line| !line.starts_with("epoll_wait"))
        .collect();
    // The one wait is no call too many.
    Ok(Some(calls.iter().rposition(|line| line.starts_with("epoll_wait")).unwrap_or(0)))
}

/// Waits until it traces us; false where it gave up.
fn attached(strace: &mut Child) -> Outcome<bool> {
    let expected = format!("TracerPid:\t{}\n", strace.id());
    let begun = Instant::now();
    while !std::fs::read_to_string("/proc/self/status")?.contains(&expected) {
        if strace.try_wait()?.is_some() {
            return Ok(false);
        }
        if begun.elapsed() > PATIENCE {
            strace.kill()?;
            strace.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}
