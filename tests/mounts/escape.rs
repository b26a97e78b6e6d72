//! Every known way out of a root, tried from inside, and failing.

use crate::executable::copy_executable;
use crate::machine::in_machine;
use crate::support::{Image, PROGRAM, is_root, text};
use nix::libc;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where this is set, the test is the task: see `probe`.
const PROBE: &str = "OSTLER_TEST_PROBE";

/// What Docker leaves to a container: enough to change files, devices and the root directory.
const DOCKERS: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,\
                       SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// This program in the root, as a task with these flags; what it prints.
fn probe_in(image: &Image, flags: &[&str]) -> String {
    let own = std::env::current_exe().unwrap();
    let mounted = format!("{}:/probe:ro", own.display());
    let role = ["--env", "OSTLER_TEST_PROBE=1", "--mount", &mounted];
    let arguments = ["--exact", "escape::probe", "--nocapture", "--test-threads=1"];
    let command = [&["/probe"][..], &arguments].concat();
    text(&image.run(&[&role[..], flags].concat(), &command))
}

/// Not a test but what a task of this file runs: the program itself, in another role.
#[test]
fn probe() {
    if std::env::var_os(PROBE).is_none() {
        return;
    }
    println!();
    println!("chroot twice: {}", listing_after_a_second_chroot());
    println!("of pid 1: {}", names("/proc/1/root"));
    println!("own mount: {}", errno(mount_here("/tmp/own")));
    println!("uncover: {}", errno(uncover(c"/proc/keys")));
    println!("own namespace: {}", errno(own_namespace()));
    println!("by handle: {}", errno(by_handle()));
    let above: Vec<i32> = (3..1024).filter(|&fd| is_directory(fd)).collect();
    println!("directories open: {above:?}");
}

fn names(path: &str) -> String {
    let Ok(entries) = fs::read_dir(path) else { return "none".to_owned() };
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}

/// The classic: a second root below the working directory, and up from there.
fn listing_after_a_second_chroot() -> String {
    let _ = fs::create_dir("/below");
    // In a process of its own: the rest of the probe keeps its root.
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the child has this thread alone and ends by _exit.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let told = match nix::unistd::chroot("/below") {
                Ok(()) => {
                    for _ in 0..64 {
                        let _ = nix::unistd::chdir("..");
                    }
                    let _ = nix::unistd::chroot(".");
                    names("/")
                }
                Err(errno) => format!("{errno:?}"),
            };
            let _ = nix::unistd::write(&writer, told.as_bytes());
            // SAFETY: ends the process, nothing more.
            unsafe { libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop(writer);
            let told = std::io::read_to_string(reader).unwrap();
            nix::sys::wait::waitpid(child, None).unwrap();
            told
        }
    }
}

fn errno(result: nix::Result<()>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |()| "done".to_owned())
}

fn mount_here(at: &str) -> nix::Result<()> {
    let _ = fs::create_dir_all(at);
    let none: Option<&str> = None;
    nix::mount::mount(Some("x"), at, Some("tmpfs"), nix::mount::MsFlags::empty(), none)
}

fn uncover(path: &std::ffi::CStr) -> nix::Result<()> {
    nix::mount::umount(path)
}

/// A user namespace with every right in it.
fn own_namespace() -> nix::Result<()> {
    // SAFETY: the child has this thread alone and ends by _exit.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            let flags = nix::sched::CloneFlags::CLONE_NEWUSER | nix::sched::CloneFlags::CLONE_NEWNS;
            let uncovered = nix::sched::unshare(flags).and_then(|()| uncover(c"/proc/keys"));
            let code = uncovered.map_or_else(|errno| errno as i32, |()| 0);
            // SAFETY: ends the process, nothing more.
            unsafe { libc::_exit(code) }
        }
        nix::unistd::ForkResult::Parent { child } => match nix::sys::wait::waitpid(child, None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            nix::sys::wait::WaitStatus::Exited(_, code) => Err(nix::errno::Errno::from_raw(code)),
            _ => Err(nix::errno::Errno::EIO),
        },
    }
}

/// open_by_handle_at(2) with the first inode of the file system, as "shocker" did in Docker.
fn by_handle() -> nix::Result<()> {
    let directory = fs::File::open("/").unwrap();
    // struct file_handle: bytes, type, the handle.
    let handle: [u32; 4] = [8, 1, 2, 0];
    let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
    // SAFETY: a handle that is as long as it says.
    let answer = unsafe { libc::syscall(libc::SYS_open_by_handle_at, fd, handle.as_ptr(), 0) };
    nix::errno::Errno::result(answer).map(drop)
}

fn is_directory(fd: i32) -> bool {
    fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|found| found.is_dir())
}

#[test]
fn a_root_task_with_the_rights_of_a_container_stays_inside() {
    const TEST: &str = "a_root_task_with_the_rights_of_a_container_stays_inside";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    fs::write(image.at("marker"), "").unwrap();
    let told = probe_in(&image, &["--private", "pid", "--cap", DOCKERS]);
    let line = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {told}")).to_owned()
    };
    let names = line("chroot twice: ");
    assert!(names.contains("marker") && names.contains("usr"), "{names}");
    assert!(!names.contains("etc") && !names.contains("root"), "{names}");
    // The init cannot be looked into; what would be seen there is the same root.
    assert_eq!(line("of pid 1: "), "none");
    assert_eq!(line("own mount: "), "EPERM");
    assert_eq!(line("uncover: "), "EPERM");
    // What covers was mounted by others: EINVAL, or no user namespaces at all.
    assert_ne!(line("own namespace: "), "done");
    assert_eq!(line("by handle: "), "EPERM");
    assert_eq!(line("directories open: "), "[]");
    image.assert_nothing_is_left(TEST);
}

#[test]
fn the_program_cannot_be_written_by_what_it_starts() {
    const TEST: &str = "the_program_cannot_be_written_by_what_it_starts";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    // Not the one that other tests use, in case it goes wrong.
    let program = image.beside("ostler");
    copy_executable(PROGRAM, &program, 0o755);
    let before = fs::read(&program).unwrap();
    symlink("/proc/self/exe", image.at("evil")).unwrap();
    // The parent of this script is the supervisor's own program, made to run in the root.
    let script = "exec 9< /proc/$PPID/exe; readlink /proc/self/fd/9; id -u; \
                  echo evil > /proc/self/fd/9; echo evil >> /proc/$PPID/exe";
    fs::write(image.at("script"), script).unwrap();
    let attack = ["--private", "pid", "--", "/evil", "run", "--", "/bin/sh", "/script"];
    let mut owner = std::process::Command::new(&program);
    owner.arg("run").args(image.flags()).args(["--env", "PATH=/usr/bin:/bin"]).args(attack);
    let told = text(&owner.output().unwrap());
    assert_eq!(told.lines().nth(1), Some("0"), "{told}");
    // A mount without a place, which is read-only.
    assert_eq!(told.lines().next(), Some("/"), "{told}");
    // Busy as long as it runs, read-only for ever.
    assert!(told.contains("Read-only file system"), "{told}");
    assert_eq!(told.lines().filter(|line| line.contains("t create /proc/")).count(), 2, "{told}");
    assert!(fs::read(&program).unwrap() == before);
    // Who is not root has a copy in memory.
    if in_machine() {
        return;
    }
    nix::unistd::chown(&program, Some(65534.into()), Some(65534.into())).unwrap();
    std::os::unix::process::CommandExt::uid(&mut owner, 65534);
    std::os::unix::process::CommandExt::gid(&mut owner, 65534);
    nix::unistd::chown(&image.at(""), Some(65534.into()), Some(65534.into())).unwrap();
    let told = text(&owner.output().unwrap());
    if told.contains("isolation.") {
        println!("skipped: {TEST}: as nobody: {told}");
        return;
    }
    assert!(told.starts_with("/memfd:ostler (deleted)\n0\n"), "{told}");
    assert!(fs::read(&program).unwrap() == before);
}

#[test]
fn a_link_or_a_rename_leads_no_mount_out() {
    const TEST: &str = "a_link_or_a_rename_leads_no_mount_out";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    for name in ["data", "victim"] {
        fs::create_dir(image.beside(name)).unwrap();
    }
    let data = format!("{}:/target/point", image.beside("data").display());
    // Another task of the same root that swaps a directory for a link to the host all the time.
    let victim = CString::new(image.beside("victim").to_str().unwrap()).unwrap();
    let (target, aside) = (image.at("target"), image.at("aside"));
    fs::create_dir(&aside).unwrap();
    symlink(victim.to_str().unwrap(), &target).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
            let (one, other) = (path(&target), path(&aside));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                let here = nix::fcntl::AT_FDCWD;
                let (one, other) = (one.as_c_str(), other.as_c_str());
                nix::fcntl::renameat2(here, one, here, other, exchange).unwrap();
            }
        });
        // Emulated, it takes long.
        for _ in 0..if in_machine() { 10 } else { 40 } {
            // It may be made inside, or fail; it is never made on the host.
            let _ = image.run(&["--mount", &data], &["/bin/true"]);
            assert_eq!(fs::read_dir(image.beside("victim")).unwrap().count(), 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(image.beside("data")).unwrap().count(), 0);
    image.assert_nothing_is_left(TEST);
}
