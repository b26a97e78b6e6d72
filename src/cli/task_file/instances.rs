//! `count = N`: the instances of a task.

use crate::vocabulary::{Sink, TaskSpec};

/// The name of an instance.
pub(super) fn instance_name(task: &str, index: u32) -> String {
    format!("{task}-{index}")
}

/// Instance `index` of a task: its name, the label `group`, and its number for `{index}` in
/// arguments, environment and paths.
pub(super) fn instance(spec: &TaskSpec, task: &str, index: u32) -> TaskSpec {
    let mut spec = spec.clone();
    spec.name = Some(instance_name(task, index));
    spec.labels.insert("group".to_owned(), task.to_owned());
    let number = index.to_string();
    for text in places(&mut spec) {
        if text.contains(MARK) {
            *text = text.replace(MARK, &number);
        }
    }
    spec
}

const MARK: &str = "{index}";

/// Every text in which the number is put.
fn places(spec: &mut TaskSpec) -> impl Iterator<Item = &mut String> {
    // A command with a slash is a path.
    let command = Some(&mut spec.command).filter(|command| command.contains('/'));
    let isolation = spec.isolation.as_deref_mut().map(|isolation| {
        let mounts = isolation.mounts.iter_mut().flat_map(|m| [&mut m.source, &mut m.target]);
        let devices = isolation.devices.iter_mut().flatten();
        let devices = devices.flat_map(|d| std::iter::once(&mut d.source).chain(d.target.as_mut()));
        let rules = isolation.landlock.iter_mut().flatten().map(|rule| &mut rule.path);
        let single = [isolation.root.as_mut(), isolation.net.as_mut(), isolation.seccomp.as_mut()];
        mounts.chain(devices).chain(rules).chain(single.into_iter().flatten())
    });
    let single = [
        command,
        spec.task_dir.as_mut(),
        spec.work_dir.as_mut(),
        spec.cgroup.as_mut(),
        spec.stdout.as_mut().and_then(sink_path),
        spec.stderr.as_mut().and_then(sink_path),
    ];
    spec.args
        .iter_mut()
        .chain(spec.env.iter_mut())
        .chain(single.into_iter().flatten())
        .chain(isolation.into_iter().flatten())
}

fn sink_path(sink: &mut Sink) -> Option<&mut String> {
    match sink {
        Sink::File(file) => Some(&mut file.path),
        Sink::Fifo { path, .. } => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{FileSink, Isolation};

    #[test]
    fn the_number_is_put_in_arguments_environment_and_paths_only() {
        let spec = TaskSpec {
            args: vec!["{index}-{index}".into(), "$index {} {i}".into()],
            env: vec!["N={index}".into()],
            work_dir: Some("/w/{index}".into()),
            stdout: Some(Sink::File(FileSink::new("/log/{index}"))),
            stderr: Some(Sink::Fifo { path: "/fifo/{index}".into(), direct: false }),
            isolation: Some(Box::new(Isolation {
                root: Some("/r/{index}".into()),
                hostname: Some("{index}".into()),
                ..Isolation::default()
            })),
            labels: [("k".to_owned(), "{index}".to_owned())].into(),
            ..TaskSpec::new("run{index}")
        };
        let made = instance(&spec, "web", 7);
        assert_eq!(made.name.as_deref(), Some("web-7"));
        assert_eq!(made.args, ["7-7", "$index {} {i}"]);
        assert_eq!(made.env, ["N=7"]);
        assert_eq!(made.work_dir.as_deref(), Some("/w/7"));
        assert_eq!(made.stdout().path(), Some("/log/7"));
        assert_eq!(made.stderr().path(), Some("/fifo/7"));
        let isolation = made.isolation.expect("isolation");
        assert_eq!(isolation.root.as_deref(), Some("/r/7"));
        assert_eq!(isolation.hostname.as_deref(), Some("{index}"));
        assert_eq!(made.labels["k"], "{index}");
        assert_eq!(made.labels["group"], "web");
        assert_eq!(made.command, "run{index}");
        let made = instance(&TaskSpec::new("/bin/run{index}"), "web", 0);
        assert_eq!(made.command, "/bin/run0");
    }
}
