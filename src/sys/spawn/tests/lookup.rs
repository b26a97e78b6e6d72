//! Finding the command, and what is said when it cannot be executed.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A script that says which one it is.
fn script(path: &Path, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // By another name: a file that is open for writing cannot be executed, and a child that
    // another test is just making may have the descriptor.
    fs::write(path, "#!/bin/sh\necho \"$0\"\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Runs until nobody else has the file open for writing.
fn run_script(way: Way, spec: &TaskSpec) -> Result<(ExitStatus, String), StartError> {
    loop {
        match run(way, spec) {
            Err(error) if error.errno == libc::ETXTBSY => {
                assert!(error.retry);
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

fn printed(way: Way, spec: &TaskSpec) -> String {
    let (status, text) = run_script(way, spec).unwrap_or_else(|error| panic!("{way:?}: {error}"));
    assert_eq!(status, ExitStatus::Exited(0), "{way:?}: {text}");
    text
}

fn in_directory(directory: &Path, command: &str) -> TaskSpec {
    TaskSpec { task_dir: Some(directory.to_str().unwrap().into()), ..task(command, &[]) }
}

#[test]
fn the_first_one_that_can_be_executed_is() {
    for way in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        script(&at("bin/x"), 0o755);
        let mut spec = in_directory(&at(""), "x");
        spec.env = vec![format!("PATH=relative:{}", at("bin").display())];
        fs::create_dir(at("local")).unwrap();
        // A directory of that name is passed over, and so is a file without execute bits.
        fs::create_dir(at("local/x")).unwrap();
        let expected = |name: &str| format!("{}\n", at(name).display());
        assert_eq!(printed(way, &spec), expected("bin/x"), "{way:?}");
        script(&at("x"), 0o755);
        assert_eq!(printed(way, &spec), expected("x"), "{way:?}");
        fs::remove_dir(at("local/x")).unwrap();
        script(&at("local/x"), 0o755);
        assert_eq!(printed(way, &spec), expected("local/x"), "{way:?}");
        spec.command = "bin/x".into();
        assert_eq!(printed(way, &spec), expected("bin/x"), "{way:?}");
        spec.command = "./x".into();
        spec.work_dir = Some(at("local").to_str().unwrap().into());
        assert_eq!(printed(way, &spec), expected("local/./x"), "{way:?}");
    }
}

#[test]
fn what_is_not_found_is_told_with_where_it_was_looked_for() {
    for way in WAYS {
        let failure = |spec: &TaskSpec| {
            let error = run(way, spec).unwrap_err();
            assert_eq!(error.errno_name, "ENOENT", "{way:?}: {error}");
            (error.stage, error.message)
        };
        assert_eq!(
            failure(&task("no-such-command", &[])),
            (
                Stage::Lookup,
                "find command \"no-such-command\": not in PATH=/usr/bin:/bin of the task's env"
                    .into()
            )
        );
        assert_eq!(
            failure(&task("/no/such/command", &[])),
            (Stage::Lookup, "find command \"/no/such/command\": No such file or directory".into())
        );
        let mut spec = TaskSpec::new("x");
        spec.env = vec!["PATH=relative".into()];
        assert_eq!(
            failure(&spec),
            (Stage::Lookup, "find command \"x\": not in PATH=relative of the task's env".into())
        );
        spec.env = vec!["PATH=/bin".into()];
        spec.work_dir = Some("/no/such".into());
        assert_eq!(
            failure(&spec),
            (
                Stage::Directory,
                "change to directory \"/no/such\": No such file or directory".into()
            )
        );
        spec.work_dir = None;
        spec.task_dir = Some("/no/such".into());
        assert_eq!(failure(&spec).0, Stage::Directory);
    }
}

#[test]
fn what_is_found_but_cannot_be_executed_is_told_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    script(Path::new(&path("plain")), 0o644);
    fs::create_dir(path("directory")).unwrap();
    for (name, text) in [("interpreter", "#!/no/such/interpreter\n"), ("text", "just text\n")] {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for way in WAYS {
        for (name, errno, part) in [
            ("plain", "EACCES", "(no execute bit for user with uid"),
            ("directory", "EACCES", "(it is a directory)"),
            ("interpreter", "ENOENT", "(the file is there, but not the interpreter"),
            ("text", "ENOEXEC", "(not a program: no #! line?)"),
        ] {
            let error = run_script(way, &task(&path(name), &[])).unwrap_err();
            assert_eq!(error.stage, Stage::Exec, "{way:?}: {error}");
            assert_eq!(error.errno_name, errno, "{way:?}: {error}");
            let begin = format!("execute {:?}: ", path(name));
            assert!(error.message.starts_with(&begin), "{way:?}: {error}");
            assert!(error.message.contains(part), "{way:?}: {error}");
        }
        let mut spec = task("plain", &[]);
        spec.env = vec![format!("PATH={}:/no/such", path(""))];
        assert_eq!(run(way, &spec).unwrap_err().stage, Stage::Exec);
        let huge = task("/bin/true", &[&"x".repeat(200 << 10)]);
        let error = run(way, &huge).unwrap_err();
        assert_eq!((error.stage, error.errno_name.as_str()), (Stage::Exec, "E2BIG"));
    }
}

#[test]
fn what_its_user_cannot_reach_is_denied() {
    if !is_root("what_its_user_cannot_reach_is_denied") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    script(&path, 0o755);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    for way in WAYS {
        let user = Some("54321:54321".to_owned());
        let spec = TaskSpec { user: user.clone(), ..task(path.to_str().unwrap(), &[]) };
        let error = run(way, &spec).unwrap_err();
        assert_eq!((error.stage, error.errno_name.as_str()), (Stage::Exec, "EACCES"));
        assert!(error.message.contains("may not search a directory"), "{error}");
        // In a search it is not there.
        let path = format!("PATH={}:/bin", directory.path().display());
        let spec = TaskSpec { user, env: vec![path], ..task("x", &[]) };
        assert_eq!(run(way, &spec).unwrap_err().stage, Stage::Lookup);
    }
}

#[test]
fn a_file_in_the_task_directory_is_made_executable() {
    for way in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["x", "local/y", "deep/z", "bits"] {
            script(&at(name), 0o640);
        }
        script(&at("bits"), 0o700);
        symlink("deep/z", at("inside")).unwrap();
        for (command, file, mode) in
            [("x", "x", 0o755), ("y", "local/y", 0o755), ("inside", "deep/z", 0o755)]
        {
            printed(way, &in_directory(&at(""), command));
            assert_eq!(mode_of(&at(file)), mode, "{way:?} {command}");
        }
        let absolute = at("deep/z");
        script(&absolute, 0o600);
        printed(way, &in_directory(&at(""), absolute.to_str().unwrap()));
        assert_eq!(mode_of(&absolute), 0o755, "{way:?}");
        // It has the bit that its user needs: nobody else gets one.
        printed(way, &in_directory(&at(""), "bits"));
        assert_eq!(mode_of(&at("bits")), 0o700, "{way:?}");
    }
}

#[test]
fn what_is_not_the_tasks_own_is_left_as_it_is() {
    for way in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        script(&at("outside"), 0o600);
        script(&at("task/hard"), 0o600);
        fs::hard_link(at("task/hard"), at("second-name")).unwrap();
        symlink(at("outside"), at("task/absolute")).unwrap();
        symlink("../outside", at("task/relative")).unwrap();
        for command in ["absolute", "relative", "hard", "../outside"] {
            let error = run_script(way, &in_directory(&at("task"), command)).unwrap_err();
            assert_eq!(error.stage, Stage::Exec, "{way:?} {command}: {error}");
        }
        assert_eq!(mode_of(&at("outside")), 0o600, "{way:?}");
        assert_eq!(mode_of(&at("task/hard")), 0o600, "{way:?}");
        nix::unistd::mkfifo(&at("task/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(run(way, &in_directory(&at("task"), "fifo")).unwrap_err().stage, Stage::Exec);
        if is_root("what_is_not_the_tasks_own_is_left_as_it_is: owner") {
            script(&at("task/foreign"), 0o600);
            std::os::unix::fs::chown(at("task/foreign"), Some(54_321), None).unwrap();
            let spec = in_directory(&at("task"), "foreign");
            assert_eq!(run_script(way, &spec).unwrap_err().stage, Stage::Exec, "{way:?}");
            assert_eq!(mode_of(&at("task/foreign")), 0o600, "{way:?}");
        }
    }
}
