//! Roots, mounts and devices of tasks, as they see them.

use super::*;
use crate::vocabulary::{Device, Isolation, Mount, Propagation};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Whether mounts can be made here; says so where they cannot.
pub(super) fn can_mount(test: &str) -> bool {
    let can = crate::sys::namespaces::own_right() == Ok(crate::sys::namespaces::Right::OfRoot)
        && crate::sys::mounting::why_unavailable().is_none();
    if !can {
        eprintln!("skipped {test}: mounts need root and Linux 5.12");
    }
    can
}

fn mount(source: impl AsRef<Path>, target: &str) -> Mount {
    Mount {
        source: source.as_ref().to_str().unwrap().to_owned(),
        target: target.to_owned(),
        read_only: false,
        propagation: Propagation::Private,
    }
}

fn read_only(source: impl AsRef<Path>, target: &str) -> Mount {
    Mount { read_only: true, ..mount(source, target) }
}

/// A root in which the programs of this machine are mounted.
pub(super) struct Image {
    directory: tempfile::TempDir,
    mounts: Vec<Mount>,
}

impl Image {
    pub(super) fn new() -> Image {
        let directory = tempfile::tempdir().unwrap();
        // Whoever the task runs as.
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        let mut image = Image { directory, mounts: vec![read_only("/usr", "/usr")] };
        for name in ["bin", "sbin", "lib", "lib64"] {
            let host = Path::new("/").join(name);
            match fs::read_link(&host) {
                Ok(target) => symlink(target, image.at(name)).unwrap(),
                Err(_) if host.exists() => {
                    image.mounts.push(read_only(&host, &format!("/{name}")));
                }
                Err(_) => {}
            }
        }
        image
    }

    /// A path of the host inside the root.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    /// A path of the host beside the root.
    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn isolation(&self, mounts: &[Mount]) -> Isolation {
        Isolation {
            root: Some(self.at("").to_str().unwrap().to_owned()),
            mounts: [&self.mounts, mounts].concat(),
            ..Isolation::default()
        }
    }

    fn sh(&self, mounts: &[Mount], script: &str) -> TaskSpec {
        isolated(self.isolation(mounts), script)
    }
}

fn isolated(isolation: Isolation, script: &str) -> TaskSpec {
    TaskSpec { isolation: Some(Box::new(isolation)), ..sh(script) }
}

/// Nothing that was mounted for a task is mounted in the test's own view.
fn assert_host_sees_none(image: &Image) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(image.beside("").to_str().unwrap()), "{mounts}");
}

#[test]
fn a_root_is_all_that_a_task_sees() {
    if !can_mount("a_root_is_all_that_a_task_sees") {
        return;
    }
    let image = Image::new();
    fs::write(image.beside("secret"), "secret").unwrap();
    fs::write(image.at("file"), "inside\n").unwrap();
    let up = "../../../../../../../../../..";
    let script = format!(
        "pwd; cat /file; cat {up}/file; for d in / /..; do ls -x -w 200 $d; done; \
         cat {} /root/.profile 2>/dev/null; cd /dev && ls -x -w 200; test -e /proc/self; echo $?",
        image.beside("secret").display()
    );
    for way in WAYS {
        let text = output(way, &image.sh(&[], &script));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["/", "inside", "inside"], "{way:?}: {text}");
        assert_eq!(lines[3], lines[4], "{way:?}: {text}");
        let names: Vec<&str> = lines[3].split_whitespace().collect();
        assert!(names.contains(&"dev") && names.contains(&"sys") && !names.contains(&"etc"));
        let dev = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
        let shown: Vec<&str> = lines[5].split_whitespace().collect();
        assert_eq!(shown.join(" "), dev, "{way:?}: {text}");
        // Without a pid namespace there is no /proc.
        assert_eq!(lines[6..], ["1"], "{way:?}: {text}");
    }
    assert_host_sees_none(&image);
}

#[test]
fn a_command_and_its_directories_are_looked_for_in_the_root() {
    if !can_mount("a_command_and_its_directories_are_looked_for_in_the_root") {
        return;
    }
    let image = Image::new();
    fs::create_dir_all(image.at("task/local")).unwrap();
    fs::write(image.at("task/local/here"), "#!/bin/sh\npwd\n").unwrap();
    for way in WAYS {
        let mut spec = TaskSpec { task_dir: Some("/task".into()), ..image.sh(&[], "") };
        spec.command = "here".into();
        assert_eq!(output(way, &spec), "/task\n", "{way:?}");
        // The default PATH.
        let spec = TaskSpec { command: "sh".into(), env: vec![], ..image.sh(&[], "echo $0") };
        assert!(output(way, &spec).ends_with("bin/sh\n"), "{way:?}");
        let nowhere = TaskSpec { command: "no-such".into(), env: vec![], ..image.sh(&[], "") };
        let error = run(way, &nowhere).unwrap_err();
        let told = format!("(inside root {:?})", image.at("").to_str().unwrap());
        assert!(error.message.contains(&told), "{error}");
        assert!(error.message.contains("PATH=/usr/local/sbin:"), "{error}");
        let work_dir = Some(image.beside("").to_str().unwrap().to_owned());
        let error = run(way, &TaskSpec { work_dir, ..image.sh(&[], "") }).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Directory, libc::ENOENT), "{error}");
    }
}

#[test]
fn mount_points_are_made_in_the_root() {
    if !can_mount("mount_points_are_made_in_the_root") {
        return;
    }
    let image = Image::new();
    fs::create_dir(image.beside("data")).unwrap();
    fs::write(image.beside("data/file"), "told\n").unwrap();
    // What is missing, through a link of the image, and over what is there.
    fs::create_dir_all(image.at("real/dir")).unwrap();
    symlink("/real", image.at("link")).unwrap();
    let mounts = [
        mount(image.beside("data"), "/new/a//./b/"),
        mount(image.beside("data/file"), "/new/file"),
        read_only(image.beside("data"), "/link/dir"),
    ];
    let script = "umask; cat /new/a/b/file /new/file /real/dir/file; echo more >> /new/file; \
                  (echo x > /real/dir/x) 2>/dev/null || echo read-only; stat -c %a /new/a";
    for way in WAYS {
        let spec =
            TaskSpec { umask: crate::vocabulary::Setting::To(0o77), ..image.sh(&mounts, script) };
        let text = output(way, &spec);
        assert_eq!(text, "0077\ntold\ntold\ntold\nread-only\n755\n", "{way:?}");
        assert_eq!(fs::read_to_string(image.beside("data/file")).unwrap(), "told\nmore\n");
        fs::write(image.beside("data/file"), "told\n").unwrap();
    }
    assert!(image.at("new/a/b").is_dir() && image.at("new/file").is_file());
    assert_eq!(fs::read_dir(image.at("new/a/b")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(image.at("real/dir")).unwrap().count(), 0);
}

#[test]
fn no_link_of_an_image_leads_a_mount_to_the_host() {
    if !can_mount("no_link_of_an_image_leads_a_mount_to_the_host") {
        return;
    }
    let image = Image::new();
    fs::create_dir(image.beside("data")).unwrap();
    fs::create_dir(image.beside("victim")).unwrap();
    let victim = image.beside("victim");
    symlink(&victim, image.at("absolute")).unwrap();
    symlink("../../../../../..", image.at("up")).unwrap();
    symlink("/proc/self/root", image.at("magic")).unwrap();
    symlink("/proc/self/cwd", image.at("cwd")).unwrap();
    let through_up = format!("/up{}", victim.display());
    let proc = mount("/proc", "/proc");
    for (target, errno) in [
        ("/absolute", Some(libc::EEXIST)),
        ("/absolute/deeper", Some(libc::EEXIST)),
        (through_up.as_str(), None),
        ("/magic/x", Some(libc::ELOOP)),
        ("/cwd/x", Some(libc::ELOOP)),
        ("/dev/fd/9", Some(libc::ELOOP)),
    ] {
        let mounts = [proc.clone(), mount(image.beside("data"), target)];
        for way in WAYS {
            let result = run(way, &image.sh(&mounts, "true"));
            match (result, errno) {
                (Ok(_), None) => {}
                (Err(error), Some(errno)) => {
                    assert_eq!((error.stage, error.errno), (Stage::Mount, errno), "{error}");
                    assert!(error.message.contains("find its mount point"), "{error}");
                }
                (result, _) => panic!("{way:?} {target}: {result:?}"),
            }
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{target}");
    }
    // It was made inside.
    assert!(image.at(victim.strip_prefix("/").unwrap().to_str().unwrap()).is_dir());
}

#[test]
fn mount_points_of_our_own_are_no_links() {
    if !can_mount("mount_points_of_our_own_are_no_links") {
        return;
    }
    for name in ["sys", "dev"] {
        let image = Image::new();
        fs::create_dir(image.at("elsewhere")).unwrap();
        symlink("/elsewhere", image.at(name)).unwrap();
        for way in WAYS {
            let error = run(way, &image.sh(&[], "true")).unwrap_err();
            assert_eq!((error.stage, error.errno), (Stage::Mount, libc::ELOOP), "{error}");
            let told = format!("find its mount point \"/{name}\"");
            assert!(error.message.contains(&told), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_mounted_is_named() {
    if !can_mount("what_cannot_be_mounted_is_named") {
        return;
    }
    let image = Image::new();
    fs::write(image.at("file"), "").unwrap();
    let root = image.at("").to_str().unwrap().to_owned();
    for (isolation, errno, told) in [
        (image.isolation(&[mount("/no/such", "/x")]), libc::ENOENT, "take what is at \"/no/such\""),
        (image.isolation(&[mount("/etc", "/file")]), libc::EINVAL, "one is a directory"),
        (image.isolation(&[mount("/etc/passwd", "/usr")]), libc::EINVAL, "one is a directory"),
        (image.isolation(&[mount("/etc", "/file/x")]), libc::ENOTDIR, "is no directory"),
        (image.isolation(&[mount("/etc", "/usr/no-such")]), libc::EROFS, "cannot be made"),
        (
            Isolation { root: Some(format!("{root}no")), ..Isolation::default() },
            libc::ENOENT,
            "(isolation.root)",
        ),
        (
            Isolation { root: Some(format!("{root}file")), ..Isolation::default() },
            libc::EINVAL,
            "it is no directory",
        ),
        (
            Isolation { mounts: vec![mount("/etc", "/no/such")], ..Isolation::default() },
            libc::ENOENT,
            "without isolation.root it has to exist",
        ),
    ] {
        for way in WAYS {
            let error = run(way, &isolated(isolation.clone(), "true")).unwrap_err();
            assert_eq!((error.stage, error.errno), (Stage::Mount, errno), "{error}");
            assert!(error.message.contains(told), "{told}: {error}");
        }
    }
    assert!(!Path::new("/no").exists());
}

#[test]
fn without_a_root_mounts_lie_over_the_host_and_only_the_task_sees_them() {
    if !can_mount("without_a_root_mounts_lie_over_the_host_and_only_the_task_sees_them") {
        return;
    }
    let image = Image::new();
    for name in ["data", "point"] {
        fs::create_dir(image.beside(name)).unwrap();
    }
    fs::write(image.beside("data/file"), "told").unwrap();
    let target = image.beside("point").to_str().unwrap().to_owned();
    let isolation =
        Isolation { mounts: vec![mount(image.beside("data"), &target)], ..Isolation::default() };
    for way in WAYS {
        let script = format!("cat {target}/file; ls /dev/pts >/dev/null && test -d /proc/self");
        assert_eq!(output(way, &isolated(isolation.clone(), &script)), "told", "{way:?}");
    }
    assert_host_sees_none(&image);
    assert_eq!(fs::read_dir(image.beside("point")).unwrap().count(), 0);
}

/// A tmpfs that only this process and its children see, beside the image.
fn tmpfs_at(path: &Path, propagation: nix::mount::MsFlags) {
    use nix::mount::{MsFlags, mount};
    fs::create_dir(path).unwrap();
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    mount(None::<&str>, path, None::<&str>, propagation, None::<&str>).unwrap();
}

fn leave_the_mounts_of_others() {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
}

#[test]
fn read_only_holds_for_what_is_mounted_below() {
    if !can_mount("read_only_holds_for_what_is_mounted_below") {
        return;
    }
    alone("mounts::read_only_holds_for_what_is_mounted_below", || {
        leave_the_mounts_of_others();
        let image = Image::new();
        fs::create_dir(image.beside("data")).unwrap();
        tmpfs_at(&image.beside("data/deep"), nix::mount::MsFlags::MS_PRIVATE);
        fs::write(image.beside("data/deep/file"), "told").unwrap();
        let mounts = [read_only(image.beside("data"), "/data")];
        let script = "cat /data/deep/file; touch /data/x /data/deep/x 2>&1; true";
        for way in WAYS {
            let text = output(way, &image.sh(&mounts, script));
            assert!(text.starts_with("told"), "{way:?}: {text}");
            assert_eq!(text.matches("Read-only file system").count(), 2, "{way:?}: {text}");
        }
        // The host may still write.
        fs::write(image.beside("data/deep/file"), "more").unwrap();
        nix::mount::umount(&image.beside("data/deep")).unwrap();
    });
}

#[test]
fn devices_are_reached_by_the_nodes_of_dev_alone() {
    if !can_mount("devices_are_reached_by_the_nodes_of_dev_alone") {
        return;
    }
    let image = Image::new();
    fs::create_dir(image.beside("data")).unwrap();
    let node = "mknod /NODE c 1 3 && (echo x > /NODE) 2>/dev/null && echo escaped";
    let script =
        ["node", "data/node", "dev/node", "dev/shm/node"].map(|at| node.replace("NODE", at));
    let script = format!(
        "{}; chmod 600 /dev/null 2>/dev/null && echo changed; rm /dev/null 2>/dev/null; \
         echo x > /dev/null && head -c 2 /dev/zero | wc -c && echo x > /dev/shm/file && \
         ls -d /dev/pts/ptmx",
        script.join("; ")
    );
    let mounts = [mount(image.beside("data"), "/data")];
    let devices = Some(vec![Device {
        source: "/dev/zero".into(),
        target: Some("/dev/other/zero".into()),
        permissions: "rwm".into(),
    }]);
    for way in WAYS {
        let text = output(way, &image.sh(&mounts, &script));
        assert_eq!(text, "2\n/dev/pts/ptmx\n", "{way:?}");
        for name in ["node", "data/node"] {
            fs::remove_file(image.at(name))
                .or_else(|_| fs::remove_file(image.beside(name)))
                .unwrap();
        }
        // The same over the root of the host.
        let without = Isolation { devices: devices.clone(), ..Isolation::default() };
        let script = "head -c 2 /dev/other/zero | wc -c; ls -x -w 200 /dev";
        let text = output(way, &isolated(without, script));
        let names = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let dev = "fd full null other ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert_eq!((text.lines().next(), names.as_str()), (Some("2"), dev), "{way:?}");
    }
    assert!(!Path::new("/dev/other").exists());
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_task_has_no_descriptor_of_the_host() {
    if !can_mount("a_task_has_no_descriptor_of_the_host") {
        return;
    }
    let image = Image::new();
    let script = "cd /proc/self/fd && for fd in *; do test $fd -gt 2 && readlink $fd; done; true";
    for way in WAYS {
        let text = output(way, &image.sh(&[mount("/proc", "/proc")], script));
        // That of the shell's own listing is gone by then.
        assert_eq!(text, "", "{way:?}");
    }
}

#[test]
fn what_reaches_into_the_machine_is_hidden_or_read_only() {
    if !can_mount("what_reaches_into_the_machine_is_hidden_or_read_only") {
        return;
    }
    let image = Image::new();
    let isolation = Isolation { pid: true, ..image.isolation(&[]) };
    let script = "cd /proc; \
                  for file in kcore keys timer_list sched_debug interrupts latency_stats; do \
                  test -e $file && { cat $file; chmod 600 $file 2>/dev/null && echo changed; }; \
                  done; \
                  for dir in /proc/acpi /proc/scsi /sys/firmware; do \
                  test -e $dir && { ls $dir; touch $dir/x 2>/dev/null && echo made; }; done; \
                  for file in sys/kernel/domainname sys/vm/drop_caches sysrq-trigger irq/x; do \
                  (echo 1 > $file) 2>/dev/null && echo $file written; done; \
                  (echo 1 > /sys/kernel/profiling) 2>&1 | grep -o 'Read-only.*'; \
                  echo $$; ls -d 1 2";
    for way in WAYS {
        let text = output(way, &isolated(isolation.clone(), script));
        assert_eq!(text, "Read-only file system\n2\n1\n2\n", "{way:?}");
    }
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
}

/// Waits for a word from a task.
fn until_told(pipe: &mut std::fs::File, word: &str) {
    let mut told = vec![0; word.len()];
    pipe.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8(told).unwrap(), word);
}

/// What a task mounts in its mount of a tmpfs of the host, and what the host mounts there later:
/// whether the host sees the one, and the task the other.
fn who_sees_what(way: Way, propagation: Propagation, point: &Path, image: &Image) -> (bool, bool) {
    use nix::mount::{MntFlags, MsFlags, mount as mount_at, umount2};
    let (from_host, from_task) = (point.join("host"), point.join("task"));
    for directory in [&from_host, &from_task] {
        fs::create_dir_all(directory).unwrap();
    }
    let script = "mount -t tmpfs x /data/task && touch /data/task/file; echo -n A; read line; \
                  test -e /data/host/file && echo -n Y || echo -n N";
    let spec = image.sh(&[Mount { propagation, ..mount(point, "/data") }], script);
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (input, go) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut spawner = way.spawner();
    let plan = spawner.plan(&spec).unwrap();
    let streams =
        Streams { stdin: Some(input.as_raw_fd()), stdout: Some(writer.as_raw_fd()), stderr: None };
    let child = settle(spawner.spawn(&plan, streams, None).unwrap()).unwrap();
    drop((writer, input));
    let mut reader = std::fs::File::from(reader);
    until_told(&mut reader, "A");
    let host_sees = from_task.join("file").exists();
    mount_at(Some("y"), &from_host, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(from_host.join("file"), "").unwrap();
    nix::unistd::write(&go, b"\n").unwrap();
    let mut told = [0];
    reader.read_exact(&mut told).unwrap();
    assert_eq!(wait(&child), ExitStatus::Exited(0));
    umount2(&from_host, MntFlags::MNT_DETACH).unwrap();
    // It was the task's, and is there as long as somebody sees it.
    if host_sees {
        umount2(&from_task, MntFlags::MNT_DETACH).unwrap();
    }
    (host_sees, told == *b"Y")
}

#[test]
fn later_mounts_pass_as_far_as_is_asked_for() {
    use nix::mount::MsFlags;
    if !can_mount("later_mounts_pass_as_far_as_is_asked_for") {
        return;
    }
    alone("mounts::later_mounts_pass_as_far_as_is_asked_for", || {
        leave_the_mounts_of_others();
        let image = Image::new();
        let point = image.beside("point");
        tmpfs_at(&point, MsFlags::MS_SHARED);
        for way in WAYS {
            let seen = |propagation| who_sees_what(way, propagation, &point, &image);
            assert_eq!(seen(Propagation::Private), (false, false), "{way:?}");
            assert_eq!(seen(Propagation::Slave), (false, true), "{way:?}");
            assert_eq!(seen(Propagation::Shared), (true, true), "{way:?}");
        }
        nix::mount::umount(&point).unwrap();
        // What is private on the host has nothing to pass on.
        let private = image.beside("private");
        tmpfs_at(&private, MsFlags::MS_PRIVATE);
        for propagation in [Propagation::Slave, Propagation::Shared] {
            let mounts = [Mount { propagation, ..mount(&private, "/data") }];
            let error = run(Way::Copied, &image.sh(&mounts, "true")).unwrap_err();
            assert_eq!((error.stage, error.errno), (Stage::Mount, libc::EINVAL), "{error}");
            assert!(error.message.contains("mount --make-shared"), "{error}");
        }
        nix::mount::umount(&private).unwrap();
    });
}
