//! Networks: none, and those of others.

use crate::fixture::{Fixture, launch_request, named, sh, start_error};
use crate::support::{available, is_root, isolated, writing};
use ostler::{Isolation, Options, RequestError, Stage};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn net(net: &str) -> Isolation {
    Isolation { net: Some(net.into()), ..Isolation::default() }
}

#[test]
fn none_has_loopback_alone() {
    if !available("none_has_loopback_alone") {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let script = "cat /proc/net/dev; cat /proc/net/fib_trie";
    fixture.launch(named("t", writing(&path, isolated(net("none"), sh(script)))));
    fixture.wait("t");
    let text = std::fs::read_to_string(&path).unwrap();
    let interfaces = text.lines().filter(|line| line.contains(':') && !line.contains("Main"));
    let interfaces: Vec<&str> =
        interfaces.filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    assert_eq!(interfaces.first(), Some(&"lo"), "{text}");
    assert!(!interfaces.contains(&"eth0"), "{text}");
    assert!(text.contains("127.0.0.1"), "loopback has no address: {text}");
}

#[test]
fn a_path_leads_into_the_network_that_it_names() {
    let test = "a_path_leads_into_the_network_that_it_names";
    if !available(test) || !is_root(test) {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let spec = isolated(net("none"), sh("exec sleep 300"));
    let owner = fixture.launch(named("owner", spec));
    let owner = fixture.supervisor.status(owner).unwrap().pid.unwrap();
    let link = format!("/proc/{owner}/ns/net");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("net");
    std::fs::write(&file, "").unwrap();
    let none: Option<&str> = None;
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(link.as_str()), &file, none, bind, none).unwrap();
    let _mounted = Unmount(&file);
    let inode = std::fs::metadata(&file).unwrap().ino();
    for path in [link.as_str(), file.to_str().unwrap()] {
        let out = directory.path().join("out");
        let spec = writing(&out, isolated(net(path), sh("readlink /proc/self/ns/net")));
        let task = fixture.launch(named("t", spec));
        fixture.wait("t");
        fixture.supervisor.remove(task, false).unwrap();
        let told = std::fs::read_to_string(&out).unwrap();
        assert_eq!(told, format!("net:[{inode}]\n"));
        std::fs::remove_file(&out).unwrap();
    }
    fixture.stop("owner", std::time::Duration::ZERO);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn nothing_but_a_network_is_joined_or_even_opened() {
    let test = "nothing_but_a_network_is_joined_or_even_opened";
    if !available(test) || !is_root(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("file"), "").unwrap();
    // Whoever opened it would wait for a writer.
    nix::unistd::mkfifo(path("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/proc/self/ns/net", path("link")).unwrap();
    let mut fixture = Fixture::new(Options::default());
    for (path, errno) in [
        (path("file"), "EINVAL"),
        (path("fifo"), "EINVAL"),
        (path("link"), "EINVAL"),
        (path(""), "EINVAL"),
        ("/dev/null".into(), "EINVAL"),
        ("/proc/self/ns/uts".into(), "EINVAL"),
        ("/proc/self/status".into(), "EINVAL"),
        (path("missing"), "ENOENT"),
        (path("file/x"), "ENOTDIR"),
    ] {
        for pid in [false, true] {
            let spec = isolated(Isolation { pid, ..net(&path) }, sh("exit 0"));
            let error = fixture.ask(launch_request(named("t", spec))).unwrap_err();
            let error = start_error(error);
            assert_eq!((error.stage, &*error.errno_name), (Stage::Network, errno), "{error}");
            assert!(error.message.contains(&path), "{error}");
        }
    }
    let refused = fixture.ask(launch_request(isolated(net("relative"), sh("exit 0"))));
    assert!(matches!(refused, Err(RequestError::InvalidTask(_))), "{refused:?}");
}
