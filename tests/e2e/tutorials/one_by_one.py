"""Sends each message by a connection of its own.

usage: one_by_one.py HOST PORT COUNT
"""

import socket
import sys

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(30)
    sock.connect((host, port))
    sock.send(f"message {number}: 你好".encode("utf-8"))
    print(sock.recv(1024).decode("utf-8"))
    sock.close()
