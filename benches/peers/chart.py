#!/usr/bin/env python3
"""Draws the figures of peers.py as SVG, one file for each, readable on light and on dark.

    chart.py peers.json docs/benchmarks
"""
import json
import math
import os
import sys
from html import escape

import tables
from probe import KIB

# file, title, measure, figure, divided by, unit
FIGURES = [
    ("pss", "Memory of the supervisor for each sleeping task (PSS)", None,
     "density.pss_per_task", KIB, "KiB"),
    ("kernel", "Kernel memory for each sleeping task, the task's own included", None,
     "density.kernel_per_task", KIB, "KiB"),
    ("processes", "Processes of the supervisor", None, "density.processes", 1, ""),
    ("start", "From nothing to all tasks running", None, "start_s", 1, "s"),
    ("wakeups", "Wake-ups of the supervisor while all tasks sleep", None, "idle.wakeups_per_s", 1,
     "/s"),
    ("restart", "From kill -9 to the exec of the next run", None, "restart.median_ms", 1, "ms"),
    ("news", "From kill -9 to whoever has subscribed", None, "news.median_ms", 1, "ms"),
    ("stop", "From the order to stop to the end of everything", None, "stop.all_s", 1, "s"),
    ("flood", "Output of one task that writes 64 KiB at a time (more is better)", "flood",
     "gb_per_s", 1, "GB/s"),
    ("flood-cpu", "Processor time of the supervisor for that output", "flood", "cpu_s_per_gb", 1,
     "s/GB"),
    ("lines", "Processor time of the supervisor for each line, one a second from each task",
     "lines", "cpu_us_per_line", 1, "us"),
    ("quiet", "A line of a quiet task beside one that floods: 99 of 100 arrive within", "quiet",
     "beside_flood.p99_ms", 1, "ms"),
]
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 14px; font-weight: 600; }
  .axis { stroke: #8c959f; stroke-width: 0.5; }
  .n0 { fill: #0969da; } .n1 { fill: #54aeff; } .n2 { fill: #9ec9f5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #d0d7de; } .axis { stroke: #6e7681; }
    .n0 { fill: #58a6ff; } .n1 { fill: #1f6feb; } .n2 { fill: #164a9e; }
  }
"""
NAMES, WIDTH, LABELS, BAR, GAP, TOP = 200, 420, 110, 14, 8, 56


class Scale:
    """Logarithmic where the values are far apart; nothing at all has no length."""

    def __init__(self, values):
        positive = [value for value in values if value > 0] or [1]
        self.log = max(positive) / min(positive) > 50
        self.least, self.most = 10 ** math.floor(math.log10(min(positive))), max(positive)

    def length(self, value):
        if value <= 0:
            return 0
        if self.log:
            decades = math.log10(self.most / self.least) or 1
            return WIDTH * max(math.log10(value / self.least) / decades, 0.01)
        return WIDTH * value / self.most

    def ticks(self):
        if not self.log:
            return []
        decades = range(round(math.log10(self.least)), math.floor(math.log10(self.most)) + 1)
        return [10.0 ** power for power in decades]


def number(value):
    """Three digits that mean something."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def draw(title, unit, bars):
    """bars: (peer, [(n, value)])."""
    counts = sorted({n for _, values in bars for n, _ in values})
    scale = Scale([value for _, values in bars for _, value in values])
    parts, y = [], TOP
    for peer, values in bars:
        middle = y + len(values) * BAR / 2 + 4
        parts.append(f'<text x="{NAMES - 8}" y="{middle:.0f}" text-anchor="end">'
                     f'{escape(peer)}</text>')
        for n, value in values:
            length = scale.length(value)
            parts.append(f'<rect class="n{min(counts.index(n), 2)}" x="{NAMES}" y="{y}" '
                         f'width="{length:.1f}" height="{BAR - 2}"/>')
            parts.append(f'<text x="{NAMES + length + 5:.1f}" y="{y + BAR - 4}">'
                         f'{number(value)} {unit}</text>')
            y += BAR
        y += GAP
    for tick in scale.ticks():
        x = NAMES + scale.length(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{y}"/>')
    legend = []
    if len(counts) > 1:
        for at, n in enumerate(counts):
            x = NAMES + 110 * at
            legend.append(f'<rect class="n{min(at, 2)}" x="{x}" y="32" width="10" height="10"/>'
                          f'<text x="{x + 15}" y="41">{n:,} tasks</text>')
    note = "logarithmic" if scale.log else ""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAMES + WIDTH + LABELS}" '
            f'height="{y + 4}" role="img">\n<style>{STYLE}</style>\n'
            f'<text class="title" x="8" y="20">{escape(title)}</text>\n'
            f'<text x="{NAMES - 8}" y="41" text-anchor="end">{note}</text>\n'
            + "\n".join(legend + parts) + "\n</svg>\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        groups = tables.group([json.loads(line) for line in f])
    for name, title, measure, path, divisor, unit in FIGURES:
        bars = {}
        for (what, peer, n, payload), records in groups.items():
            value = tables.median(records, path)
            if what == measure and value is not None and payload != "lines":
                bars.setdefault(peer, []).append((n, value / divisor))
        if bars:
            ours = sorted(bars.items(), key=lambda bar: not bar[0].startswith("ostler"))
            ordered = [(peer, sorted(values)) for peer, values in ours]
            with open(os.path.join(sys.argv[2], name + ".svg"), "w", encoding="utf-8") as f:
                f.write(draw(title, unit, ordered))


if __name__ == "__main__":
    main()
