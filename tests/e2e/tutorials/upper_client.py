"""Sends each typed line and prints what comes back.

usage: upper_client.py tcp HOST PORT | udp HOST PORT | unix PATH
"""

import socket
import sys

kind, address = sys.argv[1], sys.argv[2:]
if kind == "unix":
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(30)
    sock.connect(address[0])
else:
    transport = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, transport)
    sock.settimeout(30)
    sock.connect((address[0], int(address[1])))

while True:
    try:
        line = input()
    except EOFError:
        break
    if not line and kind != "udp":
        # An empty line puts no bytes into a stream, so that nothing would come back.
        print("(nothing to send)")
        continue
    sock.send(line.encode("utf-8"))
    print(sock.recv(1024).decode("utf-8"))
sock.close()
