"""A tree of processes with known figures: tree.py DIRECTORY. When all of it sleeps, DIRECTORY/ready is there."""

import os
import sys
import threading
import time

directory = sys.argv[1]


def hold(mebibytes):
    return bytearray(os.urandom(1) * (mebibytes << 20))


def burn(seconds):
    while time.process_time() < seconds:
        pass


def child(number):
    held = hold(20 + 10 * number)
    burn(0.5)
    open(os.path.join(directory, f"child-{number}"), "w").close()
    while True:
        time.sleep(1000)
    return held


for number in range(3):
    if os.fork() == 0:
        child(number)

ended = os.fork()
if ended == 0:
    burn(0.7)
    os._exit(0)
os.waitpid(ended, 0)

held = hold(16)
for _ in range(2):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
while not all(os.path.exists(os.path.join(directory, f"child-{n}")) for n in range(3)):
    time.sleep(0.01)
open(os.path.join(directory, "ready"), "w").close()
while True:
    time.sleep(1000)
