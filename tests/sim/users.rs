//! What users ask for, drawn by chance.

use crate::fault::Random;
use ostler::{
    ExecSpec, ExecStreams, IfExists, Leftover, Request, Resources, RestartMode, RestartPolicy,
    Signal, TaskSpec,
};
use std::time::Duration;

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "sh-0", "sh-1"];

pub(crate) fn any_request(random: &mut Random) -> Request {
    let name = random.pick(&NAMES).to_owned();
    let signal = random.percent(20).then_some(Signal::TERM);
    let grace = match random.below(4) {
        0 => Some(Duration::ZERO),
        1 => Some(random.millis(20_000)),
        _ => None,
    };
    match random.below(100) {
        0..35 => any_launch(random, name),
        35..50 => {
            let timeout = random.percent(50).then(|| random.millis(50_000));
            Request::Wait { name, id: None, timeout }
        }
        50..62 => Request::Stop { name, signal, grace },
        62..74 => Request::Restart { name, signal, grace },
        74..84 => {
            let all = random.percent(40);
            Request::Signal { name, signal: Signal::HUP, all }
        }
        84..90 => any_exec(random, name),
        90..92 => {
            let limit = random.pick(&[None, Some(1), Some(7)]);
            let limits = Resources { pids_max: Some(limit), ..Resources::default() };
            Request::Update { name, resources: Box::new(limits) }
        }
        92..99 => Request::Remove { name, force: random.percent(50) },
        _ if random.percent(15) => Request::Shutdown { stop_tasks: random.percent(80), grace },
        _ => Request::Wait { name, id: Some("sim-1".to_owned()), timeout: None },
    }
}

fn any_exec(random: &mut Random, name: String) -> Request {
    let mut spec = ExecSpec::new(if random.percent(3) { "" } else { "ls" });
    spec.timeout = match random.below(5) {
        0 => Some(Duration::ZERO),
        1 | 2 => Some(random.millis(40_000)),
        _ => None,
    };
    spec.streams = random.pick(&[ExecStreams::Collected, ExecStreams::Pipes]);
    Request::Exec { name, spec: Box::new(spec) }
}

fn any_launch(random: &mut Random, name: String) -> Request {
    let mut spec = TaskSpec::new("/bin/sh");
    spec.name = random.percent(85).then_some(name);
    spec.stop_all = random.percent(20);
    spec.leftover = random.pick(&[Leftover::Kill, Leftover::Wait, Leftover::Leave]);
    spec.auto_remove = random.percent(15);
    if random.percent(60) {
        spec.restart = RestartPolicy {
            mode: random.pick(&[RestartMode::OnFailure, RestartMode::Always]),
            attempts: random.pick(&[None, Some(None), Some(Some(0)), Some(Some(2))]),
            interval: Some(Duration::from_millis(1 + random.below(90_000))),
            delay: Some(random.millis(4000)),
            max_delay: random.pick(&[None, Some(Duration::from_secs(2))]),
        };
    }
    if random.percent(35) {
        spec.after = vec![random.pick(&NAMES).to_owned()];
        if random.percent(30) {
            spec.after.push(random.pick(&NAMES).to_owned());
        }
    }
    let if_exists =
        random.pick(&[IfExists::Fail, IfExists::Same, IfExists::Replace, IfExists::Replace]);
    let timeout = match random.below(4) {
        0 => random.millis(3000),
        1 => Duration::ZERO,
        _ => Duration::from_secs(30),
    };
    Request::Launch { spec: Box::new(spec), if_exists, timeout }
}
