"""Answers a Unix time with its date, to one client after another."""

import socket
import time

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(5)
print(listener.getsockname()[1], flush=True)
while True:
    client, peer = listener.accept()
    while True:
        data = client.recv(64)
        if not data:
            break
        when = time.gmtime(float(data))
        client.send(time.strftime("%Y-%m-%d %H:%M:%S", when).encode("ascii"))
    client.close()
