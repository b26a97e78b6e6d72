//! A daemon that is killed again and again while its tasks write as fast as they can.
//!
//! `OSTLER_WRITERS=500 OSTLER_KILLS=50` makes it so many.

use crate::calls::Calls;
use crate::fixture::{Life, lines};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Writes numbered lines until there is a file named `stop`, then how many there were, and ends.
/// Every third one comes by standard error, which has the same sink.
const WRITER: &str = r#"
i=0
while [ ! -e "$DIR/stop" ]; do
    n=0
    while [ $n -lt 16 ]; do
        echo "$0 $((i+1)) $PADDING"
        echo "$0 $((i+2)) $PADDING"
        i=$((i+3)); n=$((n+1))
        echo "$0 $i $PADDING" >&2
    done
    sleep $PAUSE
done
echo "$0 end $i"
exit $CODE
"#;
const KINDS: [&str; 4] = ["file", "counted", "shifted", "fifo"];
const WRITERS: u32 = 32;
const KILLS: u32 = 10;
const FILE_BYTES_MAX: usize = 20_000;

/// Another number than the usual one, where the environment has it.
fn number(name: &str, usual: u32) -> u32 {
    let asked = std::env::var(name).ok();
    asked.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Takes all that comes out of FIFOs, until it is told that nothing more comes.
fn read_fifos(
    paths: Vec<(String, PathBuf)>,
    done: &Arc<AtomicBool>,
) -> JoinHandle<BTreeMap<String, Vec<u8>>> {
    let mut fifos: Vec<(String, File, Vec<u8>)> =
        paths.into_iter().map(|(name, path)| (name, open(&path), Vec::new())).collect();
    let done = Arc::clone(done);
    thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        loop {
            let last = done.load(Ordering::Acquire);
            let mut ready: Vec<PollFd<'_>> =
                fifos.iter().map(|fifo| PollFd::new(fifo.1.as_fd(), PollFlags::POLLIN)).collect();
            poll(&mut ready, PollTimeout::from(20_u8)).expect("poll");
            let ready: Vec<bool> = ready.iter().map(|fd| fd.any() == Some(true)).collect();
            for ((_, fifo, all), _) in fifos.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
                match fifo.read(&mut piece) {
                    Ok(bytes) => all.extend_from_slice(&piece[..bytes]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
            if last && !ready.contains(&true) {
                return fifos.into_iter().map(|(name, _, all)| (name, all)).collect();
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

/// The lines of all files of a sink, oldest first.
fn rotated_lines(path: &Path) -> Vec<String> {
    let directory = path.parent().expect("a directory");
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let prefix = format!("{name}.");
    let mut files: Vec<(i64, PathBuf)> = std::fs::read_dir(directory)
        .expect("a directory")
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    if path.exists() {
        // The current one is the last; the higher the number of another, the older it is.
        files.iter_mut().for_each(|(number, _)| *number = -*number);
        files.push((0, path.to_owned()));
    }
    files.sort();
    for (_, file) in &files {
        let text = std::fs::read(file).expect("a file");
        assert!(text.len() <= FILE_BYTES_MAX, "{file:?} is too large");
        assert!(text.is_empty() || text.ends_with(b"\n"), "{file:?} ends within a line");
    }
    files.iter().flat_map(|(_, file)| lines(file)).collect()
}

/// A different moment each time; the same for the same seed.
fn pause(seed: &mut u64, most_us: u64) -> Duration {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros(1000 + (*seed >> 33) % most_us)
}

/// Short tasks with an exit code of their own; those that have ended as they were told to have.
fn short_tasks(life: &Life, round: u32, told: &mut Vec<(String, Value)>) {
    for number in 0..4 {
        let name = format!("short-{round}-{number}");
        let code = 10 + (round + number) % 200;
        let script = format!("sleep 0.{number}; exit {code}");
        life.launch(&name, &script, json!({}));
        told.push((name, json!(code)));
    }
    // Some of these ends are told before the kill, some are not.
    let (name, code) = &told[told.len() - 4];
    assert_eq!(life.wait(name)["exit"]["exit_code"], *code);
}

struct Writer {
    name: String,
    kind: &'static str,
    path: PathBuf,
    code: i64,
}

/// Writers into each kind of sink.
fn launch_writers(life: &Life, count: u32) -> Vec<Writer> {
    let mut writers = Vec::new();
    for number in 0..count {
        let kind = KINDS[number as usize % KINDS.len()];
        let name = format!("{kind}-{number}");
        let path = life.path(&name);
        let padding = "x".repeat(number as usize % 8 * 20);
        let code = 1 + number % 100;
        let env = json!([
            format!("DIR={}", life.directory.path().display()),
            format!("PADDING={padding}"),
            // All of them together make about 500 pauses a second.
            format!("PAUSE={}", f64::from(number % 16 + 2 * count) / 1000.0),
            format!("CODE={code}"),
            "PATH=/usr/bin:/bin",
        ]);
        let mut sink = json!({"kind": "file", "path": path});
        match kind {
            "counted" | "shifted" => {
                sink["max_size_bytes"] = json!(FILE_BYTES_MAX);
                sink["max_files"] = json!(10_000);
                sink["numbering"] = json!(if kind == "counted" { "count" } else { "shift" });
            }
            "fifo" => {
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
                sink["kind"] = json!("fifo");
            }
            _ => {}
        }
        life.launch(&name, WRITER, json!({"stdout": sink, "stderr": sink, "env": env}));
        writers.push(Writer { name, kind, path, code: i64::from(code) });
    }
    writers
}

/// What every writer has written is there, and nothing else is.
fn check_all(writers: &[Writer], mut fifos: BTreeMap<String, Vec<u8>>) -> usize {
    let mut all = 0;
    for Writer { name, kind, path, .. } in writers {
        let text = match *kind {
            "fifo" => {
                let text = String::from_utf8(fifos.remove(name).expect("read")).expect("text");
                text.lines().map(str::to_owned).collect()
            }
            "file" => lines(path),
            _ => rotated_lines(path),
        };
        all += check(name, &text);
    }
    all
}

/// Of tasks that ended at any time; the answer: how many ends nobody knows.
fn check_codes(life: &Life, told: &[(String, Value)]) -> usize {
    let mut unknown = 0;
    for (name, code) in told {
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
    unknown
}

fn kill_while_tasks_write(mut life: Life, kills: u32, is_kept: bool) {
    let done = Arc::new(AtomicBool::new(false));
    let mut seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    println!("seed {seed}");
    let count = number("OSTLER_WRITERS", WRITERS);
    let writers = launch_writers(&life, count);
    let fifos = writers.iter().filter(|writer| writer.kind == "fifo");
    let fifos = fifos.map(|writer| (writer.name.clone(), writer.path.clone())).collect();
    let reader = read_fifos(fifos, &done);
    let mut told = Vec::new();
    for round in 0..kills {
        short_tasks(&life, round, &mut told);
        thread::sleep(pause(&mut seed, 250_000));
        life.kill();
        if round % 3 == 0 && !is_kept {
            life.begin_in_vain(pause(&mut seed, 30_000));
        }
        life.begin();
    }
    std::fs::write(life.path("stop"), "").expect("a file");
    for Writer { name, code, .. } in &writers {
        let status = life.wait(name);
        if is_kept {
            assert_eq!(status["exit"]["exit_code"], *code, "{status:#}");
        }
        life.check_code(&status, *code);
        life.until(name, |status| status["output_pending"] == false);
    }
    done.store(true, Ordering::Release);
    let all = check_all(&writers, reader.join().expect("read"));
    let unknown = check_codes(&life, &told);
    println!("{all} lines over {kills} kills; {unknown} of {} ends unseen", told.len());
    assert!(all > 10_000);
    assert!(!is_kept || unknown == 0, "a keeper sees every end");
    assert!(!life.log().contains("output_lost"), "{}", life.log());
    let left: Vec<_> = std::fs::read_dir(life.path("state"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != "journal" && name != "lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_line_comes_once_and_in_order() {
    kill_while_tasks_write(Life::new(), number("OSTLER_KILLS", KILLS), false);
}

#[test]
fn every_line_and_every_exit_code_comes_under_a_keeper() {
    kill_while_tasks_write(Life::kept(), number("OSTLER_KILLS", KILLS), true);
}
