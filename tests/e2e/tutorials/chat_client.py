"""Sends a typed line, prints the answer, and so on until the answer is "bye".

usage: chat_client.py HOST PORT
"""

import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as sock:
    while True:
        sock.sendall(input("> ").encode("utf-8"))
        answer = sock.recv(1024).decode("utf-8")
        if answer == "bye":
            print("the other side said bye")
            break
        print(answer)
    if sock.recv(1) != b"":
        sys.exit("something came behind bye")
