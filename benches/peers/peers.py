#!/usr/bin/env python3
"""Measures process supervisors side by side: the same tasks, the same probes, one table.

    peers.py --list
    peers.py --quick --json peers.json
    peers.py --peer ostler,ostler-rotated,runit,s6 --n 100,1000 --rounds 3 --json peers.json
    peers.py --peer ostler,supervisord --tests flood,quiet
    PEERS_OSTLER=target/release/ostler NOMAD_BIN=/opt/nomad peers.py --peer all

Linux, root, a C compiler; Python's standard library only. What is not installed is named and
left out. $PEERS_<PROGRAM> names a program, $PEERS_PATH adds places to look for them. All that is
measured is measured in turns, --rounds times; tables show medians, JSON every run.
"""
import argparse
import json
import os
import signal
import sys

import peer_container  # noqa: F401  (each makes its peers known)
import peer_interpreted  # noqa: F401
import peer_ostler  # noqa: F401
import peer_scan  # noqa: F401
import sleepers
import tables
import writers
from harness import Harness
from peer import PEERS

SLEEPERS = ("density", "idle", "restart", "news", "stop")
WRITERS = ("flood", "lines", "quiet")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--peer", default="all", help="names, comma-separated, or all (default)")
    add("--n", default="100", help="numbers of tasks, comma-separated")
    add("--tests", default=",".join(SLEEPERS), help="of " + ", ".join(SLEEPERS + WRITERS))
    add("--rounds", type=int, default=1)
    add("--quick", action="store_true", help="small sizes, one round: does it work?")
    add("--payload", default="zeros", help="of the flood: zeros, lines")
    add("--flood-bytes", type=int, default=1 << 30)
    add("--idle-s", type=float, default=20, help="how long to look on")
    add("--quiet-s", type=float, default=10)
    add("--kills", type=int, default=7)
    add("--json", help="file for every run; it is added to")
    add("--work", default=os.path.join(os.environ.get("TMPDIR", "/tmp"), "ostler-peers"))
    add("--min-free", type=int, default=2000, help="MiB; no more tasks are started below it")
    add("--keep", action="store_true", help="keep the work directories")
    add("--list", action="store_true", help="what is found")
    options = parser.parse_args()
    options.tests = options.tests.split(",")
    unknown = set(options.tests) - set(SLEEPERS + WRITERS)
    if unknown:
        parser.error("unknown test: " + ", ".join(sorted(unknown)))
    if options.quick:
        options.rounds, options.n, options.flood_bytes = 1, "10", 64 << 20
        options.idle_s, options.quiet_s, options.kills = 2, 2, 2
    options.n = [int(number) for number in options.n.split(",")]
    names = list(PEERS) if options.peer == "all" else options.peer.split(",")
    for name in names:
        if name not in PEERS:
            parser.error(f"unknown peer: {name}; there are " + ", ".join(PEERS))
    options.peers = [PEERS[name] for name in names]
    return options


def plan(options):
    """What is to be measured in one round, the peers in turns."""
    for n in options.n:
        for cls in options.peers:
            sleeping = [test for test in options.tests if test in SLEEPERS]
            if sleeping and n <= cls.most:
                yield lambda h, cls=cls, n=n: sleepers.run(h, cls, n, sleeping)
            if "lines" in options.tests and cls.captures and n <= cls.most:
                yield lambda h, cls=cls, n=n: writers.lines(h, cls, n)
    for payload in options.payload.split(","):
        for cls in options.peers:
            if "flood" in options.tests and cls.captures:
                yield lambda h, cls=cls, payload=payload: writers.flood(h, cls, payload)
    for cls in options.peers:
        if "quiet" in options.tests and cls.captures and cls.log_of is not PEERS["bare"].log_of:
            yield lambda h, cls=cls: writers.quiet(h, cls)


def main():
    options = arguments()
    if options.list:
        for name, cls in PEERS.items():
            missing = cls.missing()
            print(f"{name:20}", "missing " + ", ".join(missing) if missing else "found")
        return 0
    for cls in options.peers:
        if cls.missing():
            print(f"{cls.name}: missing {', '.join(cls.missing())}", file=sys.stderr)
    options.peers = [cls for cls in options.peers if not cls.missing()]
    for number in (signal.SIGTERM, signal.SIGINT):               # so that all is removed
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    harness, records = Harness(options), []
    for at in range(options.rounds):
        for measure in plan(options):
            record = dict(measure(harness), round=at, load=os.getloadavg()[0])
            records.append(record)
            print(tables.markdown([record]), file=sys.stderr, flush=True)
            if options.json:
                save(options.json, record)
    print(tables.markdown(records))
    return 1 if any("error" in record for record in records) else 0


def save(path, record):
    """One record a line: a run that is broken off keeps what it has."""
    with open(path, "a", encoding="utf-8") as f:
        f.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    sys.exit(main())
