"""A daemon for the keeper to run: says what it was given, then does what it reads from a FIFO.

service.py COMMANDS: each line of the FIFO COMMANDS is one command, answered by one line.
"""

import array
import fcntl
import os
import signal
import socket
import struct
import sys
import termios

FIRST = 3
EXITS = "ostler-exits"


def connect():
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):
        address = "\0" + address[1:]
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.connect(address)
    return out


def notify(text, fds=()):
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    connect().sendmsg([text.encode()], beside)


def say(*words):
    print(*words, flush=True)


def passed():
    """Descriptors by name, those of the same name in order."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ["LISTEN_FDNAMES"].split(":")
    count = int(os.environ["LISTEN_FDS"])
    assert len(names) == count, (names, count)
    return list(zip(names, range(FIRST, FIRST + count)))


def find(name):
    return [fd for known, fd in passed() if known == name]


def waiting(fd):
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]


def store(name, text, *extra):
    """Stores the reading end of a pipe with this text in it."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    notify("\n".join(["FDSTORE=1", "FDNAME=" + name, *extra]), [reader])
    os.close(reader)
    os.close(writer)


def hold(name, *extra):
    """The same with an empty pipe whose writing end stays open here."""
    reader, _ = os.pipe()
    notify("\n".join(["FDSTORE=1", "FDNAME=" + name, *extra]), [reader])
    os.close(reader)


def many(name, count, per_message):
    null = os.open("/dev/null", os.O_RDONLY)
    for _ in range(int(count)):
        notify("FDSTORE=1\nFDPOLL=0\nFDNAME=" + name, [null] * int(per_message))
    os.close(null)


def read(name):
    for fd in find(name):
        return os.read(fd, waiting(fd)).decode()
    return "nothing"


def send(*words):
    notify("\n".join(words))


def oversized():
    null = os.open("/dev/null", os.O_RDONLY)
    notify("X=" + "x" * 5000 + "\nREADY=1", [null] * 253)
    os.close(null)


def child(script):
    """A child that is not waited for; its pid."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv("/bin/sh", ["sh", "-c", script])
    return pid


def orphans(count):
    """Children of a child that does not wait for them."""
    if os.fork() == 0:
        for _ in range(int(count)):
            if os.fork() == 0:
                os._exit(4)
        os._exit(0)
    os.wait()


def exits():
    """What the keeper has written down, each as PID:RAW."""
    (fd,) = find(EXITS)
    data = os.read(fd, waiting(fd) or 32) if waiting(fd) else b""
    records = [struct.unpack_from("iiQQQ", data, at) for at in range(0, len(data), 32)]
    assert all(record[2] > 0 and record[4] > 0 for record in records), records
    return " ".join("%d:%d" % record[:2] for record in records) or "none"


def shrink():
    """Leaves room for 128 statuses."""
    (fd,) = find(EXITS)
    fcntl.fcntl(fd, 1031, 4096)  # F_SETPIPE_SZ


def end(code):
    os._exit(int(code))


def kill(name):
    os.kill(os.getpid(), getattr(signal, name))


ALL = (store, hold, many, read, send, oversized, child, orphans, exits, shrink, end, kill)
COMMANDS = {function.__name__: function for function in ALL}

for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda got, _: say("signal", signal.Signals(got).name))

names = [name for name, _ in passed()]
say("service", os.getpid(), "ppid", os.getppid(), "fds", os.environ.get("FDSTORE"), ",".join(names))
say("environment", os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID") == str(os.getpid()))
commands = os.open(sys.argv[1], os.O_RDWR)
lines = b""
while True:
    while b"\n" not in lines:
        lines += os.read(commands, 4096)
    line, lines = lines.split(b"\n", 1)
    verb, *words = line.decode().replace("\\n", "\n").split("|")
    say("done", verb, COMMANDS[verb](*words))
