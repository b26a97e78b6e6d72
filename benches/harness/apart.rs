//! Parts of a benchmark that need a fresh process: this program again, in another role.

use super::Outcome;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// What such a part has measured, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The command that runs this program in a role.
pub(crate) fn role(name: &str, arguments: &[String]) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--as").arg(name).args(arguments);
    Ok(command)
}

/// Runs a role to its end and takes its figures from lines `NAME VALUE`.
pub(crate) fn measure(name: &str, arguments: &[String]) -> Outcome<Figures> {
    let output = role(name, arguments)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{name} {}: {}", arguments.join(" "), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut figures = Figures::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').ok_or_else(|| format!("odd line {line:?}"))?;
        figures.insert(name.to_owned(), value.parse()?);
    }
    Ok(figures)
}

/// Prints one figure of a role.
pub(crate) fn tell(name: &str, value: f64) {
    println!("{name} {value}");
}

/// One figure by name; not a number where it is missing.
pub(crate) fn figure(figures: &Figures, name: &str) -> f64 {
    figures.get(name).copied().unwrap_or(f64::NAN)
}
