"""What psutil says of a process and its descendants: compare.py PID."""

import json
import sys

import psutil

main = psutil.Process(int(sys.argv[1]))
tree = [main] + main.children(recursive=True)
times = [process.cpu_times() for process in tree]
memory = [process.memory_info() for process in tree]
print(
    json.dumps(
        {
            # What the main process has reaped is not among the living.
            "user_s": sum(t.user for t in times) + times[0].children_user,
            "system_s": sum(t.system for t in times) + times[0].children_system,
            "anon_bytes": sum(m.rss - m.shared for m in memory),
            "threads": sum(process.num_threads() for process in tree),
            "processes": len(tree),
            "pids": [process.pid for process in tree],
        }
    )
)
