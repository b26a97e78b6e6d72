//! Devices of tasks: what the devices controller keeps to, and what is left where there is none.

use crate::support::{Image, groups_of, has_device_controller, is_root, ostler, run, text};
use std::process::Stdio;

/// A device that nothing is behind, in every kernel that these tests run on.
const DISK: &str = "/dev/loop0";

#[test]
fn only_the_devices_that_are_named_can_be_used() {
    const TEST: &str = "only_the_devices_that_are_named_can_be_used";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    let shown = "for d in null zero urandom tty zero2; do test -c /dev/$d && echo $d; done; \
                 echo x > /dev/null && head -c 3 /dev/zero2 | wc -c; ls /dev/full /dev/mem 2>&1";
    let named = ["--device", "/dev/zero:/dev/zero2"];
    let on_host = text(&run(&named, &["/bin/sh", "-c", shown]));
    for told in [image.told(&named, shown), on_host] {
        let expected = "null\nzero\nurandom\ntty\nzero2\n3\n";
        assert!(told.starts_with(expected), "{told}");
        assert!(told.contains("/dev/full\n") && told.contains("No such file"), "{told}");
    }
}

#[test]
fn a_disk_that_a_task_makes_a_node_of_is_out_of_reach() {
    const TEST: &str = "a_disk_that_a_task_makes_a_node_of_is_out_of_reach";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    let script = "mknod /disk b 7 0; head -c 1 /disk; mknod /dev/disk b 7 0; head -c 1 /dev/disk";
    // With the right to make nodes: a node, and nobody can open it.
    let told = image.told(&[], script);
    assert_eq!(told.matches("ermission denied").count(), 2, "{told}");
    std::fs::remove_file(image.at("disk")).unwrap();
    // Without it: no node.
    let told = image.told(&["--cap", "none"], script);
    assert!(told.matches("ot permitted").count() == 2, "{told}");
    assert!(!image.at("disk").exists());
    if has_device_controller() {
        // With rules: no node either, whatever the rights.
        let told = image.told(&["--device", "/dev/zero:/dev/zero2"], script);
        assert!(told.matches("ot permitted").count() == 2, "{told}");
        assert!(!image.at("disk").exists());
    }
}

#[test]
fn permissions_are_kept_to_or_refused() {
    const TEST: &str = "permissions_are_kept_to_or_refused";
    if !is_root(TEST) {
        return;
    }
    let image = Image::new();
    let reads = "head -c 1 /dev/zero2 | wc -c; (echo x > /dev/zero2) 2>&1; \
                 mknod /node c 1 5 2>/dev/null && echo made";
    let told = image.told(&["--device", "/dev/zero:/dev/zero2:r"], reads);
    if !has_device_controller() {
        let field = "isolation.devices[0].permissions: less than rwm needs the devices controller";
        assert!(told.contains(field), "{told}");
        let kept = image.told(&["--device", "/dev/zero:/dev/zero2:rw", "--cap", "none"], "echo ok");
        assert_eq!(kept, "ok\n");
        return;
    }
    // The rule of /dev/zero itself is that of every task: it is more than the one that is named.
    assert!(told.starts_with("1\n"), "{told}");
    if std::path::Path::new(DISK).exists() {
        let tried = "head -c 1 /dev/disk && echo read; (: >> /dev/disk) 2>&1";
        let device = format!("{DISK}:/dev/disk");
        let told = image.told(&["--device", &format!("{device}:r")], tried);
        assert!(told.starts_with("read\n") && told.contains("ot permitted"), "{told}");
        assert_eq!(image.told(&["--device", &format!("{device}:rw")], tried), "read\n");
    }
}

#[test]
fn nothing_is_left_of_the_groups_of_devices() {
    const TEST: &str = "nothing_is_left_of_the_groups_of_devices";
    if !is_root(TEST) {
        return;
    }
    for command in ["/bin/true", "/no/such"] {
        let flags = ["run", "--device", "/dev/zero:/dev/zero2", "--", command];
        let mut child = ostler(&flags).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(groups_of(pid), [""; 0].map(std::path::PathBuf::from), "{command}");
    }
}
