"""CPU time, memory and open files of a process tree, from /proc."""

import os

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def tree(pid):
    """A process and its live descendants."""
    pids = [pid]
    for parent in pids:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            pids += (int(child) for child in read(f"/proc/{parent}/task/{task}/children").split())
    return pids


def cpu_seconds(pid):
    """CPU time of a process tree: of live threads to the nanosecond, of children that
    ended and were waited for to the clock tick."""
    seconds = 0.0
    for each in tree(pid):
        try:
            tasks = os.listdir(f"/proc/{each}/task")
        except OSError:
            continue
        for task in tasks:
            times = read(f"/proc/{each}/task/{task}/schedstat").split()
            seconds += int(times[0]) / 1e9 if times else 0.0
        # The fields behind the name, which may have spaces: state, parent, and so on.
        fields = read(f"/proc/{each}/stat").rpartition(")")[2].split()
        seconds += (int(fields[13]) + int(fields[14])) * TICK if fields else 0.0
    return seconds


def pss_kib(pid):
    """The memory of a process tree: shared pages count proportionally (Pss)."""
    return sum(
        int(line.split()[1])
        for each in tree(pid)
        for line in read(f"/proc/{each}/smaps_rollup").splitlines()
        if line.startswith("Pss:")
    )


def open_files(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def read(path):
    """A file's text; empty if the process has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
