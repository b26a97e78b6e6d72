//! Launch and wait of a task in a root of its own, with everything that isolates it, against the
//! OCI runtimes that are installed, which start the same program with the same isolation.

#![allow(unsafe_code, reason = "the bare floor that the harness has calls the kernel itself")]

mod harness;

use harness::arguments::Arguments;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, median, programs, turn_until};
use ostler::{EventKind, Isolation, Mount, Resources, Supervisor, TaskSpec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNTIMES: [&str; 2] = ["crun", "runc"];
const MOUNTS: usize = 6;
const MOUNTED: &str = "/usr/share";
const CAPABILITIES: [&str; 3] = ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"];
const PIDS_MAX: u64 = 100;
const MEMORY_MAX_BYTES: u64 = 64 << 20;
/// Of the installed runtimes' time.
const SHARE_MAX: f64 = 3.0;

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let rounds = arguments.size(3, 30);
    let mut report = Report::new("isolation", &["case", "ratio", "ms", "N"]);
    let bundle = Bundle::make()?;
    let mut supervisor = harness::supervisor()?;
    let mut cases = vec![Case::new("plain"), Case::new("isolated")];
    for runtime in RUNTIMES {
        match bundle.start(runtime) {
            Ok(()) => cases.push(Case::new(runtime)),
            Err(why) => report.note(format!("without {runtime}: {why}")),
        }
    }
    for _ in 0..rounds {
        for case in &mut cases {
            let begun = Instant::now();
            match case.name {
                "plain" => launch(&mut supervisor, bundle.plain())?,
                "isolated" => launch(&mut supervisor, bundle.isolated())?,
                runtime => bundle.start(runtime)?,
            }
            case.times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ours = cases.get(1).map_or(f64::NAN, Case::median);
    for case in &cases {
        let ratio = case.median() / ours;
        report.row(vec![
            case.name.into(),
            Cell::Number(ratio, 2),
            Cell::Number(case.median(), 3),
            Cell::Number(rounds as f64, 0),
        ]);
        if RUNTIMES.contains(&case.name) {
            let name = format!("isolated launch, times that of {}", case.name);
            report.target(name, 1.0 / ratio, Bound::AtMost(SHARE_MAX));
        }
    }
    report.note(format!(
        "isolated: root, {MOUNTS} read-only mounts, pid, ipc, uts and net namespaces, \
         {} capabilities, no_new_privs, a seccomp profile, pids_max, memory_max; \
         ratio: time against the isolated one's",
        CAPABILITIES.len()
    ));
    report.finish(&arguments)
}

struct Case {
    name: &'static str,
    /// Milliseconds.
    times: Vec<f64>,
}

impl Case {
    fn new(name: &'static str) -> Case {
        Case { name, times: Vec::new() }
    }

    fn median(&self) -> f64 {
        median(self.times.clone())
    }
}

fn launch(supervisor: &mut Supervisor, spec: TaskSpec) -> Outcome<()> {
    supervisor.launch(spec)?;
    turn_until(supervisor, EventKind::Finished, 1)
}

/// A root with one program in it, and what an OCI runtime wants to know.
struct Bundle {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Bundle {
    fn make() -> Outcome<Bundle> {
        let directory = tempfile::tempdir()?;
        let root = directory.path().join("rootfs");
        for name in ["proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(name))?;
        }
        for number in 0..MOUNTS {
            std::fs::create_dir(root.join(format!("mount-{number}")))?;
        }
        let program = programs::exits();
        if let Some(note) = program.note {
            return Err(format!("a static program is needed, not {note}").into());
        }
        let program = PathBuf::from(program.path);
        std::fs::copy(&program, root.join("exit"))?;
        let bundle = Bundle { directory, program };
        std::fs::write(bundle.profile(), profile().to_string())?;
        std::fs::write(bundle.directory.path().join("config.json"), bundle.config().to_string())?;
        Ok(bundle)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    fn profile(&self) -> PathBuf {
        self.directory.path().join("seccomp.json")
    }

    fn plain(&self) -> TaskSpec {
        TaskSpec { auto_remove: true, ..TaskSpec::new(text(&self.program)) }
    }

    fn isolated(&self) -> TaskSpec {
        let mount = |number| Mount {
            source: MOUNTED.to_owned(),
            target: format!("/mount-{number}"),
            read_only: true,
            propagation: ostler::Propagation::Private,
        };
        let isolation = Isolation {
            root: Some(text(&self.root())),
            mounts: (0..MOUNTS).map(mount).collect(),
            pid: true,
            ipc: true,
            uts: true,
            hostname: Some("bench".to_owned()),
            net: Some("none".to_owned()),
            capabilities: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            no_new_privs: true,
            seccomp: Some(text(&self.profile())),
            ..Isolation::default()
        };
        let resources = Resources {
            pids_max: Some(Some(PIDS_MAX)),
            memory_max: Some(Some(MEMORY_MAX_BYTES)),
            ..Resources::default()
        };
        TaskSpec {
            auto_remove: true,
            isolation: Some(Box::new(isolation)),
            resources: Some(Box::new(resources)),
            ..TaskSpec::new("/exit")
        }
    }

    /// Starts it with an OCI runtime and waits for its end.
    fn start(&self, runtime: &str) -> Outcome<()> {
        let state = self.directory.path().join(format!("state-{runtime}"));
        let output = Command::new(runtime)
            .arg("--root")
            .arg(state)
            .args(["run", "--bundle"])
            .arg(self.directory.path())
            .arg(format!("ostler-bench-{}", std::process::id()))
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {}", output.status, said.trim().lines().last().unwrap_or_default()).into())
    }

    fn config(&self) -> Value {
        let mount = |target: &str, kind: &str, options: &[&str]| {
            let mut mount = json!({"destination": target, "type": kind, "source": kind});
            mount["options"] = json!(options);
            mount
        };
        let mut mounts = vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ];
        mounts.extend((0..MOUNTS).map(|number| {
            let target = format!("/mount-{number}");
            let options = ["rbind", "ro", "nosuid", "nodev"];
            json!({"destination": target, "type": "bind", "source": MOUNTED, "options": options})
        }));
        let namespaces =
            ["pid", "ipc", "uts", "network", "mount"].map(|kind| json!({"type": kind}));
        let sets = ["bounding", "effective", "permitted"].map(|set| (set, CAPABILITIES));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/exit"],
                "cwd": "/",
                "capabilities": sets.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "hostname": "bench",
            "mounts": mounts,
            "linux": {
                "namespaces": namespaces,
                "resources": {"pids": {"limit": PIDS_MAX}, "memory": {"limit": MEMORY_MAX_BYTES}},
                "seccomp": profile(),
                "maskedPaths": [
                    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                    "/sys/firmware",
                ],
                "readonlyPaths": [
                    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                ],
            },
        })
    }
}

/// The same for all: what is refused is little, so that the time is that of loading a filter.
fn profile() -> Value {
    let names = ["kexec_load", "reboot", "swapon", "swapoff", "init_module", "delete_module"];
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}],
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
