//! Which paths lie on file systems whose server may keep us waiting.
//!
//! A child that shares our memory holds us until its exec, so it is only made where no path on the
//! way to that exec can hang.

use super::faults;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The mount table as far as it matters here, kept up to date.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Absent where there is no /proc: then nothing is known to be local.
    table: Option<File>,
    remote: Remote,
    /// The last reading failed.
    stale: bool,
}

/// Mount points of remote file systems, and of /proc, whose links lead anywhere.
#[derive(Debug, Default)]
pub(super) struct Remote {
    points: Vec<PathBuf>,
    /// There is one that is not /proc.
    any: bool,
}

/// Symbolic links that the kernel follows in one path.
const LINKS_MAX: u32 = 40;

impl Mounts {
    pub(super) fn new() -> Mounts {
        let table = File::open("/proc/thread-self/mountinfo").ok();
        let mut mounts = Mounts { table, remote: Remote::default(), stale: false };
        mounts.read();
        mounts
    }

    /// Whether all of these absolute paths lie on local file systems, with every directory and
    /// symbolic link on the way. Nothing remote is touched to find out.
    pub(super) fn are_local<'a>(&mut self, mut paths: impl Iterator<Item = &'a Path>) -> bool {
        if self.has_changed() || self.stale {
            self.read();
        }
        self.table.is_some() && !self.stale && paths.all(|path| self.remote.is_local(path))
    }

    /// The table says so once after each change.
    fn has_changed(&self) -> bool {
        let Some(table) = &self.table else { return false };
        if faults::check("poll mountinfo").is_err() {
            return true;
        }
        let mut wanted = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        let change = PollFlags::POLLPRI | PollFlags::POLLERR;
        match poll(&mut wanted, PollTimeout::ZERO) {
            Ok(0) => false,
            Ok(_) => wanted.iter().any(|w| w.revents().is_none_or(|r| r.intersects(change))),
            Err(_) => true,
        }
    }

    fn read(&mut self) {
        if self.table.is_none() {
            return;
        }
        match self.text() {
            Ok(text) => (self.remote, self.stale) = (Remote::parse(&text), false),
            Err(_) => self.stale = true,
        }
    }

    fn text(&mut self) -> std::io::Result<Vec<u8>> {
        let Some(table) = &mut self.table else { return Err(std::io::ErrorKind::NotFound.into()) };
        faults::check("read mountinfo")?;
        let mut text = Vec::new();
        table.rewind()?;
        table.read_to_end(&mut text)?;
        Ok(text)
    }

    /// What passes between the mount in which a path lies and others.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn peers(&mut self, path: &Path) -> std::io::Result<Peers> {
        let found = match self.are_local(std::iter::once(path)) {
            // Where it is not there, that is told when it is mounted.
            true => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            false => path.to_owned(),
        };
        Ok(peers_in(&self.text()?, &found))
    }
}

/// Who learns of what is mounted in a mount, and from whom it learns (mount_namespaces(7)).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Peers {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Others get what is mounted in it, and it gets what is mounted in them.
    pub(super) shared: bool,
    /// It gets what is mounted in another.
    pub(super) slave: bool,
}

pub(super) fn peers_in(table: &[u8], path: &Path) -> Peers {
    let mut found = Peers::default();
    for line in table.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ').skip(4);
        let Some(point) = fields.next().map(unescape) else { continue };
        // Of several at one place the last one is on top.
        if path.starts_with(&point) && point.as_os_str().len() >= found.point.as_os_str().len() {
            let tags: Vec<&[u8]> = fields.skip(1).take_while(|field| *field != b"-").collect();
            let has = |tag: &[u8]| tags.iter().any(|found| found.starts_with(tag));
            found = Peers { point, shared: has(b"shared:"), slave: has(b"master:") };
        }
    }
    found
}

/// By the name of its type. Cluster file systems count: they wait for other machines.
fn is_remote(kind: &[u8]) -> bool {
    const NAMES: [&[u8]; 21] = [
        b"9p",
        b"afs",
        b"autofs",
        b"beegfs",
        b"ceph",
        b"cifs",
        b"coda",
        b"fuse",
        b"fuseblk",
        b"gfs2",
        b"glusterfs",
        b"gpfs",
        b"lustre",
        b"ncpfs",
        b"ocfs2",
        b"orangefs",
        b"smb3",
        b"smbfs",
        b"vboxsf",
        b"virtiofs",
        b"vmhgfs",
    ];
    NAMES.contains(&kind) || kind.starts_with(b"nfs") || kind.starts_with(b"fuse.")
}

impl Remote {
    /// proc_pid_mountinfo(5): `id parent device root mount-point options [tags...] - type ...`.
    pub(super) fn parse(table: &[u8]) -> Remote {
        let mut remote = Remote::default();
        for line in table.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b' ');
            let Some(point) = fields.nth(4) else { continue };
            let Some(kind) = fields.skip_while(|field| *field != b"-").nth(1) else { continue };
            if is_remote(kind) || kind == b"proc" {
                remote.any |= kind != b"proc";
                remote.points.push(unescape(point));
            }
        }
        remote
    }

    pub(super) fn is_local(&self, path: &Path) -> bool {
        if path.starts_with("/proc") {
            return false;
        }
        !self.any || self.resolves_locally(path)
    }

    /// Walks the path as the kernel would, and stops at the first remote mount point.
    fn resolves_locally(&self, path: &Path) -> bool {
        let mut reached = PathBuf::from("/");
        // The components that are left, the next one last.
        let mut ahead: Vec<PathBuf> = reversed(path);
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            if component == Path::new("..") {
                reached.pop();
                continue;
            }
            let next = reached.join(component);
            if self.points.iter().any(|point| next.starts_with(point)) {
                return false;
            }
            match std::fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return false;
                    }
                    if target.is_absolute() {
                        reached = PathBuf::from("/");
                    }
                    ahead.append(&mut reversed(&target));
                }
                // No link, or nothing at all.
                Err(_) => reached = next,
            }
        }
        true
    }
}

fn reversed(path: &Path) -> Vec<PathBuf> {
    let mut components: Vec<PathBuf> = path
        .components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| PathBuf::from(c.as_os_str()))
        .collect();
    components.reverse();
    components
}

/// Space, tab, newline and backslash stand as three octal digits behind a backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if byte == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn table(points: &[(&str, &str)]) -> Remote {
        let lines: Vec<String> = points
            .iter()
            .map(|(point, kind)| format!("36 35 98:0 / {point} rw,noatime master:1 - {kind} x rw"))
            .collect();
        Remote::parse(lines.join("\n").as_bytes())
    }

    #[test]
    fn without_remote_mounts_everything_but_proc_is_local() {
        let remote = table(&[("/", "ext4"), ("/proc", "proc"), ("/sys/fs/fuse", "fusectl")]);
        assert!(remote.is_local(Path::new("/usr/bin/env")));
        assert!(!remote.is_local(Path::new("/proc/self/fd/3")));
    }

    #[test]
    fn a_path_beneath_a_remote_mount_is_not_local() {
        for kind in ["nfs", "nfs4", "fuse", "fuse.sshfs", "autofs", "9p", "virtiofs"] {
            let remote = table(&[("/", "ext4"), ("/mnt/a\\040b", kind)]);
            assert!(!remote.is_local(Path::new("/mnt/a b/bin/x")), "{kind}");
            assert!(!remote.is_local(Path::new("/usr/../mnt/a b")), "{kind}");
            assert!(remote.is_local(Path::new("/mnt/a bc")), "{kind}");
        }
        assert!(!table(&[("/", "nfs")]).is_local(Path::new("/bin/sh")));
    }

    #[test]
    fn peers_are_those_of_the_mount_on_top() {
        let table = b"\
1 0 8:1 / / rw shared:1 - ext4 x rw
2 1 8:2 / /srv rw shared:7 master:1 - ext4 x rw
3 1 8:3 / /srv/a\\040b rw - ext4 x rw
4 1 8:4 / /mnt rw shared:9 - ext4 x rw
5 4 8:5 / /mnt rw master:2 propagate_from:1 - ext4 x rw
";
        let peers = |path: &str| {
            let Peers { point, shared, slave } = peers_in(table, Path::new(path));
            (point.to_str().unwrap().to_owned(), shared, slave)
        };
        assert_eq!(peers("/srvx"), ("/".into(), true, false));
        assert_eq!(peers("/srv/x"), ("/srv".into(), true, true));
        assert_eq!(peers("/srv/a b/c"), ("/srv/a b".into(), false, false));
        assert_eq!(peers("/mnt"), ("/mnt".into(), false, true));
    }

    #[test]
    fn links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("far")).unwrap();
        std::fs::create_dir(at("near")).unwrap();
        symlink("../far/x", at("near/relative")).unwrap();
        symlink(at("far"), at("near/absolute")).unwrap();
        symlink("loop", at("near/loop")).unwrap();
        symlink("file", at("near/harmless")).unwrap();
        let remote = table(&[("/", "ext4"), (at("far").to_str().unwrap(), "nfs")]);
        for (name, local) in [
            ("near/file", true),
            ("near/harmless", true),
            ("near/relative", false),
            ("near/absolute/deep", false),
            ("near/../far", false),
            ("near/loop", false),
            ("missing/file", true),
        ] {
            assert_eq!(remote.is_local(&at(name)), local, "{name}");
        }
    }

    #[test]
    fn the_table_of_this_system_is_read() {
        let mut mounts = Mounts::new();
        assert!(!mounts.are_local([Path::new("/proc/self/exe")].into_iter()));
        assert!(!mounts.has_changed());
        mounts.table = None;
        assert!(!mounts.are_local([Path::new("/")].into_iter()));
    }
}
