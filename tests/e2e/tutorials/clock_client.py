"""Sends the time every so often, without a newline, and prints the date that comes back.

usage: clock_client.py HOST PORT SECONDS COUNT
"""

import socket
import sys
import time

host, port, seconds, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
with socket.create_connection((host, port), timeout=30) as sock:
    for _ in range(count):
        now = str(time.time())
        sock.send(now.encode("ascii"))
        print(now, sock.recv(1024).decode("ascii").strip(), sep="\t")
        time.sleep(seconds)
