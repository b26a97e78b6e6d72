//! Places of the daemon itself, made by somebody else before it came.

use super::fixture::{Daemon, command, end_of};
use super::stranger::Stage;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// What a daemon says that does not start with these flags.
fn refusal(flags: &[&str]) -> String {
    let mut daemon = command(flags);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = daemon.spawn().unwrap();
    assert_eq!(end_of(&mut child), 1, "{flags:?}");
    std::io::read_to_string(child.stderr.take().unwrap()).unwrap()
}

#[test]
fn a_socket_is_not_made_where_another_user_can_replace_it() {
    let Some(stage) = Stage::new("a_socket_is_not_made_where_another_user_can_replace_it") else {
        return;
    };
    let told = refusal(&["--socket", &stage.text("his/ostler.sock")]);
    assert!(told.contains("belongs to user 65534, who could replace the socket"), "{told}");
    stage.link("his/run", "../victim");
    let told = refusal(&["--socket", &stage.text("his/run/ostler.sock")]);
    assert!(told.contains("was made by neither root nor us"), "{told}");
    let metrics = format!("unix:{}", stage.text("his/metrics.sock"));
    let flags = ["--socket", "none", "--control", "stdio", "--metrics", &metrics];
    assert!(refusal(&flags).contains("belongs to user 65534"));
    assert_eq!(stage.names("his"), ["run"]);
    stage.assert_victim_is_untouched();
}

#[test]
fn a_link_in_the_place_of_the_socket_is_left_alone() {
    let stage = tempfile::tempdir().unwrap();
    let path = stage.path().join("ostler.sock");
    for target in ["nowhere", "/etc/passwd"] {
        std::os::unix::fs::symlink(target, &path).unwrap();
        let told = refusal(&["--socket", path.to_str().unwrap()]);
        assert!(told.contains("something else is there"), "{told}");
        assert!(!stage.path().join("nowhere").exists());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn state_is_not_kept_where_another_user_leads() {
    let Some(stage) = Stage::new("state_is_not_kept_where_another_user_leads") else { return };
    // A directory of ours, to be had in the wrong place.
    stage.link("his/state", "../victim");
    let start =
        |state: &str| refusal(&["--socket", "none", "--control", "stdio", "--state", state]);
    let told = start(&stage.text("his/state"));
    assert!(told.contains("was made by neither root nor us"), "{told}");
    stage.assert_victim_is_untouched();
    stage.directory("made-before");
    let told = start(&stage.text("made-before"));
    assert!(told.contains("belongs to user 65534, not to us (0)"), "{told}");
    // A link to be swapped later leads nowhere else by then.
    std::os::unix::fs::symlink("victim", stage.path("ours")).unwrap();
    let daemon = Daemon::with(&["--state", &stage.text("ours")]);
    daemon.answers();
    fs::remove_file(stage.path("ours")).unwrap();
    stage.link("ours", "his");
    daemon.answers();
    drop(daemon);
    assert_eq!(stage.names("his"), ["state"]);
    assert!(stage.names("victim").contains(&"journal".to_owned()));
}

#[test]
fn a_place_that_others_can_exchange_is_warned_of() {
    let Some(stage) = Stage::new("a_place_that_others_can_exchange_is_warned_of") else { return };
    fs::create_dir(stage.path("all")).unwrap();
    fs::set_permissions(stage.path("all"), PermissionsExt::from_mode(0o777)).unwrap();
    for (state, who) in [("his/state", "user 65534"), ("all/state", "whoever may write to")] {
        fs::create_dir(stage.path(state)).unwrap();
        fs::set_permissions(stage.path(state), PermissionsExt::from_mode(0o700)).unwrap();
        let daemon = Daemon::with(&["--state", &stage.text(state)]);
        daemon.answers();
        let warned = |line: &str| line.contains("can be replaced by") && line.contains(who);
        assert!(daemon.log().lines().any(warned), "{}", daemon.log());
    }
    // As /tmp is: nobody can rename what is another's.
    fs::set_permissions(stage.path("all"), PermissionsExt::from_mode(0o1777)).unwrap();
    let daemon = Daemon::with(&["--state", &stage.text("all/state")]);
    daemon.answers();
    assert!(!daemon.log().contains("can be replaced"), "{}", daemon.log());
}

#[test]
fn a_socket_that_others_can_exchange_is_warned_of() {
    let stage = tempfile::tempdir().unwrap();
    let start = |mode: u32| {
        let directory = stage.path().join(format!("{mode:o}"));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
        let metrics = format!("unix:{}/metrics.sock", directory.display());
        let daemon = Daemon::with(&["--metrics", &metrics]);
        daemon.answers();
        daemon.log().contains("a socket of theirs in the place of ours")
    };
    assert!(start(0o777) && start(0o770));
    assert!(!start(0o1777) && !start(0o750));
}

/// A name that is no text, which anybody with FUSE can put into the table of mounts.
#[test]
fn a_mount_with_a_strange_name_hides_no_groups() {
    use std::os::unix::ffi::OsStrExt;
    let Some(stage) = Stage::new("a_mount_with_a_strange_name_hides_no_groups") else { return };
    let version = |wrap: &[&std::ffi::OsStr]| {
        let script = "mount --make-rprivate / && mount -t tmpfs x \"$1\" && shift && exec \"$@\"";
        let mut host = Command::new("unshare");
        host.args(["-m", "sh", "-c", script, "sh"]).args(wrap);
        host.arg(env!("CARGO_BIN_EXE_ostler")).args(["daemon", "--socket", "none"]);
        host.args(["--control", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = host.stderr(Stdio::null()).spawn().ok()?;
        let call = b"{\"method\":\"org.ostler.Version\"}\0";
        std::io::Write::write_all(&mut child.stdin.take()?, call).ok()?;
        let mut reply = Vec::new();
        std::io::Read::read_to_end(&mut child.stdout.take()?, &mut reply).ok()?;
        child.wait().ok()?;
        let reply = reply.strip_suffix(b"\0")?;
        let reply: serde_json::Value = serde_json::from_slice(reply).ok()?;
        Some(reply["parameters"]["cgroup"].as_str()?.to_owned())
    };
    let plain = stage.path("plain");
    let strange = stage.path("x").with_file_name(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    for directory in [&plain, &strange] {
        fs::create_dir(directory).unwrap();
    }
    let Some(expected) = version(&[plain.as_os_str()]) else {
        println!("skipped: a mount with a strange name: nothing can be mounted here");
        return;
    };
    assert_eq!(version(&[strange.as_os_str()]), Some(expected));
}
