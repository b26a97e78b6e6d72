//! Tasks of every kind, and what they write.

use crate::chance::Chance;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Names that tasks have.
pub(crate) const NAMES: u64 = 24;

/// Numbered lines, each with what tells this run from all others.
const WRITER: &str = "run=$0-$$-$(date +%s%N); i=0; while [ $i -lt 100000 ]; do n=0; \
     while [ $n -lt 20 ]; do i=$((i+1)); n=$((n+1)); echo $run $i; done; sleep 0.0$((i % 9)); done";
const SCRIPTS: [&str; 9] = [
    "exec sleep 600",
    "sleep 0.1; exit 3",
    "exit 4",
    "trap '' INT TERM; while :; do sleep 0.05; done",
    "sleep 600 & setsid sleep 600 & exec sleep 600",
    "(sleep 600 & sleep 600) & exit 0",
    "kill -SEGV $$",
    "while :; do sleep 0.05 & wait; done",
    "/no/such/program",
];

pub(crate) struct Tasks {
    directory: PathBuf,
    /// In the name and the environment of every task.
    pub(crate) mark: String,
    /// One for each name, since lines of two tasks may come in pieces.
    fifos: Vec<(File, Vec<u8>)>,
    lines: u64,
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} lines read", self.lines)
    }
}

impl Tasks {
    pub(crate) fn new(directory: &Path) -> Tasks {
        let unique = directory.file_name().and_then(|name| name.to_str()).expect("a name");
        let mark = unique.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        std::fs::create_dir(directory.join("logs")).expect("a directory");
        let fifos = (0..NAMES).map(|number| {
            let path = directory.join(format!("{mark}-{number}.fifo"));
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
            let mut open = OpenOptions::new();
            open.read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
            (open.open(path).expect("a FIFO"), Vec::new())
        });
        let fifos = fifos.collect();
        Tasks { directory: directory.to_owned(), mark, fifos, lines: 0 }
    }

    pub(crate) fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.mark)
    }

    /// One of all names.
    pub(crate) fn any_name(&self, chance: &mut Chance) -> String {
        self.name(chance.below(NAMES))
    }

    /// Of these there is one for each task, so that nothing else stands between its lines.
    fn sink(&self, name: &str, chance: &mut Chance) -> Value {
        let path = self.directory.join("logs").join(name);
        match chance.below(4) {
            0 => json!({"kind": "file", "path": path.with_extension("plain")}),
            1 => json!({"kind": "file", "path": path.with_extension("shifted"),
                "max_size_bytes": 20_000, "max_files": 1000}),
            2 => json!({"kind": "file", "path": path.with_extension("counted"),
                "max_size_bytes": 30_000, "max_files": 1000, "numbering": "count"}),
            _ => json!({"kind": "fifo", "path": self.directory.join(format!("{name}.fifo"))}),
        }
    }

    pub(crate) fn task(&self, chance: &mut Chance) -> Value {
        let name = self.any_name(chance);
        let mut task = json!({
            "name": name, "command": "/bin/sh", "kill_timeout_ms": chance.below(300),
            "env": [format!("SOAK={}", self.mark), "PATH=/usr/bin:/bin"],
        });
        if chance.one_in(2) {
            task["args"] = json!(["-c", WRITER, name]);
            task["stdout"] = self.sink(&name, chance);
        } else {
            task["args"] = json!(["-c", chance.of(&SCRIPTS), name]);
            if chance.one_in(4) {
                task["stdout"] = self.sink(&name, chance);
            }
        }
        if chance.one_in(3) {
            let delay = chance.below(200);
            task["restart"] = json!({"mode": chance.of(&["always", "on_failure"]),
                "attempts": -1, "delay_ms": delay, "max_delay_ms": delay + 500});
        }
        if chance.one_in(4) {
            // What is left alone is to go by itself.
            task["leftover"] = json!(chance.of(&["kill", "wait"]));
        }
        if chance.one_in(6) {
            task["stop_all"] = json!(true);
        }
        if chance.one_in(6) {
            task["auto_remove"] = json!(true);
        }
        if chance.one_in(8) {
            task["resources"] = json!({"pids_max": 50 + chance.below(50)});
        }
        task
    }

    /// A task file with these numbers, after those that tasks of other origin have.
    pub(crate) fn write_file(&self, numbers: &[u64]) {
        let mut text = String::new();
        for number in numbers {
            text.push_str(&format!(
                "[task.{}]\ncommand = \"/bin/sh\"\nkill_timeout = \"100ms\"\n\
                 args = [\"-c\", \"sleep 60{number}\"]\n\
                 env = {{ SOAK = \"{}\", PATH = \"/usr/bin:/bin\" }}\n",
                self.name(NAMES + number % 5),
                self.mark,
            ));
        }
        std::fs::write(self.directory.join("tasks.toml"), text).expect("written");
    }

    /// One that is refused.
    pub(crate) fn write_bad_file(&self) {
        std::fs::write(self.directory.join("tasks.toml"), "[task.x]\ncommand = 3\n").expect("ok");
    }

    /// Takes what has come out of the FIFOs.
    pub(crate) fn read_fifos(&mut self) {
        let mut piece = [0; 4096];
        for (fifo, text) in &mut self.fifos {
            while let Ok(bytes) = fifo.read(&mut piece) {
                text.extend_from_slice(&piece[..bytes]);
            }
        }
    }

    /// Every line of a run stands behind the one before it, wherever it has gone; then all of them
    /// are removed.
    #[track_caller]
    pub(crate) fn check_lines(&mut self) {
        self.read_fifos();
        for (_, text) in &mut self.fifos {
            let text = String::from_utf8(std::mem::take(text)).expect("text");
            self.lines += check(&text, &self.mark, "a FIFO");
        }
        let mut files: BTreeMap<String, Vec<(i64, PathBuf)>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.directory.join("logs")).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
            // PATH.N: counted ones rise, shifted ones are the older the higher.
            let (stem, number) = match name.rsplit_once('.') {
                Some((stem, number)) if number.parse::<i64>().is_ok() => {
                    let number: i64 = number.parse().expect("a number");
                    (stem.to_owned(), if stem.ends_with("shifted") { -number } else { number })
                }
                _ => (name, 0),
            };
            files.entry(stem).or_default().push((number, path));
        }
        for (name, mut parts) in files {
            parts.sort();
            let text = parts.iter().map(|(_, path)| std::fs::read_to_string(path).expect("text"));
            self.lines += check(&text.collect::<String>(), &self.mark, &name);
            parts.iter().for_each(|(_, path)| std::fs::remove_file(path).expect("removed"));
        }
    }
}

/// What a run wrote last may be lost with it, in the middle of a line, and the next run goes on
/// behind that.
#[track_caller]
fn check(text: &str, mark: &str, name: &str) -> u64 {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut lines = 0;
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let line = line.rfind(mark).map_or(line, |start| &line[start..]);
        let Some((run, number)) = line.split_once(' ') else {
            panic!("{name}: {line:?}");
        };
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("{name}: {line:?}"));
        let before = last.insert(run, number).unwrap_or(0);
        assert_eq!(number, before + 1, "{name}: {line:?} follows line {before}");
        lines += 1;
    }
    lines
}
