"""Measurements on tasks that write: bulk, many small writers, a quiet one beside a flood."""
import contextlib
import ctypes
import os
import select
import statistics
import struct
import subprocess
import time

from harness import difference
from probe import MIB, Watch, peak_of, slurp, written_by

IN_MODIFY_CREATE_MOVED = 0x2 | 0x100 | 0x80


class Fifos:
    """By way of which the flooding task is told to begin, and tells that it is done."""

    def __init__(self, work):
        self.go, self.done = (os.path.join(work, f"{name}-{os.getpid()}")
                              for name in ("go", "done"))
        for path in (self.go, self.done):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.mkfifo(path)
        self.fd = os.open(self.done, os.O_RDONLY | os.O_NONBLOCK)

    def begin(self):
        with open(self.go, "w", encoding="ascii") as f:
            f.write("x")
        return time.monotonic()

    def wait(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            raise RuntimeError(f"the task had not written everything after {timeout} s")

    def remove(self):
        os.close(self.fd)
        os.unlink(self.go)
        os.unlink(self.done)


@contextlib.contextmanager
def running(harness, cls, n, what):
    """A peer whose n tasks run task.c: (peer, record, fifos)."""
    size, payload, interval = what
    fifos = Fifos(harness.work)
    argv = [harness.task, harness.token, "{index}", fifos.go, fifos.done, str(size), payload,
            str(interval)]
    peer = harness.make(cls, n, argv)
    record = {"peer": cls.name, "n": n, "version": peer.version(), "logging": cls.logging}
    watch = Watch()
    try:
        begun = time.monotonic_ns()
        peer.start()
        record["start_s"] = harness.wait_running(watch, peer, begun)
        watch.close()
        if hasattr(peer, "attend"):
            peer.attend(0)
        yield peer, record, fifos
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        record["error"] = f"{type(error).__name__}: {error}"
    finally:
        watch.close()
        harness.cleanup(peer)
        fifos.remove()


def flood(harness, cls, payload):
    """One task writes much: until the last byte has left the supervisor."""
    size = harness.options.flood_bytes
    with running(harness, cls, 1, (size, payload, 0)) as (_, record, fifos):
        record.update(measure="flood", payload=payload, bytes=size)
        time.sleep(2)
        supervisor = harness.split()[1]
        before = harness.activity()
        written = {pid: written_by(pid) for pid in supervisor}
        begun = fifos.begin()
        fifos.wait(150)
        record["writer_s"] = time.monotonic() - begun
        total, last = None, time.monotonic()
        while time.monotonic() - last < 1.0:           # until the supervisor writes no more
            now = sum(written_by(pid) - was for pid, was in written.items())
            if total is None or now > total + 4096:    # a peer's own chatter is no output
                total, last = now, time.monotonic()
            time.sleep(0.01)
        cpu = difference(harness.activity(), before)[0] / 1e9
        took = max(last - begun, record["writer_s"])
        record.update(drained_s=took, written=total, gb_per_s=size / took / 1e9,
                      cpu_s_per_gb=cpu / size * 1e9,
                      peak_mib=max(peak_of(pid) for pid in supervisor) / MIB)
    return record


def lines(harness, cls, n):
    """n tasks write a line each second: what that costs, and whether all lines arrive."""
    options = harness.options
    with running(harness, cls, n, (0, "lines", 1000)) as (peer, record, _):
        record["measure"] = "lines"
        time.sleep(3)
        before, begun = harness.activity(), time.monotonic()
        time.sleep(options.idle_s)
        wall = time.monotonic() - begun
        cpu, voluntary, _ = difference(harness.activity(), before)
        record.update(seconds=wall, cpu_ms_per_s=cpu / 1e6 / wall, wakeups_per_s=voluntary / wall,
                      cpu_us_per_line=cpu / 1e3 / wall / n)
        if peer.log_of(0) and os.path.isfile(peer.log_of(0)):
            record["holes"] = sum(holes(slurp(peer.log_of(index))) for index in range(n))
    return record


def holes(text):
    """Lines that are missing between the first and the last one, or out of place."""
    numbers = [int(number) for line in text.splitlines() if (number := number_of(line)) is not None]
    return sum(1 for at, number in enumerate(numbers) if number != at) if numbers else 1


def number_of(line):
    """A logger may put a time before the line."""
    for word in line.split():
        if len(word) == 8 and word.isdigit():
            return word
    return None


class Arrivals:
    """When lines come to a log (inotify), by what stands in them."""

    def __init__(self, path):
        self.path, self.file, self.data = path, None, b""
        self.fd = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        ctypes.CDLL(None).inotify_add_watch(self.fd, os.path.dirname(path).encode(),
                                            IN_MODIFY_CREATE_MOVED)
        self.name = os.path.basename(path).encode()

    def collect(self, seconds):
        """Milliseconds from the writing of a line to its arrival, for each."""
        took, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            at = time.monotonic_ns()
            if self.concerns():
                took += [(at - written) / 1e6 for written in self.new_lines()]
        return took

    def concerns(self):
        """Whether something came to this log."""
        events = os.read(self.fd, 1 << 20)
        while events:
            length = struct.unpack_from("iIII", events)[3]
            if events[16:16 + length].rstrip(b"\0") == self.name:
                return True
            events = events[16 + length:]
        return False

    def new_lines(self):
        if self.file is None:
            self.file = open(self.path, "rb", buffering=0)
        self.data += self.file.read() or b""
        whole, _, self.data = self.data.rpartition(b"\n")
        for line in whole.splitlines():
            words = [word for word in line.split() if len(word) == 20 and word.isdigit()]
            if words:
                yield int(words[0])


class FifoArrivals(Arrivals):
    """The same of a FIFO."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.file, self.data = os.fdopen(self.fd, "rb", buffering=0), b""

    def concerns(self):
        return True


def quiet(harness, cls):
    """One task writes a line each 20 ms, alone, then while another one floods."""
    options = harness.options
    with running(harness, cls, 2, (1 << 40, "zeros", 20)) as (peer, record, fifos):
        record["measure"] = "quiet"
        time.sleep(2)
        path = peer.log_of(1)
        arrivals = Arrivals(path) if os.path.isfile(path) else FifoArrivals(path)
        arrivals.collect(1)
        alone = arrivals.collect(options.quiet_s)
        fifos.begin()
        arrivals.collect(0.5)
        beside = arrivals.collect(options.quiet_s)
        record.update(lines=len(beside), alone=spread(alone), beside_flood=spread(beside))
    return record


def spread(values):
    if not values:
        return None
    values = sorted(values)
    return {"median_ms": statistics.median(values), "p99_ms": values[int(len(values) * 0.99)],
            "max_ms": values[-1]}
