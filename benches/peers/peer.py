"""What every supervisor under measurement has in common, and the floor without one."""
import contextlib
import os
import shlex
import shutil
import signal
import subprocess

from probe import slurp

LOG_BYTES, LOG_FILES = 10 << 20, 10          # the rotation of every peer that rotates
SEARCH = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
SEARCH += [place for place in os.environ.get("PEERS_PATH", "").split(":") if place]

PEERS = {}


def find_binary(name):
    """Path of a program: $PEERS_<NAME> first, then PATH, then SEARCH ($PEERS_PATH adds to it)."""
    chosen = os.environ.get("PEERS_" + name.upper().replace("-", "_"))
    return chosen or shutil.which(name) or shutil.which(name, path=":".join(SEARCH))


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


class Peer:
    """A supervisor with n tasks that run argv; `{index}` in argv is the task's number.

    A new one: a name, the programs that it needs, setup() (files, not timed), start() (timed)
    and stop().
    """
    name = ""
    binaries = ()             # programs that must be found
    settle = 5                # seconds between "all running" and the memory snapshot
    restart_note = ""         # delays that the peer itself puts before a restart
    logging = ""              # what captures the output
    restarts = True           # a killed task is started again
    captures = True           # output goes through the peer
    start_timeout = 170
    most = 1 << 30            # tasks that it can have here at most

    def __init_subclass__(cls):
        if cls.name:
            PEERS[cls.name] = cls

    def __init__(self, workdir, n, argv):
        self.dir, self.n, self.argv = workdir, n, argv
        self.bin = {binary: find_binary(binary) for binary in self.binaries}
        self.procs, self.extra, self.preexec = [], {}, None

    @classmethod
    def missing(cls):
        return [binary for binary in cls.binaries if not find_binary(binary)]

    # What a peer provides.
    def setup(self):
        """Writes the configuration."""

    def start(self):
        raise NotImplementedError

    def stop(self):
        """Asks for the end of all tasks; if not said otherwise, by TERM to what start() made."""
        self.signal(signal.SIGTERM)

    def shutdown(self):
        """Ends the supervisor once the tasks are gone, where stop() leaves it."""

    def clean(self):
        """Removes what is left outside of the work directory once every process is gone."""

    def version(self):
        return ""

    def role(self, pid, argv):
        """The name under which a process of the supervisor is summed up."""
        first = argv[0].decode(errors="replace").split() if argv else []
        return os.path.basename(first[0]) if first else "?"

    def log_of(self, index):
        """Where the standard output of a task ends up; None where that has no path."""

    def listen(self):
        """Something with wait(pid, timeout): the time (CLOCK_MONOTONIC, ns) at which the peer
        tells of an exit. None where it tells nobody."""

    # What it can use.
    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def words(self, index):
        return [word.replace("{index}", str(index)) for word in self.argv]

    def command(self, index):
        return " ".join(shlex.quote(word) for word in self.words(index))

    def environ(self):
        path = ":".join([os.environ.get("PATH", "")] + SEARCH)
        return dict(os.environ, HOME=self.dir, TMPDIR=self.dir, PATH=path)

    def spawn(self, argv, **more):
        with open(self.path("peer.log"), "ab") as log:
            process = subprocess.Popen(argv, cwd=self.dir, env=self.environ(), stdout=log,
                                       stdin=subprocess.DEVNULL, stderr=log,
                                       preexec_fn=self.preexec, **more)
        self.procs.append(process)
        return process

    def call(self, argv, timeout=170):
        with open(self.path("peer.log"), "ab") as log:
            return subprocess.run(argv, cwd=self.dir, env=self.environ(), stdout=log, stderr=log,
                                  stdin=subprocess.DEVNULL, preexec_fn=self.preexec,
                                  timeout=timeout, check=False).returncode

    def output(self, argv):
        done = subprocess.run(argv, capture_output=True, text=True, env=self.environ(), timeout=60,
                              check=False)
        return (done.stdout + done.stderr).strip()

    def signal(self, number):
        for process in self.procs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def last_words(self):
        lines = slurp(self.path("peer.log")).decode(errors="replace").splitlines()
        return next((line for line in lines if line.strip()), "its log is empty")

    def package(self, name):
        return self.output(["dpkg-query", "-W", "-f", "${Version}", name])


class Bare(Peer):
    """No supervisor: a loop of vfork and exec. The floor of start times and of kernel memory."""
    name = "bare"
    restarts = captures = False
    logging = "none (/dev/null)"
    spawner = None            # built by the harness

    def start(self):
        self.spawn([self.spawner, str(self.n)] + self.words(0), start_new_session=True)
