//! Opening sinks: what is refused, what is made, and that a failure leaves nothing.

use super::*;
use crate::sys::faults;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[track_caller]
fn refused(rig: &mut Rig) -> String {
    let error = rig.open().expect_err("refused");
    assert_eq!(error.stage.as_str(), "output");
    assert_eq!(error.errno == 0, error.errno_name.is_empty());
    error.message.replace(rig.dir.path().to_str().expect("path"), "DIR")
}

fn plain(path: &str) -> Sink {
    Sink::File(FileSink::new(path))
}

#[test]
fn what_is_not_of_the_kind_is_refused_by_name() {
    let mut rig = Rig::new(fifo);
    fs::write(rig.path(), "").expect("write");
    assert_eq!(refused(&mut rig), "stdout.path \"DIR/out\": is a regular file, not a FIFO");
    fs::remove_file(rig.path()).expect("remove");
    symlink("/dev/null", rig.path()).expect("link");
    assert_eq!(refused(&mut rig), "stdout.path \"DIR/out\": is a symbolic link, not a FIFO");

    let mut rig = Rig::new(plain);
    nix::unistd::mkfifo(&rig.path(), Mode::S_IRWXU).expect("fifo");
    assert_eq!(refused(&mut rig), "stdout.path \"DIR/out\": is a FIFO, not a regular file");
    fs::remove_file(rig.path()).expect("remove");
    fs::create_dir(rig.path()).expect("directory");
    assert_eq!(refused(&mut rig), "stdout.path \"DIR/out\": is a directory, not a regular file");

    let mut rig = Rig::new(|_| plain("/dev/null"));
    assert_eq!(refused(&mut rig), "stdout.path \"/dev/null\": is a device, not a regular file");

    let mut rig = Rig::new(|path| rotated(path, 5, 2, Numbering::Shift));
    symlink(rig.dir.path().join("victim"), rig.path()).expect("link");
    assert!(refused(&mut rig).contains("is a symbolic link"));
    assert!(!rig.dir.path().join("victim").exists());
}

#[test]
fn a_missing_parent_and_a_failing_stderr_are_named() {
    let mut rig = Rig::new(|path| plain(&format!("{path}/log")));
    let message = refused(&mut rig);
    assert_eq!(
        message,
        "stdout.path \"DIR/out/log\": open directory \"DIR/out\": No such file or directory"
    );
    let mut rig = Rig::new(fifo);
    rig.spec.stderr = Some(plain("/nowhere/at/all"));
    assert!(refused(&mut rig).starts_with("stderr.path \"/nowhere/at/all\": open directory"));
    assert_eq!(rig.relay.keys(rig.task).count(), 0, "stdout was closed again");
}

#[test]
fn a_sink_swapped_for_a_link_between_two_runs_is_refused() {
    let mut rig = Rig::new(plain);
    drop(rig.start());
    fs::remove_file(rig.path()).expect("remove");
    symlink(rig.dir.path().join("victim"), rig.path()).expect("link");
    let error = rig.relay.begin_run(rig.task, 2).expect_err("refused");
    assert!(error.message.contains("is a symbolic link"), "{error}");
    assert!(!rig.dir.path().join("victim").exists());
}

#[test]
fn no_link_is_followed_inside_the_directory_of_the_task() {
    let mut rig = Rig::new(|path| plain(&format!("{path}/logs/x")));
    let elsewhere = rig.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("directory");
    fs::create_dir(rig.path()).expect("directory");
    symlink(&elsewhere, rig.path().join("logs")).expect("link");
    let path = rig.path().to_str().expect("path").to_owned();
    // Outside a task_dir the way there is the administrator's.
    rig.open().expect("opened through the link");
    assert!(elsewhere.join("x").exists());
    let _ = rig.relay.forget(rig.task);
    rig.spec.task_dir = Some(format!("{path}/"));
    assert!(refused(&mut rig).contains("\"logs\" inside task_dir without following links"));
    rig.spec.stdout = Some(plain(&format!("{path}/../elsewhere/y")));
    assert!(refused(&mut rig).contains("must not contain .."));
    fs::create_dir(rig.path().join("real")).expect("directory");
    rig.spec.stdout = Some(plain(&format!("{path}/real/z")));
    rig.open().expect("opened");
    let _ = rig.relay.forget(rig.task);
    rig.spec.stdout = Some(plain(&format!("{path}/z")));
    rig.open().expect("opened");
    assert!(rig.path().join("real/z").exists() && rig.path().join("z").exists());
}

#[test]
fn what_is_made_is_private_and_the_users() {
    let owner = nix::unistd::geteuid().is_root().then_some((1234, 4321));
    for sink in [fifo as fn(&str) -> Sink, plain, |path| rotated(path, 9, 2, Numbering::Shift)] {
        let mut rig = Rig::with_state(sink);
        rig.open_as(owner).expect("open");
        let end = file(rig.relay.begin_run(rig.task, 1).expect("begin").stdout);
        for made in [fs::metadata(rig.path()).expect("made"), end.metadata().expect("end")] {
            assert_eq!(made.permissions().mode() & 0o7777, 0o600);
            assert_eq!(owner.unwrap_or((made.uid(), made.gid())), (made.uid(), made.gid()));
        }
        // What was there keeps its owner.
        let _ = rig.relay.forget(rig.task);
        let other = owner.map(|_| (77, 77));
        rig.open_as(other).expect("open");
        assert_ne!(fs::metadata(rig.path()).expect("made").uid(), 77);
    }
    let mut rig = Rig::new(fifo);
    rig.open_as(owner).expect("open");
    let end = file(rig.relay.begin_run(rig.task, 1).expect("begin").stdout);
    let pipe = end.metadata().expect("pipe");
    assert_eq!(owner.unwrap_or((pipe.uid(), pipe.gid())), (pipe.uid(), pipe.gid()));
}

#[test]
fn a_second_launch_leaves_open_what_is_open() {
    with_own_descriptors(|| {
        let mut rig = Rig::new(fifo);
        rig.spec.stderr = Some(rotated(
            rig.dir.path().join("err").to_str().expect("path"),
            100,
            2,
            Numbering::Count,
        ));
        let before = descriptors().len() as u64;
        rig.open().expect("open");
        rig.open().expect("open");
        let ends = rig.start();
        let held = descriptors().len() as u64 - before;
        drop(ends);
        assert_eq!(held, Relay::descriptors_needed(&rig.spec, false) + 2, "and two of the child");
        assert_eq!(rig.relay.descriptors(), Relay::descriptors_needed(&rig.spec, false));
        rig.relay.abort_run(rig.task);
        assert_eq!(descriptors().len() as u64, before + 2);
        let _ = rig.relay.forget(rig.task);
        assert_eq!(descriptors().len() as u64, before);
        assert_eq!(rig.relay.descriptors(), 0);
    });
}

#[test]
fn sinks_that_need_nothing_hold_nothing() {
    let mut rig = Rig::new(|_| Sink::Discard);
    let ends = rig.start();
    assert!(matches!((ends.stdout, ends.stderr), (ChildEnd::Null, ChildEnd::Null)));
    assert!(rig.relay.tasks.is_empty());
    rig.relay.finish_run(rig.now(), rig.task);
    rig.relay.close(rig.now(), rig.task);
    let _ = rig.relay.forget(rig.task);
    rig.turn();
    assert_eq!(rig.news, [SETTLED]);

    let mut rig = Rig::new(|_| Sink::Inherit);
    assert!(matches!(rig.start().stdout, ChildEnd::Inherit));
    let mut rig = Rig::with_options(
        |_| Sink::Inherit,
        |_| RelayOptions { refuse_inherit: true, ..RelayOptions::default() },
    );
    assert!(refused(&mut rig).starts_with("stdout: inherit is refused"));

    let own = Arc::new(OwnedFd::from(File::open("/dev/null").expect("open")));
    let mut rig = Rig::new(|_| Sink::Descriptor(Arc::clone(&own)));
    assert!(matches!(rig.start().stdout, ChildEnd::Fd(fd) if Arc::ptr_eq(&fd, &own)));
}

/// Fails each system call of opening two sinks and beginning a run, one after the other.
fn fails_cleanly(rig_of: fn() -> Rig) {
    with_own_descriptors(move || {
        for nth in 1.. {
            let mut rig = rig_of();
            let (before, at) = (descriptors().len(), rig.task);
            let failing = faults::fail_nth(nth, Errno::EMFILE);
            let started = rig.open().and_then(|()| rig.relay.begin_run(at, 1));
            let Some(call) = failing.hit() else {
                assert!(nth > 8, "so few calls: {nth}");
                started.expect("nothing failed");
                break;
            };
            drop(failing);
            match started {
                // One that can be done without.
                Ok(ends) => drop(ends),
                Err(error) => {
                    assert_eq!(error.errno_name, "EMFILE", "{call}: {error}");
                    assert!(error.retry);
                    let of_run = descriptors().len() - before;
                    assert!(of_run <= 2, "{call} left {of_run}: only sinks stay open");
                    let state = fs::read_dir(rig.dir.path().join("state")).expect("directory");
                    assert_eq!(state.count(), 0, "{call} left a FIFO in the state directory");
                }
            }
            let _ = rig.relay.forget(at);
            assert_eq!(descriptors().len(), before, "{call} left descriptors");
            // The same works when nothing fails.
            drop(rig.start());
        }
    });
}

#[test]
fn each_failing_call_leaves_nothing_behind() {
    fn both(mut rig: Rig) -> Rig {
        let err = rig.dir.path().join("err").to_str().expect("path").to_owned();
        rig.spec.stderr = Some(rotated(&err, 100, 2, Numbering::Count));
        rig
    }
    fails_cleanly(|| both(Rig::with_state(fifo)));
    fails_cleanly(|| both(Rig::new(plain)));
    fails_cleanly(|| both(Rig::new(|path| Sink::Fifo { path: path.to_owned(), direct: true })));
}
