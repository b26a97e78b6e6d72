//! From an isolation to the actions of the child.

use super::devices::{self, NODES};
use super::tree::{NO_DEVICES, NO_EXEC, NO_SUID, OF_NODES, PRIVATE, READ_ONLY, SLAVE};
use super::{Action, FileSystem, Layout, Purpose, Slot, Target};
use crate::sys::failure::start_error;
use crate::vocabulary::{Isolation, Mount, Propagation, Stage, StartError};
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::sync::atomic::AtomicI32;

const PROC: FileSystem = FileSystem {
    kind: c"proc",
    options: &[(c"source", c"proc")],
    attributes: NO_SUID | NO_DEVICES | NO_EXEC,
};
const SYS: FileSystem = FileSystem {
    kind: c"sysfs",
    options: &[(c"source", c"sysfs")],
    attributes: READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC,
};
/// The nodes are mounts of their own: what a task makes here itself is of no use to it.
const DEV: FileSystem = FileSystem {
    kind: c"tmpfs",
    options: &[(c"source", c"tmpfs"), (c"mode", c"755"), (c"size", c"4m"), (c"nr_inodes", c"64k")],
    attributes: NO_SUID | NO_DEVICES | NO_EXEC,
};
/// Each is an instance of its own (Linux 4.7). Group 5 is that of terminals on every distribution.
const PTS: FileSystem = FileSystem {
    kind: c"devpts",
    options: &[(c"source", c"devpts"), (c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")],
    attributes: NO_SUID | NO_EXEC,
};
/// Where that group has no meaning.
const PTS_OF_ONE: FileSystem = FileSystem {
    kind: c"devpts",
    options: &[(c"source", c"devpts"), (c"ptmxmode", c"0666"), (c"mode", c"0620")],
    attributes: NO_SUID | NO_EXEC,
};
const SHM: FileSystem = FileSystem {
    kind: c"tmpfs",
    options: &[(c"source", c"tmpfs"), (c"mode", c"1777")],
    attributes: NO_SUID | NO_DEVICES | NO_EXEC,
};

/// Links that programs expect in /dev.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"ptmx", c"pts/ptmx"),
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

/// What tells of the machine or reaches into it, as OCI runtimes hide it.
const HIDDEN_IN_PROC: [&CStr; 10] = [
    c"/acpi",
    c"/asound",
    c"/interrupts",
    c"/kcore",
    c"/keys",
    c"/latency_stats",
    c"/sched_debug",
    c"/scsi",
    c"/timer_list",
    c"/timer_stats",
];
const READ_ONLY_IN_PROC: [&CStr; 5] = [c"/bus", c"/fs", c"/irq", c"/sys", c"/sysrq-trigger"];
const HIDDEN_IN_SYS: [&CStr; 2] = [c"/firmware", c"/devices/virtual/powercap"];

/// The actions for a task. `in_user_namespace`: in one of its own, where only its own user and
/// group are known.
///
/// # Errors
/// A path cannot be one.
pub(in crate::sys) fn lay_out(
    isolation: &Isolation,
    in_user_namespace: bool,
) -> Result<Layout, StartError> {
    let mut builder = Builder::default();
    let sources = builder.sources(isolation)?;
    builder.begin("have mounts of its own".to_owned());
    builder.push(Action::Separate);
    let root = builder.root(isolation, &sources)?;
    if isolation.pid {
        builder.proc_of_task(root, sources.covers)?;
    }
    if let Some(covers) = sources.covers {
        builder.sys_of_task(isolation, in_user_namespace, root, covers)?;
    }
    if let Some(nodes) = &sources.nodes {
        builder.dev(in_user_namespace, root, nodes)?;
    }
    builder.mounts(isolation, root, &sources)?;
    if let Some(path) = &isolation.root {
        builder.begin(format!("enter root {path:?} (isolation.root)"));
        builder.push(Action::Enter { root });
    }
    Ok(builder.finish())
}

/// What comes from the host. It is taken first, while what is shared with the host still is.
struct Sources {
    root: Option<Slot>,
    mounts: Vec<Slot>,
    devices: Vec<Slot>,
    /// Those of `NODES`, where the task has a /dev of its own.
    nodes: Option<Vec<Slot>>,
    /// What hides the rest, where something is hidden.
    covers: Option<Covers>,
}

/// What files and directories are hidden by.
#[derive(Copy, Clone)]
struct Covers {
    null: Slot,
    empty: Slot,
}

#[derive(Default)]
struct Builder {
    actions: Vec<Action>,
    purposes: Vec<Purpose>,
    slots: usize,
}

impl Builder {
    /// What the next actions are for.
    fn begin(&mut self, text: String) {
        self.purposes.push(Purpose { text, end: self.actions.len() });
    }

    fn push(&mut self, action: Action) {
        self.actions.push(action);
        if let Some(purpose) = self.purposes.last_mut() {
            purpose.end = self.actions.len();
        }
    }

    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }

    fn finish(self) -> Layout {
        let slots = std::iter::repeat_with(|| AtomicI32::new(-1)).take(self.slots);
        Layout {
            actions: self.actions.into(),
            slots: slots.collect(),
            purposes: self.purposes.into(),
        }
    }

    fn copy(&mut self, path: &str) -> Result<Slot, StartError> {
        let into = self.slot();
        self.push(Action::Copy { path: string(path)?, into });
        Ok(into)
    }

    fn make(&mut self, kind: &'static FileSystem) -> Slot {
        let into = self.slot();
        self.push(Action::Make { kind, into });
        into
    }

    fn sources(&mut self, isolation: &Isolation) -> Result<Sources, StartError> {
        let (mut mounts, mut devices) = (Vec::new(), Vec::new());
        let mut root = None;
        if let Some(path) = &isolation.root {
            self.begin(format!("enter root {path:?} (isolation.root)"));
            root = Some(self.copy(path)?);
        }
        for (index, mount) in isolation.mounts.iter().enumerate() {
            self.begin(purpose(index, mount));
            mounts.push(self.copy(&mount.source)?);
        }
        for (index, device) in isolation.devices.iter().flatten().enumerate() {
            self.begin(devices::purpose(index, device));
            devices.push(self.copy(&device.source)?);
        }
        let mut nodes = None;
        if root.is_some() || isolation.devices.is_some() {
            self.begin("make /dev".to_owned());
            let copies = NODES.map(|(name, ..)| self.copy(&format!("/dev/{name}")));
            nodes = Some(copies.into_iter().collect::<Result<_, _>>()?);
        }
        let mut covers = None;
        if root.is_some() {
            self.begin("hide parts of /proc and /sys".to_owned());
            let (null, empty) = (self.slot(), self.slot());
            self.push(Action::Open { path: c"/dev/null".to_owned(), into: null });
            covers = Some(Covers { null, empty });
        }
        Ok(Sources { root, mounts, devices, nodes, covers })
    }

    /// What mount points are looked for in. What is mounted in there stays there.
    fn root(&mut self, isolation: &Isolation, sources: &Sources) -> Result<Slot, StartError> {
        if let (Some(root), Some(path)) = (sources.root, &isolation.root) {
            self.begin(format!("enter root {path:?} (isolation.root)"));
            self.push(attributes(root, NO_DEVICES, PRIVATE));
            self.push(Action::Cover { with: root });
            return Ok(root);
        }
        let root = self.slot();
        self.push(Action::Open { path: string("/")?, into: root });
        if isolation.devices.is_some() {
            self.begin("take other devices away (isolation.devices)".to_owned());
            self.push(attributes(root, NO_DEVICES, 0));
        }
        Ok(root)
    }

    /// /proc of the task's own pid namespace. Without one there is none: that of the host would
    /// lead out of the root (/proc/PID/root).
    fn proc_of_task(&mut self, root: Slot, covers: Option<Covers>) -> Result<(), StartError> {
        self.begin("mount /proc".to_owned());
        let mounted = self.make(&PROC);
        self.attach(mounted, root, own_target("/proc", covers.is_some())?);
        let Some(Covers { null, empty }) = covers else { return Ok(()) };
        for path in HIDDEN_IN_PROC {
            self.push(Action::Hide { inside: mounted, path, null, empty });
        }
        for path in READ_ONLY_IN_PROC {
            self.push(Action::Protect { inside: mounted, path });
        }
        Ok(())
    }

    fn sys_of_task(
        &mut self,
        isolation: &Isolation,
        in_user_namespace: bool,
        root: Slot,
        Covers { null, empty }: Covers,
    ) -> Result<(), StartError> {
        self.begin("mount /sys".to_owned());
        // A new one shows the devices of the network namespace, which has to be the task's own.
        let own_network = isolation.net.as_deref() == Some("none");
        let mounted = if in_user_namespace && !own_network {
            let copy = self.copy("/sys")?;
            self.push(attributes(copy, SYS.attributes, PRIVATE));
            copy
        } else {
            self.make(&SYS)
        };
        self.attach(mounted, root, own_target("/sys", true)?);
        for path in HIDDEN_IN_SYS {
            self.push(Action::Hide { inside: mounted, path, null, empty });
        }
        Ok(())
    }

    fn dev(
        &mut self,
        in_user_namespace: bool,
        root: Slot,
        nodes: &[Slot],
    ) -> Result<(), StartError> {
        self.begin("make /dev".to_owned());
        let dev = self.make(&DEV);
        self.attach(dev, root, own_target("/dev", true)?);
        for (name, to) in LINKS {
            self.push(Action::Link { inside: dev, name, to });
        }
        for (name, kind) in
            [(c"pts", if in_user_namespace { &PTS_OF_ONE } else { &PTS }), (c"shm", &SHM)]
        {
            self.push(Action::Directory { inside: dev, name });
            let made = self.make(kind);
            let path = format!("/{}", name.to_string_lossy());
            self.attach(made, dev, own_target(&path, false)?);
        }
        for (&node, (name, ..)) in nodes.iter().zip(NODES) {
            self.push(attributes(node, OF_NODES, PRIVATE));
            self.attach(node, dev, own_target(&format!("/{name}"), true)?);
        }
        Ok(())
    }

    /// What the task itself asks for.
    fn mounts(
        &mut self,
        isolation: &Isolation,
        root: Slot,
        sources: &Sources,
    ) -> Result<(), StartError> {
        // With a root, or where devices are named, these are the only way to a device.
        let no_devices = if sources.nodes.is_some() { NO_DEVICES } else { 0 };
        let target = |path: &str| {
            let in_own_dev = sources.nodes.is_some() && path.starts_with("/dev/");
            target(path, sources.root.is_some() || in_own_dev, true)
        };
        for (index, (mount, &slot)) in isolation.mounts.iter().zip(&sources.mounts).enumerate() {
            self.begin(purpose(index, mount));
            let read_only = if mount.read_only { READ_ONLY } else { 0 };
            let propagation = match mount.propagation {
                Propagation::Private => PRIVATE,
                Propagation::Slave => SLAVE,
                Propagation::Shared => 0,
            };
            self.push(attributes(slot, read_only | no_devices, propagation));
            self.attach(slot, root, target(&mount.target)?);
        }
        let named = isolation.devices.iter().flatten();
        for (index, (device, &slot)) in named.zip(&sources.devices).enumerate() {
            self.begin(devices::purpose(index, device));
            let path = device.target.as_deref().unwrap_or(&device.source);
            self.push(attributes(slot, OF_NODES, PRIVATE));
            self.attach(slot, root, target(path)?);
        }
        Ok(())
    }

    fn attach(&mut self, tree: Slot, inside: Slot, target: Target) {
        self.push(Action::Attach { tree, inside, target });
    }
}

pub(super) fn purpose(index: usize, mount: &Mount) -> String {
    format!("mount {:?} on {:?} (isolation.mounts[{index}])", mount.source, mount.target)
}

fn attributes(of: Slot, add: u64, propagation: u64) -> Action {
    Action::Attributes { of, add, propagation }
}

/// A mount point of ours, which has to be what it is called.
fn own_target(path: &str, make: bool) -> Result<Target, StartError> {
    target(path, make, false)
}

fn target(path: &str, make: bool, follow: bool) -> Result<Target, StartError> {
    let mut steps = Vec::new();
    let mut reached = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        reached.push('/');
        reached.push_str(part);
        steps.push((string(&reached)?, string(part)?));
    }
    Ok(Target { steps: steps.into(), make, follow })
}

fn string(text: &str) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| {
        start_error(Stage::Mount, Errno::EINVAL, format!("use {text:?}, which has a NUL byte"))
    })
}
