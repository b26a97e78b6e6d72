//! The controllers that limits need, and where each of them is: in the v2 hierarchy, or in a
//! v1 hierarchy of its own.

use super::faults;
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// What enforces limits of one kind.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Controller {
    Cpu,
    Cpuset,
    Memory,
    Pids,
    Io,
    /// Of v1 alone, and no limit.
    Devices,
}

impl Controller {
    /// Those that limits need.
    pub(crate) const ALL: [Controller; 5] =
        [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids, Controller::Io];

    /// Its name in cgroup v2.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "io",
            Controller::Devices => "devices",
        }
    }

    fn v1_name(self) -> &'static str {
        match self {
            Controller::Io => "blkio",
            other => other.as_str(),
        }
    }
}

/// The v1 controllers, each with the directory of this process's own group there.
pub(super) fn parse_v1(mountinfo: &str, cgroup: &str) -> Vec<(Controller, PathBuf)> {
    let find = |controller: Controller| {
        let listed = |list: &str| list.split(',').any(|name| name == controller.v1_name());
        let own = cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = fields.next().zip(fields.next())?;
            listed(controllers).then_some(path)
        })?;
        let (root, point) = mountinfo.lines().find_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut back = back.split(' ');
            let mounted = back.next() == Some("cgroup") && back.nth(1).is_some_and(listed);
            let mut fields = front.split(' ').skip(3);
            fields.next().zip(fields.next()).filter(|_| mounted)
        })?;
        Some((controller, super::own_directory(root, point, own)?))
    };
    Controller::ALL.into_iter().chain([Controller::Devices]).filter_map(find).collect()
}

/// Whether `cgroup.controllers` or `cgroup.subtree_control` of a v2 group lists a controller.
fn lists(group: &Path, file: &str, controller: Controller) -> bool {
    let list = std::fs::read_to_string(group.join(file)).unwrap_or_default();
    list.split_whitespace().any(|name| name == controller.as_str())
}

/// Whether a v2 controller counts in the groups below this one.
pub(super) fn is_enabled(group: &Path, controller: Controller) -> bool {
    lists(group, "cgroup.subtree_control", controller)
}

/// Makes a v2 controller count in the groups of a tree, `tree`, whose own group is `above`. Only in
/// groups that are ours: the tree, and the one above it where that was handed over to us.
pub(super) fn enable(
    tree: &Path,
    above: &Path,
    root: &Path,
    controller: Controller,
) -> Result<(), String> {
    if is_enabled(tree, controller) {
        return Ok(());
    }
    if !lists(tree, "cgroup.controllers", controller) {
        may_enable(above, root, controller)?;
        write_enabled(above, controller)?;
    }
    write_enabled(tree, controller)
}

/// Whether [`enable`] can be expected to work, without doing anything.
pub(super) fn may_enable(above: &Path, root: &Path, controller: Controller) -> Result<(), String> {
    let name = controller.as_str();
    if is_enabled(above, controller) {
        return Ok(());
    }
    if !lists(above, "cgroup.controllers", controller) {
        return Err(format!(
            "no {name} controller is there ({}/cgroup.controllers does not list it)",
            above.display()
        ));
    }
    if above == root || is_delegated(above) {
        return Ok(());
    }
    Err(format!(
        "the {name} controller is not enabled in {}, which was not delegated to the supervisor \
         (in a systemd unit: Delegate=yes and DelegateSubgroup=supervisor)",
        above.display()
    ))
}

/// Whether whoever manages the groups has handed this one over: to a user by its mode, to root by
/// the mark of systemd.
fn is_delegated(group: &Path) -> bool {
    if !nix::unistd::geteuid().is_root() {
        let file = group.join("cgroup.subtree_control");
        return nix::unistd::access(&file, nix::unistd::AccessFlags::W_OK).is_ok();
    }
    ["trusted.delegate", "user.delegate"].iter().any(|mark| attribute(group, mark) == Some(b'1'))
}

/// The first byte of an extended attribute.
fn attribute(path: &Path, name: &str) -> Option<u8> {
    use nix::libc;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let name = CString::new(name).ok()?;
    let mut value = [0_u8; 16];
    // SAFETY: both strings end in NUL, and the buffer is as long as it is said to be.
    let got = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    (got > 0).then(|| value.first().copied()).flatten()
}

fn write_enabled(group: &Path, controller: Controller) -> Result<(), String> {
    let file = group.join("cgroup.subtree_control");
    write(&file, &format!("+{}", controller.as_str())).map_err(|errno| {
        let hint = match errno {
            Errno::EBUSY => " (processes are in that group, which may then have no controllers)",
            _ => "",
        };
        format!("cannot enable it in {}: {}{hint}", file.display(), errno.desc())
    })
}

/// Writes a file of a group at once. O_NONBLOCK: a lower memory limit does not wait until the
/// memory is reclaimed (Linux 6.16).
pub(super) fn write(file: &Path, text: &str) -> Result<(), Errno> {
    use nix::fcntl::{OFlag, open};
    faults::check("open(cgroup file)")?;
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let open = open(file, flags, nix::sys::stat::Mode::empty())?;
    faults::check("write(cgroup file)")?;
    nix::unistd::write(&open, text.as_bytes()).map(drop)
}

/// What a file of a group says, without the newline at its end.
pub(super) fn read(file: &Path) -> Result<String, Errno> {
    faults::check("read(cgroup file)")?;
    std::fs::read_to_string(file)
        .map(|text| text.trim_end().to_owned())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_controllers_are_found_where_they_are_mounted() {
        let mountinfo = "\
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu
33 30 0:29 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
36 30 0:32 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
35 30 0:31 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids";
        let cgroup = "5:devices:/d\n4:cpuacct,cpu:/a b\n3:memory:/box/in\n2:blkio:/\n\
                      1:pids:/elsewhere\n0::/x";
        assert_eq!(
            parse_v1(mountinfo, cgroup),
            [
                (Controller::Cpu, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a b")),
                (Controller::Memory, PathBuf::from("/sys/fs/cgroup/memory/in")),
                (Controller::Io, PathBuf::from("/sys/fs/cgroup/blkio")),
                (Controller::Devices, PathBuf::from("/sys/fs/cgroup/devices/d")),
            ]
        );
    }
}
