//! Text into the parser of task files: no panic, every problem is told, and what is accepted can
//! be launched, in an order in which everything comes after what it names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::cli::fuzzing::parse;
use std::path::Path;

fuzz_target!(|input: (bool, &str)| {
    let (is_json, text) = input;
    let path = Path::new(if is_json { "/etc/tasks.json" } else { "/etc/tasks.toml" });
    match parse(text, path) {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.contains("/etc/tasks."), "a problem without its file: {problem}");
            }
        }
        Ok(tasks) => {
            for (place, task) in tasks.iter().enumerate() {
                if let Err(problem) = task.validate() {
                    panic!("accepted and cannot be: {problem}");
                }
                let earlier = &tasks[..place];
                for name in &task.after {
                    let found = earlier.iter().any(|task| task.name.as_ref() == Some(name));
                    assert!(found, "{:?} starts before {name:?}", task.name);
                }
                let twin = earlier.iter().any(|other| other.name == task.name);
                assert!(!twin || task.name.is_none(), "two tasks are named {:?}", task.name);
            }
        }
    }
});
