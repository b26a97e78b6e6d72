"""Supervisors of containers and of clusters: conmon over runc, and Nomad."""
import contextlib
import glob
import json
import os
import signal
import time
import urllib.error
import urllib.request

from peer import LOG_BYTES, LOG_FILES, Peer, write
from probe import slurp


class Conmon(Peer):
    """One conmon a task over an OCI runtime, as podman and CRI-O use it (they restart)."""
    name = "conmon"
    binaries = ("conmon", "runc")
    logging = "in conmon, k8s-file, truncated at its size limit"
    restarts = False
    restart_note = "none: conmon writes an exit file and ends; its manager restarts"
    start_timeout = 400

    def setup(self):
        # A mount namespace and a root of its own: with "/" as root and no namespace, runc
        # binds the host's whole mount tree over itself, doubling it with every container.
        binds = [{"destination": path, "source": path, "type": "bind",
                  "options": ["bind", "private"]}
                 for path in ("/usr", "/bin", "/lib", "/lib64", "/dev", os.path.dirname(self.dir))
                 if os.path.isdir(path)]
        process = {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/usr/bin:/bin"],
                   "terminal": False}
        self.id = f"peers{os.getpid()}-"
        os.makedirs(self.path("root"))
        for index in range(self.n):
            spec = {"ociVersion": "1.0.0", "root": {"path": self.path("root"), "readonly": False},
                    "process": dict(process, args=self.words(index)),
                    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}] + binds,
                    "linux": {"namespaces": [{"type": "mount"}], "rootfsPropagation": "rprivate"}}
            write(self.path("b", str(index), "config.json"), json.dumps(spec))
        write(self.path("start.sh"), f"""i=0
while [ $i -lt {self.n} ]; do
  d={self.dir}/b/$i
  {self.bin['conmon']} -c {self.id}$i -u {self.id}$i -n {self.id}$i -b $d -p $d/pid \\
    -l k8s-file:$d/log --log-size-max {LOG_BYTES} --exit-dir $d --full-attach \\
    -r {self.bin['runc']} --runtime-arg=--root --runtime-arg={self.dir}/rt || exit 1
  n=0; while [ ! -s $d/pid ] && [ $n -lt 500 ]; do sleep 0.01; n=$((n+1)); done
  {self.bin['runc']} --root {self.dir}/rt start {self.id}$i || exit 1
  i=$((i+1))
done
""")

    def start(self):
        if self.call(["/bin/sh", self.path("start.sh")], 400):
            raise RuntimeError("conmon: a container did not start, see peer.log")

    def clean(self):                      # the containers' cgroups
        for index in range(self.n):
            self.call([self.bin["runc"], "--root", self.path("rt"), "delete", "-f",
                       f"{self.id}{index}"])

    def stop(self):
        for path in glob.glob(self.path("b", "*", "pid")):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(slurp(path)), signal.SIGTERM)

    def log_of(self, index):
        return self.path("b", str(index), "log")

    def version(self):
        return (self.output([self.bin["conmon"], "--version"]).splitlines()[0] + ", "
                + self.output([self.bin["runc"], "--version"]).splitlines()[0])


class Nomad(Peer):
    """A dev agent and one job with count = N; for each task an executor and a logmon process.

    The binary is $NOMAD_BIN; $NOMAD_EXTRA_HCL is added to the agent's configuration. The time
    to start has the agent's own in it (extra.agent_ready_s).
    """
    name = "nomad"
    settle = 20
    logging = "one logmon process a task, stdout and stderr files, rotated"
    restart_note = "restart.delay (set to 0 here; 15 s by default, plus up to 25 % jitter)"
    start_timeout = 600
    http = int(os.environ.get("NOMAD_HTTP_PORT", "14646"))

    @classmethod
    def missing(cls):
        return [] if os.access(os.environ.get("NOMAD_BIN", ""), os.X_OK) else ["$NOMAD_BIN"]

    def setup(self):
        self.nomad = os.environ["NOMAD_BIN"]
        write(self.path("agent.hcl"), f"""
disable_update_check = true
ports {{ http = {self.http} rpc = {self.http + 1} serf = {self.http + 2} }}
client {{
  cpu_total_compute = 1000000
  memory_total_mb   = 1000000
  gc_max_allocs     = 100000
  options = {{ "driver.allowlist" = "raw_exec" "driver.whitelist" = "raw_exec" }}
}}
plugin "raw_exec" {{ config {{ enabled = true }} }}
{os.environ.get("NOMAD_EXTRA_HCL", "")}
""")
        size = 10 if self.n == 1 else 1
        words = self.words("${NOMAD_ALLOC_INDEX}")
        task = {"Name": "t", "Driver": "raw_exec",
                "Config": {"command": words[0], "args": words[1:]},
                "Resources": {"CPU": 1, "MemoryMB": 10},
                "LogConfig": {"MaxFiles": LOG_FILES, "MaxFileSizeMB": size}}
        group = {"Name": "g", "Count": self.n, "Tasks": [task],
                 "EphemeralDisk": {"SizeMB": size * LOG_FILES + 5},
                 "RestartPolicy": {"Attempts": 100000, "Interval": 3600 * 10**9, "Delay": 0,
                                   "Mode": "delay"}}
        self.job = {"Job": {"ID": "peers", "Name": "peers", "Type": "service",
                            "Datacenters": ["dc1"], "TaskGroups": [group]}}

    def api(self, path, body=None, method=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", method=method,
            data=json.dumps(body).encode() if body is not None else None)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or "null")

    def start(self):
        begun = time.monotonic()
        self.spawn([self.nomad, "agent", "-dev", "-bind", "127.0.0.1",
                    "-config", self.path("agent.hcl")])
        while True:
            with contextlib.suppress(OSError, ValueError, urllib.error.URLError):
                nodes = self.api("/v1/nodes")
                if nodes and nodes[0]["Status"] == "ready":
                    break
            if time.monotonic() - begun > 90:
                raise RuntimeError("nomad: the agent did not become ready")
            time.sleep(0.05)
        self.extra["agent_ready_s"] = round(time.monotonic() - begun, 3)
        self.api("/v1/jobs", self.job, "PUT")

    def stop(self):
        self.api("/v1/job/peers?purge=false", method="DELETE")

    def shutdown(self):
        self.signal(signal.SIGINT)

    def role(self, pid, argv):
        return "nomad " + (argv[1].decode() if len(argv) > 1 else "?")

    def version(self):
        return self.output([os.environ["NOMAD_BIN"], "version"])
