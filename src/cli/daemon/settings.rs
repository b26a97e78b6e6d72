//! How the daemon is to be, from its flags and what its starter has passed.

use super::passed::Passed;
use crate::cli::arguments::{CgroupChoice, DaemonArguments, ExitNotificationChoice, OnExit};
use crate::cli::socket::socket_path;
use crate::cli::task_file::{self, TaskFile};
use crate::control::ServerOptions;
use crate::reactor::{CgroupMode, ExitNotification, Options};
use crate::sys::{group, inherited, unix_socket};
use crate::vocabulary::cause;
use crate::vocabulary::limits::{METRICS_INTERVAL_DEFAULT, STATS_INTERVAL_MIN};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the daemon does not come up.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The flags cannot be.
    Usage(String),
    /// The system, or a file, does not let it.
    Failed(Vec<String>),
}

impl Refusal {
    pub(super) fn failed(why: impl std::fmt::Display) -> Refusal {
        Refusal::Failed(vec![why.to_string()])
    }
}

/// How the daemon is to be.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) server: ServerOptions,
    /// The socket to make.
    pub(super) socket: Option<PathBuf>,
    /// Sockets that were passed, listening.
    pub(super) listeners: Vec<UnixListener>,
    /// Sockets that earlier daemons have made and stored, by their names.
    pub(super) stored_sockets: Vec<(String, UnixListener)>,
    /// Connections: reading end, writing end, and whether it is standard input and output.
    pub(super) attached: Vec<(OwnedFd, OwnedFd, bool)>,
    /// The task file, which can be read again, and what it says now.
    pub(super) task_file: Option<PathBuf>,
    pub(super) tasks: TaskFile,
    pub(super) keep: bool,
    /// How often all tasks are measured without being asked.
    pub(super) stats_interval: Option<Duration>,
    pub(super) metrics: Option<MetricsTarget>,
}

/// Where figures for collectors go.
#[derive(Debug)]
pub(super) enum MetricsTarget {
    File(PathBuf),
    Socket(PathBuf),
}

impl Settings {
    /// Takes over passed descriptors, so nothing else may have been opened before. Where the daemon
    /// `goes_on` in another program, what the one before has is not looked up again: connections,
    /// the group of the socket, the tasks of the file.
    pub(super) fn of(arguments: DaemonArguments, goes_on: bool) -> Result<Settings, Refusal> {
        let Passed { listeners, stored_sockets, manager } =
            Passed::take().map_err(Refusal::failed)?;
        let mut attached = Vec::new();
        for (index, control) in arguments.control.iter().enumerate() {
            if arguments.control.iter().take(index).any(|earlier| earlier == control) {
                return Err(Refusal::Usage(format!("--control {control}: is given twice")));
            }
            if !goes_on {
                attached.push(attach(control)?);
            }
        }
        check(&arguments)?;
        let tasks = match &arguments.tasks {
            Some(path) if !goes_on => load(path)?,
            Some(_) | None => TaskFile::default(),
        };
        let socket = match arguments.socket.as_deref() {
            Some("none") => None,
            // The sockets that were passed are instead of the usual one.
            None if !listeners.is_empty() => None,
            flag => match socket_path(flag) {
                Ok(path) => Some(path),
                // Those that were passed to the program before are handed over, not passed again.
                Err(_) if goes_on => None,
                Err(error) => return Err(Refusal::Usage(error.to_string())),
            },
        };
        let passed = listeners.iter().find_map(|listener| {
            listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned))
        });
        let shown = socket.as_ref().or(passed.as_ref());
        let server = ServerOptions {
            max_connections: arguments.max_connections as usize,
            socket: shown.map(|path| path.to_string_lossy().into_owned()),
            allowed_gid: match arguments.socket_group.as_deref() {
                Some(group) if !goes_on => Some(group_id(group)?),
                Some(_) | None => None,
            },
            upgrades: true,
            // Standard input cannot be read twice.
            reloads: arguments.tasks.as_deref().is_some_and(|path| path != Path::new("-")),
        };
        Ok(Settings {
            options: Options {
                manager,
                ..options(&arguments, arguments.control.iter().any(|control| control == "stdio"))
            },
            server,
            socket,
            listeners,
            stored_sockets,
            attached,
            tasks,
            keep: arguments.on_exit == OnExit::Keep,
            stats_interval: stats_interval(&arguments)?,
            metrics: arguments.metrics.as_deref().map(metrics_target),
            task_file: arguments.tasks.filter(|path| path != Path::new("-")),
        })
    }
}

/// Refuses flags that do not go together.
fn check(arguments: &DaemonArguments) -> Result<(), Refusal> {
    if arguments.on_exit == OnExit::Keep && arguments.state.is_none() {
        return Err(Refusal::Usage("--on-exit keep: needs --state DIR".to_owned()));
    }
    check_metrics(arguments.metrics.as_deref())?;
    Ok(())
}

/// A file of figures has an interval; else nothing is measured without being asked.
fn stats_interval(arguments: &DaemonArguments) -> Result<Option<Duration>, Refusal> {
    let file = arguments.metrics.as_deref().map(metrics_target);
    let file = matches!(file, Some(MetricsTarget::File(_)));
    match arguments.stats_interval {
        None => Ok(file.then_some(METRICS_INTERVAL_DEFAULT)),
        Some(Duration::ZERO) if file => {
            let why = "--stats-interval 0: --metrics with a file needs an interval";
            Err(Refusal::Usage(why.to_owned()))
        }
        Some(Duration::ZERO) => Ok(None),
        Some(interval) if interval < STATS_INTERVAL_MIN => {
            let why = format!("--stats-interval: must be 0 or at least {STATS_INTERVAL_MIN:?}");
            Err(Refusal::Usage(why))
        }
        interval => Ok(interval),
    }
}

/// Refuses a socket or file without a name.
fn check_metrics(path: Option<&Path>) -> Result<(), Refusal> {
    match path.map(|path| path.as_os_str().as_bytes()) {
        Some(b"" | b"unix:") => {
            Err(Refusal::Usage("--metrics: must be PATH or unix:PATH".to_owned()))
        }
        _ => Ok(()),
    }
}

fn metrics_target(path: &Path) -> MetricsTarget {
    match path.as_os_str().as_bytes().strip_prefix(b"unix:") {
        Some(socket) => MetricsTarget::Socket(OsStr::from_bytes(socket).into()),
        None => MetricsTarget::File(path.to_owned()),
    }
}

fn options(arguments: &DaemonArguments, stdio: bool) -> Options {
    Options {
        state_dir: arguments.state.clone(),
        cgroup: match arguments.cgroup {
            CgroupChoice::Auto => CgroupMode::Auto,
            CgroupChoice::Never => CgroupMode::Never,
            CgroupChoice::Require => CgroupMode::Require,
        },
        exit_notification: match arguments.exit_notification {
            ExitNotificationChoice::Auto => ExitNotification::Auto,
            ExitNotificationChoice::Pidfd => ExitNotification::Pidfd,
            ExitNotificationChoice::Sigchld => ExitNotification::Sigchld,
        },
        own_process: true,
        refuse_inherit: stdio,
        ..Options::default()
    }
}

fn attach(control: &str) -> Result<(OwnedFd, OwnedFd, bool), Refusal> {
    let failed =
        |error: io::Error| Refusal::failed(format_args!("--control {control}: {}", cause(&error)));
    if control == "stdio" {
        let reader = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let writer = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        return Ok((reader, writer, true));
    }
    let number = control.strip_prefix("fd:").and_then(|number| number.parse().ok());
    let Some(number) = number else {
        let why = format!("--control {control}: must be stdio or fd:N");
        return Err(Refusal::Usage(why));
    };
    if (0..=2).contains(&number) {
        let why = format!("--control {control}: is a standard stream, use --control stdio");
        return Err(Refusal::Usage(why));
    }
    let reader = inherited::take(number).map_err(|errno| {
        let why = match errno {
            Errno::EBADF => "no such descriptor is open",
            other => other.desc(),
        };
        Refusal::failed(format_args!("--control {control}: {why}"))
    })?;
    if !unix_socket::is_stream(reader.as_fd()) {
        return Err(Refusal::failed(format_args!("--control {control}: is no connected socket")));
    }
    let writer = reader.try_clone().map_err(failed)?;
    Ok((reader, writer, false))
}

fn load(path: &Path) -> Result<TaskFile, Refusal> {
    task_file::load(path)
        .map_err(|problems| Refusal::Failed(problems.iter().map(ToString::to_string).collect()))
}

/// Logs what is hardly meant.
pub(super) fn warn(tasks: &TaskFile) {
    tasks.warnings.iter().for_each(|warning| log::warn!("{warning}"));
}

fn group_id(group: &str) -> Result<u32, Refusal> {
    group::id(group).map_err(|why| Refusal::failed(format_args!("--socket-group {group}: {why}")))
}
