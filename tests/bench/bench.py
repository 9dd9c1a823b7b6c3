#!/usr/bin/env python3
"""glha beside keepalived, in the same run: what `make bench` prints.

    tests/bench/bench.py [--quick] [--runs N] [--only PART[,PART]] [--svg FILE] [--glha FILE] [--keepalived FILE]

Each daemon has a network namespace of its own, whose links end in another one, where this program is
the wire: it pretends to be the master, stops, and sees what the daemon sends, with the kernel's time
of each frame. The daemons take turns. A line has the median and the 95th percentile of the runs of each,
and the ratio of the medians; only the ratio means something, since both had the same machine at the same
time.

CPU time is that of the daemon's processes that live (/proc/PID/task/*/schedstat); memory their heaps and
stacks (Pss_Anon, so a page shared after a fork counts once). A system call is counted by strace, in a
window of its own. Both daemons write to standard error only: the price of a log is that of whoever reads it.

Nothing is asserted. Needs root, keepalived, iproute2 and strace; the machine's own network namespace
for `process`, since the kernel tells of processes nowhere else. world.py is the host and the wire,
neighbour.py who speaks BFD there, parts.py what is measured, chart.py the picture.
"""

import argparse
import math
import os
import signal
import statistics
import sys

from chart import chart
from parts import PARTS
from world import World


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values, percent):
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def measured(part, programs, runs):
    """What one part finds: a label, and the values of each program."""
    measure, links, _ = PARTS[part]
    found = {}
    for run in range(runs):
        order = list(programs) if run % 2 else list(programs)[::-1]
        for name in order:
            world = World(links)
            try:
                for label, value in measure(world, programs[name]).items():
                    found.setdefault(label, {}).setdefault(name, []).append(value)
            finally:
                if world.daemon and world.daemon.poll() is None:
                    world.daemon.kill()
                    world.daemon.wait()
                world.close()
    return found.items()


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = argparse.ArgumentParser(description="glha beside keepalived")
    arguments.add_argument("--quick", action="store_true", help="one run of what is short, in about a minute")
    arguments.add_argument("--runs", type=int, help="of each daemon (5)")
    arguments.add_argument("--only", help="of " + ",".join(PARTS))
    arguments.add_argument("--svg", help="a picture of the ratios")
    arguments.add_argument("--glha", default=f"{root}/target/glha")
    arguments.add_argument("--keepalived", default="/usr/sbin/keepalived")
    given = arguments.parse_args()
    if os.geteuid():
        sys.exit("bench: needs root")
    programs = {"glha": os.path.abspath(given.glha), "keepalived": os.path.abspath(given.keepalived)}
    for program in programs.values():
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: {program} is not there")
    parts = given.only.split(",") if given.only else [part for part, of in PARTS.items() if of[2] or not given.quick]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"bench: no part is called {unknown[0]}; there are {', '.join(PARTS)}")
    runs = given.runs or (1 if given.quick else 5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(-10)
    print(f"{'':52} {'glha':>17} {'keepalived':>17} {'ratio':>7}")
    ratios = []

    def line(label, figures):
        both = [[value for value in figures[name] if not math.isnan(value)] for name in programs]
        if not all(both):
            print(f"{label:52} {'not seen':>17}", flush=True)
            return
        cells = [f"{number(statistics.median(values)):>8} {number(percentile(values, 95)):>8}" for values in both]
        ours, theirs = map(statistics.median, both)
        ratio = f"{ours / theirs:7.2f}" if theirs > 0 else ""
        if theirs > 0 and ours > 0:
            ratios.append((label, ours / theirs))
        print(f"{label:52} {cells[0]} {cells[1]} {ratio}", flush=True)

    line("program, kB", {name: [os.path.getsize(path) / 1000] for name, path in programs.items()})
    for part in parts:
        for label, figures in measured(part, programs, runs):
            line(label, figures)
    if given.svg:
        with open(given.svg, "w", encoding="utf-8") as file:
            file.write(chart(ratios))


main()
