"""supervisord, circus and pm2: one process for all tasks, in Python or JavaScript."""
import json
import os
import sys
import time

from peer import LOG_BYTES, LOG_FILES, Peer, write

LISTENER = """import sys, time
out = open({fifo!r}, "w", buffering=1)
while True:
    print("READY", flush=True)
    head = dict(word.split(":") for word in sys.stdin.readline().split())
    at = time.monotonic_ns()
    body = dict(word.split(":") for word in sys.stdin.read(int(head["len"])).split())
    out.write(str(body["pid"]) + " " + str(at) + "\\n")
    print("RESULT 2\\nOK", end="", flush=True)
"""


class ListenerFifo:
    """What an event listener of supervisord has been told."""

    def __init__(self, path):
        self.fifo = os.fdopen(os.open(path, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
        self.data = b""

    def wait(self, pid, timeout):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            self.data += self.fifo.read(65536) or b""
            while b"\n" in self.data:
                line, self.data = self.data.split(b"\n", 1)
                who, at = line.split()
                if int(who) == pid:
                    return int(at)
            time.sleep(0.001)             # the time is the listener's own
        return None


class Supervisord(Peer):
    name = "supervisord"
    binaries = ("supervisord",)
    logging = "in the daemon, stdout and stderr files, rotated"
    restart_note = "at once if up for startsecs (1 s), else back-off of 1, 2, 3... s"

    def setup(self):
        os.makedirs(self.path("log"))
        os.mkfifo(self.path("exits"))
        write(self.path("listener.py"), LISTENER.format(fifo=self.path("exits")))
        files = "\n".join(f"{stream}_logfile={self.dir}/log/%(process_num)05d.{stream}\n"
                          f"{stream}_logfile_maxbytes={LOG_BYTES}\n"
                          f"{stream}_logfile_backups={LOG_FILES - 1}"
                          for stream in ("stdout", "stderr"))
        command = self.command("%(process_num)d")
        listener = ""
        if self.n <= 100:                 # only where its latency is measured
            listener = f"""[eventlistener:exits]
command={sys.executable} {self.dir}/listener.py
events=PROCESS_STATE_EXITED
"""
        write(self.path("supervisord.conf"), f"""[supervisord]
nodaemon=true
logfile={self.dir}/supervisord.log
pidfile={self.dir}/supervisord.pid
minfds={max(1024, 5 * self.n + 100)}
minprocs=4000
[unix_http_server]
file={self.dir}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:t]
command={command}
process_name=t%(process_num)05d
numprocs={self.n}
autorestart=true
{files}
{listener}""")

    def start(self):
        self.spawn([self.bin["supervisord"], "-c", self.path("supervisord.conf")])

    def log_of(self, index):
        return self.path("log", f"{index:05d}.stdout")

    def listen(self):
        return ListenerFifo(self.path("exits")) if self.n <= 100 else None

    def role(self, pid, argv):
        if any(word.endswith(b"listener.py") for word in argv):
            return "event listener of the measurement"
        return super().role(pid, argv)

    def version(self):
        return self.output([self.bin["supervisord"], "--version"])


class Circus(Peer):
    name = "circus"
    binaries = ("circusd",)
    logging = "in the daemon, FileStream for stdout and stderr, rotated"
    restart_note = "on SIGCHLD, or check_delay (set to 1 s)"

    def setup(self):
        os.makedirs(self.path("log"))
        ini = [f"[circus]\nendpoint = ipc://{self.dir}/e\npubsub_endpoint = ipc://{self.dir}/p\n"
               "check_delay = 1\n"]
        for index in range(self.n):
            streams = "".join(f"{stream}_stream.class = FileStream\n"
                              f"{stream}_stream.filename = {self.dir}/log/{index:05d}.{stream}\n"
                              f"{stream}_stream.max_bytes = {LOG_BYTES}\n"
                              f"{stream}_stream.backup_count = {LOG_FILES}\n"
                              for stream in ("stdout", "stderr"))
            ini.append(f"[watcher:t{index:05d}]\ncmd = {self.command(index)}\nnumprocesses = 1\n"
                       f"copy_env = True\nwarmup_delay = 0\n{streams}")
        write(self.path("circus.ini"), "\n".join(ini))

    def start(self):
        self.spawn([self.bin["circusd"], self.path("circus.ini")])

    def log_of(self, index):
        return self.path("log", f"{index:05d}.stdout")

    def version(self):
        return self.output([self.bin["circusd"], "--version"])


class Pm2(Peer):
    name = "pm2"
    binaries = ("pm2", "node")
    logging = "in the daemon, stdout and stderr files, not rotated"
    restart_note = "at once (restart_delay 0)"
    start_timeout = 400

    def environ(self):
        return dict(super().environ(), PM2_HOME=self.path("pm2"))

    def setup(self):
        apps = [{"name": f"t{index:05d}", "script": self.argv[0], "args": self.words(index)[1:],
                 "interpreter": "none", "cwd": self.dir, "vizion": False, "min_uptime": 0,
                 "max_restarts": 1000000, "out_file": self.path("log", f"{index:05d}.out"),
                 "error_file": self.path("log", f"{index:05d}.err")} for index in range(self.n)]
        write(self.path("apps.json"), json.dumps({"apps": apps}))
        os.makedirs(self.path("log"))

    def start(self):
        self.call([self.bin["pm2"], "start", self.path("apps.json")], 400)

    def stop(self):
        self.spawn([self.bin["pm2"], "kill"])

    def log_of(self, index):
        return self.path("log", f"{index:05d}.out")

    def version(self):                    # `pm2 --version` would start the daemon
        top = os.path.dirname(os.path.dirname(os.path.realpath(self.bin["pm2"])))
        with open(os.path.join(top, "package.json"), encoding="utf-8") as f:
            own = json.load(f)["version"]
        return own + ", node " + self.output([self.bin["node"], "--version"])
