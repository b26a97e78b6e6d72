"""What /proc and the kernel tell: processes, memory, activity, exec and exit."""
import contextlib
import os
import select
import socket
import struct
import time

KIB, MIB = 1 << 10, 1 << 20


def slurp(path):
    """The content of a file, or nothing where it cannot be read."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except (OSError, ProcessLookupError):
        return b""


def argv_of(pid):
    return slurp(f"/proc/{pid}/cmdline").split(b"\0")[:-1]


def stat_of(pid):
    """(state, parent) or None."""
    raw = slurp(f"/proc/{pid}/stat")
    if not raw:
        return None
    fields = raw[raw.rindex(b")") + 2:].split()
    return fields[0], int(fields[1])


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(root):
    """{pid: parent} of every live process below root."""
    children = {}
    for pid in pids():
        stat = stat_of(pid)
        if stat and stat[0] not in b"ZX":
            children.setdefault(stat[1], []).append(pid)
    found, todo = {}, [root]
    while todo:
        parent = todo.pop()
        for child in children.get(parent, ()):
            found[child] = parent
            todo.append(child)
    return found


def memory_of(pid):
    """PSS, RSS and private bytes (smaps_rollup)."""
    values = {}
    for line in slurp(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, value = line.split(b":")
        values[name.decode()] = int(value.split()[0]) * KIB
    private = values.get("Private_Clean", 0) + values.get("Private_Dirty", 0)
    return values.get("Pss", 0), values.get("Rss", 0), private


def activity_of(pid):
    """{thread: (CPU ns, voluntary, involuntary switches)} of a process."""
    found = {}
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        base = f"/proc/{pid}/task/{thread}/"
        schedule, status = slurp(base + "schedstat"), slurp(base + "status")
        if schedule and status:
            values = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
            found[int(thread)] = (int(schedule.split()[0]),
                                  int(values[b"voluntary_ctxt_switches"]),
                                  int(values[b"nonvoluntary_ctxt_switches"]))
    return found


def descriptors_of(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def written_by(pid):
    """Bytes that a process has written by write(2); splice does not count."""
    for line in slurp(f"/proc/{pid}/io").splitlines():
        if line.startswith(b"wchar:"):
            return int(line.split()[1])
    return 0


def peak_of(pid):
    """The most memory that a process has had resident."""
    for line in slurp(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * KIB
    return 0


def free_mib():
    return int(slurp("/proc/meminfo").split(b"MemAvailable:")[1].split()[0]) // KIB


class Watch:
    """Exec and exit with the kernel's own timestamps (netlink process connector).

    Costs the machine next to nothing, where scanning thousands of /proc entries each
    millisecond would disturb what is measured. Scans where there is no connector.
    """
    EXEC, EXIT = 2, 0x80000000

    def __init__(self):
        self.sock, self.lost, self.seen = None, False, {}
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)   # NETLINK_CONNECTOR
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)             # SO_RCVBUFFORCE
            sock.bind((0, 1))                                                # CN_IDX_PROC
            sock.send(struct.pack("=IHHII", 40, 3, 0, 0, os.getpid())
                      + struct.pack("=IIIIHH", 1, 1, 0, 0, 4, 0) + struct.pack("=I", 1))
            sock.setblocking(False)
            self.sock = sock
        except OSError:
            self.seen = {pid: argv_of(pid) for pid in pids()}

    def close(self):
        if self.sock:
            self.sock.close()

    def events(self, timeout):
        """(CLOCK_MONOTONIC ns, EXEC or EXIT, pid) of what has come, waiting at most timeout."""
        if not self.sock:
            yield from self.scan(timeout)
            return
        if not select.select([self.sock], [], [], timeout)[0]:
            return
        while True:
            try:
                message = self.sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:                                                  # ENOBUFS
                self.lost = True
                return
            what, _processor, ns = struct.unpack_from("=IIQ", message, 36)
            if what in (self.EXEC, self.EXIT):
                pid, group = struct.unpack_from("=II", message, 52)
                if pid == group:
                    yield ns, what, pid

    def scan(self, timeout):
        time.sleep(min(timeout, 0.005))
        now, at = {pid: argv_of(pid) for pid in pids()}, time.monotonic_ns()
        for pid in self.seen.keys() - now.keys():
            yield at, self.EXIT, pid
        for pid, argv in now.items():
            if argv and self.seen.get(pid) != argv:
                yield at, self.EXEC, pid
        self.seen = now
