"""A service manager with a descriptor store: manager.py DIRECTORY COMMAND...

Listens on DIRECTORY/sock, passes that and what is stored to the command, as sd_listen_fds(3) has it, and
starts the command again where it is killed, unless there is DIRECTORY/hold. What it is told stands in
DIRECTORY/told, one message a line. Ends with a command that ends well.
"""

import array
import os
import select
import signal
import socket
import sys

DIRECTORY, COMMAND = sys.argv[1], sys.argv[2:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(DIRECTORY + "/sock")
listener.listen(16)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(DIRECTORY + "/notify")
stored = []
told = open(DIRECTORY + "/told", "a", buffering=1)
child = 0


def start():
    global child
    passed = [("web", listener.fileno())] + stored
    child = os.fork()
    if child:
        return
    # Out of the way of the numbers that they get.
    high = [os.dup2(fd, 500 + place) for place, (_, fd) in enumerate(passed)]
    for place, fd in enumerate(high):
        os.dup2(fd, 3 + place, inheritable=True)
    os.closerange(3 + len(passed), 1000)
    os.environ.update(
        LISTEN_FDS=str(len(passed)),
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDNAMES=":".join(name for name, _ in passed),
        NOTIFY_SOCKET=DIRECTORY + "/notify",
        FDSTORE="100",
    )
    os.execv(COMMAND[0], COMMAND)


def take_message():
    data, beside, _, _ = notify.recvmsg(8192, socket.CMSG_SPACE(300 * 4))
    fds = array.array("i")
    for _, kind, payload in beside:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    lines = data.decode().splitlines()
    name = "".join(line[7:] for line in lines if line.startswith("FDNAME=")) or "stored"
    if "FDSTOREREMOVE=1" in lines:
        for entry in [entry for entry in stored if entry[0] == name]:
            stored.remove(entry)
            os.close(entry[1])
    elif "FDSTORE=1" in lines:
        stored.extend((name, fd) for fd in fds)
    told.write(" ".join(lines) + " fds=%d\n" % len(fds))


# Descriptors that are stored must not be among those that a child is given.
os.set_inheritable(listener.fileno(), False)
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
start()
while True:
    if select.select([notify], [], [], 0.01)[0]:
        take_message()
        continue
    ended, status = os.waitpid(child, os.WNOHANG) if child else (0, 0)
    if ended and status == 0:
        sys.exit(0)
    if ended:
        child = 0
    if not child and not os.path.exists(DIRECTORY + "/hold"):
        start()
