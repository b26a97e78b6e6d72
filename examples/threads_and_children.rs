//! A host with threads and children of its own: the supervisor lives in one thread, others ask it
//! through a handle, and nobody's exit status is stolen.
//!
//! `cargo run --example threads_and_children`

use ostler::{IfExists, Options, Request, Supervisor, TaskSpec};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut supervisor = Supervisor::new(Options::default())?;
    let handle = supervisor.handle();
    let done = Arc::new(AtomicBool::new(false));

    let finished = Arc::clone(&done);
    let askers: Vec<_> = (0..4)
        .map(|number| {
            let handle = handle.clone();
            std::thread::spawn(move || -> Result<i32, Failure> {
                let name = format!("job-{number}");
                let spec = TaskSpec {
                    name: Some(name.clone()),
                    args: vec!["-c".into(), format!("exit {number}")],
                    ..TaskSpec::new("sh")
                };
                let timeout = Duration::from_secs(10);
                let launch =
                    Request::Launch { spec: Box::new(spec), if_exists: IfExists::Fail, timeout };
                handle.request(launch)??;
                handle.request(Request::Wait { name: name.clone(), id: None, timeout: None })??;
                let exit = handle.status(&name)?.and_then(|status| status.exit);
                Ok(exit.map_or(-1, |exit| exit.status.exit_code()))
            })
        })
        .collect();

    // The host's own child, made and waited for in the host's own way.
    let own = std::thread::spawn(move || Command::new("sh").args(["-c", "exit 42"]).status());

    let waker = handle.clone();
    let report = std::thread::spawn(move || -> Result<(), Failure> {
        for (number, asker) in askers.into_iter().enumerate() {
            let code = asker.join().map_err(|_| "a thread panicked")??;
            println!("job-{number} exited with {code}");
        }
        let own = own.join().map_err(|_| "a thread panicked")??;
        println!("the host's own child exited with {:?}", own.code());
        finished.store(true, Ordering::Release);
        waker.wake();
        Ok(())
    });

    let mut events = Vec::new();
    while !done.load(Ordering::Acquire) && !report.is_finished() {
        supervisor.turn(None, &mut events)?;
        events.clear();
    }
    report.join().map_err(|_| "a thread panicked")?
}
