#!/usr/bin/env python3
"""Says which part of SGLang is busy while a command runs.

usage: cpu.py COMMAND…     runs it, and afterwards writes a table to standard error: for each
thread of SGLang's processes that was ever busy, its share of one core in the busiest second,
and in the median second of those in which any thread was at least half busy. A thread near
100 % bounds the whole.
"""
import glob
import os
import statistics
import subprocess
import sys
import time

HZ = os.sysconf("SC_CLK_TCK")


def threads():
    """Returns CPU ticks used so far by (process, thread) of SGLang, and of the command's children."""
    used = {}
    for task in glob.glob("/proc/[0-9]*/task/[0-9]*"):
        try:
            with open(task + "/stat") as f:
                name, rest = f.read().rsplit(")", 1)
            with open(task.split("/task/")[0] + "/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        process = line.split("/")[-1].split(" ")[0]
        if "sglang" not in line and "loadgen" not in process:
            continue
        fields = rest.split()
        if line.startswith("sglang::"):
            process = line
        elif "launch_server" in line:
            process = "launch_server (HTTP and tokenizer)"
        elif "multiprocessing" in line:
            process = "worker"
        pid, tid = task.split("/")[2], task.split("/")[4]
        used[process[:40], int(pid), name.split("(", 1)[1], int(tid)] = int(fields[11]) + int(fields[12])
    return used


def main():
    child = subprocess.Popen(sys.argv[1:])
    seconds, before, at = [], threads(), time.monotonic()
    while child.poll() is None:
        time.sleep(1)
        now, t = threads(), time.monotonic()
        seconds.append({k: (v - before.get(k, v)) / HZ / (t - at) for k, v in now.items()})
        before, at = now, t
    busy = [s for s in seconds if s and max(s.values()) > 0.5]
    rows = {}
    for key in {k for s in seconds for k in s}:
        shares = [s.get(key, 0) for s in busy] or [0]
        rows[key] = max(shares), statistics.median(shares)
    print("busiest second, median busy second, thread", file=sys.stderr)
    for (process, pid, name, _), (top, median) in sorted(rows.items(), key=lambda r: -r[1][0]):
        if top >= 0.1:
            print(f"{100 * top:6.0f} %{100 * median:12.0f} %       {process} {pid}: {name}", file=sys.stderr)
    return child.returncode


sys.exit(main())
