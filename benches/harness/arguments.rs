//! The command line of a benchmark.

use super::Outcome;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// A few seconds for all, for continuous integration.
    pub(crate) quick: bool,
    /// Fail where a target is missed.
    pub(crate) check: bool,
    /// A file for the figures as JSON; absent: a last line on standard output.
    pub(crate) json: Option<String>,
    /// This process is a part of the benchmark that runs apart: its name and arguments.
    pub(crate) role: Option<(String, Vec<String>)>,
}

const USAGE: &str = "options: --quick (a few seconds), --check (fail where a target is missed), \
                     --json FILE (figures as JSON)";

impl Arguments {
    /// Reads the command line; `--bench`, which cargo adds, means nothing.
    pub(crate) fn read() -> Outcome<Arguments> {
        let mut found = Arguments::default();
        let mut rest = std::env::args().skip(1);
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--quick" => found.quick = true,
                "--check" => found.check = true,
                "--json" => found.json = Some(rest.next().ok_or("--json needs a file")?),
                "--as" => {
                    let name = rest.next().ok_or("--as needs a name")?;
                    found.role = Some((name, rest.by_ref().collect()));
                }
                "--bench" => {}
                "--help" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                other => return Err(format!("unknown argument {other:?}; {USAGE}").into()),
            }
        }
        Ok(found)
    }

    /// The first of the two in a short run, else the second.
    pub(crate) fn size<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}
