"""Prints what a client says and answers with a typed line, until that is "bye"."""

import socket
import sys

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(1)
print(listener.getsockname()[1], flush=True)
client, peer = listener.accept()
while True:
    print(client.recv(1024).decode("utf-8").strip(), flush=True)
    answer = sys.stdin.readline().strip()
    client.send(answer.encode("utf-8"))
    if answer == "bye":
        break
client.close()
