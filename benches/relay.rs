//! Output of a task through the supervisor into a FIFO or a rotated file: GB/s and CPU seconds per
//! GB of the supervisor, against the best bare loop for each target.
#![allow(unsafe_code, reason = "the harness has a bare floor that calls the kernel itself")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::bare_relay::{self, Method, Way, rotated};
use harness::report::{Bound, Cell, Report};
use harness::stream::{self, Comparison};
use harness::{Outcome, median, process, programs, turn_until};
use nix::sys::stat::Mode;
use ostler::{EventKind, FileSink, Options, Sink, Supervisor, TaskSpec};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const GRANULE: usize = 64 << 10;
const GROWN: usize = 1 << 20;
/// A rotated file holds this much, so that a short run rotates as well.
const FILE_BYTES: u64 = 48 << 20;
/// More files than any run here makes, so that all of them can be compared.
const FILES: u32 = 100;

/// Where the output goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Target {
    /// A FIFO that holds this much once its reader is there; 0: as it was made.
    Fifo(usize),
    /// Rotated files in tmpfs.
    Memory,
    /// Rotated files on a disk.
    Disk,
}

/// How the supervisor is used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Use {
    /// For this task alone.
    Alone,
    /// With a state directory: what is in a pipe outlives the supervisor.
    State,
    /// Beside so many tasks that sleep, each with a rotated file of its own.
    Among(usize),
}

const TARGETS: [(Target, Use, &str); 8] = [
    (Target::Fifo(0), Use::Alone, "fifo 64K"),
    (Target::Fifo(GROWN), Use::Alone, "fifo grown"),
    (Target::Fifo(GROWN), Use::State, "fifo grown, state directory"),
    (Target::Memory, Use::Alone, "rotated file, tmpfs"),
    (Target::Memory, Use::State, "rotated file, tmpfs, state directory"),
    (Target::Disk, Use::Alone, "rotated file, disk"),
    (Target::Disk, Use::State, "rotated file, disk, state directory"),
    (Target::Disk, Use::Among(999), "rotated file, disk, one of 1,000 tasks"),
];

impl Target {
    /// Every bare loop that may be the best one.
    fn floors(self) -> Vec<Way> {
        let way = |method, pipe| Way { method, pipe };
        match self {
            Target::Fifo(0) => vec![way(Method::Splice, GRANULE), way(Method::Copy, GRANULE)],
            Target::Fifo(_) => vec![way(Method::Splice, GROWN)],
            Target::Memory | Target::Disk => {
                vec![
                    way(Method::Copy, GRANULE),
                    way(Method::Copy, GROWN),
                    way(Method::Splice, GROWN),
                    way(Method::Carry, GROWN),
                ]
            }
        }
    }
}

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let Some((role, rest)) = &arguments.role else { return measure(&arguments) };
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (role.as_str(), words.as_slice()) {
        ("write", [bytes, fresh]) => stream::write(bytes.parse()?, fresh.parse()?),
        ("read", [path, bytes, pipe, compare]) => {
            stream::read(path, bytes.parse()?, pipe.parse()?, compare.parse()?)
        }
        ("relay", [target, way, bytes]) => {
            let target = *TARGETS.get(target.parse::<usize>()?).ok_or("no such target")?;
            run((target.0, target.1), way.parse()?, bytes.parse()?)
        }
        ("compare", [target, bytes]) => {
            let target = *TARGETS.get(target.parse::<usize>()?).ok_or("no such target")?;
            compare((target.0, target.1), bytes.parse()?)
        }
        _ => Err(format!("unknown role {role:?} {words:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let bytes: u64 = arguments.size(128 << 20, 1 << 30);
    let rounds = arguments.size(3, 5);
    let columns =
        ["target", "ratio", "ostler GB/s", "bare GB/s", "ostler CPU s/GB", "bare CPU s/GB", "best"];
    let mut report = Report::new("relay", &columns);
    for (index, (target, _, name)) in TARGETS.iter().enumerate() {
        apart::measure("compare", &[index.to_string(), (32 << 20).to_string()])?;
        let ways = target.floors();
        // The last one is the library.
        let mut runs: Vec<Vec<(f64, f64)>> = vec![Vec::new(); ways.len() + 1];
        for _ in 0..rounds {
            for (way, results) in runs.iter_mut().enumerate() {
                let words = [index as u64, way as u64, bytes].map(|number| number.to_string());
                let figures = apart::measure("relay", &words)?;
                results.push((figure(&figures, "gb_per_s"), figure(&figures, "cpu_per_gb")));
            }
        }
        let speeds = |results: &Vec<(f64, f64)>| median(results.iter().map(|run| run.0).collect());
        let costs = |results: &Vec<(f64, f64)>| median(results.iter().map(|run| run.1).collect());
        let Some((ours, floors)) = runs.split_last() else { continue };
        let best = floors.iter().zip(&ways).max_by(|a, b| speeds(a.0).total_cmp(&speeds(b.0)));
        let Some((floor, way)) = best else { continue };
        let ratio = speeds(ours) / speeds(floor);
        report.row(vec![
            (*name).into(),
            Cell::Number(ratio, 2),
            Cell::Number(speeds(ours), 2),
            Cell::Number(speeds(floor), 2),
            Cell::Number(costs(ours), 3),
            Cell::Number(costs(floor), 3),
            format!("{:?} {}K", way.method, way.pipe >> 10).to_lowercase().into(),
        ]);
        report.target(format!("{name}: share of the best bare loop"), ratio, Bound::AtLeast(0.95));
        let cost = costs(ours) / costs(floor);
        report.target(format!("{name}: processor time for it"), cost, Bound::AtMost(1.1));
    }
    report.note(format!(
        "N = {rounds} runs of {} MiB in writes of 64 KiB, medians; a run of 32 MiB of numbered \
         lines into each target was compared byte by byte",
        bytes >> 20
    ));
    report.finish(arguments)
}

/// A role: one run of one way; behind the bare ones comes the library.
fn run((target, used): (Target, Use), way: usize, bytes: u64) -> Outcome<()> {
    let place = Place::make(target)?;
    let floors = target.floors();
    let seconds = match floors.get(way) {
        Some(way) => bare(&place, *way, bytes)?,
        None => library(&place, used, bytes, false)?,
    };
    if target == Target::Memory || target == Target::Disk {
        place.compare_files(bytes, false)?;
    }
    let gigabytes = bytes as f64 / 1e9;
    tell("gb_per_s", gigabytes / seconds.wall);
    tell("cpu_per_gb", seconds.cpu / gigabytes);
    Ok(())
}

/// A role: numbered lines through the library, every byte compared.
fn compare((target, used): (Target, Use), bytes: u64) -> Outcome<()> {
    let place = Place::make(target)?;
    library(&place, used, bytes, true)?;
    match target {
        Target::Fifo(_) => Ok(()),
        Target::Memory | Target::Disk => place.compare_files(bytes, true),
    }
}

/// What a run has taken; the CPU time is that of whoever relays.
struct Seconds {
    wall: f64,
    cpu: f64,
}

fn library(place: &Place, used: Use, bytes: u64, fresh: bool) -> Outcome<Seconds> {
    let program = std::env::current_exe()?;
    let sink = match place.target {
        Target::Fifo(_) => Sink::Fifo { path: place.text()?, direct: false },
        Target::Memory | Target::Disk => Sink::File(FileSink {
            max_size: Some(FILE_BYTES),
            max_files: FILES,
            ..FileSink::new(place.text()?)
        }),
    };
    let spec = TaskSpec {
        args: ["--as", "write", &bytes.to_string(), &fresh.to_string()].map(str::to_owned).into(),
        stdout: Some(sink),
        die_with_supervisor: true,
        ..TaskSpec::new(program.to_str().ok_or("the target directory is no UTF-8")?)
    };
    // A guest in this process: the reader is a child that a supervisor of its own would reap.
    let state = tempfile::tempdir_in("/dev/shm")?;
    let state_dir = (used == Use::State).then(|| state.path().to_owned());
    let mut supervisor = Supervisor::new(Options { state_dir, ..Options::default() })?;
    if let Use::Among(count) = used {
        gather(&mut supervisor, count, state.path())?;
    }
    let reader = place.reader(bytes, fresh)?;
    let (begun, cpu) = (Instant::now(), process::cpu_seconds()?);
    supervisor.launch(spec)?;
    turn_until(&mut supervisor, EventKind::Finished, 1)?;
    let mut wall = begun.elapsed().as_secs_f64();
    if let Some(mut reader) = reader {
        // A reader that is behind is served on.
        while reader.process.try_wait()?.is_none() {
            supervisor.turn(Some(Duration::from_millis(1)), &mut Vec::new())?;
        }
        wall = reader.seconds()?;
    }
    Ok(Seconds { wall, cpu: process::cpu_seconds()? - cpu })
}

/// Tasks that sleep.
fn gather(supervisor: &mut Supervisor, count: usize, directory: &Path) -> Outcome<()> {
    process::raise_descriptor_limit()?;
    let program = programs::pauses();
    for number in 0..count {
        let path = directory.join(number.to_string());
        let sink = Sink::File(FileSink {
            max_size: Some(FILE_BYTES),
            ..FileSink::new(path.to_str().ok_or("the directory is no UTF-8")?)
        });
        supervisor.launch(TaskSpec {
            args: program.args.clone(),
            stdout: Some(sink.clone()),
            stderr: Some(sink),
            die_with_supervisor: true,
            ..TaskSpec::new(program.path.clone())
        })?;
        supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
    }
    Ok(())
}

fn bare(place: &Place, way: Way, bytes: u64) -> Outcome<Seconds> {
    let writer = apart::role("write", &[bytes.to_string(), false.to_string()])?;
    let reader = place.reader(bytes, false)?;
    let (begun, cpu) = (Instant::now(), process::cpu_seconds()?);
    let (mut child, source) = bare_relay::start(writer, way.pipe)?;
    match place.target {
        Target::Fifo(_) => {
            let target = File::options().read(true).write(true).open(&place.path)?;
            bare_relay::to_fifo(source, target, way.method)?;
        }
        Target::Memory | Target::Disk => {
            bare_relay::to_files(source, &place.path, FILE_BYTES, way.method)?;
        }
    }
    child.wait()?;
    let mut wall = begun.elapsed().as_secs_f64();
    let cpu = process::cpu_seconds()? - cpu;
    if let Some(mut reader) = reader {
        reader.process.wait()?;
        wall = reader.seconds()?;
    }
    Ok(Seconds { wall, cpu })
}

/// A directory of its own for one run, removed in the end.
struct Place {
    target: Target,
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn make(target: Target) -> Outcome<Place> {
        let parent = match target {
            Target::Fifo(_) | Target::Memory => Path::new("/dev/shm"),
            Target::Disk => Path::new(env!("CARGO_TARGET_TMPDIR")),
        };
        let directory = tempfile::Builder::new().prefix("ostler-relay-").tempdir_in(parent)?;
        let path = directory.path().join("out");
        if let Target::Fifo(_) = target {
            nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600))?;
        }
        Ok(Place { target, directory, path })
    }

    fn text(&self) -> Outcome<String> {
        Ok(self.path.to_str().ok_or("the directory is no UTF-8")?.to_owned())
    }

    /// Starts the reader of a FIFO and waits until it has opened it.
    fn reader(&self, bytes: u64, compare: bool) -> Outcome<Option<Reader>> {
        let Target::Fifo(pipe) = self.target else { return Ok(None) };
        let words = [self.text()?, bytes.to_string(), pipe.to_string(), compare.to_string()];
        let mut command: Command = apart::role("read", &words)?;
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut told = BufReader::new(process.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        if line != "open 1\n" {
            return Err(format!("the reader says {line:?}").into());
        }
        Ok(Some(Reader { process, told: Box::new(told) }))
    }

    /// Compares all files, oldest first, with what was written.
    fn compare_files(&self, bytes: u64, fresh: bool) -> Outcome<()> {
        let count = std::fs::read_dir(self.directory.path())?.count() as u32;
        let mut comparison = Comparison::new(fresh);
        let mut buffer = vec![0; 1 << 20];
        for number in (0..count).rev() {
            let mut file = File::open(rotated(&self.path, number))?;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    got => comparison.take(buffer.get(..got).unwrap_or_default())?,
                }
            }
        }
        comparison.finish(bytes)
    }
}

struct Reader {
    process: Child,
    told: Box<dyn Read>,
}

impl Reader {
    /// What it tells once it has everything.
    fn seconds(&mut self) -> Outcome<f64> {
        let mut text = String::new();
        self.told.read_to_string(&mut text)?;
        let value = text.trim().strip_prefix("seconds ").ok_or("the reader has failed")?;
        Ok(value.parse()?)
    }
}

impl Drop for Reader {
    /// A benchmark that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
