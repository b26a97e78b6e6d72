"""Passes a listening socket as descriptor 3, then becomes the daemon: activate.py SOCKET COMMAND..."""

import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.write(1, b".")
os.execv(sys.argv[2], sys.argv[2:])
