//! The names of the tasks: which is whose, and which number is free for a task without one.

use crate::vocabulary::limits::NAME_BYTES_MAX;
use crate::vocabulary::{Identity, Ordered, TaskId};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// Room for the number of a task that came without a name.
const NUMBER_BYTES_MAX: usize = 10;

/// Whose is which name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    tasks: Ordered<Name, TaskId>,
    numbers: Ordered<Box<str>, Numbers>,
}

/// The numbers taken of names `BASE-NUMBER`: so that the search for a free one does not begin at 0
/// each time.
#[derive(Clone, Debug, Default)]
struct Numbers {
    /// All below it are taken, but for `free`.
    frontier: u64,
    free: Ordered<u64>,
}

/// A name, kept where the task's identity has it already.
#[derive(Clone, Debug)]
struct Name(Arc<Identity>);

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<TaskId> {
        self.tasks.get(name).copied()
    }

    pub(super) fn insert(&mut self, identity: &Arc<Identity>, task: TaskId) {
        if let Some((base, number)) = split(&identity.name)
            && let Some(numbers) = self.numbers.get_mut(base)
        {
            numbers.free.remove(&number);
        }
        self.tasks.insert(Name(Arc::clone(identity)), task);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.tasks.remove(name);
        if let Some((base, number)) = split(name)
            && let Some(numbers) = self.numbers.get_mut(base)
        {
            numbers.give_back(number);
            if numbers.frontier == 0 {
                self.numbers.remove(base);
            }
        }
    }

    /// The name for a task without one: the command's last path part, `-`, the first free number.
    pub(super) fn free_name(&mut self, command: &str) -> String {
        let base = base_of(command);
        let mut numbers = self.numbers.remove(base.as_str()).unwrap_or_default();
        let number = numbers.free.first().map(|&(number, ())| number).unwrap_or_else(|| {
            while self.tasks.contains(format!("{base}-{}", numbers.frontier).as_str()) {
                numbers.frontier += 1;
            }
            numbers.frontier
        });
        let name = format!("{base}-{number}");
        if numbers.frontier > 0 {
            self.numbers.insert(base.into(), numbers);
        }
        name
    }

    /// How many entries there are in all.
    pub(super) fn entries(&self) -> usize {
        self.tasks.len() + self.numbers.len()
    }
}

impl Numbers {
    fn give_back(&mut self, number: u64) {
        if number < self.frontier {
            self.free.add(number);
        }
        while self.frontier > 0 && self.free.remove(&(self.frontier - 1)).is_some() {
            self.frontier -= 1;
        }
    }
}

/// The parts of `BASE-NUMBER`, where the number is one that `free_name` may have made.
fn split(name: &str) -> Option<(&str, u64)> {
    let (base, digits) = name.rsplit_once('-')?;
    let plain = digits.len() <= NUMBER_BYTES_MAX
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if plain { Some((base, digits.parse().ok()?)) } else { None }
}

fn base_of(command: &str) -> String {
    let last = command.rsplit('/').find(|part| !part.is_empty()).unwrap_or("_");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@:".contains(c);
    let mut base: String = last.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if base.starts_with(['.', '-']) {
        base.replace_range(..1, "_");
    }
    base.truncate(NAME_BYTES_MAX - "-".len() - NUMBER_BYTES_MAX);
    base
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Name {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{TaskSpec, Wall, valid_task_name};

    fn take(names: &mut Names, name: &str) {
        let identity = Identity::new(name.into(), 0, Wall::default(), TaskSpec::new("x"));
        names.insert(&Arc::new(identity), TaskId::new(0, 0));
    }

    #[test]
    fn a_name_is_made_from_any_command() {
        for (command, base) in [
            ("/usr/bin/sleep", "sleep"),
            ("sleep", "sleep"),
            (".hidden", "_hidden"),
            ("-x", "_x"),
            ("/a b/c d\u{e9}", "c_d_"),
            ("/", "_"),
            ("dir/", "dir"),
        ] {
            assert_eq!(base_of(command), base);
        }
        let name = Names::default().free_name(&"x".repeat(5000));
        assert!(valid_task_name(&name) && name.len() == 191, "{name}");
    }

    #[test]
    fn the_first_free_number_is_found_again() {
        let mut names = Names::default();
        for name in ["s-1", "s-02", "s-4"] {
            take(&mut names, name);
        }
        for expected in ["s-0", "s-2", "s-3", "s-5"] {
            let name = names.free_name("/bin/s");
            assert_eq!(name, expected);
            take(&mut names, &name);
        }
        for gone in ["s-4", "s-1"] {
            names.remove(gone);
        }
        assert_eq!(names.free_name("s"), "s-1");
        assert_eq!(names.free_name("s"), "s-1", "asking takes nothing");
        take(&mut names, "s-1");
        assert_eq!(names.free_name("s"), "s-4");
        for gone in ["s-0", "s-1", "s-2", "s-3", "s-5", "s-02"] {
            names.remove(gone);
        }
        assert_eq!(names.entries(), 0);
    }

    #[test]
    fn many_tasks_without_a_name_are_quick() {
        // A scan from 0 for each name would take minutes.
        let mut names = Names::default();
        for round in 0..2 {
            for number in 0..30_000 {
                let name = names.free_name("s");
                assert_eq!(name, format!("s-{number}"), "round {round}");
                take(&mut names, &name);
            }
            for number in (0..30_000).rev() {
                names.remove(&format!("s-{number}"));
            }
        }
    }
}
