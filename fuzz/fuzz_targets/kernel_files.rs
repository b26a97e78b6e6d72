//! What processes, mounts and groups of others put into files of the kernel: no panic, whatever is
//! in them; and no name that somebody chooses changes what is read beside it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::fuzzing as sys;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const NAMES: [&[u8]; 6] = [b"anon ", b"user_usec ", b"nr_throttled ", b"RssAnon:", b"", b"\n"];

fuzz_target!(|bytes: &[u8]| {
    let (&what, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    match what % 6 {
        0 => any_file(bytes),
        1 => command(bytes),
        2 => mount_point(bytes),
        3 => group(bytes),
        4 => list(bytes),
        _ => figures(bytes),
    }
});

fn any_file(bytes: &[u8]) {
    let _ = sys::process_stat(bytes);
    let _ = sys::process_status(bytes);
    let _ = sys::process_statm(bytes);
    let _ = sys::process_io(bytes);
    for name in NAMES {
        let _ = sys::number_behind(bytes, name);
        let _ = sys::sum_of(bytes, name);
    }
    let _ = sys::mount_of(bytes, Path::new("/proc-not/x"));
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let _ = sys::groups(first, second);
    let _ = sys::groups(second, first);
    for line in text.lines() {
        let _ = sys::user_database(line, first, 7);
    }
}

/// A process may call itself anything (prctl(PR_SET_NAME), the name of its file).
fn command(name: &[u8]) {
    let behind = b") S 5 6 7 34816 7 4194304 1 2 3 4 100 200 300 400 20 0 9 0 555 1 2 3\n";
    let stat = [b"7 (", name, behind].concat();
    let expected = [5, 6, 7, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 9, 555];
    assert_eq!(sys::process_stat(&stat), Some(expected));
    // The kernel writes control characters of it as escapes.
    let shown: Vec<u8> = name.iter().map(|&byte| if byte == b'\n' { b'n' } else { byte }).collect();
    let status = [b"Name:\t", &shown[..], b"\nRssAnon:\t 8 kB\nVmSwap:\t 4 kB\nThreads:\t3\n"];
    assert_eq!(sys::process_status(&status.concat()), [8192, 4096, 3]);
}

/// Anybody may mount something of his own (FUSE) on a directory of his, whatever that is called.
fn mount_point(name: &[u8]) {
    let is_name = !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if !is_name || matches!(name, b"." | b"..") {
        return;
    }
    let path = Path::new("/no-such-directory").join(OsStr::from_bytes(name));
    let escaped: String = path.as_os_str().as_bytes().iter().map(escape).collect();
    let table = [
        b"1 0 8:1 / / rw shared:1 - ext4 x rw\n2 1 0:9 / ".as_slice(),
        &escaped.chars().map(|c| c as u8).collect::<Vec<u8>>(),
        b" rw - nfs x rw\n31 1 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    ]
    .concat();
    assert_eq!(sys::mount_of(&table, &path.join("x")), (false, path.clone()));
    assert_eq!(sys::mount_of(&table, Path::new("/srv")), (true, "/".into()));
    let (root, own) = sys::groups(&String::from_utf8_lossy(&table), "0::/a\n");
    assert_eq!(root.as_deref(), Some(Path::new("/sys/fs/cgroup")));
    assert_eq!(own, [Path::new("/sys/fs/cgroup/a")]);
}

/// As the kernel writes it (show_mountinfo: mangle).
fn escape(byte: &u8) -> String {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}"),
        byte => char::from(*byte).to_string(),
    }
}

/// A group may have any name but one with a newline. What is read of it stays below the mount.
fn group(name: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else { return };
    let name = name.replace(['\n', '\r'], "");
    let mounts = "31 1 0:27 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                  32 1 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
    let (_, own) = sys::groups(mounts, &format!("4:pids:/{name}\n0::/box/{name}\n"));
    for group in own {
        assert!(group.starts_with("/sys/fs/cgroup"), "{group:?}");
        assert!(!group.components().any(|part| part.as_os_str() == ".."), "{group:?}");
    }
}

fn list(bytes: &[u8]) {
    let (&size, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let whole = sys::process_list(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(size) + 1).collect();
    assert_eq!(sys::process_list(&pieces), whole);
    assert!(whole.iter().all(|&pid| pid > 0));
}

/// Files of groups as they are, with any numbers.
fn figures(bytes: &[u8]) {
    let numbers: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|chunk| chunk.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
        .collect();
    let lines: String = numbers.iter().map(|n| format!("8:{n} rbytes={n} wbytes=1\n")).collect();
    let sum = numbers.iter().fold(0, |sum: u64, &number| sum.saturating_add(number));
    assert_eq!(sys::sum_of(lines.as_bytes(), b"rbytes="), sum);
    for (index, number) in numbers.iter().enumerate() {
        let text: String =
            numbers.iter().enumerate().map(|(at, n)| format!("field_{at} {n}\n")).collect();
        let name = format!("field_{index} ");
        assert_eq!(sys::number_behind(text.as_bytes(), name.as_bytes()), Some(*number));
        let status = format!("RssAnon:\t{number} kB\nVmSwap:\t{number} kB\nThreads:\t{number}\n");
        let bytes = number.saturating_mul(1024);
        assert_eq!(sys::process_status(status.as_bytes()), [bytes, bytes, *number]);
    }
}
