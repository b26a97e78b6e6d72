//! Where a command may be: the paths that the child tries in turn.

use super::environment;
use crate::vocabulary::TaskSpec;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// PATH inside a root, for a task whose env has none.
const PATH_IN_ROOT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The paths, and where they come from for the text of an error.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Candidates {
    pub(super) paths: Vec<PathBuf>,
    /// Ends `not in ...`; empty where the command is a path.
    pub(super) searched: String,
}

/// `own_path` finds PATH of the supervisor.
pub(super) fn candidates(
    spec: &TaskSpec,
    environment: &[Vec<u8>],
    own_path: impl FnOnce() -> Option<OsString>,
) -> Candidates {
    if spec.command.contains('/') {
        // An absolute path replaces what it is joined to.
        let path = Path::new(spec.work_dir()).join(&spec.command);
        return Candidates { paths: vec![path], searched: String::new() };
    }
    let mut directories = Vec::new();
    let mut searched = Vec::new();
    if let Some(task_dir) = &spec.task_dir {
        directories.push(Path::new(task_dir).join("local"));
        directories.push(PathBuf::from(task_dir));
        searched.extend(directories.iter().map(|path| path.display().to_string()));
    }
    let (path, whose) = match environment::value(environment, "PATH") {
        Some(path) => (Some(path.to_owned()), "the task's env"),
        None if spec.root().is_some() => {
            (Some(PATH_IN_ROOT.into()), "a root, since the task's env has none")
        }
        None => (own_path(), "the supervisor, since the task's env has none"),
    };
    match path {
        Some(path) => {
            directories.extend(absolute_directories(&path));
            searched.push(format!("PATH={} of {whose}", path.display()));
        }
        None => searched.push("a PATH: neither the task's env nor the supervisor has one".into()),
    }
    let paths = directories.iter().map(|directory| directory.join(&spec.command)).collect();
    Candidates { paths, searched: searched.join(", nor in ") }
}

fn absolute_directories(path: &OsStr) -> impl Iterator<Item = PathBuf> + '_ {
    path.as_bytes()
        .split(|&byte| byte == b':')
        .map(|directory| PathBuf::from(OsStr::from_bytes(directory)))
        .filter(|directory| directory.is_absolute())
}

/// Those of the candidates that lie in the task directory, relative to it.
pub(super) fn in_task_directory<'a>(
    task_dir: &'a str,
    candidates: &'a Candidates,
) -> impl Iterator<Item = &'a Path> {
    let inside = move |path: &'a PathBuf| path.strip_prefix(task_dir).ok();
    candidates.paths.iter().filter_map(inside).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: &TaskSpec, environment: &[&str], own: Option<&str>) -> (Vec<String>, String) {
        let environment: Vec<Vec<u8>> = environment.iter().map(|e| e.as_bytes().into()).collect();
        let Candidates { paths, searched } =
            candidates(spec, &environment, || own.map(OsString::from));
        (paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect(), searched)
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_command_with_a_slash_is_a_path() {
        let mut spec = TaskSpec { task_dir: Some("/t".into()), ..TaskSpec::new("/bin/x") };
        assert_eq!(found(&spec, &[], None), (strings(&["/bin/x"]), String::new()));
        spec.command = "./x".into();
        assert_eq!(found(&spec, &[], None).0, strings(&["/t/./x"]));
        spec.work_dir = Some("/w".into());
        assert_eq!(found(&spec, &[], None).0, strings(&["/w/./x"]));
    }

    #[test]
    fn a_name_is_looked_for_in_the_task_directory_then_in_path() {
        let mut spec = TaskSpec::new("x");
        assert_eq!(
            found(&spec, &["PATH=/a:rel::/b"], Some("/own")),
            (strings(&["/a/x", "/b/x"]), "PATH=/a:rel::/b of the task's env".to_owned())
        );
        assert_eq!(
            found(&spec, &["PATH="], Some("/own")),
            (vec![], "PATH= of the task's env".to_owned())
        );
        spec.task_dir = Some("/t".into());
        assert_eq!(
            found(&spec, &["A=b"], Some("/own")),
            (
                strings(&["/t/local/x", "/t/x", "/own/x"]),
                "/t/local, nor in /t, nor in PATH=/own of the supervisor, since the task's env \
                 has none"
                    .to_owned()
            )
        );
        assert_eq!(
            found(&spec, &[], None).1,
            "/t/local, nor in /t, nor in a PATH: neither the task's env nor the supervisor has one"
        );
    }

    #[test]
    fn candidates_in_the_task_directory_are_known_by_their_path() {
        let spec = TaskSpec { task_dir: Some("/t/".into()), ..TaskSpec::new("x") };
        let all = candidates(&spec, &[b"PATH=/t/bin:/tx".to_vec()], || None);
        let inside: Vec<_> = in_task_directory("/t/", &all).collect();
        assert_eq!(inside, [Path::new("local/x"), Path::new("x"), Path::new("bin/x")]);
    }
}
