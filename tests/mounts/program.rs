//! The same as users have it: by a daemon, by a task file, as nobody.

use crate::executable::copy_executable;
use crate::machine::in_machine;
use crate::support::{Image, PROGRAM, is_root, ostler, run, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that is ended with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_task_file_gives_a_root_to_its_tasks() {
    const TEST: &str = "a_task_file_gives_a_root_to_its_tasks";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    fs::write(image.beside("note"), "told\n").unwrap();
    let mut mounts = vec!["{ source = \"/usr\", target = \"/usr\", read_only = true }".to_owned()];
    for pair in image.flags().windows(2).filter(|pair| pair[0] == "--mount").skip(1) {
        let path = pair[1].split(':').next().unwrap();
        mounts.push(format!("{{ source = {path:?}, target = {path:?}, read_only = true }}"));
    }
    mounts.push("{ source = \"note\", target = \"/etc/note\" }".to_owned());
    let file = format!(
        "[task.inside]\ncommand = \"/bin/sh\"\nwork_dir = \"/etc\"\n\
         args = [\"-c\", \"cat note; pwd; echo $$; ls /dev/null /dev/extra\"]\n\
         [task.inside.isolation]\nroot = \"root\"\npid = true\n\
         devices = [{{ source = \"/dev/zero\", target = \"/dev/extra\" }}]\n\
         mounts = [{}]\n",
        mounts.join(", ")
    );
    let path = image.beside("tasks.toml");
    fs::write(&path, file).unwrap();
    let output = ostler(&["up", path.to_str().unwrap()]).output().unwrap();
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    for line in ["told", "/etc", "2", "/dev/null", "/dev/extra"] {
        assert!(told.lines().any(|found| found.ends_with(&format!(" {line}"))), "{line}: {told}");
    }
    image.assert_nothing_is_left(TEST);
}

#[test]
fn a_daemon_forgets_nothing_of_a_root() {
    const TEST: &str = "a_daemon_forgets_nothing_of_a_root";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    let socket = image.beside("socket").display().to_string();
    let daemon = ostler(&["daemon", "--socket", &socket])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = daemon.id();
    let _daemon = Background(daemon);
    until("the daemon listens", || UnixStream::connect(&socket).ok());
    let ask = |arguments: &[&str]| {
        text(&ostler(arguments).env("OSTLER_SOCKET", &socket).output().unwrap())
    };
    let version = ask(&["version", "--json"]);
    assert!(version.contains("\"mounts\"") && version.contains("\"devices\""), "{version}");
    let launch = |name: &str, command: &str| {
        let flags = image.flags();
        let rest = ["--private", "pid", "--device", "/dev/zero:/dev/z", "--", command, "300"];
        ask(&[&["launch", "--name", name], &flags[..], &rest].concat())
    };
    assert_eq!(launch("a", "/bin/sleep"), "a\n");
    // The init and the main process.
    assert_eq!(image.seen_by().len(), 2);
    let shown = ask(&["inspect", "a", "--json"]);
    assert!(shown.contains("\"target\":\"/dev/z\""), "{shown}");
    let failed = launch("b", "/no/such");
    assert!(failed.contains("(inside root"), "{failed}");
    assert_eq!(image.seen_by().len(), 2);
    ask(&["stop", "a", "--grace", "0"]);
    until("nothing is left", || image.seen_by().is_empty().then_some(()));
    // Killed in the middle of it: what is left of a task goes when it is killed.
    assert_eq!(launch("c", "/bin/sleep"), "c\n");
    let named = ask(&["inspect", "c", "--json"]);
    let main = named.split("\"pid\":").nth(1).unwrap();
    let main: i32 = main.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let kill = |pid: i32| {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    kill(main);
    until("nothing is left", || image.seen_by().is_empty().then_some(()));
    kill(pid as i32);
}

#[test]
fn nobody_has_a_root_by_a_user_namespace() {
    const TEST: &str = "nobody_has_a_root_by_a_user_namespace";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    let program = image.beside("ostler");
    copy_executable(PROGRAM, &program, 0o755);
    nix::unistd::chown(&image.at(""), Some(65534.into()), Some(65534.into())).unwrap();
    let as_nobody = |flags: &[&str], script: &str| {
        let output = Command::new(&program)
            .args([&["run"], &image.flags()[..], flags, &["--", "/bin/sh", "-c", script]].concat())
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        text(&output)
    };
    let script = "id -u; ls / > /made; echo x > /dev/null && head -c 2 /dev/zero | wc -c; \
                  touch /usr/x 2>&1; chmod 600 /dev/null 2>&1; ls -d /dev/pts/ptmx; \
                  ls /sys > /dev/null && echo sys; mknod /node c 1 3 2>&1; echo $$";
    let told = as_nobody(&["--private", "pid"], script);
    if told.contains("isolation.") && told.contains("namespace") {
        println!("skipped: {TEST}: {told}");
        assert!(!in_machine(), "{told}");
        return;
    }
    assert!(told.starts_with("0\n2\n"), "{told}");
    assert_eq!(told.matches("Read-only file system").count(), 2, "{told}");
    assert!(told.contains("/dev/pts/ptmx\nsys\n") && told.ends_with("\n2\n"), "{told}");
    assert!(told.contains("ot permitted"), "{told}");
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
    // What a user namespace cannot give is named.
    let shared = format!("{}:/shared:shared", image.beside("").display());
    let told = as_nobody(&["--mount", &shared], "true");
    assert!(told.contains("without root nothing can be shared"), "{told}");
    image.assert_nothing_is_left(TEST);
}

#[test]
fn what_cannot_be_is_named_with_its_field() {
    if !is_root("what_cannot_be_is_named_with_its_field") {
        return;
    }
    let image = Image::new();
    fs::write(image.at("file"), "").unwrap();
    for (flags, told) in [
        (&["--mount", "/tmp:/../x"][..], "isolation.mounts[1].target: must not contain .."),
        (&["--mount", "/tmp:/./"], "isolation.mounts[1].target: must not be the root itself"),
        (&["--mount", "/tmp:x"], "isolation.mounts[1].target: must be an absolute path"),
        (
            &["--mount", "/no/such:/x"],
            "(isolation.mounts[1]): take what is at \"/no/such\": No such",
        ),
        (&["--mount", "/tmp:/file/x"], "find its mount point \"/file/x\": Not a directory"),
        (&["--device", "/etc:/dev/etc"], "(isolation.devices[0]): it is no device"),
        (&["--device", "/no/such"], "(isolation.devices[0]): No such file"),
        (&["--device", "/dev/null:/dev/../x"], "isolation.devices[0].target: must not contain .."),
        (&["--device", "/dev/null:rx"], "isolation.devices[0].permissions: must be letters"),
        (&["--mount", "/tmp:/x:shared"], "is not shared on the host: mount --make-shared"),
        (
            &["--work-dir", "/no/such"],
            "change to directory \"/no/such\": No such file or directory (i",
        ),
    ] {
        // In the machine that has busybox alone there are no mounts besides /usr.
        let output = image.run(flags, &["/bin/true"]);
        assert_eq!(output.status.code(), Some(125), "{flags:?}: {}", text(&output));
        assert!(text(&output).contains(told), "{flags:?}: {}", text(&output));
    }
    let told = text(&run(&["--root", "/no/such"], &["/bin/true"]));
    assert!(told.contains("enter root \"/no/such\" (isolation.root)"), "{told}");
    let told = text(&run(&["--mount", "/tmp:/no/such"], &["/bin/true"]));
    assert!(told.contains("without isolation.root it has to exist"), "{told}");
    let output = image.run(&[], &["no-such-command"]);
    assert_eq!(output.status.code(), Some(127), "{}", text(&output));
}
