//! A daemon that is killed again and again while its tasks write as fast as they can.

use crate::fixture::{Life, lines};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Writes numbered lines until there is a file named `stop`, then how many there were, and ends.
const WRITER: &str = r#"
i=0
while [ ! -e "$DIR/stop" ]; do
    n=0
    while [ $n -lt 50 ]; do i=$((i+1)); n=$((n+1)); echo "$0 $i $PADDING"; done
    sleep 0.0$((i % 7))
done
echo "$0 end $i"
exit 7
"#;
const KILLS: u32 = 12;

/// Takes all that comes out of a FIFO, until it is told that nothing more comes.
fn read_fifo(path: &Path, done: &Arc<AtomicBool>) -> JoinHandle<Vec<u8>> {
    let mut fifo = open(path);
    let done = Arc::clone(done);
    thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let last = done.load(Ordering::Acquire);
            match fifo.read(&mut piece) {
                Ok(bytes) => all.extend_from_slice(&piece[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock && last => return all,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
}

/// For reading and writing: there is no end of file when the daemon is killed.
fn open(path: &Path) -> File {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("a FIFO")
}

/// Every line once, in order, and the last one.
#[track_caller]
fn check(name: &str, text: &[String]) -> usize {
    for (index, line) in text.iter().enumerate() {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some(name), "line {index}: {line:?}");
        let word = words.next();
        if word == Some("end") {
            assert_eq!(words.next(), Some(index.to_string().as_str()), "{name} lacks lines");
            assert_eq!(index + 1, text.len(), "{name} goes on behind its end");
            return index;
        }
        assert_eq!(word, Some((index + 1).to_string().as_str()), "{name}: {line:?}");
    }
    panic!("{name} has no end, but {} lines", text.len())
}

fn rotated_lines(path: &Path) -> Vec<String> {
    let directory = path.parent().expect("a directory");
    let prefix = format!("{}.", path.file_name().and_then(|name| name.to_str()).expect("a name"));
    let mut files: Vec<(u64, PathBuf)> = std::fs::read_dir(directory)
        .expect("a directory")
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    files.sort();
    for (_, file) in &files {
        let text = std::fs::read(file).expect("a file");
        assert!(text.len() <= 20_000, "{file:?} is too large");
        assert!(text.ends_with(b"\n"), "{file:?} ends within a line");
    }
    files.iter().flat_map(|(_, file)| lines(file)).collect()
}

/// A different moment each time; the same for the same seed.
fn pause(seed: &mut u64) {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    thread::sleep(Duration::from_micros(1000 + (*seed >> 33) % 250_000));
}

/// Short tasks with an exit code of their own; those that have ended as they were told to have.
fn short_tasks(life: &Life, round: u32, told: &mut Vec<(String, Value)>) {
    for number in 0..4 {
        let name = format!("short-{round}-{number}");
        let code = 10 + round + number;
        life.launch(&name, &format!("exit {code}"), json!({}));
        told.push((name, json!(code)));
    }
    // Some of these ends are told before the kill, some are not.
    let (name, code) = &told[told.len() - 4];
    assert_eq!(life.wait(name)["exit"]["exit_code"], *code);
}

/// Eight writers into each kind of sink, and what reads the FIFOs.
fn launch_writers(life: &Life, done: &Arc<AtomicBool>) -> Vec<(String, JoinHandle<Vec<u8>>)> {
    let mut readers = Vec::new();
    for kind in ["file", "rotated", "fifo"] {
        for number in 0..8 {
            let name = format!("{kind}-{number}");
            let path = life.path(&name);
            let padding = "x".repeat(number * 20);
            let env = json!([
                format!("DIR={}", life.directory.path().display()),
                format!("PADDING={padding}"),
                "PATH=/usr/bin:/bin",
            ]);
            let mut sink = json!({"kind": "file", "path": path});
            match kind {
                "rotated" => {
                    sink["max_size_bytes"] = json!(20_000);
                    sink["max_files"] = json!(10_000);
                    sink["numbering"] = json!("count");
                }
                "fifo" => {
                    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
                    sink["kind"] = json!("fifo");
                    readers.push((name.clone(), read_fifo(&path, done)));
                }
                _ => {}
            }
            life.launch(&name, WRITER, json!({"stdout": sink, "env": env}));
        }
    }
    readers
}

#[test]
fn every_line_comes_once_and_in_order() {
    let mut life = Life::new();
    let done = Arc::new(AtomicBool::new(false));
    let mut seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    println!("seed {seed}");
    let readers = launch_writers(&life, &done);
    let mut told = Vec::new();
    for round in 0..KILLS {
        short_tasks(&life, round, &mut told);
        pause(&mut seed);
        life.kill_and_begin();
    }
    std::fs::write(life.path("stop"), "").expect("a file");
    let mut all = 0;
    for kind in ["file", "rotated", "fifo"] {
        for number in 0..8 {
            let status = life.wait(&format!("{kind}-{number}"));
            life.check_code(&status, 7);
            life.until(&format!("{kind}-{number}"), |status| status["output_pending"] == false);
        }
    }
    done.store(true, Ordering::Release);
    for (name, reader) in readers {
        let text = String::from_utf8(reader.join().expect("read")).expect("text");
        all += check(&name, &text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    for number in 0..8 {
        let name = format!("file-{number}");
        all += check(&name, &lines(&life.path(&name)));
        let name = format!("rotated-{number}");
        all += check(&name, &rotated_lines(&life.path(&name)));
    }
    let mut unknown = 0;
    for (name, code) in &told {
        let exit = life.wait(name)["exit"].take();
        if exit["status_known"] == false {
            unknown += 1;
        } else {
            assert_eq!(exit["exit_code"], *code, "{name}");
        }
    }
    for (name, code) in told.iter().step_by(4) {
        assert_eq!(life.inspect(name)["exit"]["exit_code"], *code, "{name} was told before");
    }
    println!("{all} lines over {KILLS} kills; {unknown} of {} ends unseen", told.len());
    assert!(all > 10_000);
    let left: Vec<_> = std::fs::read_dir(life.path("state"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != "journal" && name != "lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
