"""Answers in capitals, one client at a time.

usage: upper_server.py tcp | udp
"""

import socket
import sys

if sys.argv[1] == "udp":
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(data.decode("utf-8").upper().encode("utf-8"), peer)

sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
sock.bind(("127.0.0.1", 0))
sock.listen(5)
print(sock.getsockname()[1], flush=True)
while True:
    client, peer = sock.accept()
    while True:
        data = client.recv(1024)
        if not data:
            break
        client.send(data.decode("utf-8").upper().encode("utf-8"))
    client.close()
