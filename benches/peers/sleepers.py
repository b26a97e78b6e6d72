"""Measurements on tasks that sleep: density, idling, restarts, the news of an exit, stopping."""
import contextlib
import os
import random
import signal
import statistics
import subprocess
import time

from harness import difference
from probe import Watch, activity_of, argv_of, descendants, descriptors_of, memory_of

EVENT_ROUNDS_PAUSE = 1.1       # so long a task has to be up to be restarted at once by most


def density(harness, peer):
    """What the supervisor's processes cost, by role and in all; kernel memory of everything."""
    tasks, supervisor = harness.split()
    names = ("processes", "threads", "descriptors", "pss", "rss", "private")
    roles = {}
    for pid in supervisor:
        pss, rss, private = memory_of(pid)
        role = roles.setdefault(peer.role(pid, argv_of(pid)), dict.fromkeys(names, 0))
        values = (1, len(activity_of(pid)), descriptors_of(pid), pss, rss, private)
        for name, value in zip(names, values):
            role[name] += value
    total = {name: sum(role[name] for role in roles.values()) for name in names}
    kernel = harness.kernel_memory()
    return {"tasks": len(tasks), "roles": roles, **total, "pss_per_task": total["pss"] / peer.n,
            "private_per_task": total["private"] / peer.n, "kernel": kernel,
            "kernel_per_task": kernel / peer.n if kernel else None}


def idle(harness, seconds):
    before, begun = harness.activity(), time.monotonic()
    time.sleep(seconds)
    after, wall = harness.activity(), time.monotonic() - begun
    cpu, voluntary, involuntary = difference(after, before)
    return {"seconds": wall, "cpu_ms_per_s": cpu / 1e6 / wall, "wakeups_per_s": voluntary / wall,
            "involuntary": involuntary}


def one_restart(harness, watch, pid):
    """Kills a task; milliseconds until the exec of the next one, and its pid."""
    for _ in watch.events(0):
        pass
    begun = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    while time.monotonic_ns() - begun < 30e9:
        for ns, what, other in watch.events(0.2):
            if what == Watch.EXEC and other != pid and ns > begun and harness.is_task(other):
                return (ns - begun) / 1e6, other
    return None, None


def restart(harness, rounds):
    watch = Watch()
    order = sorted(harness.split()[0])
    victims = [order[(2 * at + 1) * len(order) // (2 * rounds)] for at in range(rounds)]
    steady, early, successor = [], None, None
    for victim in victims:
        took, successor = one_restart(harness, watch, victim)
        steady.append(took)
        if took is None:
            break
        time.sleep(1.1 + random.random())     # not in step with a tick of the peer's own
    if successor:                             # then one that has been up for 0.3 s only
        _, successor = one_restart(harness, watch, successor)
    if successor:
        time.sleep(0.3)
        early, _ = one_restart(harness, watch, successor)
    watch.close()
    harness.reap()
    good = [took for took in steady if took is not None]
    return {"ms": steady, "median_ms": statistics.median(good) if good else None,
            "again_after_0.3s_ms": early}


def monitor_exit(harness, rounds):
    """Where nothing is restarted: milliseconds until the task's monitor itself exits."""
    watch = Watch()
    tasks, supervisor = harness.split()
    tree, took = descendants(os.getpid()), []
    for victim in sorted(tasks)[:rounds]:
        parent = tree.get(victim)
        if parent in supervisor:
            begun, harness.exits = time.monotonic_ns(), {}
            os.kill(victim, signal.SIGKILL)
            took.append(1e3 * harness.wait_gone(watch, {parent}, begun, 30))
    watch.close()
    return {"monitor_exit_ms": took, "median_ms": statistics.median(took) if took else None}


def news(harness, peer, rounds):
    """From kill to the moment at which whoever has subscribed knows of the exit."""
    listener = peer.listen()
    if listener is None:
        return None
    took = []
    time.sleep(0.5)
    for at in range(rounds):
        tasks = sorted(harness.split()[0])
        victim = tasks[(2 * at + 1) * len(tasks) // (2 * rounds)]
        if hasattr(listener, "prepare"):
            listener.prepare(victim)
        begun = time.monotonic_ns()
        os.kill(victim, signal.SIGKILL)
        told = listener.wait(victim, 10)
        if told is None:
            break
        took.append((told - begun) / 1e6)
        time.sleep(EVENT_ROUNDS_PAUSE)
    harness.reap()
    return {"ms": took, "median_ms": statistics.median(took) if took else None}


def stop(harness, peer):
    time.sleep(2)
    watch, harness.exits = Watch(), {}
    tasks, supervisor = harness.split()
    begun = time.monotonic_ns()
    try:
        peer.stop()
        last_task = harness.wait_gone(watch, tasks, begun, 170)
        peer.shutdown()
        return {"tasks_s": last_task, "all_s": harness.wait_gone(watch, supervisor, begun, 170)}
    finally:
        watch.close()


def run(harness, cls, n, tests):
    """All that is measured of one supervisor with n sleeping tasks."""
    options = harness.options
    peer = harness.make(cls, n, ["/bin/sleep", harness.token])
    record = {"peer": cls.name, "n": n, "version": peer.version(), "logging": cls.logging,
              "restart_note": cls.restart_note}
    watch = Watch()
    try:
        begun = time.monotonic_ns()
        peer.start()
        record["start_s"] = harness.wait_running(watch, peer, begun)
        watch.close()
        time.sleep(peer.settle)
        if "density" in tests:
            record["density"] = density(harness, peer)
        if "idle" in tests:
            record["idle"] = idle(harness, options.idle_s)
        if "restart" in tests and n > 1 and cls.restarts:
            record["restart"] = restart(harness, options.kills)
        elif "restart" in tests and n > 1 and cls.name != "bare":
            record["restart"] = monitor_exit(harness, options.kills)
        if "news" in tests and cls.restarts:
            record["news"] = news(harness, peer, options.kills)
        if "stop" in tests:
            record["stop"] = stop(harness, peer)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        record["error"] = f"{type(error).__name__}: {error}"
    finally:
        record["extra"] = peer.extra
        with contextlib.suppress(OSError):
            watch.close()
        harness.cleanup(peer)
    return record
