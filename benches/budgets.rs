//! What a daemon without tasks may cost, of the program as it is released: memory, and the time
//! from its exec to the moment at which it serves.
#![allow(unsafe_code, reason = "the harness reads the allocator's counters")]

mod harness;

use harness::Outcome;
use harness::arguments::Arguments;
use harness::process;
use harness::report::{Bound, Cell, Report};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for what a start leaves to be given back.
const SETTLE: Duration = Duration::from_millis(200);

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let rounds = arguments.size(11, 51);
    let (mut pss, mut ready, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let directory = tempfile::tempdir()?;
    for _ in 0..rounds {
        bare.push(bare_exec()?);
        let (milliseconds, bytes) = daemon(directory.path())?;
        ready.push(milliseconds);
        pss.push(bytes / 1024.0);
    }
    let columns = ["what", "median", "least", "most"];
    let mut report = Report::new("budgets", &columns);
    let (pss, _) = add(&mut report, "PSS without a task, KiB", pss, 0);
    let (_, ready) = add(&mut report, "exec to READY=1, ms", ready, 2);
    let (_, bare) = add(&mut report, "exec and exit of /bin/true, ms", bare, 2);
    report.target("PSS without a task, KiB", pss, Bound::AtMost(2048.0));
    // The least of all rounds has met the fewest others on a busy machine; where even that has
    // met some, so has that of /bin/true, which takes 0.8 ms on a quiet one.
    let most = 5.0 * (bare / 0.8).max(1.0);
    report.target("exec to READY=1, ms, least", ready, Bound::AtMost(most));
    report.note(format!("N = {rounds}; the bound of the time grows with that of /bin/true"));
    report.finish(&arguments)
}

/// The median and the least.
fn add(report: &mut Report, name: &str, values: Vec<f64>, digits: usize) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let median = harness::median(values);
    let cell = |value| Cell::Number(value, digits);
    report.row(vec![name.into(), cell(median), cell(least), cell(most)]);
    (median, least)
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn bare_exec() -> Outcome<f64> {
    let begun = Instant::now();
    Command::new("/bin/true").status()?;
    Ok(milliseconds(begun))
}

/// A daemon that is killed whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Milliseconds until it is ready, and its PSS in bytes.
fn daemon(directory: &Path) -> Outcome<(f64, f64)> {
    let notify = directory.join("notify");
    let _ = std::fs::remove_file(&notify);
    let told = UnixDatagram::bind(&notify)?;
    told.set_read_timeout(Some(PATIENCE))?;
    let begun = Instant::now();
    let daemon = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .arg("daemon")
        .arg("--socket")
        .arg(directory.join("socket"))
        .env("NOTIFY_SOCKET", &notify)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let daemon = Killed(daemon);
    let mut buffer = [0; 4096];
    let ready = loop {
        let length = told.recv(&mut buffer)?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        if text.lines().any(|line| line == "READY=1") {
            break milliseconds(begun);
        }
    };
    std::thread::sleep(SETTLE);
    Ok((ready, process::pss_bytes_of(daemon.0.id())?))
}
