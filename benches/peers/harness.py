"""One supervisor at a time: its processes are found, its tasks waited for, all of it removed."""
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import time

from peer import Bare
from probe import Watch, activity_of, argv_of, descendants, free_mib, slurp, stat_of

HERE = os.path.dirname(os.path.abspath(__file__))
DESCRIPTORS = 65536


class Harness:
    """Makes itself a child subreaper: whatever a peer starts, daemonised or not, stays below it.

    "Tasks" are the processes there whose arguments carry the token, and what they have made;
    everything else belongs to the supervisor.
    """

    def __init__(self, options):
        self.options = options
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)      # PR_SET_CHILD_SUBREAPER
        self.token = str(1000000 + os.getpid())
        self.cgroup = None
        self.exits = {}                                   # {pid: ns}, as wait_gone saw them
        self.work = options.work
        os.makedirs(self.work, exist_ok=True)
        self.task = self.build("task")
        Bare.spawner = self.build("spawn")

    def build(self, name):
        """Compiles one of our C programs, once."""
        source, program = os.path.join(HERE, name + ".c"), os.path.join(self.work, name)
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            subprocess.run(["cc", "-O2", "-Wall", "-static", "-o", program, source], check=True)
        return program

    def reap(self):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def is_task(self, pid):
        argv = argv_of(pid)
        return self.token.encode() in argv and os.path.basename(argv[0]) in (b"sleep", b"task")

    def split(self):
        """(processes of tasks, processes of the supervisor)."""
        tree = descendants(os.getpid())
        tasks = {pid for pid in tree if self.is_task(pid)}
        inside = set(tasks)
        for pid in tree:
            chain, at = [], pid
            while at in tree and at not in inside:
                chain.append(at)
                at = tree[at]
            if at in inside:
                inside.update(chain)
        return tasks, set(tree) - inside

    def enter(self):
        """In every process that a peer starts: many descriptors, and the memory cgroup."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for wanted in (DESCRIPTORS, hard):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
                break
        if self.cgroup:
            with open(self.cgroup + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")

    def make_cgroup(self):
        """A memory cgroup (v1), whose kernel memory is told by itself."""
        path = f"/sys/fs/cgroup/memory/peers-{os.getpid()}"
        try:
            os.mkdir(path)
            self.cgroup = path
        except OSError:
            self.cgroup = None

    def kernel_memory(self):
        raw = slurp(self.cgroup + "/memory.kmem.usage_in_bytes") if self.cgroup else b""
        return int(raw) if raw else None

    def make(self, cls, n, argv):
        work = os.path.join(self.work, f"{cls.name}-{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        peer = cls(work, n, argv)
        peer.preexec = self.enter
        self.make_cgroup()
        peer.setup()
        os.sync()
        time.sleep(1.1)            # runsvdir waits out the second in which its directory changed
        return peer

    def cleanup(self, peer):
        """Whatever is left of the peer goes: processes by id, mounts, files, cgroup."""
        for _ in range(50):
            self.reap()
            left = list(descendants(os.getpid()))
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        peer.clean()
        for line in slurp("/proc/self/mounts").decode().splitlines():
            where = line.split()[1]
            if where.startswith(peer.dir + "/"):
                subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL, check=False)
        if not self.options.keep:
            shutil.rmtree(peer.dir, ignore_errors=True)
        self.reap()
        self.exits = {}
        if self.cgroup:
            with contextlib.suppress(OSError):
                os.rmdir(self.cgroup)

    def wait_running(self, watch, peer, begun):
        """Seconds from begun (ns) to the last of the peer's tasks."""
        n, timeout = peer.n, peer.start_timeout
        live, last, checked = {}, None, time.monotonic()
        while time.monotonic_ns() - begun < timeout * 1e9:
            for ns, what, pid in watch.events(0.5):
                if what == Watch.EXEC and self.is_task(pid):
                    live.setdefault(pid, ns)
                    last = max(live.values()) if len(live) >= n else None
                elif what == Watch.EXIT:
                    live.pop(pid, None)
            if len(live) >= n and last:
                return (last - begun) / 1e9
            if any(process.poll() is not None for process in peer.procs):
                raise RuntimeError(f"{peer.name} has ended: {peer.last_words()}")
            self.reap()
            if watch.lost or time.monotonic() - checked > 20:
                checked, watch.lost = time.monotonic(), False
                live = {pid: live.get(pid, time.monotonic_ns()) for pid in self.split()[0]}
                last = max(live.values()) if len(live) >= n else None
                if last:
                    return (last - begun) / 1e9
            if free_mib() < self.options.min_free:
                raise RuntimeError(f"stopped at {len(live)} of {n} tasks: {free_mib()} MiB free")
        raise RuntimeError(f"timeout: {len(live)} of {n} tasks after {timeout} s")

    def wait_gone(self, watch, who, begun, timeout):
        """Seconds from begun (ns) until every pid in who has exited."""
        left, checked = set(who) - set(self.exits), time.monotonic()
        while left and time.monotonic_ns() - begun < timeout * 1e9:
            for ns, what, pid in watch.events(0.1):
                if what == Watch.EXIT:
                    self.exits[pid] = ns
            left -= set(self.exits)
            self.reap()
            if time.monotonic() - checked > 2:               # where events were lost
                checked, now = time.monotonic(), time.monotonic_ns()
                gone = {pid for pid in left if (stat_of(pid) or (b"Z",))[0] in b"ZX"}
                self.exits.update(dict.fromkeys(gone, now))
        if left:
            raise RuntimeError(f"timeout: {len(left)} processes still there after {timeout} s")
        return (max([begun] + [self.exits[pid] for pid in who]) - begun) / 1e9

    def activity(self):
        """{(pid, thread): (CPU ns, voluntary, involuntary switches)} of the supervisor."""
        return {(pid, thread): values for pid in self.split()[1]
                for thread, values in activity_of(pid).items()}


def difference(after, before):
    """What all threads have done in between: CPU ns, voluntary and involuntary switches."""
    total = [0, 0, 0]
    for key, values in after.items():
        old = before.get(key, (0, 0, 0))
        total = [sum(three) - less for *three, less in zip(total, values, old)]
    return total
