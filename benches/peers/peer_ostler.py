"""ostler, its output going every way that it can."""
import json
import os
import socket
import threading
import time
import fcntl

from peer import LOG_BYTES, LOG_FILES, Peer, write

PIPE_BYTES = 1 << 20


class Connection:
    """A Varlink connection: JSON messages, each with a NUL behind it."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.data = b""

    def send(self, method, more=False, **parameters):
        call = {"method": "org.ostler." + method, "parameters": parameters}
        if more:
            call["more"] = True
        self.sock.sendall(json.dumps(call).encode() + b"\0")

    def receive(self, timeout):
        self.sock.settimeout(timeout)
        while b"\0" not in self.data:
            got = self.sock.recv(1 << 20)
            if not got:
                raise OSError("the daemon has closed the connection")
            self.data += got
        message, self.data = self.data.split(b"\0", 1)
        return json.loads(message)["parameters"]


class Exits:
    """The stream of events: when the exit of a pid is told."""

    def __init__(self, path):
        self.connection = Connection(path)
        self.connection.send("Events", more=True)

    def wait(self, pid, timeout):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            reply = self.connection.receive(until - time.monotonic())
            at = time.monotonic_ns()
            for event in reply.get("events", [reply.get("event")]):
                exit_ = (event or {}).get("status", {}).get("exit") or {}
                if event and event["kind"] == "exited" and exit_.get("pid") == pid:
                    return at
        return None


class Ostler(Peer):
    name = "ostler"
    binaries = ("ostler",)
    logging = "none (/dev/null)"
    captures = False
    sinks = ""
    restart_note = "at once (delay 0)"

    def setup(self):
        os.makedirs(self.path("log"))
        words = json.dumps(self.argv[1:])
        write(self.path("tasks.toml"), f"""[task.t]
command = {json.dumps(self.argv[0])}
args = {words}
count = {self.n}
kill_signal = "TERM"
restart = {{ mode = "always", delay = "0s", max_delay = "0s" }}
{self.sinks.format(log=self.path("log"), bytes=LOG_BYTES, files=LOG_FILES)}
""")

    def start(self):
        self.spawn([self.bin["ostler"], "daemon", "--tasks", self.path("tasks.toml"),
                    "--socket", self.path("socket")])

    def listen(self):
        return Exits(self.path("socket"))

    def version(self):
        return self.output([self.bin["ostler"], "--version"])


class OstlerRotated(Ostler):
    """As runit and s6: one file for both streams."""
    name = "ostler-rotated"
    captures = True
    logging = "in the daemon, stderr merged into stdout, rotated"
    sinks = ('stdout = {{ kind = "file", path = "{log}/{{index}}.out", max_size = "{bytes}", '
             'max_files = {files} }}\nstderr = "stdout"')
    most = 10000              # one or two descriptors a task, of 20,000

    def log_of(self, index):
        return self.path("log", f"{index}.out")


class OstlerTwoFiles(OstlerRotated):
    """As supervisord, circus and pm2: a file for each stream."""
    name = "ostler-two-files"
    logging = "in the daemon, stdout and stderr files, rotated"
    sinks = OstlerRotated.sinks.replace(
        'stderr = "stdout"',
        'stderr = {{ kind = "file", path = "{log}/{{index}}.err", max_size = "{bytes}", '
        'max_files = {files} }}')
    most = 6500               # twice as many


class OstlerDirect(Ostler):
    """The task has its file itself."""
    name = "ostler-direct"
    captures = True
    logging = "by the task itself, one file, not rotated"
    sinks = 'stdout = {{ kind = "file", path = "{log}/{{index}}.out" }}\nstderr = "stdout"'

    def log_of(self, index):
        return self.path("log", f"{index}.out")


class OstlerFifo(OstlerRotated):
    """For a reader of its own, as Nomad's logmon: here one that throws away what comes."""
    name = "ostler-fifo"
    logging = "in the daemon, into a FIFO that somebody else reads"
    sinks = ('stdout = {{ kind = "fifo", path = "{log}/{{index}}.out" }}\n'
             'stderr = "stdout"')

    def attend(self, index):
        """A reader in this process, which counts for no supervisor. Others go unread."""
        threading.Thread(target=self.read, args=(self.log_of(index),), daemon=True).start()

    @staticmethod
    def read(path):
        fifo = os.open(path, os.O_RDONLY)
        null = os.open("/dev/null", os.O_WRONLY)
        fcntl.fcntl(fifo, 1031, PIPE_BYTES)                                  # F_SETPIPE_SZ
        try:
            while os.splice(fifo, null, PIPE_BYTES):
                pass
        finally:
            os.close(fifo)
            os.close(null)


class OstlerFifoDirect(OstlerFifo):
    name = "ostler-fifo-direct"
    logging = "by the task itself, into a FIFO that somebody else reads"
    sinks = ('stdout = {{ kind = "fifo", path = "{log}/{{index}}.out", direct = true }}\n'
             'stderr = "stdout"')
