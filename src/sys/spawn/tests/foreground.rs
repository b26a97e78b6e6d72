//! A task on a terminal.

use super::*;
use nix::pty::openpty;

#[test]
fn a_foreground_task_has_the_terminal_and_a_group_of_its_own() {
    alone("foreground::a_foreground_task_has_the_terminal_and_a_group_of_its_own", || {
        nix::unistd::setsid().unwrap();
        let pty = openpty(None, None).unwrap();
        let terminal = pty.slave.as_raw_fd() as usize;
        call(libc::SYS_ioctl, [terminal, libc::TIOCSCTTY as usize, 0]).unwrap();
        let own = nix::unistd::getsid(None).unwrap();
        for way in WAYS {
            let mut spawner = way.spawner();
            let spec = TaskSpec {
                inherit_stdin: true,
                foreground: true,
                ..sh("cut -d ' ' -f 1,5,6,8 /proc/$$/stat")
            };
            let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
            let plan = spawner.plan(&spec).unwrap();
            let streams = Streams {
                stdin: Some(pty.slave.as_raw_fd()),
                stdout: Some(writer.as_raw_fd()),
                stderr: None,
            };
            let child = settle(spawner.spawn(&plan, streams, None).unwrap()).unwrap();
            drop(writer);
            let mut text = String::new();
            std::fs::File::from(reader).read_to_string(&mut text).unwrap();
            assert_eq!(wait(&child), ExitStatus::Exited(0), "{way:?}");
            let pid = child.pid;
            assert_eq!(text, format!("{pid} {pid} {own} {pid}\n"), "{way:?}");
        }
        // Its end would hang up on this process.
        std::mem::forget(pty);
    });
}

#[test]
fn without_a_terminal_it_cannot_be_had() {
    for way in WAYS {
        let spec = TaskSpec { foreground: true, ..sh("true") };
        let error = run(way, &spec).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Clone, libc::ENOTTY), "{way:?}");
    }
}
