"""The load of `echogate bench` on a server, and the CPU time that the server takes for it."""

import json
import resource
import subprocess
import time

import processes

# The time of load before the measurement, in seconds.
WARM_UP = 1.0

# The fractions of the measured time at its beginning and at its end in which CPU time is
# not counted, since the exact start of the load is unknown.
MARGIN = 0.1


class Failed(Exception):
    """The reason for a server without figures in a table."""


def load(echogate, server, size, connections, how, duration, pin=()):
    """Loads a server for `duration` seconds, and counts CPU time in the middle of it. `how` is a
    list of options: `--in-flight=N` and optionally `--rate=N`, or `--once`, where a connection counts
    as a message."""
    command = [
        *pin, echogate, "bench", server.url, "--json",
        f"--size={size}", f"--connections={connections}", *how,
        f"--duration={round(duration * 1000)}ms", f"--warm-up={round(WARM_UP * 1000)}ms",
        *(["--ca", server.ca] if server.ca else []),
    ]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = after = (0.0, 0.0)
    if wait_until_connected(bench, connections):
        time.sleep(WARM_UP + duration * MARGIN)
        before = time.monotonic(), processes.cpu_seconds(server.process.pid)
        time.sleep(duration * (1 - 2 * MARGIN))
        after = time.monotonic(), processes.cpu_seconds(server.process.pid)
    output, complaint = bench.communicate()
    if bench.returncode != 0:
        raise Failed(complaint.strip().removeprefix(f"echogate: {server.url}: "))
    results = json.loads(output)
    counted = results["messages_per_second"] * (after[0] - before[0])
    return {
        "messages/s": results["messages_per_second"],
        "CPU µs/message": (after[1] - before[1]) / counted * 1e6 if counted else None,
        "p50 µs": results["latency_us"]["p50"],
        "p99 µs": results["latency_us"]["p99"],
        "frames": results["frames_per_message"],
    }


def wait_until_connected(bench, connections):
    while bench.poll() is None:
        if processes.open_files(bench.pid) >= connections:
            return True
        time.sleep(0.01)
    return False


def settled_pss(pid):
    """Memory of a process tree after it has stopped changing, or after five seconds."""
    last = processes.pss_kib(pid)
    for _ in range(10):
        time.sleep(0.5)
        now = processes.pss_kib(pid)
        if abs(now - last) <= 16:
            break
        last = now
    return now


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
