"""Records as Markdown tables of medians."""
import statistics

from probe import KIB, MIB


def value_of(record, path):
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def median(records, path):
    """The median of a figure over the records that have it, or None."""
    values = [value_of(record, path) for record in records]
    values = [value for value in values if isinstance(value, (int, float))]
    return statistics.median(values) if values else None


def text(value, digits=1, scale=1):
    return "-" if value is None else f"{value / scale:,.{digits}f}"


# heading, figure, digits, divided by
SLEEPERS = [("start s", "start_s", 2, 1), ("processes", "density.processes", 0, 1),
            ("threads", "density.threads", 0, 1), ("descriptors", "density.descriptors", 0, 1),
            ("PSS KiB/task", "density.pss_per_task", 1, KIB),
            ("private KiB/task", "density.private_per_task", 1, KIB),
            ("kernel KiB/task", "density.kernel_per_task", 1, KIB),
            ("idle CPU ms/s", "idle.cpu_ms_per_s", 3, 1),
            ("wake-ups/s", "idle.wakeups_per_s", 1, 1),
            ("restart ms", "restart.median_ms", 1, 1),
            ("again after 0.3 s, ms", "restart.again_after_0.3s_ms", 1, 1),
            ("exit told ms", "news.median_ms", 2, 1), ("stop tasks s", "stop.tasks_s", 2, 1),
            ("stop all s", "stop.all_s", 2, 1)]
FLOOD = [("GB/s", "gb_per_s", 2, 1), ("CPU s/GB", "cpu_s_per_gb", 3, 1),
         ("peak MiB", "peak_mib", 1, 1), ("written MiB", "written", 0, MIB)]
LINES = [("CPU ms/s", "cpu_ms_per_s", 1, 1), ("CPU us/line", "cpu_us_per_line", 1, 1),
         ("wake-ups/s", "wakeups_per_s", 0, 1), ("lines missing", "holes", 0, 1)]
QUIET = [("alone ms", "alone.median_ms", 2, 1),
         ("beside a flood ms", "beside_flood.median_ms", 2, 1),
         ("p99 ms", "beside_flood.p99_ms", 2, 1), ("max ms", "beside_flood.max_ms", 1, 1),
         ("lines", "lines", 0, 1)]
COLUMNS = {None: SLEEPERS, "flood": FLOOD, "lines": LINES, "quiet": QUIET}


def group(records):
    """{(measure, peer, n, payload): records}, in order."""
    groups = {}
    for record in records:
        if "error" not in record:
            key = (record.get("measure"), record["peer"], record["n"], record.get("payload"))
            groups.setdefault(key, []).append(record)
    return groups


def markdown(records):
    groups, parts = group(records), []
    for measure, columns in COLUMNS.items():
        mine = {key: found for key, found in groups.items() if key[0] == measure}
        columns = [column for column in columns
                   if any(median(found, column[1]) is not None for found in mine.values())]
        if mine:
            rows = [["peer", "N"] + [column[0] for column in columns]]
            for (_, peer, n, payload), found in mine.items():
                name = f"{peer}, {payload}" if payload else peer
                rows.append([name, f"{n:,}"] + [text(median(found, path), digits, scale)
                                                for _, path, digits, scale in columns])
            parts.append(table(rows))
    parts += [f"{record['peer']}, N={record['n']}: {record['error']}\n"
              for record in records if "error" in record]
    return "\n".join(parts)


def table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "|".join(["---"] * len(rows[0])) + "|")
    return "\n".join(lines) + "\n"
