//! A host with an epoll loop of its own: the supervisor is one descriptor and one deadline in it.
//!
//! `cargo run --example own_loop`

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use ostler::{Event, EventKind, Options, RestartMode, RestartPolicy, Supervisor, TaskSpec};
use std::os::fd::AsFd;
use std::time::Duration;

const SUPERVISOR: u64 = 0;
const OWN_WORK: u64 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut supervisor = Supervisor::new(Options::default())?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(supervisor.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, SUPERVISOR))?;

    // The host's own business: here a pipe that another program would write to.
    let (reader, writer) = nix::unistd::pipe()?;
    epoll.add(&reader, EpollEvent::new(EpollFlags::EPOLLIN, OWN_WORK))?;
    nix::unistd::write(&writer, b"something of the host's own")?;

    for number in 0..3 {
        let task = supervisor.launch(TaskSpec {
            name: Some(format!("worker-{number}")),
            args: vec!["-c".into(), format!("sleep 0.{number}; exit {number}")],
            restart: RestartPolicy {
                mode: RestartMode::OnFailure,
                attempts: Some(Some(1)),
                delay: Some(Duration::from_millis(100)),
                ..RestartPolicy::default()
            },
            ..TaskSpec::new("sh")
        })?;
        println!("launched worker-{number} as {task}");
    }

    let mut finished = 0;
    let mut events: Vec<Event> = Vec::new();
    while finished < 3 {
        let wait = supervisor.next_deadline().map_or(EpollTimeout::NONE, |deadline| {
            // Rounded up: a deadline is never missed by waking a little too early again and again.
            let millis = deadline.as_micros().div_ceil(1000);
            EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
        });
        let mut ready = [EpollEvent::empty(); 8];
        let count = epoll.wait(&mut ready, wait)?;
        for event in ready.iter().take(count) {
            if event.data() == OWN_WORK {
                let mut buffer = [0; 64];
                let got = nix::unistd::read(&reader, &mut buffer)?;
                println!("own work: {}", String::from_utf8_lossy(&buffer[..got]));
            }
        }
        // Never waits: whatever it had to wait for has happened.
        supervisor.turn(Some(Duration::ZERO), &mut events)?;
        for event in events.drain(..) {
            println!("{} {}", event.status.identity.name, event.kind.as_str());
            finished += usize::from(event.kind == EventKind::Finished);
        }
    }
    Ok(())
}
