"""The daemontools family: a directory for each task, with a log/ of its own."""
import contextlib
import ctypes
import os
import select
import shutil
import signal
import struct
import time

from peer import LOG_BYTES, LOG_FILES, Peer, write
from probe import argv_of, stat_of


class StatusFiles:
    """runsv and s6-supervise tell of an exit in supervise/status, which inotify sees renamed."""

    def __init__(self, peer):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        places = {os.path.basename(path): os.path.join(path, "supervise")
                  for path in map(peer.service, range(peer.n))}
        self.owner = {libc.inotify_add_watch(self.fd, path.encode(), 0x80): name    # IN_MOVED_TO
                      for name, path in places.items()}
        self.name = None

    def prepare(self, pid):
        """Whose process it is, by its parent's argument; nothing of what was told before."""
        self.name = argv_of(stat_of(pid)[1])[1].decode()
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 65536):
                pass

    def wait(self, _pid, timeout):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if not select.select([self.fd], [], [], until - time.monotonic())[0]:
                continue
            at, data = time.monotonic_ns(), os.read(self.fd, 65536)
            while data:
                watch, _mask, _cookie, length = struct.unpack_from("iIII", data)
                if self.owner.get(watch) == self.name:
                    return at
                data = data[16 + length:]
        return None


class ScanDirectory(Peer):
    run = "#!/bin/sh\nexec 2>&1\nexec {command}\n"
    log = ""

    def service(self, index):
        return self.path("svc", f"t{index:05d}")

    def setup(self):
        for index in range(self.n):
            service = self.service(index)
            write(service + "/run", self.run.format(command=self.command(index)), 0o755)
            write(service + "/log/run", "#!/bin/sh\n" + self.log + "\n", 0o755)
            os.makedirs(service + "/log/main")

    def log_of(self, index):
        return self.service(index) + "/log/main/current"

    def listen(self):
        return StatusFiles(self)


class Runit(ScanDirectory):
    name = "runit"
    binaries = ("runsvdir", "runsv", "svlogd")
    logging = "one svlogd a task, stderr merged into stdout, rotated"
    restart_note = "at once if up for 1 s, else 1 s"
    log = "exec svlogd ./main"
    most = 1000               # runsvdir holds one descriptor a task and stops at 1,000

    def setup(self):
        super().setup()
        for index in range(self.n):
            write(self.service(index) + "/log/main/config", f"s{LOG_BYTES}\nn{LOG_FILES}\n")

    def start(self):
        self.spawn([self.bin["runsvdir"], "-P", self.path("svc")])

    def stop(self):
        self.signal(signal.SIGHUP)        # a TERM to each runsv, then runsvdir exits

    def version(self):
        return self.package("runit")


class S6(ScanDirectory):
    name = "s6"
    binaries = ("s6-svscan", "s6-supervise", "s6-log", "s6-svscanctl")
    logging = "one s6-log a task (with its own s6-supervise), stderr merged, rotated"
    restart_note = "always 1 s after the exit"
    log = f"exec s6-log n{LOG_FILES} s{LOG_BYTES} ./main"

    def start(self):
        self.spawn([self.bin["s6-svscan"], "-c", str(2 * self.n + 10), self.path("svc")])

    def stop(self):
        self.call([self.bin["s6-svscanctl"], "-t", self.path("svc")])

    def version(self):
        return self.package("s6")


class S6Plain(S6):
    """Without loggers: the monitor of each task alone."""
    name = "s6-nolog"
    logging = "none (one shared stdout)"
    captures = False

    def setup(self):
        super().setup()
        for index in range(self.n):
            shutil.rmtree(self.service(index) + "/log")


class Daemontools(ScanDirectory):
    name = "daemontools"
    binaries = ("svscan", "supervise", "multilog", "svc")
    logging = "one multilog a task (with its own supervise), stderr merged, rotated"
    restart_note = "at once if up for 1 s, else 1 s"
    log = f"exec multilog n{LOG_FILES} s{LOG_BYTES} ./main"

    def start(self):
        self.spawn([self.bin["svscan"], self.path("svc")])

    def stop(self):
        self.signal(signal.SIGKILL)       # svscan has no stop: -dx to each supervise
        services = [self.service(index) for index in range(self.n)]
        self.call([self.bin["svc"], "-dx"] + services + [path + "/log" for path in services])

    def version(self):
        return self.package("daemontools")
